"""Series of numbers from tables: long ones with a column of names, wide ones, a file each.

A series has equal steps. Gaps become steps without values; stamps that are off the step, or twice
there, are told by series and time, or brought to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.errors import InputError
from ..ground.wording import plural
from .clock import Step, step_of
from .columns import no_column
from .files import find_files
from .left_out import LeftOut
from .lines import Inputs
from .stamps import said, stamps_of
from .tables import CsvTable, Rows, read_rows, runs_of

TIMES = ("time", "date", "datetime", "timestamp", "stamp", "ds")
"""Names that a column of stamps has, where no setting tells."""

MISSING_ADVICE = (
    "Say what becomes of missing values when training: --data.missing mask (the value before, and "
    "a mark), forward or mean."
)

ADVICE = " --data.target NAME … are what is forecast, --data.static what is said of a series."
"""Of a column that is none of numbers."""


@dataclass(frozen=True)
class Series:
    """A series in equal steps: values [T, n] of its columns, NaN where there is none.

    Its targets are known up to step `known`; what comes after is known of the future.
    """

    name: str
    where: str
    first: Any
    step: Step
    values: np.ndarray
    known: int
    static: tuple[str, ...] = ()
    gaps: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def stamps(self, start: int, stop: int) -> np.ndarray:
        """Of some steps."""
        return self.step.stamps(self.first, np.arange(start, stop))

    def at(self, stamp: Any) -> int:
        """The first step at a stamp or after it."""
        place = float(self.step.places(np.array([stamp]), self.first)[0])
        return int(min(max(np.ceil(place), 0), len(self)))


@dataclass
class SeriesColumns:
    """What the columns of tables are: as `config.forecast.ForecastDataConfig` has them.

    `target` and `step` are found in the first tables where they are not given: those of training
    are given to whoever reads other tables.
    """

    target: list[str]
    series: str | None = None
    time: str = "auto"
    observed: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    static: list[str] = field(default_factory=list)
    frequency: str = "auto"
    irregular: str = "error"
    missing: str = "error"
    until: Any = None
    longest: int | None = None
    left_out: LeftOut = field(default_factory=LeftOut)
    step: Step | None = None
    is_date: bool | None = None

    @property
    def numbers(self) -> list[str]:
        """Columns of numbers, in the order in which a series has them."""
        return [*self.target, *self.observed, *self.known]

    def settle(self, rows: Rows) -> None:
        """Find stamps and targets among the columns; `InputError` for one that is not there."""
        names, where = rows.names, f"{rows.source}:1"
        if self.time == "auto":
            lower = {name.lower(): name for name in reversed(names)}
            self.time = next((lower[name] for name in TIMES if name in lower), "none")
        asked = [*self.numbers, *self.static, *([self.series] if self.series else [])]
        asked += [self.time] if self.time != "none" else []
        for name in asked:
            if name not in names:
                raise no_column(where, name, names, "")
            if names.count(name) > 1:
                raise InputError(f"{where}: {names.count(name)} columns are named {name!r}.")
        if not self.target:
            self.target = [name for name in names if name not in asked]
            if not self.target:
                raise InputError(f"{where}: no columns to forecast beside {', '.join(names)}.")


class Read:
    """A series while it is read."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.values: list[np.ndarray] = []
        self.stamps: list[np.ndarray] = []
        self.lines: list[np.ndarray] = []
        self.source = ""
        self.static: tuple[str, ...] = ()


def read_series(patterns: list[str], columns: SeriesColumns) -> list[Series]:
    """The series of files; those of one file in the order in which they begin."""
    found: dict[tuple[str, str], Read] = {}
    files = find_files(patterns)
    for path in files:
        for rows in read_rows(path, longest=columns.longest, left_out=columns.left_out):
            take(found, rows, columns, own_name(path))
    return finished(found, columns, " ".join(patterns))


def read_arriving(inputs: Inputs, columns: SeriesColumns, max_bytes: int) -> list[Series]:
    """The series of what comes in on standard input, when all is there; or of files."""
    if inputs.paths is not None:
        return read_series([str(path) for path in inputs.paths], columns)
    found: dict[tuple[str, str], Read] = {}
    table = CsvTable("standard input", columns.left_out)
    for lines in inputs.read_as("utf-8", max_bytes).chunks(1 << 12):
        if (rows := table.take(lines)) is not None:
            take(found, rows, columns, "series")
    if not table.names:
        raise InputError("standard input: empty: expected a header and one row per step.")
    return finished(found, columns, "standard input")


def own_name(path: Path) -> str:
    """What the series of a file without names is called."""
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def take(found: dict[tuple[str, str], Read], rows: Rows, columns: SeriesColumns, name: str) -> None:
    """Add rows to the series that they belong to."""
    columns.settle(rows)
    if not len(rows):
        return
    values = np.stack([rows.numbers(column, ADVICE) for column in columns.numbers], 1)
    stamps = None
    if columns.time != "none":
        stamps = stamps_of(rows, columns.time, dates=columns.is_date)
        columns.is_date = stamps.dtype.kind == "M"
    lines = np.asarray(rows.lines)
    names = rows.texts(columns.series) if columns.series else None
    for key, start, stop in runs_of(names) if names is not None else [(name, 0, len(rows))]:
        one = found.setdefault((rows.source, key), Read(rows.where(start)))
        one.source = rows.source
        one.values.append(values[start:stop])
        one.lines.append(lines[start:stop])
        if stamps is not None:
            one.stamps.append(stamps[start:stop])
        if columns.static:
            check_static(one, key, rows, columns.static, start, stop)


def check_static(
    one: Read, key: str, rows: Rows, names: Sequence[str], start: int, stop: int
) -> None:
    """What a series as a whole is must be the same in each of its rows."""
    cells = [rows.texts(name)[start:stop] for name in names]
    said_first = one.static or tuple(column[0] for column in cells)
    for name, column, first in zip(names, cells, said_first):
        if set(column) != {first}:
            i = next(i for i, cell in enumerate(column) if cell != first)
            raise InputError(
                f"{rows.where(start + i)}: series {key}: column {name!r} is {column[i]!r} here and "
                f"{first!r} at {one.where}: expected the same in each row."
            )
    one.static = said_first


def finished(
    found: dict[tuple[str, str], Read], columns: SeriesColumns, source: str
) -> list[Series]:
    """Series in equal steps."""
    if not found:
        raise InputError(f"{source}: no series.")
    several = [np.concatenate(one.stamps) for one in found.values() if one.stamps]
    several = [stamps[np.argsort(stamps, kind="stable")] for stamps in several]
    if columns.step is None:
        dates = bool(columns.is_date)
        if columns.frequency != "auto":
            columns.step = Step.parse(columns.frequency, dates=dates)
        else:
            columns.step = step_of(several) if several else None
            columns.step = columns.step or Step("number", 1.0)
    count = len({key for _, key in found})
    return [
        in_steps(key if count == len(found) else f"{key} ({where})", one, columns)
        for (where, key), one in found.items()
    ]


def in_steps(name: str, one: Read, columns: SeriesColumns) -> Series:
    """A series in equal steps: by its stamps, or row by row where there are none."""
    values, lines = np.concatenate(one.values), np.concatenate(one.lines)
    step = columns.step or Step("number", 1.0)
    first: Any = 0.0
    gaps = 0
    if one.stamps:
        stamps = np.concatenate(one.stamps)
        order = np.argsort(stamps, kind="stable")
        stamps, values, lines = stamps[order], values[order], lines[order]
        if columns.until is not None:
            keep = stamps < columns.until
            stamps, values, lines = stamps[keep], values[keep], lines[keep]
            if not len(stamps):
                raise InputError(
                    f"{one.where}: series {name} has no step before {said(columns.until)}."
                )
        first = stamps[0]
        if columns.irregular == "mean":
            first = step.floor(first)
        places = step.places(stamps, first)
        at = np.floor(places + 1e-6).astype(np.int64)
        if columns.irregular == "error":
            refuse_irregular(name, one, stamps, places, lines, step)
        if at[-1] > 64 * len(at) + 4096:
            raise InputError(
                f"{one.source}:{lines[-1]}: series {name}: {said(stamps[-1])} is {at[-1]:,} "
                f"steps of {step} after {said(first)}, for {plural(len(at), 'row')}: say "
                "--data.frequency."
            )
        values, filled = gathered(values, at)
        gaps = len(values) - int(filled.sum())
        if gaps and columns.missing == "error":
            i = int((~filled).argmax())
            length = int(np.argmax(np.append(filled[i:], True)))
            raise InputError(
                f"{one.source}: series {name}: {plural(length, 'step')} of {step} missing after "
                f"{said(step.stamps(first, np.array([i - 1]))[0])}. {MISSING_ADVICE}"
            )
    there = np.flatnonzero((~np.isnan(values[:, : len(columns.target)])).any(1))
    known = int(there[-1]) + 1 if len(there) else 0  # rows of the future have no targets
    series = Series(name, one.where, first, step, values, known, one.static, gaps)
    if columns.missing == "error":
        refuse_missing(series, columns)
    return series


def refuse_irregular(
    name: str, one: Read, stamps: np.ndarray, places: np.ndarray, lines: np.ndarray, step: Step
) -> None:
    """Raise `InputError` for a stamp that is twice there, or off the step."""
    advice = "--data.irregular mean takes the mean of each step"
    twice = np.flatnonzero(stamps[1:] == stamps[:-1])
    if len(twice):
        i = int(twice[0])
        raise InputError(
            f"{one.source}:{lines[i + 1]}: series {name} has {said(stamps[i])} twice, first in "
            f"line {lines[i]}: {advice}; a column that tells series apart is --data.series NAME."
        )
    off = np.abs(places - np.round(places)) > 1e-6
    if off.any():
        i = int(off.argmax())
        raise InputError(
            f"{one.source}:{lines[i]}: series {name}: {said(stamps[i])} is no whole number of "
            f"steps of {step} after {said(stamps[0])}: {advice}; another step is --data.frequency."
        )


def gathered(values: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in their places [T, n], the mean of those in one; and which places have any."""
    T = int(at[-1]) + 1
    filled = np.zeros(T, bool)
    filled[at] = True
    if len(at) == T and filled.all():
        return values, filled
    total, count = np.zeros((T, values.shape[1])), np.zeros((T, values.shape[1]))
    there = ~np.isnan(values)
    np.add.at(total, at, np.where(there, values, 0.0))
    np.add.at(count, at, there)
    with np.errstate(invalid="ignore"):
        return total / np.where(count, count, np.nan), filled


def refuse_missing(series: Series, columns: SeriesColumns) -> None:
    """Raise `InputError` for the first value that is missing."""
    gone = np.isnan(series.values)
    future = len(columns.target) + len(columns.observed)
    gone[series.known :, :future] = False
    if gone.any():
        t, k = (int(i) for i in np.argwhere(gone)[0])
        raise InputError(
            f"{series.where}: series {series.name}: no value of {columns.numbers[k]!r} at "
            f"{said(series.stamps(t, t + 1)[0])}. {MISSING_ADVICE}"
        )


def apart(series: Iterable[Series], names: Sequence[str]) -> list[Series]:
    """Each target column as a series by itself; what else there is goes with each."""
    found = []
    several = list(series)
    for one in several:
        others = one.values[:, len(names) :]
        for k, name in enumerate(names):
            values = np.concatenate([one.values[:, k : k + 1], others], 1)
            called = f"{one.name} {name}" if len(several) > 1 else name
            found.append(replace(one, name=called, values=values))
    return found
