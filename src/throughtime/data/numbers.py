"""Labelled sequences of numbers: sensors, time series. NumPy .npz, or CSV with one row per step."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..ground.errors import InputError, did_you_mean
from ..ground.wording import say_in_training
from .archives import read_arrays
from .files import find_files
from .labelled import Record
from .left_out import LeftOut
from .limits import LARGEST
from .lines import Line, csv_fields, read_lines


@dataclass(frozen=True)
class Scale:
    """How numbers are standardised: (number − mean) / deviation, in float64.

    `of` takes them from all steps of some sequences; a column that never changes has deviation 1.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray]) -> Scale:
        """In two passes, sequence by sequence: no second copy of all of them."""
        steps, size = sum(map(len, sequences)), sequences[0].shape[1]
        if not steps:
            return cls(np.zeros(size), np.ones(size))
        mean = sum((s.sum(0, np.float64) for s in sequences), np.zeros(size)) / steps
        off, squares = np.zeros(size), np.zeros(size)
        for sequence in sequences:
            rest = sequence - mean
            off += rest.sum(0)
            squares += (rest**2).sum(0)
        off /= steps  # what rounding left in the mean
        deviation = np.sqrt(np.maximum(squares / steps - off**2, 0.0))
        constant = deviation <= 4 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean + off, np.where(constant, 1.0, deviation))

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
        """The sequence standardised; `InputError` names the number that is too far off."""
        x = (sequence - self.mean) / self.deviation
        if not (np.abs(x) <= LARGEST).all():
            t, k = np.argwhere(~(np.abs(x) <= LARGEST))[0]
            raise InputError(
                f"{where}: step {t}, number {k} (counted from 0) is {sequence[t, k]}: too far from "
                f"training's mean {self.mean[k]:g} (deviation {self.deviation[k]:g})."
            )
        return x


def read_numbers(patterns: list[str], columns: Columns) -> list[Record]:
    """All sequences [T_x, n] of the files; `InputError` names the place of what is not a number."""
    found: list[Record] = []
    for path in find_files(patterns):
        if path.suffix == ".npz":
            if columns.features:
                raise InputError(f"{path}: arrays have no names: data.features is for CSV.")
            found += read_npz(path, labelled=columns.labelled)
        else:
            found += columns.read(read_lines(path, longest=columns.longest), str(path))
    if not found:
        raise InputError(f"{' '.join(patterns)}: no sequences.")
    widths = {}
    for record in found:
        widths.setdefault(record.content.shape[1], record.where)
    if len(widths) > 1:
        said = ", ".join(f"{where}: {width}" for width, where in widths.items())
        raise InputError(f"every step must have as many numbers; got {said}.")
    return found


def read_npz(path: Path, *, labelled: bool) -> list[Record]:
    """x [N, T, n] (or [N, T]) with lengths [N] if they differ, or x [steps, n] end to end with
    lengths [N]; y [N], the labels.
    """
    arrays = read_arrays(path)
    for name in ("x", "y") if labelled else ("x",):
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
    if x.ndim == 2 and lengths is not None:  # end to end
        if lengths.sum() != len(x) or (lengths < 0).any():
            raise InputError(f"{path}: lengths sum to {lengths.sum()}, x has {len(x)} steps.")
        sequences = np.split(x, lengths.cumsum()[:-1])
    else:
        x = x[..., None] if x.ndim == 2 else x
        lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
        if len(lengths) != len(x) or (lengths < 0).any() or (lengths > x.shape[1]).any():
            raise InputError(
                f"{path}: lengths must be {len(x)} numbers from 0 to {x.shape[1]}, as x is "
                f"{list(x.shape)}."
            )
        sequences = [sequence[:length] for sequence, length in zip(x, lengths)]
    labels = arrays["y"] if labelled else np.zeros(len(sequences))
    if labels.shape != (len(sequences),):
        raise InputError(f"{path}: y must be {len(sequences)} labels, got {list(labels.shape)}.")
    for i, sequence in enumerate(sequences):
        if not (np.abs(sequence) <= LARGEST).all():
            t, k = np.argwhere(~(np.abs(sequence) <= LARGEST))[0]
            raise InputError(
                f"{path}: sequence {i}, step {t}, number {k} is {sequence[t, k]} (counted from 0); "
                f"expected finite numbers up to {LARGEST:.1e}."
            )
    return [
        Record(sequence, str(label) if labelled else None, f"{path}[{i}]", str(i))
        for i, (sequence, label) in enumerate(zip(sequences, labels.tolist()))
    ]


class Columns:
    """CSV with a header and one row per step.

    Column `sequence` tells sequences apart (without it a file is one), column `label` is that of
    the whole sequence. The numbers of a step are the columns `features`, in that order; if none
    are chosen, those `known` from training, no more and no less; at first all others, as the first
    file has them: further files may have them in another order. A line has at most `longest` bytes
    (a setting); blank ones are left out, and counted in `left_out`.
    """

    def __init__(
        self,
        sequence: str,
        label: str,
        features: Sequence[str] = (),
        *,
        known: Sequence[str] = (),
        labelled: bool = True,
        longest: int | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        self.sequence, self.label, self.features = sequence, label, tuple(features)
        self.known, self.labelled, self.longest = tuple(known), labelled, longest
        self.left_out = LeftOut() if left_out is None else left_out

    def read(self, lines: Iterable[Line], source: str) -> list[Record]:
        """The sequences of a file, in the order in which they begin."""
        table = Table(self, source)
        for line in lines:
            table.push(line)
        return table.close()

    def arriving(self, chunks: Iterable[list[Line]], source: str) -> Iterator[list[Record]]:
        """The same of lines that come in: a sequence as soon as the next begins, or all is over.

        Errors: those of `read`, and a sequence that goes on after another has begun.
        """
        table = Table(self, source)
        for lines in chunks:
            for line in lines:
                table.push(line)
            if ended := table.take():
                yield ended
        yield table.close()

    def numbers_of(self, names: list[str], header: Line) -> list[int]:
        """Which columns are the numbers of a step."""
        others = [name for name in names if name not in (self.sequence, self.label)]
        self.known = self.known or tuple(self.features or others)
        for name in self.features:
            if name not in others:
                raise InputError(
                    f"{header.where}: no column of numbers {name!r}.{did_you_mean(name, others)} "
                    f"Found {', '.join(others)[:200]}.{say_in_training('--data.features NAME …')}"
                )
        if not self.known:
            raise InputError(f"{header.where}: no columns of numbers beside {', '.join(names)}.")
        missing = [name for name in self.known if name not in others]
        extra = [name for name in others if name not in self.known and not self.features]
        if missing or extra:
            said = [f"{what} {', '.join(some)}" for what, some in (("without", missing),
                    ("with", extra)) if some]  # fmt: skip
            raise InputError(
                f"{header.where}: columns of numbers {' and '.join(said)}; expected "
                f"{', '.join(self.known)[:200]}, as in what was read first or trained on, in any "
                "order."
            )
        for name in (*self.known, self.sequence, self.label):
            if names.count(name) > 1:
                raise InputError(f"{header.where}: {names.count(name)} columns are named {name!r}.")
        return [names.index(name) for name in self.known]


class Table:
    """The sequences of one file or stream: `push` its lines, `close` for what is left."""

    def __init__(self, columns: Columns, source: str) -> None:
        self.columns, self.source = columns, source
        self.names: list[str] = []
        self.numbers: list[int] = []
        self.steps: dict[str, array[float]] = {}
        self.labels: dict[str, tuple[str, str]] = {}
        self.taken: set[str] = set()
        self.latest = ""

    def push(self, line: Line) -> None:
        """Take a line: the header first, then one for each step."""
        if not self.names:
            self._begin(line)
            return
        if not line.text.strip():
            self.columns.left_out.add(self.source, "blank line")
            return
        row = csv_fields(line.text, line)
        if len(row) != len(self.names):
            raise InputError(f"{line.where}: expected {len(self.names)} columns, got {len(row)}.")
        fields = dict(zip(self.names, row))
        key = self.latest = fields.get(self.columns.sequence, self.source)
        if key in self.taken:
            raise InputError(
                f"{line.where}: sequence {key} goes on after another has begun: the rows of a "
                "sequence must stand together in a stream. Give a file by its name: --data FILE."
            )
        self.steps.setdefault(key, array("d")).extend(
            number(row[i], self.names[i], line) for i in self.numbers
        )
        label = fields.get(self.columns.label, "")
        before, where = self.labels.setdefault(key, (label, line.where))
        if self.columns.labelled and (label != before or not label):
            raise InputError(
                f"{line.where}: sequence {key} has the label {label!r} here and {before!r} at "
                f"{where}: expected one label."
            )

    def _begin(self, header: Line) -> None:
        names = [name.strip() for name in csv_fields(header.text, header)]
        label = self.columns.label
        if self.columns.labelled and label not in names:
            raise InputError(
                f"{header.where}: no column {label!r}.{did_you_mean(label, names)} Found "
                f"{', '.join(names)[:200]}.{say_in_training('--data.label NAME')} "
                "predict needs no labels."
            )
        self.names, self.numbers = names, self.columns.numbers_of(names, header)

    def take(self) -> list[Record]:
        """The sequences after which another has begun."""
        ended = [key for key in self.steps if key != self.latest]
        self.taken.update(ended)
        return [self._record(key) for key in ended]

    def close(self) -> list[Record]:
        """The sequences that were not taken yet."""
        if not self.names:
            raise InputError(f"{self.source}: empty: expected a header and one row per step.")
        return [self._record(key) for key in list(self.steps)]

    def _record(self, key: str) -> Record:
        label, where = self.labels.pop(key)
        return Record(
            np.frombuffer(self.steps.pop(key)).reshape(-1, len(self.numbers)),
            label if self.columns.labelled else None,
            where,
            key,
            tuple(self.names[i] for i in self.numbers),
        )


def number(text: str, column: str, line: Line) -> float:
    """A number that 32 bits can hold, or an `InputError` with its place."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if abs(value) <= LARGEST:
        return value
    digits = any(character.isdigit() for character in text)
    wrong = f"too large, beyond ±{LARGEST:.1e}" if abs(value) > LARGEST and digits else ""
    raise InputError(
        f"{line.where}: column {column!r}: {wrong or 'expected a number'}, got {text[:80]!r}. A "
        "column can be left out in training: --data.features NAME … names those that count."
    )
