"""What goes into a graph and comes out of it, at a step or over a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.outline import Numbers, Outline, Tokens
from .graph import Graph

Sized = list[tuple[str, int]]
"""Names, and how many numbers each is."""


def states_in(outline: Outline) -> list[Sized]:
    """Of each scan the parts of its state, by layer and in two directions by direction."""
    return [
        [(f"layer{k}_{side}{part}", len(first)) for part, first in zip(scan.cell.state, scan.first)]
        for k, layer in enumerate(outline.layers, 1)
        for side, scan in zip(("", "backward_"), layer.scans)
    ]


def rows_of(graph: Graph, inputs: Tokens | Numbers, dims: list[str | int]) -> tuple[Any, str]:
    """The first input of a graph, `dims` of tokens or of rows of numbers; and x of it, which is
    time-major where there is time."""
    several = len(dims) > 1
    if isinstance(inputs, Tokens):
        name = "tokens" if several else "token"
        ids = graph.add("Transpose", name, perm=[1, 0]) if several else name
        x = graph.add("Gather", graph.matrix(inputs.table), ids, axis=0)
        return graph.info(name, dims, whole=True), x
    x = graph.add("Transpose", "x", perm=[1, 0, 2]) if several else "x"
    if inputs.mean is not None and inputs.deviation is not None:
        x = graph.add("Sub", x, graph.constant(inputs.mean))
        x = graph.add("Div", x, graph.constant(inputs.deviation))
    return graph.info("x", [*dims, inputs.size]), x


def conditioned(graph: Graph, outline: Outline) -> tuple[list[Any], str]:
    """The condition that joins each x, as an input of the graph, and e [B, n_e] of it."""
    known = outline.condition
    if known is None or not known.joins_input:
        return [], ""
    inputs = [graph.info("condition", ["batch", known.embed.W.shape[1]])]
    return inputs, graph.maps("condition", [known.embed], whole=True)


def numbers_of(graph: Graph, states: Sized) -> list[Any]:
    """The states before, as inputs."""
    return [graph.info(f"state_{name}", ["batch", n]) for name, n in states]


def ends(graph: Graph, states: Sized, new: list[str]) -> list[Any]:
    """The states after, as outputs."""
    for (name, _), value in zip(states, new, strict=True):
        graph.rename(value, f"new_state_{name}")
    return [graph.info(f"new_state_{name}", ["batch", n]) for name, n in states]


def first_states(graph: Graph, outline: Outline, what: str) -> Any:
    """The graph of the first state under a condition: `condition` → `state_…`."""
    known = outline.condition
    assert known is not None
    assert known.first is not None
    z = graph.maps("condition", [known.embed, known.first], whole=True)
    flat = [one for some in states_in(outline) for one in some]
    sizes = graph.constant([n for _, n in flat], np.int64)
    parts = [z] if len(flat) == 1 else graph.add("Split", z, sizes, count=len(flat), axis=1)
    for (name, _), part in zip(flat, parts):
        graph.rename(part, f"state_{name}")
    given = [graph.info("condition", ["batch", known.embed.W.shape[1]])]
    return graph.proto("first", given, numbers_of(graph, flat), what)
