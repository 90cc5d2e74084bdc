"""Tables of numbers and texts, some thousand rows at a time: CSV, Parquet, NumPy's `.npz`.

Every reader of numbers through time stands on this: a cell is known by file, line and column, an
empty one is NaN, and what is none of them is an error that names its place.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.errors import InputError, did_you_mean
from ..ground.extras import need
from .archives import read_arrays
from .files import open_bytes
from .left_out import LeftOut
from .limits import LARGEST, LONGEST_LINE, unpacking
from .lines import Line, csv_fields, line_of, pieces, whole_lines

NO_VALUE = frozenset({"", "nan", "na", "n/a", "null", "none", "?"})
"""What stands in a cell without a value, in lower case."""

ROWS_AT_ONCE = 1 << 13
"""Rows of a table that has them by columns."""


class Rows:
    """Some rows of a table: columns by name, each a sequence of texts or an array, and their
    places."""

    def __init__(
        self, names: list[str], columns: Sequence[Any], source: str, lines: Sequence[int]
    ) -> None:
        self.names, self.columns = names, columns
        self.source, self.lines = source, lines
        self.advice = ADVICE

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, i: int) -> str:
        """As errors name a row: FILE:LINE."""
        return f"{self.source}:{self.lines[i]}"

    def column(self, name: str) -> Any:
        """Its cells; `InputError` where there is none of that name."""
        if name not in self.names:
            raise InputError(
                f"{self.where(0) if len(self) else self.source}: no column {name!r}."
                f"{did_you_mean(name, self.names)} Found {', '.join(self.names)[:200]}."
            )
        return self.columns[self.names.index(name)]

    def numbers(self, name: str, advice: str | None = None) -> np.ndarray:
        """A column as float64 [R], NaN where there is no value.

        `InputError` names the place of what is no number, or none that 32 bits can hold.
        """
        cells, self.advice = self.column(name), ADVICE if advice is None else advice
        if isinstance(cells, np.ndarray):
            if cells.dtype.kind not in "fiub":
                raise InputError(
                    f"{self.source}: column {name!r} holds {cells.dtype}, not numbers.{self.advice}"
                )
            found = cells.astype(np.float64)
        else:
            try:
                found = np.array(list(map(float, cells)), np.float64)
            except ValueError:
                found = np.array(
                    [self._number(cell, i, name) for i, cell in enumerate(cells)], np.float64
                )
        wrong = ~(np.abs(found) <= LARGEST) & ~np.isnan(found)
        if wrong.any():
            i = int(wrong.argmax())
            raise self._no_number(str(cells[i]), i, name)
        return found

    def _number(self, cell: str, i: int, name: str) -> float:
        try:
            return float(cell)
        except ValueError:
            if cell.strip().lower() in NO_VALUE:
                return math.nan
        raise self._no_number(cell, i, name)

    def _no_number(self, text: str, i: int, name: str) -> InputError:
        digits = any(character.isdigit() for character in text)
        try:
            large = digits and abs(float(text)) > LARGEST
        except ValueError:
            large = False
        what = f"too large, beyond ±{LARGEST:.1e}" if large else "expected a number"
        return InputError(
            f"{self.where(i)}: column {name!r}: {what}, got {text[:80]!r}.{self.advice}"
        )

    def texts(self, name: str) -> Sequence[str]:
        """A column as texts; of numbers, whole ones without a point."""
        cells = self.column(name)
        if not isinstance(cells, np.ndarray):
            return cells
        if cells.dtype.kind == "f":
            return ["" if v != v else f"{v:.17g}" for v in cells.tolist()]
        return [str(value) for value in cells.tolist()]


ADVICE = " A column can be left out in training: --data.features NAME … names those that count."


def read_rows(
    path: Path, *, longest: int | None = None, left_out: LeftOut | None = None
) -> Iterator[Rows]:
    """The rows of a file, by its name: .parquet, .npz, else CSV with a header; .gz too.

    At least one piece comes, which may be empty. `longest`: bytes of a line of CSV. Blank lines
    are left out and counted in `left_out`.
    """
    if path.suffix == ".parquet":
        return parquet_rows(path)
    if path.suffix == ".npz":
        return npz_rows(path)
    return csv_rows(path, longest, left_out)


def csv_rows(path: Path, longest: int | None, left_out: LeftOut | None = None) -> Iterator[Rows]:
    """The rows of CSV, about 64 KiB at a time; a record is a line."""
    table = CsvTable(str(path), left_out)
    number = 1
    with open_bytes(path) as file:
        try:
            for lines in whole_lines(unpacking(path, pieces(file)), longest or LONGEST_LINE):
                texts = decoded(lines, str(path), number, longest)
                numbers = range(number, number + len(lines))
                number += len(lines)
                if (rows := table.rows(texts, numbers)) is not None:
                    yield rows
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: cannot be read: {error}.") from error
        except Exception as error:
            if type(error).__module__ in ("zlib", "gzip"):  # damage in what is packed
                raise InputError(f"{path}: cannot be read: {error}.") from error
            raise
    if not table.names:
        raise InputError(f"{path}: empty: expected a header and one row per step.")
    if number == 2 or not table.began:
        yield Rows(table.names, [() for _ in table.names], str(path), ())


def decoded(lines: list[bytes], source: str, first: int, longest: int | None) -> list[str]:
    """Lines of UTF-8 without their ends, in one go; where one is wrong, its own error."""
    if max(map(len, lines)) <= (longest or LONGEST_LINE) and first > 1:
        try:
            text = b"".join(lines).decode()
        except UnicodeDecodeError:
            text = ""
        if text and "\r" not in text:
            found = text.split("\n")
            return found[:-1] if found[-1] == "" and len(found) > len(lines) else found
    every = enumerate(lines, first)
    return [line_of(data, source, n, longest=longest).text for n, data in every]


class CsvTable:
    """Lines of CSV as rows: the first has the columns' names."""

    def __init__(self, source: str, left_out: LeftOut | None = None) -> None:
        self.source, self.names, self.began = source, [], False
        self.left_out = LeftOut() if left_out is None else left_out
        self.header = ""

    def take(self, lines: Sequence[Line]) -> Rows | None:
        """The rows of lines that came in."""
        return self.rows([line.text for line in lines], [line.number for line in lines])

    def rows(self, texts: list[str], numbers: Sequence[int]) -> Rows | None:
        """The rows of so many lines; None where they are but a header."""
        if not self.names and texts:
            self.header = f"{self.source}:{numbers[0]}"
            line = Line(texts[0], self.source, numbers[0])
            self.names = [name.strip() for name in csv_fields(texts[0], line)]
            self.names = self.names or [""]
            texts, numbers = texts[1:], numbers[1:]
        if not texts:
            return None
        width = len(self.names)
        if (columns := plain_columns(texts, width)) is not None:
            self.began = True
            return Rows(self.names, columns, self.source, numbers)
        try:
            fields = list(csv.reader(texts))
        except csv.Error:
            fields = []
        if len(fields) != len(texts) or set(map(len, fields)) != {width}:
            fields, numbers = self._one_by_one(texts, numbers)
        if not fields:
            return None
        self.began = True
        return Rows(self.names, list(zip(*fields)), self.source, numbers)

    def _one_by_one(
        self, texts: list[str], numbers: Sequence[int]
    ) -> tuple[list[list[str]], list[int]]:
        """The same, where a line is blank or wrong: `InputError` names it."""
        fields, kept = [], []
        for text, number in zip(texts, numbers):
            if not text.strip():
                self.left_out.add(self.source, "blank line")
                continue
            row = csv_fields(text, Line(text, self.source, number))
            if len(row) != len(self.names):
                raise InputError(
                    f"{self.source}:{number}: expected {len(self.names)} columns, got {len(row)}."
                )
            fields.append(row)
            kept.append(number)
        return fields, kept


def plain_columns(texts: list[str], width: int) -> list[list[str]] | None:
    """The cells of lines by columns, where no line needs `csv` to take it apart: twice as fast.

    None where one is blank, has a quotation mark or another number of cells than `width`.
    """
    together = ",".join(texts)
    if width < 2 or '"' in together or "\r" in together or "\n" in together:
        return None
    if {text.count(",") for text in texts} != {width - 1}:
        return None
    cells = together.split(",")
    return [cells[k::width] for k in range(width)]


def parquet_rows(path: Path) -> Iterator[Rows]:
    """The rows of a Parquet file; a row is told by its number from 1."""
    parquet = need("pyarrow.parquet", "parquet")
    started = 1
    try:
        with parquet.ParquetFile(path) as file:
            names = [str(name) for name in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS_AT_ONCE):
                columns = [cells_of(column) for column in batch.columns]
                yield Rows(names, columns, str(path), range(started, started + batch.num_rows))
                started += batch.num_rows
    except (OSError, ValueError, TypeError, NotImplementedError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a Parquet file that can be read: {what}.") from error
    if started == 1:
        yield Rows(names, [() for _ in names], str(path), ())


def cells_of(column: Any) -> Any:
    """A column of Arrow: numbers and stamps as an array, all else as texts; null has no value."""
    types = need("pyarrow.types", "parquet")
    kind = column.type
    if types.is_timestamp(kind) or types.is_date(kind):
        return column.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        found = column.to_numpy(zero_copy_only=False)
        return (
            found
            if found.dtype.kind in "fiub"
            else np.array([math.nan if v is None else float(v) for v in column.to_pylist()])
        )
    if types.is_decimal(kind):
        return np.array([math.nan if v is None else float(v) for v in column.to_pylist()])
    return ["" if value is None else str(value) for value in column.to_pylist()]


def npz_rows(path: Path) -> Iterator[Rows]:
    """Arrays of one length as columns; one of two dimensions is several, NAME.0, NAME.1, …."""
    columns: dict[str, np.ndarray] = {}
    for name, array in read_arrays(path).items():
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2:
            columns |= {f"{name}.{k}": array[:, k] for k in range(array.shape[1])}
        else:
            raise InputError(
                f"{path}: {name} is {list(array.shape)}; expected columns [R] or [R, k]."
            )
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) != 1:
        said = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise InputError(f"{path}: columns of one length expected; got {said or 'none'}."[:400])
    count = next(iter(lengths.values()))
    for start in range(0, max(count, 1), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, count)
        some = [array[start:stop] for array in columns.values()]
        some = [c if c.dtype.kind in "fiubM" else [str(v) for v in c.tolist()] for c in some]
        yield Rows(list(columns), some, str(path), range(start + 1, stop + 1))


def runs_of(cells: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    """Of a column of texts, stretches of the same: the text, where it begins and where it ends."""
    if not len(cells):
        return
    as_array = np.asarray(cells)
    edges = (np.flatnonzero(as_array[1:] != as_array[:-1]) + 1).tolist()
    for start, stop in zip([0, *edges], [*edges, len(cells)]):
        yield cells[start], start, stop
