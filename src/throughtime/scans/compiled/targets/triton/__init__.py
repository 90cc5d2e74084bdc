"""A `Trace` as Triton: two kernels, forward and backward in time, that run on a GPU.

A program of a kernel owns some rows (sequences) and some units of all gates. Between the products
of one stage and the next, every program of the same rows must have written its part: those are the
*segments*. Forward, a segment is the products of a stage and its piece; backward, the first is the
piece of the last stage, the next the products of that stage and the piece before them. A piece that
mixes the units of a row (sums and maxima over them) is cut there, a segment for each round: every
program of the rows tells what its units add, and reads what all did.

One text serves all ways (`gpu/ways.py`), which differ in constants alone:

- `SEG` < 0: the whole stretch of time in one launch, a barrier after each segment; else a launch
  does segment `SEG` of one step, and what a segment hands to the next goes through memory.
- `ALONE`: a program owns all units of its rows; operands stay in registers, nobody waits.
- `RESIDENT`: the recurrent weights of the own units are loaded once, before the time loop, else in
  blocks at each product.

Between its arrival at a barrier and the end of the wait a program stores what no other reads, and
loads what only it needs at the next step.

z, dz, values and y are in the dtype of x, `DT`; sums, pieces and carried states in float32. y and
the states have one step more than T: the state before t stands at t, the first one at 0.
"""

from __future__ import annotations

import json

from ...trace import Trace
from ..facts import facts
from .backward import Backward
from .forward import Forward
from .text import PREAMBLE, adder


def emit(trace: Trace) -> str:
    """The program: a line of JSON for who calls it, and the kernels."""
    forward, backward = Forward(trace), Backward(trace)
    told = facts(trace, "triton") | {
        "segments": [forward.end_segment + 1, backward.end_segment + 1],
        "reductions": [forward.reductions, backward.reductions],
    }
    kernels = []
    for count in sorted({len(slots) for slots in map(forward.made, range(len(trace.stages)))}):
        kernels += [*adder(count), "", ""] if count > 1 else []
    kernels += [*forward.kernel(), "", "", *backward.kernel()]
    return "\n".join([f"// {json.dumps(told)}", PREAMBLE, "", *kernels, ""])
