"""What an exporter does to an outline before it writes it: fold, and round to what is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..cells import Cell
from ..ground.errors import InputError
from ..layers.outline import Affine, Array, Layer, Outline, Scan, Tokens
from ..scans.compiled.trace import Trace, Untraceable, trace


@dataclass(frozen=True)
class Lowered:
    """An outline, and the trace of each scan's cell; `folded`: the table holds W_x x<t> of the
    first layer, whose W_x is the identity."""

    outline: Outline
    traces: tuple[tuple[Trace, ...], ...]
    folded: bool


def lowered(outline: Outline, precision: str = "float32") -> Lowered:
    """Folded where that makes the model smaller, and rounded to the precision that is stored."""
    traces = tuple(tuple(traced(s.cell) for s in layer.scans) for layer in outline.layers)
    folded = foldable(outline, traces)
    if folded:
        outline = fold(outline)
    if precision != "float32":
        outline = rounded(outline, folded)
    return Lowered(outline, traces, folded)


def traced(cell: Cell) -> Trace:
    """The cell's equations as products and what stands between; `InputError` where they are not."""
    try:
        return trace(cell)
    except Untraceable as error:
        raise InputError(f"{cell!r} cannot be exported: {error}") from error


def foldable(outline: Outline, traces: tuple[tuple[Trace, ...], ...]) -> bool:
    """Whether W_x x<t> of every token takes no more room than the embedding and W_x."""
    inputs = outline.inputs
    first, trace_of_first = outline.layers[0], traces[0][0]
    n = first.scans[0].n
    joined = outline.condition is not None and outline.condition.joins_input
    if not isinstance(inputs, Tokens) or len(first.scans) > 1 or joined or first.adds_input:
        return False
    if trace_of_first.direct is not None:
        return False
    V, n_x = len(inputs.table), inputs.size
    rows = trace_of_first.inputs * n
    apart = (0 if outline.tied else V * n_x) + rows * n_x
    return V * rows <= apart


def fold(outline: Outline) -> Outline:
    """The same model whose table holds W_x x<t>."""
    assert isinstance(outline.inputs, Tokens)
    first = outline.layers[0]
    scan = first.scans[0]
    table = outline.inputs.table @ scan.W_x.T
    there = replace(scan, W_x=np.eye(len(scan.W_x)))
    layers = (replace(first, scans=(there,)), *outline.layers[1:])
    return replace(outline, inputs=Tokens(table), layers=layers, tied=False)


def rounded(outline: Outline, folded: bool) -> Outline:
    """Matrices as int8 times a scale for each row holds them; vectors as they are."""
    inputs = outline.inputs
    if isinstance(inputs, Tokens):
        inputs = Tokens(as_int8(inputs.table))
    layers = tuple(
        Layer(
            tuple(rounded_scan(scan, folded and k == 0) for scan in layer.scans), layer.adds_input
        )
        for k, layer in enumerate(outline.layers)
    )
    outputs = tuple(Affine(as_int8(one.W), one.b, one.then) for one in outline.outputs)
    return replace(outline, inputs=inputs, layers=layers, outputs=outputs)


def rounded_scan(scan: Scan, folded: bool) -> Scan:
    """Its two matrices."""
    W_x = scan.W_x if folded else as_int8(scan.W_x)
    return replace(scan, W_x=W_x, W_a=as_int8(scan.W_a))


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
