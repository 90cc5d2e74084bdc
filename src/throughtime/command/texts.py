"""Verbs that give texts: what they print, and into which file."""

from __future__ import annotations

import contextlib
import sys

from ..config.verbs import ModelOptions
from ..ground.errors import InputError
from ..ground.interrupts import at_once
from ..ground.output import json_text, new_file, refuse_existing
from .parsing import between_samples, run_command


def generate(words: list[str]) -> int:
    """throughtime generate RUN."""
    with at_once():  # it may import torch
        command = run_command("generate", words)
        between = between_samples(command.run)
    as_json, output = command.common.pop("json"), command.common.pop("output", None)
    if command.options.get("logprobs") is not None and not as_json:
        raise InputError("--logprobs are told in JSON: give --json.")
    if output is not None:
        refuse_existing(output)  # before the model is loaded
    if command.options.get("prime") in ("-", ["-"]):
        command.options["prime"] = standard_input()
    with at_once():
        from ..run import Run

    with new_file(output) if output is not None else contextlib.nullcontext(sys.stdout) as file:
        current = 0

        def show(k: int, piece: str) -> None:
            nonlocal current
            if k != current:
                print(between, end="", file=file)
                current = k
            print(piece, end="", file=file, flush=True)

        model = {name: command.common.pop(name) for name in vars(ModelOptions())}
        run = Run(command.run, **model)
        on_text = None if as_json else show
        for text in run.write(**command.common, **command.options, on_text=on_text):
            if as_json:
                print(json_text(text.to_dict()), file=file, flush=True)
        if not as_json:
            print(file=file)
    return 0


def score(words: list[str]) -> int:
    """throughtime score RUN."""
    with at_once():  # it may import torch
        command = run_command("score", words)
    output, data = command.common.pop("output"), command.common.pop("data")
    if output is not None:
        refuse_existing(output)
    with at_once():
        from ..data.lines import Inputs
        from ..run import Run

    run = Run(command.run, **command.common)
    inputs = Inputs.files(data or ["-"])
    with new_file(output) if output is not None else contextlib.nullcontext(sys.stdout) as file:
        for found in run.score(inputs=inputs, **command.options):
            print(json_text(found.to_dict()), file=file, flush=True)
    return 0


def standard_input() -> str:
    """All of standard input, which must be UTF-8."""
    from ..ground import terminal

    terminal.say_if_typed("the prime")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input: not UTF-8 at byte {error.start} (0x{data[error.start]:02x})."
        ) from error
