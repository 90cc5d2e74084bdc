"""A step of a cell in nodes: products, and the stages of its trace between them."""

from __future__ import annotations

import numpy as np

from ...layers.outline import Scan
from ...scans.compiled.trace import Trace
from ...scans.compiled.walk import walk
from .graph import Graph


def fed(graph: Graph, x: str, scan: Scan, trace: Trace, folded: bool, steps: bool = False) -> str:
    """W_x x + b of all slots that x feeds, side by side; `steps`: of x [T, B, n_x], not [B, n_x].

    `folded`: x holds W_x x of all gates already.
    """
    n, gates = scan.n, trace.gates[: trace.inputs]
    b = graph.constant(np.concatenate([scan.b[g * n : (g + 1) * n] for g in gates]))
    if not folded:
        W = np.concatenate([scan.W_x[g * n : (g + 1) * n] for g in gates])
        return graph.linear(x, W, b) if steps else graph.affine(x, W, b)
    if gates != tuple(range(len(scan.cell.gates))):
        parts = [graph.columns(x, g * n, (g + 1) * n) for g in gates]
        x = graph.add("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    return graph.add("Add", x, b)


def stepped(
    graph: Graph, scan: Scan, trace: Trace, x: str, fed: str, states: list[str]
) -> list[str]:
    """The state after a step: of x [B, n_x], where the equations read it, what `fed` made of it,
    and the state before."""
    n = scan.n
    known = {f"state[{k}]": name for k, name in enumerate(states)}
    known |= {f"p[{k}]": graph.constant(v) for k, v in enumerate(scan.vectors)}
    if trace.direct is not None:
        known[f"z[{trace.direct}]"] = x
    apart = set(range(trace.inputs))
    operands = dict(enumerate(states))
    for p in trace.products:  # the first level's need nothing but states at t-1
        apart -= set(range(p.slot, p.slot + p.count))
    for slot in sorted(apart):
        known[f"z[{slot}]"] = part(graph, fed, slot, slot + 1, trace.inputs, n)
    for number, stage in enumerate(trace.stages):
        for p in trace.products:
            if p.stage != number:
                continue
            last = p.slot + p.count
            rows = [scan.W_a[g * n : (g + 1) * n] for g in trace.gates[p.slot : last]]
            begin = ""
            if p.slot < trace.inputs:
                begin = part(graph, fed, p.slot, last, trace.inputs, n)
            z = graph.affine(operands[p.operand], np.concatenate(rows), begin or None)
            for k, one in enumerate(graph.split(z, p.count, n)):
                known[f"z[{p.slot + k}]"] = one
        if stage is not None:
            graph.run(walk(stage.forward, list(stage.reads), list(stage.makes)), known, n)
            operands |= {int(m[6:-1]): known[m] for m in stage.makes if m.startswith("value")}
    return [known[f"out[{k}]"] for k in range(trace.states)]


def part(graph: Graph, fed: str, first: int, last: int, of: int, n: int) -> str:
    """The columns of some slots."""
    whole = (first, last) == (0, of)
    return fed if whole else graph.columns(fed, first * n, last * n)
