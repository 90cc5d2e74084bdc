"""Labelled texts: lines, TSV, CSV, JSONL, or one file for each class."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..ground.errors import InputError, did_you_mean
from ..ground.wording import plural, say_in_training, say_which
from .files import find_files
from .left_out import LeftOut
from .lines import Line, WrongEncoding, json_object, read_lines, whole_number
from .records import CsvRecords

FORMATS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""What a file's name says of its format; any other holds lines of a label and a text."""


class Record(NamedTuple):
    """A text or a sequence of numbers, its label where it has one, and where it stands.

    A sequence of numbers has a name in its file, and one from a table the names of its `columns`;
    numbers to find for it are its `targets`. It may belong to a `group`, and have a `span` of time
    in seconds, from its first step to its last.
    """

    content: Any
    label: str | None
    where: str
    name: str | None = None
    columns: tuple[str, ...] = ()
    targets: tuple[float, ...] = ()
    group: str | None = None
    span: tuple[float, float] = (math.nan, math.nan)


def format_of(path: Path, asked: str = "auto") -> str:
    """The format asked for; auto: by the file's name, .gz aside."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    return FORMATS.get(suffixes[-1] if suffixes else "", "lines") if asked == "auto" else asked


def read_labelled(patterns: list[str], rows: Rows, labels: Iterable[str] = ()) -> list[Record]:
    """All records of the files. Blank lines are left out, and counted in `rows.left_out`.

    `labels` are those known already: for one file a class, they tell which part of a name is meant.
    """
    files = find_files(patterns)
    names = class_names(files, set(labels)) if rows.format == "files" else {}
    found: list[Record] = []
    doubtful: list[Record] = []
    for path in files:
        if path.suffix == ".npz":
            raise InputError(
                f"{path}: sequences of numbers, not texts.{say_in_training('--level numbers')}"
            )
        reader, before = rows.of_file(path, names.get(path)), len(found)
        try:
            for line in read_lines(path, rows.encoding, rows.longest):
                if not line.text.strip() and not reader.unfinished:
                    rows.left_out.add(line.source, "blank line")
                elif record := reader.push(line):
                    found.append(record)
        except WrongEncoding as error:
            raise InputError(f"{error}{say_in_training('--data.encoding latin-1')}") from error
        reader.close()
        if reader.implied and not reader.header and reader.format in ("tsv", "csv"):
            doubtful += found[before : before + 1]
    if not found:
        raise InputError(f"{' '.join(patterns)}: no examples.")
    check_first_lines(doubtful, found, labels, rows.options)
    return found


def check_first_lines(
    first: list[Record], found: list[Record], known: Iterable[str], options: Collection[str]
) -> None:
    """Ask whether a first line is a header where its label is that of no other."""
    counts = Counter(record.label for record in found)
    for record in first:
        if counts[record.label] == 1 and record.label not in set(known) and len(found) > 1:
            raise InputError(
                f"{record.where}: is this a header? Columns are told by number, which implies that "
                f"there is none, but no other line has the label {record.label!r}. Say "
                + (
                    "--header yes or --header no."
                    if "header" in options
                    else "--data.header true or --data.header false when training."
                )
            )


def class_names(files: list[Path], known: set[str]) -> dict[Path, str]:
    """Each file's class: the part of its name, between dots, that tells it from the others.

    Of pos.txt and neg.txt: pos, neg; of rt-polarity.pos and rt-polarity.neg the same. It is the
    part that the fewest files have, the first of several; a known label goes before any other.
    """
    parts = {path: path.name.removesuffix(".gz").split(".") for path in files}
    common = Counter(part for own in parts.values() for part in set(own))
    return {
        path: next((part for part in own if part in known), min(own, key=lambda p: common[p]))
        for path, own in parts.items()
    }


@dataclass
class Rows:
    """From lines to records, one line at a time: a header, quoted fields over several lines.

    `text` and `label` are columns, by name or by number from 1. With `labelled` false a label is
    not asked for. A line of the format `text` is a text as a whole.
    """

    format: str = "lines"
    text: str = "text"
    label: str = "label"
    header: bool = True
    encoding: str = "utf-8"
    labelled: bool = True
    of_class: str | None = None
    longest: int | None = None
    implied: bool = False
    """Whether nobody said if there is a header."""
    options: Collection[str] = ()
    """The settings of these that the verb at hand has options for."""
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        self.columns: list[str] | None = None
        self.records = CsvRecords(self.longest)

    def of_file(self, path: Path, of_class: str | None = None) -> Rows:
        """A reader for one file."""
        return replace(self, format=format_of(path, self.format), of_class=of_class)

    @property
    def unfinished(self) -> bool:
        """Whether a quoted field goes on in the next line."""
        return self.records.unfinished

    def push(self, line: Line) -> Record | None:
        """The record that this line completes; None for a header or within a quoted field."""
        if line.number == 1:
            self.columns = None  # another file
        if self.format == "jsonl":
            return self._object(line)
        if self.format in ("tsv", "csv"):
            return self._row(line)
        if self.format in ("files", "text"):
            return Record(line.text, self.of_class, line.where)
        label, *rest = line.text.split(None, 1)
        return Record(rest[0] if rest else "", label, line.where)

    def close(self) -> None:
        """Raise `InputError` if a quoted field was left open."""
        self.records.close()

    def _object(self, line: Line) -> Record:
        values = json_object(line)
        text = self._value(values, self.text, "text", line)
        if not isinstance(text, str):
            raise InputError(f"{line.where}: {self.text!r} must be a text, got {text!r}.")
        if not self.labelled:
            return Record(text, None, line.where)
        label = self._value(values, self.label, "label", line)
        if label is None or isinstance(label, (dict, list)) or label == "":
            raise InputError(f"{line.where}: {self.label!r} must be a label, got {label!r}.")
        return Record(text, label if isinstance(label, str) else json.dumps(label), line.where)

    def _value(self, values: dict[str, Any], name: str, what: str, line: Line) -> Any:
        if name not in values:
            raise InputError(
                f"{line.where}: no {name!r}.{did_you_mean(name, values)} Found: "
                f"{', '.join(values) or 'nothing'}.{say_which(what, 'NAME', self.options)}"
            )
        return values[name]

    def _row(self, line: Line) -> Record | None:
        where = line.where
        if self.format == "tsv":
            fields = line.text.split("\t")
        elif (fields := self.records.push(line)) is None:
            return None
        elif self.records.start:
            where = self.records.start.where
        if self.columns is None:
            self.columns = fields
            if self.header:
                self._column(self.text, "text", line)
                if self.labelled:
                    self._column(self.label, "label", line)
                return None
        if len(fields) != len(self.columns):
            before = "the header has" if self.header else "the first line has"
            raise InputError(
                f"{where}: expected {plural(len(self.columns), 'column')}, as {before}, got "
                f"{len(fields)}."
            )
        text = fields[self._column(self.text, "text", line)]
        if not self.labelled:
            return Record(text, None, where)
        label = fields[self._column(self.label, "label", line)].strip()
        if not label:
            raise InputError(f"{where}: the label (column {self.label}) is empty.")
        return Record(text, label, where)

    def _column(self, name: str, what: str, line: Line) -> int:
        columns = self.columns or []
        if self.header and name in columns:
            return columns.index(name)
        if 0 < (number := whole_number(name) or 0) <= len(columns):
            return number - 1
        if not self.header and not name.isdecimal():
            raise InputError(
                f"{line.where}: without a header a column is told by its number, from 1."
                f"{say_which(what, 'NUMBER', self.options)}"
            )
        value = "NAME, or NUMBER without a header" if self.header else "NAME"
        raise InputError(
            f"{line.where}: no column {name!r}.{did_you_mean(name, columns)} Found "
            f"{len(columns)}: {', '.join(columns)[:200]}.{say_which(what, value, self.options)}"
        )
