"""Sequences with conditions: JSON lines, or one file for each class.

    {"condition": "Italian", "sequence": "Rossi"}
    {"condition": {"style": ["calm", "short"], "tempo": 92}, "sequence": ["C4", "E4", "G4"]}

A sequence is a text, or a list of events. In a file of a class every line is a sequence, and the
file's name without its ending is the label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..ground.errors import InputError, did_you_mean
from ..ground.wording import say_which
from .conditions import ALONE, Condition, check_value
from .files import find_files
from .left_out import LeftOut
from .lines import Line, json_object, read_lines


@dataclass(frozen=True)
class Example:
    """A condition and its sequence; a list of `events` is kept as a text with spaces between."""

    condition: Condition
    sequence: str
    where: str
    events: bool = False


@dataclass(frozen=True)
class ExampleReader:
    """How files become examples.

    `format` is jsonl or files (one for each class); auto: by the file's name. `condition` and
    `sequence` are keys of an object; `options` those settings that the verb at hand has options
    for. Blank lines are left out, and counted.
    """

    format: str = "auto"
    condition: str = "condition"
    sequence: str = "sequence"
    longest: int | None = None
    options: Collection[str] = ()
    left_out: LeftOut = field(default_factory=LeftOut)

    def read(self, patterns: list[str]) -> list[Example]:
        """All examples of the files. Errors: `InputError` names the file and the line."""
        found: list[Example] = []
        for path in find_files(patterns):
            before = len(found)
            found += self.json_lines(path) if self.is_json(path) else self.class_file(path)
            if len(found) == before:
                raise InputError(f"{path}: empty. Expected a sequence on each line.")
        return found

    def is_json(self, path: Path) -> bool:
        """Whether a file holds JSON lines, by what was asked for, else by its name."""
        name = path.name.removesuffix(".gz")
        by_name = "jsonl" if name.endswith((".jsonl", ".ndjson")) else "files"
        return (by_name if self.format == "auto" else self.format) == "jsonl"

    def lines(self, path: Path) -> Iterator[Line]:
        """Those that are not blank."""
        for line in read_lines(path, longest=self.longest):
            if line.text.strip():
                yield line
            else:
                self.left_out.add(line.source, "blank line")

    def class_file(self, path: Path) -> Iterator[Example]:
        """Every line, with the file's name as its label."""
        label = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
        for line in self.lines(path):
            yield Example({ALONE: label}, line.text.strip(), line.where)

    def json_lines(self, path: Path) -> Iterator[Example]:
        """One object a line, with a condition and a sequence."""
        for line in self.lines(path):
            values = json_object(line)
            for what, key in (("condition", self.condition), ("sequence", self.sequence)):
                if key not in values:
                    raise InputError(
                        f"{line.where}: no {key!r}.{did_you_mean(key, values)} Found: "
                        f"{', '.join(values)[:200] or 'nothing'}."
                        f"{say_which(what, 'NAME', self.options)}"
                    )
            yield example_of(values[self.condition], values[self.sequence], line.where)


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
