"""The command line: verb → typed function. No logic, and torch only when a verb needs it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys

from .. import __version__
from ..ground.errors import InputError, ThroughtimeError, did_you_mean
from ..ground.output import json_text
from ..tasks import TASKS

VERBS = {
    "train": "train a model into a run folder",
    "evaluate": "measure a run on data",
    "predict": "a run's predictions for files or standard input: labels, tags, translations",
    "generate": "write novel sequences with a run's model",
    "compare": "cells side by side: equal parameters, time or width, several seeds",
    "inspect": "look inside a run: gradients through time, gates, influence, errors, health",
    "doctor": "what this machine offers, which backends run and why others do not",
}

HELP = f"""throughtime {__version__}: recurrent sequence models.

usage: throughtime VERB …

{chr(10).join(f"  {verb:10} {what}" for verb, what in VERBS.items())}

  throughtime train TASK --train FILE… --out runs/NAME [--max-time 3m]
  throughtime evaluate runs/NAME --data FILE
  throughtime generate runs/NAME --prime "Once"
  throughtime predict runs/NAME --data FILE
  throughtime compare TASK --cells rnn,gru,lstm --train FILE… --out runs/NAME
  throughtime inspect runs/NAME [--data FILE]
  throughtime inspect agreement runs/NAME [--pairs FILE…]

{chr(10).join(f"  {task:14} {line.noun}" for task, line in TASKS.items())}

throughtime VERB --help tells a verb's options.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 1 failed, 2 bad input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"throughtime {__version__}")
        return 0
    verb, *rest = arguments
    prepare_environment()
    try:
        if verb not in VERBS:
            raise InputError(f"unknown verb {verb!r}.{did_you_mean(verb, VERBS)} See --help.")
        return COMMANDS[verb](rest)
    except SystemExit as stop:  # --help and --print_config have printed
        return int(stop.code or 0)
    except ThroughtimeError as error:
        print(f"throughtime: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder without permission
        print(f"throughtime: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nthroughtime: interrupted", file=sys.stderr)
        return 130


def prepare_environment() -> None:
    """Settings that torch and OpenMP read once, when they are loaded. What the user set stays."""
    # large buffers in huge pages: fewer page faults
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # waiting threads spin for microseconds, not milliseconds: with another program on the same
    # cores, spinning made a training step 25 to 100 times slower (docs/log.md)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def train(arguments: list[str]) -> int:
    """throughtime train TASK."""
    from ..ground import terminal
    from .parsing import train_command

    command = train_command(arguments)
    if command is None:
        return 0
    from ..ground.interrupts import Interrupted
    from ..verbs import train as run

    try:
        result = run(
            command.config, task=command.task, resume=command.resume, overwrite=command.overwrite
        )
    except Interrupted as where:
        if int(os.environ.get("RANK", "0")) == 0:
            terminal.say(
                f"saved at {where}. Go on with: throughtime train {command.task} --resume --out "
                f"{command.config.out}"
            )
        return 130
    if int(os.environ.get("RANK", "0")) == 0:
        numbers = ", ".join(f"{k} {v:z.4f}" for k, v in result.metrics.items())
        kept = "" if result.best_step == result.steps else f"weights of step {result.best_step}; "
        print(f"{result.folder}: {numbers} ({kept}{result.steps} steps, {result.seconds:.0f} s)")
        verbs = [v for v in ("generate", "predict") if getattr(command.config, f"{v}_options")]
        further = "".join(f"    throughtime {verb} {result.folder}" for verb in verbs)
        data = f" --data {files}" if (files := command.config.files) else ""
        terminal.say(f"go on with: throughtime evaluate {result.folder}{data}{further}")
    return 0


def evaluate(arguments: list[str]) -> int:
    """throughtime evaluate RUN."""
    from .parsing import evaluate_command

    command = evaluate_command(arguments)
    as_json = command.common.pop("json")
    from ..verbs import evaluate as run

    result = run(command.run, **command.common, **command.options)
    if as_json:
        said = {"run": command.run, "data": command.common["data"], **result.to_dict()}
        print(json_text(said))
    else:
        print(result.report())
    return 0


def predict(arguments: list[str]) -> int:
    """throughtime predict RUN."""
    from .parsing import predict_command

    command = predict_command(arguments)
    as_json, output = command.common.pop("json"), command.common.pop("output")
    from ..ground.output import new_file, refuse_existing

    if output is not None:
        refuse_existing(output)  # before the model is loaded
    from ..verbs import predict as run

    found = run(command.run, **command.common, **command.options)
    with new_file(output) if output is not None else contextlib.nullcontext(sys.stdout) as file:
        for text, values in found:
            print(json_text(values) if as_json else text, file=file)
            file.flush()
    return 0


def generate(arguments: list[str]) -> int:
    """throughtime generate RUN."""
    from .parsing import between_samples, generate_command

    command = generate_command(arguments)
    as_json, between = command.common.pop("json"), between_samples(command.run)
    if command.options.get("prime") == "-":
        command.options["prime"] = standard_input()
    from ..verbs import generate as run

    current = 0

    def show(k: int, piece: str) -> None:
        nonlocal current
        if k != current:
            print(between, end="")
            current = k
        print(piece, end="", flush=True)

    texts = run(command.run, **command.common, **command.options, on_text=None if as_json else show)
    for k, text in enumerate(texts if as_json else []):
        print(json_text({"sample": k, "text": text}))
    if not as_json:
        print()
    return 0


def inspect(arguments: list[str]) -> int:
    """throughtime inspect RUN, throughtime inspect agreement RUN."""
    if arguments[:1] == ["agreement"]:
        return agreement(arguments[1:])
    from .parsing import inspect_command

    options = inspect_command(arguments)
    as_json = options.pop("json")
    from ..ground import terminal
    from ..verbs import inspect_run

    result = inspect_run(options.pop("run"), **options)
    if as_json:
        print(json_text(result.report.to_dict()))
    else:
        print("\n".join(result.report.findings))
    terminal.say(f"report: {result.path}")
    return 0


def agreement(arguments: list[str]) -> int:
    """throughtime inspect agreement RUN, or --corpus FILE."""
    from .parsing import agreement_command

    command = agreement_command(arguments)
    options = dataclasses.asdict(command.options)
    as_json = command.common.pop("json")
    if command.corpus:
        from ..verbs import agreement_corpus

        print(f"{command.corpus}: {agreement_corpus(command.corpus, **options)}")
        return 0
    from ..verbs import agreement as run

    result = run(command.run or "", **command.common, **options)
    if as_json:
        print(json_text({"run": command.run, **result.to_dict()}))
    else:
        print(result.report())
    return 0


def standard_input() -> str:
    """All of standard input, which must be UTF-8."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input: not UTF-8 at byte {error.start} (0x{data[error.start]:02x})."
        ) from error


def compare(arguments: list[str]) -> int:
    """throughtime compare TASK."""
    from ..ground import terminal
    from .parsing import compare_command

    command = compare_command(arguments)
    if command is None:
        return 0
    from ..compare import compare as run
    from ..ground.interrupts import Interrupted

    try:
        found = run(command.config, command.comparison, task=command.task)
    except Interrupted:
        terminal.say("saved. The same command goes on.")
        return 130
    print(found.table.text())
    terminal.say(f"{found.folder}: compare.md, compare.json, compare.png, compare.svg")
    return 1 if found.failures else 0


def doctor(arguments: list[str]) -> int:
    """throughtime doctor."""
    from .parsing import parse, plain_parser

    options = parse(plain_parser("doctor", VERBS["doctor"], json=True), arguments)
    from ..verbs import doctor as run

    found = run()
    if options.json:
        print(json_text(dict(found)))
    else:
        for name, finding in found:
            print(f"{name:26} {finding}")
    return 0


COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "generate": generate,
    "compare": compare,
    "inspect": inspect,
    "doctor": doctor,
}

if __name__ == "__main__":
    sys.exit(main())
