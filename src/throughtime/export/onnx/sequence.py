"""Whole sequences in one call, of any number and any lengths.

    tokens [batch, time] or x [batch, time, n_x], lengths [batch]  →  logits

What says something after every step has `state_…` in and `new_state_…` out, so that a sequence goes
on from call to call: logits [batch, time, V]. What says something of a whole sequence begins where
the model does: logits [batch, K]. At or beyond a length nothing changes; a length of zero gives the
first state back.

A cell that ONNX has is its operator (`fused`), any other a `Scan` over its step, backwards for the
second direction: its mask keeps the first state until a sequence's last step is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...layers.outline import Layer, Outline, Pool, Scan
from ...scans.compiled.trace import Trace
from ..lowering import Lowered
from . import cells, fused
from .graph import Graph
from .states import conditioned, ends, numbers_of, rows_of, states_in

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Ragged:
    """Which steps are there: `inside` [T, B, 1] and `empty` [B, 1] as truths, `count` int32 [B]."""

    inside: str
    empty: str
    count: str


def sequence(graph: Graph, model: Lowered, what: str) -> Any:
    """The graph of a whole sequence."""
    outline = model.outline
    first, x = rows_of(graph, outline.inputs, ["batch", "time"])
    more, e = conditioned(graph, outline)
    if e:
        x = beside(graph, x, e)
    ragged = lengths_of(graph, x)
    inputs = [first, graph.info("lengths", ["batch"], whole=True), *more]
    states = states_in(outline)
    flat = [one for some in states for one in some]
    if goes_on(outline):
        inputs += numbers_of(graph, flat)
        given = [[f"state_{name}" for name, _ in some] for some in states]
    else:
        given = [first_of(graph, scan, x) for layer in outline.layers for scan in layer.scans]
    y, new = layers(graph, model, x, ragged, given)
    sizes: list[str | int] = ["batch", len(outline.outputs[-1].W)]
    if outline.pooling is None:
        y = graph.maps(y, outline.outputs, steps=True)
        graph.rename(graph.add("Transpose", y, perm=[1, 0, 2]), "logits")
        sizes.insert(1, "time")
    else:
        directions = len(outline.layers[-1].scans)
        final = [some[0] for some in new[-directions:]]
        pooled = pool(graph, outline.pooling, y, final, ragged)
        graph.rename(graph.maps(pooled, outline.outputs), "logits")
    outputs = [graph.info("logits", sizes)]
    if goes_on(outline):
        outputs += ends(graph, flat, [one for some in new for one in some])
    return graph.proto("sequence", inputs, outputs, what)


def layers(
    graph: Graph, model: Lowered, x: str, ragged: Ragged, states: list[list[str]]
) -> tuple[str, list[list[str]]]:
    """y [T, B, n] of the last layer, and the final state of each scan."""
    given, finals = iter(states), []
    for k, (layer, traces) in enumerate(zip(model.outline.layers, model.traces)):
        own = [next(given) for _ in layer.scans]
        folded = model.folded and k == 0
        operator = None if folded else fused.operator_of(layer)
        if operator is not None:
            y, after = fused.run(graph, layer, operator, x, ragged.count, own)
            after = [
                [graph.add("Where", ragged.empty, old, new) for old, new in zip(*both)]
                for both in zip(own, after)
            ]
        else:
            y, after = scanned(graph, layer, traces, x, folded, ragged, own)
        finals += after
        x = graph.add("Add", y, x) if layer.adds_input else y
    return x, finals


def scanned(
    graph: Graph,
    layer: Layer,
    traces: tuple[Trace, ...],
    x: str,
    folded: bool,
    ragged: Ragged,
    states: list[list[str]],
) -> tuple[str, list[list[str]]]:
    """A layer of any cell: its steps in a loop."""
    ys, finals = [], []
    for backward, (scan, trace, own) in enumerate(zip(layer.scans, traces, states)):
        streams = [ragged.inside]
        if trace.inputs:
            streams.append(cells.fed(graph, x, scan, trace, folded, steps=True))
        if trace.direct is not None:
            streams.append(x)
        made = graph.add(
            "Scan",
            *(*own, *streams),
            count=len(own) + 1,
            body=body(graph, scan, trace),
            num_scan_inputs=len(streams),
            scan_input_directions=[backward] * len(streams),
            scan_output_directions=[backward],
        )
        finals.append(made[:-1])
        ys.append(made[-1])
    return graph.add("Concat", *ys, axis=-1) if len(ys) > 1 else ys[0], finals


def body(graph: Graph, scan: Scan, trace: Trace) -> Any:
    """A step where the sequence goes on, and what was there before where it does not."""
    inner = graph.body()
    number = graph.root.named
    sizes = [len(first) for first in scan.first]
    names = [f"s{number}_{part}" for part in scan.cell.state]
    inside, z, x = f"i{number}", f"z{number}", f"x{number}"
    made = cells.stepped(inner, scan, trace, x, z, names)
    kept = [inner.add("Where", inside, new, old) for new, old in zip(made, names)]
    y = inner.add("Where", inside, made[0], inner.constant(0.0))
    kinds = graph.onnx.TensorProto
    given = [inner.info(name, ["batch", n]) for name, n in zip(names, sizes)]
    given.append(graph.onnx.helper.make_tensor_value_info(inside, kinds.BOOL, ["batch", 1]))
    if trace.inputs:
        given.append(inner.info(z, ["batch", trace.inputs * scan.n]))
    if trace.direct is not None:
        given.append(inner.info(x, ["batch", scan.n_x]))
    after = [inner.info(name, ["batch", n]) for name, n in zip([*kept, y], [*sizes, sizes[0]])]
    return inner.proto(f"step{number}", given, after, "")


def lengths_of(graph: Graph, x: str) -> Ragged:
    """Which steps of x [T, B, n_x] are there."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    T = graph.add("Squeeze", graph.add("Shape", x, start=0, end=1))
    t = graph.add("Unsqueeze", graph.add("Range", zero, T, one), graph.constant([1], np.int64))
    inside = graph.add("Less", t, "lengths")
    ups, last = graph.constant([2], np.int64), graph.constant([1], np.int64)
    empty = graph.add("LessOrEqual", "lengths", zero)
    count = graph.add("Cast", "lengths", to=graph.onnx.TensorProto.INT32)
    return Ragged(graph.add("Unsqueeze", inside, ups), graph.add("Unsqueeze", empty, last), count)


def first_of(graph: Graph, scan: Scan, x: str) -> list[str]:
    """The first state of every sequence."""
    B = graph.add("Shape", x, start=1, end=2)
    found = []
    for first in scan.first:
        shape = graph.add("Concat", B, graph.constant([len(first)], np.int64), axis=0)
        found.append(graph.add("Expand", graph.constant(first[None]), shape))
    return found


def beside(graph: Graph, x: str, e: str) -> str:
    """[x<t>, e] at every step, of x [T, B, n_x] and e [B, n_e]."""
    T = graph.add("Shape", x, start=0, end=1)
    ones = graph.constant([1, 1], np.int64)
    shape = graph.add("Concat", T, ones, axis=0)
    every = graph.add("Expand", graph.add("Unsqueeze", e, graph.constant([0], np.int64)), shape)
    return graph.add("Concat", x, every, axis=-1)


def pool(graph: Graph, how: Pool, y: str, final: list[str], ragged: Ragged) -> str:
    """[B, n] of y [T, B, n], as `layers.pooling` has it."""
    if how.kind == "last":
        return graph.add("Concat", *final, axis=-1) if len(final) > 1 else final[0]
    axis, none = graph.constant([0], np.int64), graph.constant(0.0)
    if how.kind == "max":
        there = graph.add("Where", ragged.inside, y, graph.constant(LOWEST))
        found = graph.add("ReduceMax", there, axis, keepdims=0)
        return graph.add("Where", ragged.empty, none, found)
    there = graph.add("Where", ragged.inside, y, none)
    if how.kind == "mean":
        at_least = graph.add("Max", "lengths", graph.constant(1, np.int64))
        count = graph.add("Cast", at_least, to=graph.onnx.TensorProto.FLOAT)
        count = graph.add("Unsqueeze", count, graph.constant([1], np.int64))
        return graph.add("Div", graph.add("ReduceSum", there, axis, keepdims=0), count)
    assert how.keys is not None
    assert how.query is not None
    keys = graph.maps(y, [how.keys], steps=True, whole=True)
    scores = graph.linear(keys, graph.constant(how.query[None]), None)
    shut = graph.add("Where", ragged.inside, scores, graph.constant(LOWEST))
    alpha = graph.add("Softmax", shut, axis=0)
    return graph.add("ReduceSum", graph.add("Mul", alpha, there), axis, keepdims=0)


def goes_on(outline: Outline) -> bool:
    """Whether its states are inputs and outputs, so that a sequence goes on from call to call."""
    return outline.pooling is None and not outline.bidirectional
