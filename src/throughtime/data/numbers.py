"""Labelled sequences of numbers: sensors, time series. NumPy .npz, or CSV with one row per step."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..ground import terminal
from ..ground.errors import InputError, did_you_mean
from ..ground.wording import plural, say_in_training
from .files import find_files
from .labelled import Record
from .lines import Line, csv_fields, read_lines


def read_numbers(patterns: list[str], columns: Columns) -> list[Record]:
    """All sequences [T_x, n] of the files; `InputError` names the place of what is not a number."""
    found: list[Record] = []
    for path in find_files(patterns):
        if path.suffix == ".npz":
            if columns.features:
                raise InputError(f"{path}: arrays have no names: data.features is for CSV.")
            found += read_npz(path, labelled=columns.labelled)
        else:
            found += columns.read(read_lines(path), str(path))
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
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    for name in ("x", "y") if labelled else ("x",):
        if name not in arrays:
            raise InputError(
                f"{path}: no array {name!r}; found {', '.join(arrays) or 'none'}. Expected x "
                "[N, T, n], y [N] (the labels), and lengths [N] where they differ."
            )
    x, lengths = arrays["x"], arrays.get("lengths")
    if x.dtype.kind not in "fiub" or x.ndim not in (2, 3):
        raise InputError(f"{path}: x must be numbers [N, T, n], got {x.dtype} {list(x.shape)}.")
    x = x.astype(np.float32)
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
        if not np.isfinite(sequence).all():
            t, k = np.argwhere(~np.isfinite(sequence))[0]
            raise InputError(
                f"{path}: sequence {i}, step {t}, number {k} is {sequence[t, k]} (counted from 0)."
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
    file has them: further files may have them in another order.
    """

    def __init__(
        self,
        sequence: str,
        label: str,
        features: Sequence[str] = (),
        *,
        known: Sequence[str] = (),
        labelled: bool = True,
    ) -> None:
        self.sequence, self.label, self.features = sequence, label, tuple(features)
        self.known, self.labelled = tuple(known), labelled

    def read(self, lines: Iterable[Line], source: str) -> list[Record]:
        """The sequences of a file, in the order in which they begin."""
        lines = iter(lines)
        header = next(lines, None)
        if header is None:
            raise InputError(f"{source}: empty: expected a header and one row per step.")
        names = [name.strip() for name in csv_fields(header.text, header)]
        if self.labelled and self.label not in names:
            raise InputError(
                f"{header.where}: no column {self.label!r}.{did_you_mean(self.label, names)} Found "
                f"{', '.join(names)[:200]}.{say_in_training('--data.label NAME')} "
                "predict needs no labels."
            )
        numbers = self._numbers(names, header)
        steps: dict[str, list[list[float]]] = {}
        labels: dict[str, tuple[str, str]] = {}
        blank = 0
        for line in lines:
            if not line.text.strip():
                blank += 1
                continue
            row = csv_fields(line.text, line)
            if len(row) != len(names):
                raise InputError(f"{line.where}: expected {len(names)} columns, got {len(row)}.")
            fields = dict(zip(names, row))
            key = fields.get(self.sequence, source)
            steps.setdefault(key, []).append([number(row[i], names[i], line) for i in numbers])
            label = fields.get(self.label, "")
            before, where = labels.setdefault(key, (label, line.where))
            if self.labelled and (label != before or not label):
                raise InputError(
                    f"{line.where}: sequence {key} has the label {label!r} here and {before!r} at "
                    f"{where}: expected one label."
                )
        if blank:
            terminal.warn(f"{source}: {plural(blank, 'blank line')} left out.")
        columns = tuple(names[i] for i in numbers)
        return [
            Record(np.array(rows, np.float32), labels[key][0] if self.labelled else None,
                   labels[key][1], key, columns)
            for key, rows in steps.items()
        ]  # fmt: skip

    def _numbers(self, names: list[str], header: Line) -> list[int]:
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


def number(text: str, column: str, line: Line) -> float:
    """A finite number, or an `InputError` with its place."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{line.where}: column {column!r}: expected a number, got {text!r}. A column can be "
            "left out in training: --data.features NAME … names those that count."
        )
    return value
