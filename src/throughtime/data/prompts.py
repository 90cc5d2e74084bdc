"""Files of texts to go on from: one a line, or JSON objects with a "prompt" a line."""

from __future__ import annotations

from pathlib import Path

from ..ground import terminal
from ..ground.errors import InputError
from ..ground.paths import typed_path
from .left_out import LeftOut
from .lines import Inputs, Line, json_object

JSON_LINES = (".jsonl", ".ndjson")


def read_prompts(path: str) -> list[str]:
    """The texts of a file, .gz too; - is standard input.

    Errors: `InputError` by file and line for what is no text of its kind, and where there is none.
    Blank lines are left out, which is said.
    """
    inputs = Inputs.files([path])
    name = "" if inputs.paths is None else typed_path(path).name.removesuffix(".gz")
    of_json, left_out = Path(name).suffix in JSON_LINES, LeftOut()
    found: list[str] = []
    for line in inputs.lines():
        if line.text.strip():
            found.append(prompt_of(line) if of_json else line.text)
        else:
            left_out.add(line.source, "blank line")
    if not found:
        raise InputError(f"{path}: no text to go on from.")
    if left_out:
        terminal.warn(left_out.warning())
    return found


def prompt_of(line: Line) -> str:
    """The "prompt" of a JSON object."""
    found = json_object(line).get("prompt")
    if not isinstance(found, str):
        came = "none" if found is None else f"{found!r}"[:40]
        raise InputError(f'{line.where}: expected {{"prompt": "TEXT"}}, got {came} as "prompt".')
    return found
