"""Sequences of numbers: sensors, time series. Tables with one row per step, or NumPy's `.npz`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..ground.errors import InputError
from .archives import read_arrays
from .columns import MISSING_ADVICE, Columns, Sequences
from .files import find_files
from .labelled import Record
from .limits import LARGEST
from .rooms import Spool
from .tables import read_rows


@dataclass(frozen=True)
class Scale:
    """How numbers are standardised: (number − mean) / deviation, in float64.

    `of` takes them from all steps of some sequences, of their `first` numbers, NaN aside; a
    column that never changes has deviation 1, and one without any number mean 0.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray], first: int | None = None) -> Scale:
        """In two passes, some steps at a time: no second copy of all of them."""
        size = int(sequences[0].shape[1]) if first is None else first
        count, mean = np.zeros(size), np.zeros(size)
        for rows in in_pieces(sequences, size):
            count += (~np.isnan(rows)).sum(0)
            mean += np.nansum(rows, 0, np.float64)
        none, count = count == 0, np.maximum(count, 1)
        mean /= count
        off, squares = np.zeros(size), np.zeros(size)
        for rows in in_pieces(sequences, size):
            rest = rows - mean
            off += np.nansum(rest, 0)
            squares += np.nansum(rest**2, 0)
        off /= count  # what rounding left in the mean
        deviation = np.sqrt(np.maximum(squares / count - off**2, 0.0))
        constant = deviation <= 4 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean + off, np.where(constant | none, 1.0, deviation))

    @classmethod
    def from_lists(cls, mean: Sequence[float], deviation: Sequence[float], size: int) -> Scale:
        """As they are kept in a run; `ValueError` where they cannot be used."""
        found = cls(np.array(mean, np.float64), np.array(deviation, np.float64))
        if not found.mean.shape == found.deviation.shape == (size,):
            raise ValueError(f"{size} means and deviations expected")
        if not (np.isfinite(found.mean).all() and (found.deviation > 0).all()):
            raise ValueError("means must be finite and deviations positive")
        return found

    def __call__(self, sequence: np.ndarray, where: str) -> np.ndarray:
        """The sequence standardised, NaN as it is; `InputError` names the number that is too far
        off."""
        x = (sequence - self.mean) / self.deviation
        if (np.abs(x) > LARGEST).any():
            t, k = np.argwhere(np.abs(x) > LARGEST)[0]
            raise InputError(
                f"{where}: step {t}, number {k} (counted from 0) is {sequence[t, k]}: too far from "
                f"training's mean {self.mean[k]:g} (deviation {self.deviation[k]:g})."
            )
        return x


STEPS_AT_ONCE = 1 << 16
"""Steps of a sequence looked at together where there are more."""


def in_pieces(sequences: Iterable[np.ndarray], size: int) -> Iterable[np.ndarray]:
    """The first `size` numbers of all steps, a piece at a time."""
    for sequence in sequences:
        for start in range(0, len(sequence), STEPS_AT_ONCE):
            yield sequence[start : start + STEPS_AT_ONCE, :size]


def read_numbers(patterns: list[str], columns: Columns) -> list[Record]:
    """All sequences [T_x, n] of the files; `InputError` names the place of what is not a number."""
    found: list[Record] = []
    spool: Spool | None = None
    tables: list[Sequences] = []
    for path in find_files(patterns):
        if path.suffix == ".npz":
            found += records_of(path, columns)
            continue
        table = Sequences(columns, str(path), spool)
        for rows in read_rows(path, longest=columns.longest, left_out=columns.left_out):
            table.add(rows)
            spool = table.spool
        tables.append(table)
        found += [Record(None, None, str(path), key) for key in table.known]
    if not found:
        raise InputError(f"{' '.join(patterns)}: no sequences.")
    if tables:  # one spool, which is whole by now
        closed = iter([record for table in tables for record in table.close()])
        found = [next(closed) if record.content is None else record for record in found]
    widths = {}
    for record in found:
        widths.setdefault(record.content.shape[1], record.where)
    if len(widths) > 1:
        said = ", ".join(f"{where}: {width}" for width, where in widths.items())
        raise InputError(f"every step must have as many numbers; got {said}.")
    return found


def records_of(path: Path, columns: Columns) -> list[Record]:
    """The sequences of an archive, which has arrays and no columns."""
    for name, asked in (("features", columns.features), ("categories", columns.categories),
                        ("time", columns.time), ("group", columns.group)):  # fmt: skip
        if asked:
            raise InputError(f"{path}: arrays have no names: data.{name} is for CSV and Parquet.")
    return read_npz(path, columns)


def read_npz(path: Path, columns: Columns) -> list[Record]:
    """x [N, T, n] (or [N, T]) with lengths [N] if they differ, or x [steps, n] end to end with
    lengths [N]; y, what is said of them: labels [N], targets [N] or [N, K], labels of steps as x.
    """
    arrays = read_arrays(path)
    for name in ("x", "y") if columns.labelled else ("x",):
        if name not in arrays:
            raise InputError(
                f"{path}: no array {name!r}; found {', '.join(arrays) or 'none'}. Expected x "
                "[N, T, n], y [N] (the labels), and lengths [N] where they differ."
            )
    x, lengths = arrays["x"], arrays.get("lengths")
    if x.dtype.kind not in "fiub" or x.ndim not in (2, 3):
        raise InputError(f"{path}: x must be numbers [N, T, n], got {x.dtype} {list(x.shape)}.")
    if lengths is not None and (lengths.dtype.kind not in "iu" or lengths.ndim != 1):
        raise InputError(f"{path}: lengths must be integers [N], got {list(lengths.shape)}.")
    flat = x.ndim == 2 and lengths is not None  # end to end
    sequences = cut(path, x, lengths)
    for i, sequence in enumerate(sequences):
        check_values(path, i, sequence, columns)
    if columns.each_step and columns.labelled:
        return with_step_labels(path, sequences, arrays["y"], lengths, flat, columns)
    y = arrays["y"] if columns.labelled else np.zeros(len(sequences))
    numbers = bool(columns.targets) and columns.labelled
    if len(y) != len(sequences) or y.ndim != 1 + (numbers and y.ndim == 2):
        what = "targets [N] or [N, K]" if numbers else "labels"
        raise InputError(f"{path}: y must be {len(sequences)} {what}, got {list(y.shape)}.")
    if numbers and (y.dtype.kind not in "fiub" or not (np.abs(y) <= LARGEST).all()):
        raise InputError(f"{path}: y must be finite numbers up to {LARGEST:.1e}.")
    labels = [None] * len(y) if numbers or not columns.labelled else list(map(str, y.tolist()))
    targets = y.reshape(len(y), -1).astype(float).tolist() if numbers else [()] * len(y)
    return [
        Record(sequence, label, f"{path}[{i}]", str(i), (), tuple(target))
        for i, (sequence, label, target) in enumerate(zip(sequences, labels, targets))
    ]


def cut(path: Path, x: np.ndarray, lengths: np.ndarray | None) -> list[np.ndarray]:
    """The sequences of x: end to end, or side by side."""
    if x.ndim == 2 and lengths is not None:
        if lengths.sum() != len(x) or (lengths < 0).any():
            raise InputError(f"{path}: lengths sum to {lengths.sum()}, x has {len(x)} steps.")
        return np.split(x, lengths.cumsum()[:-1])
    x = x[..., None] if x.ndim == 2 else x
    lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
    if len(lengths) != len(x) or (lengths < 0).any() or (lengths > x.shape[1]).any():
        raise InputError(
            f"{path}: lengths must be {len(x)} numbers from 0 to {x.shape[1]}, as x is "
            f"{list(x.shape)}."
        )
    return [sequence[:length] for sequence, length in zip(x, lengths)]


def check_values(path: Path, i: int, sequence: np.ndarray, columns: Columns) -> None:
    """Raise `InputError` for a number that is too large, or missing where that is an error."""
    wrong = ~(np.abs(sequence) <= LARGEST)
    if not wrong.any():
        return
    missing = np.isnan(sequence) if sequence.dtype.kind == "f" else np.zeros_like(wrong)
    if columns.missing != "error":
        wrong &= ~missing
    if wrong.any():
        t, k = np.argwhere(wrong)[0]
        raise InputError(
            f"{path}: sequence {i}, step {t}, number {k} is {sequence[t, k]} (counted from 0); "
            f"expected finite numbers up to {LARGEST:.1e}."
            + (f" {MISSING_ADVICE}" if missing[t, k] else "")
        )


def with_step_labels(
    path: Path,
    sequences: list[np.ndarray],
    y: np.ndarray,
    lengths: np.ndarray | None,
    flat: bool,
    columns: Columns,
) -> list[Record]:
    """Each step's label as a last number of it."""
    count = sum(map(len, sequences)) if flat else len(sequences)
    if y.ndim != 2 - flat or len(y) != count:
        raise InputError(f"{path}: y must be a label for each step of x, got {list(y.shape)}.")
    labels = cut(path, y[..., None], lengths)
    numbers = columns.numbered.setdefault(columns.label, {})
    found = []
    for i, (sequence, of_steps) in enumerate(zip(sequences, labels)):
        given = [str(label) for label in of_steps[: len(sequence), 0].tolist()]
        ids = [numbers.setdefault(label, 1 + len(numbers)) for label in given]
        content = np.concatenate([sequence.astype(np.float64), np.array(ids)[:, None]], 1)
        found.append(Record(content, None, f"{path}[{i}]", str(i)))
    return found
