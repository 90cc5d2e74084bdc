"""Sequences out of tables: which columns are their numbers, names, labels, groups and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from ..ground.errors import InputError, did_you_mean
from ..ground.wording import say_in_training
from .labelled import Record
from .left_out import LeftOut
from .lines import Line
from .rooms import Spool
from .stamps import said, seconds, stamps_of
from .tables import CsvTable, Rows, runs_of

Missing = Literal["error", "mask", "forward", "mean"]
"""What becomes of values that are missing."""


@dataclass
class Columns:
    """A table with one row per step.

    Column `sequence` tells sequences apart (without it a file is one), `label` is that of the whole
    sequence, or with `each_step` of its step; `targets` are numbers of the whole sequence instead.
    The numbers of a step are the columns `features`, in that order; if none are chosen, those
    `known` from training, no more and no less; at first all others, as the first file has them:
    further files may have them in another order. Column `time` has stamps: the seconds since the
    step before are a number of the step. `categories` are columns of names, `group` tells which
    sequences belong together.

    The content of a sequence is [T, numbers, seconds since the step before, numbers of its
    categories, number of its step's label]: names are numbered from 1 in `numbered`, as they come.
    NaN where there is no value; with `missing` error that is an `InputError` that names the place.
    """

    sequence: str
    label: str
    features: Sequence[str] = ()
    known: Sequence[str] = ()
    labelled: bool = True
    longest: int | None = None
    left_out: LeftOut = field(default_factory=LeftOut)
    time: str | None = None
    categories: Sequence[str] = ()
    group: str | None = None
    targets: Sequence[str] = ()
    each_step: bool = False
    missing: Missing = "error"
    numbered: dict[str, dict[str, int]] = field(default_factory=dict)

    of_labels: ClassVar[str] = "data.label"

    def __post_init__(self) -> None:
        self.features, self.known = tuple(self.features), tuple(self.known)

    @property
    def named(self) -> list[str]:
        """Columns whose names become numbers, at the end of a step."""
        return [*self.categories, *([self.label] if self.each_step and self.labelled else [])]

    @property
    def apart(self) -> tuple[str, ...]:
        """Columns that are no numbers of a step, where they are there."""
        labels = self.targets or (self.label,)
        more = (name for name in (self.time, self.group) if name)
        return (self.sequence, *labels, *self.categories, *more)

    @property
    def width(self) -> int:
        """Numbers of a step as it is kept."""
        return len(self.known) + bool(self.time) + len(self.named)

    def arriving(self, chunks: Iterable[list[Line]], source: str) -> Iterator[list[Record]]:
        """The sequences of lines that come in: one as soon as the next begins, or all is over.

        Errors: those of a file, and a sequence that goes on after another has begun.
        """
        table, sequences = CsvTable(source, self.left_out), Sequences(self, source)
        for lines in chunks:
            if (rows := table.take(lines)) is not None:
                sequences.add(rows, stream=True)
                if ended := sequences.take():
                    yield ended
            elif table.names:
                self.settle(table.names, table.header)
        if not table.names:
            raise InputError(f"{source}: empty: expected a header and one row per step.")
        yield sequences.close()

    def settle(self, names: list[str], where: str) -> None:
        """Find the columns of numbers among the names of a table; `InputError` for what is not as
        it was before, or as asked for."""
        for name in [n for n in (*self.categories, self.time, self.group) if n]:
            if name not in names and not (name == self.group and not self.labelled):
                raise no_column(where, name, names, "")
        if self.labelled:
            for name in self.targets or (self.label,):
                if name not in names:
                    what = "target" if self.targets else "tag" if self.each_step else "label"
                    raise no_column(where, name, names, f"{say_in_training(f'--data.{what} NAME')} "
                                    "predict needs no labels.")  # fmt: skip
        others = [name for name in names if name not in self.apart]
        self.known = self.known or tuple(self.features or others)
        for name in self.features:
            if name not in others:
                raise InputError(
                    f"{where}: no column of numbers {name!r}.{did_you_mean(name, others)} "
                    f"Found {', '.join(others)[:200]}.{say_in_training('--data.features NAME …')}"
                )
        if not self.known and not self.categories:
            raise InputError(f"{where}: no columns of numbers beside {', '.join(names)}.")
        missing = [name for name in self.known if name not in others]
        extra = [name for name in others if name not in self.known and not self.features]
        if missing or extra:
            found = [f"{what} {', '.join(some)}" for what, some in (("without", missing),
                    ("with", extra)) if some]  # fmt: skip
            raise InputError(
                f"{where}: columns of numbers {' and '.join(found)}; expected "
                f"{', '.join(self.known)[:200]}, as in what was read first or trained on, in any "
                "order."
            )
        for name in (*self.known, *self.apart):
            if names.count(name) > 1:
                raise InputError(f"{where}: {names.count(name)} columns are named {name!r}.")

    def content(self, rows: Rows) -> np.ndarray:
        """Numbers and names of rows [R, width], but for the seconds, which are zero."""
        found = np.zeros((len(rows), self.width))
        for k, name in enumerate(self.known):
            found[:, k] = rows.numbers(name)
        if self.missing == "error":
            self.refuse_missing(rows, found)
        for k, name in enumerate(self.named, len(self.known) + bool(self.time)):
            numbers = self.numbered.setdefault(name, {})
            for text, start, stop in runs_of(rows.texts(name)):
                text = text.strip()
                if not text and self.each_step and name == self.label:
                    raise InputError(f"{rows.where(start)}: the label (column {name}) is empty.")
                found[start:stop, k] = numbers.setdefault(text, 1 + len(numbers)) if text else 0
        return found

    def refuse_missing(self, rows: Rows, found: np.ndarray) -> None:
        """Raise `InputError` with the place of the first value that is missing."""
        gone = np.isnan(found[:, : len(self.known)])
        if gone.any():
            i, k = (int(at) for at in np.argwhere(gone)[0])
            raise InputError(
                f"{rows.where(i)}: column {self.known[k]!r}: no value. {MISSING_ADVICE}"
            )


MISSING_ADVICE = (
    "Say what becomes of missing values when training: --data.missing mask (the value before, and "
    "a mark that it is missing), forward (the value before) or mean."
)


def no_column(where: str, name: str, names: Sequence[str], more: str) -> InputError:
    """A column that is not among those of a table."""
    return InputError(
        f"{where}: no column {name!r}.{did_you_mean(name, names)} Found "
        f"{', '.join(names)[:200]}.{more}"
    )


class Known:
    """What is known of a sequence while it is read."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.pieces: list[tuple[int, int]] = []
        self.label, self.label_at = "", where
        self.targets: tuple[float, ...] = ()
        self.group: str | None = None
        self.began = self.latest = np.nan

    def extend(self, start: int, stop: int) -> None:
        """Rows that belong to it, by their numbers in the spool."""
        if self.pieces and self.pieces[-1][1] == start:
            start = self.pieces.pop()[0]
        self.pieces.append((start, stop))


class Sequences:
    """The sequences of one file or stream: `add` rows, `close` for what is left."""

    def __init__(self, columns: Columns, source: str, spool: Spool | None = None) -> None:
        self.columns, self.source = columns, source
        self.spool = spool
        self.known: dict[str, Known] = {}
        self.taken: set[str] = set()
        self.latest = ""
        self.dates: bool | None = None

    def add(self, rows: Rows, *, stream: bool = False) -> None:
        """Take rows: `stream` where those of a sequence must stand together."""
        columns = self.columns
        columns.settle(rows.names, f"{self.source}:1")
        content = columns.content(rows)
        stamps = None
        if columns.time:
            found = stamps_of(rows, columns.time, dates=self.dates)
            self.dates = found.dtype.kind == "M" if len(found) else self.dates
            stamps = found, seconds(found)
        self.spool = self.spool or Spool(columns.width)
        at = self.spool.rows
        for key, start, stop in self.stretches(rows):
            if stream and key in self.taken:
                raise InputError(
                    f"{rows.where(start)}: sequence {key} goes on after another has begun: the "
                    "rows of a sequence must stand together in a stream. Give a file by its name: "
                    "--data FILE."
                )
            self.latest = key
            known = self.known.setdefault(key, Known(rows.where(start)))
            known.extend(at + start, at + stop)
            self.look(key, known, rows, start, stop)
            if stamps is not None:
                content[start:stop, len(columns.known)] = self.since(
                    key, known, rows, start, stop, *stamps
                )
        self.spool.add(content)

    def stretches(self, rows: Rows) -> Iterable[tuple[str, int, int]]:
        """Rows that follow one another and belong to one sequence: its name, first and last."""
        if self.columns.sequence in rows.names:
            return runs_of(rows.texts(self.columns.sequence))
        return [(self.source, 0, len(rows))] if len(rows) else []

    def look(self, key: str, known: Known, rows: Rows, start: int, stop: int) -> None:
        """Label, targets and group of the rows: one for a sequence."""
        columns = self.columns
        if columns.labelled and columns.targets:
            values = np.stack([rows.numbers(name)[start:stop] for name in columns.targets], 1)
            first = known.targets or tuple(values[0].tolist())
            wrong = ~(values == np.array(first)).all(1)
            if wrong.any():
                i = start + int(wrong.argmax())
                raise InputError(
                    f"{rows.where(i)}: sequence {key} has the targets "
                    f"{values[i - start].tolist()} here and {list(first)} at {known.where}: "
                    "expected the same in each row."
                )
            known.targets = first
        elif columns.labelled and not columns.each_step:
            cells = rows.texts(columns.label)[start:stop]
            known.label = known.label or cells[0]
            if set(cells) != {known.label} or not known.label:
                i = next(i for i, cell in enumerate(cells) if cell != known.label or not cell)
                raise InputError(
                    f"{rows.where(start + i)}: sequence {key} has the label {cells[i]!r} here and "
                    f"{known.label!r} at {known.where}: expected one label."
                )
        if columns.group and columns.group in rows.names:
            cells = set(rows.texts(columns.group)[start:stop]) | {known.group or ""} - {""}
            if len(cells) > 1:
                raise InputError(
                    f"{rows.where(start)}: sequence {key} is in several groups: "
                    f"{', '.join(sorted(cells))[:100]}. Expected one."
                )
            known.group = cells.pop()

    def since(
        self, key: str, known: Known, rows: Rows, start: int, stop: int, stamps: Any, at: Any
    ) -> np.ndarray:
        """Seconds since the step before, zero first; `InputError` where time goes back."""
        some = at[start:stop]
        before = some[0] if np.isnan(known.latest) else known.latest
        found = np.diff(some, prepend=before)
        if (found < 0).any():
            i = start + int((found < 0).argmax())
            raise InputError(
                f"{rows.where(i)}: sequence {key}: time goes back to {said(stamps[i])}: expected "
                "the rows of a sequence in the order of time."
            )
        known.began = some[0] if np.isnan(known.began) else known.began
        known.latest = some[-1]
        return found

    def take(self) -> list[Record]:
        """The sequences after which another has begun; what is left begins a new spool."""
        ended = [key for key in self.known if key != self.latest]
        if not ended or self.spool is None:
            return []
        array = self.spool.array()
        self.taken.update(ended)
        found = [self.record(key, together(array, self.known[key])) for key in ended]
        rest = together(array, self.known[self.latest])
        self.spool = Spool(self.columns.width)
        self.spool.add(rest)
        self.known = {self.latest: self.known[self.latest]}
        self.known[self.latest].pieces = [(0, len(rest))]
        return found

    def close(self) -> list[Record]:
        """The sequences that were not taken yet."""
        if self.spool is None:
            return []
        array = self.spool.array()
        scattered = [key for key, known in self.known.items() if len(known.pieces) > 1]
        if scattered:  # their rows one after the other, in a spool of their own
            whole, ends = Spool(self.columns.width), {}
            for key in scattered:
                start = whole.rows
                for piece in self.known[key].pieces:
                    whole.add(array[slice(*piece)])
                ends[key] = start, whole.rows
            rows = whole.array()
            apart = {key: rows[start:stop] for key, (start, stop) in ends.items()}
        else:
            apart = {}
        return [
            self.record(key, apart[key] if key in apart else together(array, known))
            for key, known in self.known.items()
        ]

    def record(self, key: str, content: np.ndarray) -> Record:
        """A sequence that has ended."""
        known, columns = self.known[key], self.columns
        one = columns.labelled and not (columns.targets or columns.each_step)
        return Record(
            content, known.label if one else None, known.where, key, tuple(columns.known),
            known.targets, known.group, (known.began, known.latest),
        )  # fmt: skip


def together(array: np.ndarray, known: Known) -> np.ndarray:
    """The rows of a sequence: a view where they stand together, as they should."""
    parts = [array[start:stop] for start, stop in known.pieces]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
