"""What an exporter does to an outline before it writes it: fold, and round to what is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from ..ground.errors import InputError
from ..layers.outline import (
    Affine,
    Array,
    Chain,
    Outline,
    Scan,
    Scores,
    Spelling,
    Tokens,
    Writer,
)
from ..scans.compiled.even import evened
from ..scans.compiled.trace import Trace, Untraceable, trace


@dataclass(frozen=True)
class Lowered:
    """An outline, and the trace of each scan's cell; `folded`: the table holds W_x x<t> of the
    first layer, whose W_x is the identity."""

    outline: Outline
    traces: tuple[tuple[Trace, ...], ...]
    folded: bool


def lowered(outline: Outline, precision: str = "float32", *, folds: bool = True) -> Lowered:
    """Folded where that makes the model smaller, unless `folds` is False, and rounded to the
    precision that is stored."""
    traces = tuple(tuple(map(traced, layer.scans)) for layer in outline.layers)
    folded = folds and foldable(outline, traces)
    if folded:
        outline = fold(outline, traces[0][0])
    if precision != "float32":
        outline = rounded(outline, folded, precision)
    return Lowered(outline, traces, folded)


def traced(scan: Scan) -> Trace:
    """The cell's equations as products and what stands between; `InputError` where they are not.

    Of a cell with sizes of its own, those of its even cell, whose gates are the cell's and then its
    matrices, and whose inputs are masks: `q[k]` is whether a unit is one of the size `masked[k]`.
    """
    try:
        return trace(evened(scan.cell, scan.sizes) if scan.uneven else scan.cell)
    except Untraceable as error:
        raise InputError(f"{scan.cell!r} cannot be exported: {error}") from error


@dataclass(frozen=True)
class Widths:
    """How wide what a step reads and makes is: the slots' maps, states, vectors and masks."""

    slots: tuple[int, ...]
    states: tuple[int, ...]
    vectors: tuple[int, ...]
    masks: tuple[int, ...]
    widest: int


def widths(scan: Scan, trace: Trace) -> Widths:
    """Of a scan, `direct` among the slots."""
    sizes, cell = scan.sizes, scan.cell
    matrices = list(scan.matrices.values())
    of_gates = [scan.n] * len(cell.gates) + [len(W) for W in matrices]
    slots = [of_gates[gate] for gate in trace.gates]
    if trace.direct is not None:
        slots[trace.direct] = scan.n_x
    vectors = tuple(sizes[cell.sizes.get(name, "n")] for name in cell.vectors)
    masks: tuple[int, ...] = ()
    if scan.uneven:
        masks = tuple(sizes[name] for name in evened(cell, sizes).masked)
    states = tuple(len(part) for part in scan.first)
    return Widths(tuple(slots), states, vectors, masks, max(sizes.values()))


def weight(scan: Scan, gate: int, *, of_x: bool) -> Array:
    """The matrix behind the gate of a slot: its half that takes x, or the other."""
    G, n = len(scan.cell.gates), scan.n
    if gate < G:
        return (scan.W_x if of_x else scan.W_a)[gate * n : (gate + 1) * n]
    return list(scan.matrices.values())[gate - G]


def bias(scan: Scan, gate: int) -> Array:
    """Of the same; matrices have none."""
    G, n = len(scan.cell.gates), scan.n
    if gate < G:
        return scan.b[gate * n : (gate + 1) * n]
    return np.zeros(len(list(scan.matrices.values())[gate - G]))


def foldable(outline: Outline, traces: tuple[tuple[Trace, ...], ...]) -> bool:
    """Whether W_x x<t> of every token takes no more room than the embedding and W_x."""
    inputs = outline.inputs
    first, trace_of_first = outline.layers[0], traces[0][0]
    scan = first.scans[0]
    joined = outline.condition is not None and outline.condition.joins_input
    if not isinstance(inputs, Tokens) or len(first.scans) > 1 or joined or first.adds_input:
        return False
    if trace_of_first.direct is not None or scan.matrices or outline.spelling is not None:
        return False
    V, n_x = len(inputs.table), inputs.size
    rows = trace_of_first.inputs * scan.n
    apart = (0 if outline.tied else V * n_x) + rows * n_x
    return V * rows <= apart


def fold(outline: Outline, trace: Trace) -> Outline:
    """The same model whose table holds W_x x<t>, zeros for gates that do not read x."""
    assert isinstance(outline.inputs, Tokens)
    first = outline.layers[0]
    scan = first.scans[0]
    read = np.isin(np.arange(len(scan.W_x)) // scan.n, trace.gates[: trace.inputs])
    table = outline.inputs.table @ np.where(read[:, None], scan.W_x, 0.0).T
    there = replace(scan, W_x=np.eye(len(scan.W_x)))
    layers = (replace(first, scans=(there,)), *outline.layers[1:])
    return replace(outline, inputs=Tokens(table), layers=layers, tied=False)


Store = Callable[[Array], Array]

TABLES = {Tokens: ("table",), Spelling: ("table",), Writer: ("table",), Scores: ("queries",)}
"""Matrices that stand outside maps and scans."""


def rounded(outline: Outline, folded: bool, precision: str = "int8") -> Outline:
    """Matrices as they are stored: in float16, or as int8 times a scale for each row; vectors as
    they are."""
    found = stored(outline, STORED[precision.removesuffix("-full")])
    if folded:  # what stands for W_x is no weight
        first, *others = found.layers
        scan = replace(first.scans[0], W_x=outline.layers[0].scans[0].W_x)
        found = replace(found, layers=(replace(first, scans=(scan,)), *others))
    return found


def stored(part: Any, store: Store) -> Any:
    """A part of an outline with all its matrices rounded."""
    if isinstance(part, tuple):
        return tuple(stored(one, store) for one in part)
    if not is_dataclass(part) or isinstance(part, type):
        return part
    if isinstance(part, Affine):
        return replace(part, W=store(part.W))
    if isinstance(part, Scan):
        return rounded_scan(part, store)
    if isinstance(part, Chain):
        return part
    given = {field.name: getattr(part, field.name) for field in fields(part)}
    made = {name: stored(value, store) for name, value in given.items()}
    for name in TABLES.get(type(part), ()):
        if given[name] is not None:
            made[name] = store(given[name])
    return replace(part, **made)


def rounded_scan(scan: Scan, store: Store) -> Scan:
    """Its matrices."""
    matrices = {name: store(W) for name, W in scan.matrices.items()}
    return replace(scan, W_x=store(scan.W_x), W_a=store(scan.W_a), matrices=matrices)


def scales(W: Array) -> Array:
    """What an integer of each row stands for: the largest number of the row is 127 of it."""
    found = np.abs(W).max(1) / 127 if W.shape[1] else np.zeros(len(W))
    return np.where(found > 0, found, 1.0).astype(np.float32).astype(np.float64)


def integers(W: Array) -> Array:
    """In −127 … 127."""
    return np.clip(np.rint(W / scales(W)[:, None]), -127, 127).astype(np.int8)


def as_int8(W: Array) -> Array:
    """The numbers that are left."""
    return integers(W) * scales(W)[:, None]


def as_float16(W: Array) -> Array:
    """The numbers that are left; `InputError` for one beyond ±65504."""
    with np.errstate(over="ignore"):
        found = W.astype(np.float16).astype(np.float64)
    if not np.isfinite(found).all():
        raise InputError(
            f"a weight of {np.abs(W).max():.3g} is no number of float16, whose largest is 65504: "
            "--precision float32."
        )
    return found


STORED: dict[str, Store] = {"int8": as_int8, "float16": as_float16}
"""What a matrix is in each precision that rounds."""
