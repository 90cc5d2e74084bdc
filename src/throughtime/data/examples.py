"""Sequences with conditions: JSON lines, or one file for each class.

    {"condition": "Italian", "sequence": "Rossi"}
    {"condition": {"style": ["calm", "short"], "tempo": 92}, "sequence": ["C4", "E4", "G4"]}

A sequence is a text, or a list of events. In a file of a class every line is a sequence, and the
file's name without its ending is the label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ground.errors import InputError
from .conditions import ALONE, Condition, check_value
from .files import find_files
from .lines import json_object, read_lines


@dataclass(frozen=True)
class Example:
    """A condition and its sequence; a list of `events` is kept as a text with spaces between."""

    condition: Condition
    sequence: str
    where: str
    events: bool = False


def read_examples(patterns: list[str], longest: int | None = None) -> list[Example]:
    """All examples of the files. Errors: `InputError` names the file and the line."""
    found: list[Example] = []
    for path in find_files(patterns):
        name = path.name.removesuffix(".gz")
        read = json_lines if name.endswith((".jsonl", ".ndjson")) else class_file
        before = len(found)
        found += read(path, longest)
        if len(found) == before:
            raise InputError(f"{path}: empty. Expected a sequence on each line.")
    return found


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Training and validation examples; equal sequences come to the same side.

    A sequence's turn is the SHA-256 of the seed and the sequence: where it stands in which file has
    no part in the split.
    """
    turns = [
        hashlib.sha256(f"{seed}\0{example.sequence}".encode()).digest() for example in examples
    ]
    different = sorted(set(turns))
    held = set(different[: round(len(different) * share)])
    valid = [example for example, turn in zip(examples, turns) if turn in held]
    if not 0 < len(valid) < len(examples):
        raise InputError(
            f"{len(different)} different sequences are too few to hold out {share:.0%} of them. "
            "Give --valid."
        )
    return [example for example, turn in zip(examples, turns) if turn not in held], valid


def class_file(path: Path, longest: int | None) -> Iterator[Example]:
    """Every line that is not empty, with the file's name as its label."""
    label = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    for line in read_lines(path, longest=longest):
        if text := line.text.strip():
            yield Example({ALONE: label}, text, line.where)


def json_lines(path: Path, longest: int | None) -> Iterator[Example]:
    """One object a line, with a condition and a sequence."""
    for line in read_lines(path, longest=longest):
        if not line.text.strip():
            continue
        values = json_object(line)
        if not {"condition", "sequence"} <= values.keys():
            raise InputError(
                f'{line.where}: expected {{"condition": …, "sequence": …}}, got '
                f"{line.text.strip()[:60]}"
            )
        yield example_of(values["condition"], values["sequence"], line.where)


def example_of(condition: object, sequence: object, where: str) -> Example:
    """Check one example."""
    named = condition if isinstance(condition, dict) else {ALONE: condition}
    for name, value in named.items():
        if wrong := check_value(value):
            raise InputError(f"{where}: condition {name!r}: {wrong}.")
    events = isinstance(sequence, list)
    if isinstance(sequence, list):
        if not all(isinstance(e, str) and e and not any(map(str.isspace, e)) for e in sequence):
            raise InputError(f"{where}: events must be texts without spaces.")
        sequence = " ".join(sequence)
    if not isinstance(sequence, str):
        raise InputError(
            f"{where}: the sequence must be a text or a list of events, got {sequence!r}."
        )
    return Example(named, sequence, where, events)
