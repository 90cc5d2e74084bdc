"""What who calls a program must know of its cell: the first line of every program."""

from __future__ import annotations

from ..trace import Stage, Trace


def facts(trace: Trace, target: str) -> dict[str, object]:
    """As JSON takes it."""
    return {
        "states": trace.states,
        "vectors": trace.vectors,
        "streams": trace.streams,
        "slots": len(trace.gates),
        "operands": trace.operands,
        "taken": sorted({p.operand for p in trace.products if p.operand < trace.states}),
        "reads_x": trace.direct is not None,
        "gates": trace.gates,
        "inputs": trace.inputs,
        "products": [(p.stage, p.operand, p.slot, p.count) for p in trace.products],
        "reduces": any(_reduces(stage) for stage in trace.stages if stage),
        "target": target,
        "stages": [stage is not None for stage in trace.stages],
    }


def _reduces(stage: Stage) -> bool:
    """Whether its equations mix the units of a row."""
    return any(
        str(node.target).startswith(("aten.sum", "aten.amax")) for node in stage.forward.nodes
    )
