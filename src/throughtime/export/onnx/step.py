"""One step of a model: `token` [batch] or `x` [batch, n_x], `state_…` → `logits`, `new_state_…`."""

from __future__ import annotations

from typing import Any

from ...ground.errors import InputError
from ...layers.outline import Outline
from ..lowering import Lowered
from . import cells
from .graph import Graph
from .states import conditioned, ends, numbers_of, rows_of, states_in


def refuse_steps(outline: Outline) -> None:
    """Raise `InputError` where there is no step."""
    if outline.bidirectional:
        raise InputError(
            "a bidirectional model needs the entire sequence: it has no step. Train with "
            "--model.bidirectional false, or export it with --form sequence."
        )
    if outline.pooling is not None and outline.pooling.kind != "last":
        raise InputError(
            f"pooling {outline.pooling.kind} looks at all steps: it has no step. Train with "
            "--model.pooling last, or export it with --form sequence."
        )


def step(graph: Graph, model: Lowered, what: str) -> Any:
    """The graph of a step."""
    outline = model.outline
    first, x = rows_of(graph, outline.inputs, ["batch"])
    more, e = conditioned(graph, outline)
    if e:
        x = graph.add("Concat", x, e, axis=-1)
    given = states_in(outline)
    y, new = layers(graph, model, x, [[f"state_{name}" for name, _ in some] for some in given])
    y = graph.maps(y, outline.outputs)
    outputs = [graph.info("logits", ["batch", len(outline.outputs[-1].W)])]
    graph.rename(y, "logits")
    flat = [one for some in given for one in some]
    outputs += ends(graph, flat, [one for some in new for one in some])
    return graph.proto("step", [first, *more, *numbers_of(graph, flat)], outputs, what)


def layers(
    graph: Graph, model: Lowered, x: str, states: list[list[str]]
) -> tuple[str, list[list[str]]]:
    """What comes out of the stack, and the new state of each scan."""
    new = []
    for k, (layer, traces) in enumerate(zip(model.outline.layers, model.traces)):
        (scan,), (trace,) = layer.scans, traces
        folded = model.folded and k == 0
        z = cells.fed(graph, x, scan, trace, folded) if trace.inputs else ""
        made = cells.stepped(graph, scan, trace, x, z, states[k])
        new.append(made)
        x = graph.add("Add", made[0], x) if layer.adds_input else made[0]
    return x, new
