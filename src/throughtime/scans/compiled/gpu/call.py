"""One call of a program's kernels on a GPU: forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....ground import lengths as ragged
from ..call import as_numbers
from ..inputs import Inputs
from . import kernels, memory, products
from .choice import choose
from .launching import launch
from .memory import Sizes, kept_size

__all__ = ["kept_size", "scan", "scan_backward"]

CHUNK = 2**27
"""Numbers of z at once where nothing is kept for a backward."""


def scan(program: str, inputs: Inputs, keep: bool) -> list[Tensor]:
    """y, the final states, and what the backward needs, in one buffer."""
    x, state = inputs.x, inputs.state
    T, B, _ = x.shape
    n = inputs.W_a.shape[-1]
    y = x.new_empty(T, B, n)
    carry = torch.stack([start.float() for start in state])
    kept = x.new_empty(kept_size(program, T, B, n, x.dtype, keep), dtype=torch.float32)
    if B and n:
        memory.check(Sizes(program, T, B, n), inputs.W_a)
        inputs = plain(inputs)
        chunk = T if keep else max(1, CHUNK // (B * n * max(1, Sizes(program, T, B, n).inputs)))
        for first in range(0, T, max(chunk, 1)):
            last = min(first + chunk, T)
            some = between(inputs, first, last)
            forward(program, some, y[first:last], carry, kept if keep else None)
    finals = [final.to(start.dtype) for final, start in zip(carry.unbind(), state)]
    return [y, *finals, kept] if keep else [y, *finals]


def plain(inputs: Inputs) -> Inputs:
    """The same numbers as the kernels read them: contiguous, without what stands in padding.

    They begin at a multiple of 16 bytes, as all that torch allocates: a kernel that cannot rely on
    it is another one, and slower.
    """
    x, W_a, lengths, reset = inputs.x, inputs.W_a, inputs.lengths, inputs.reset
    if lengths is not None:
        x = ragged.zero_padding(x, lengths)
        lengths = aligned(lengths.to(torch.int32))
    if reset is not None:
        reset = aligned(reset.contiguous().view(torch.uint8))
    x, W_a = (aligned(as_numbers(part).contiguous()) for part in (x, W_a))
    streams = [as_numbers(stream).to(torch.float32) for stream in inputs.streams]
    return inputs._replace(x=x, W_a=W_a, streams=streams, lengths=lengths, reset=reset)


def aligned(part: Tensor) -> Tensor:
    """The tensor, or a copy that begins where torch allocates."""
    return part if part.data_ptr() % 16 == 0 else part.clone()


def between(inputs: Inputs, first: int, last: int) -> Inputs:
    """The problem of steps first to last - 1."""
    if first == 0 and last == inputs.x.shape[0]:
        return inputs
    lengths, reset = inputs.lengths, inputs.reset
    return inputs._replace(
        x=inputs.x[first:last],
        streams=[stream[first:last] for stream in inputs.streams],
        lengths=None if lengths is None else (lengths - first).clamp(0, last - first),
        reset=None if reset is None else reset[first:last],
    )


def forward(program: str, inputs: Inputs, y: Tensor, carry: Tensor, kept: Tensor | None) -> None:
    """One stretch of time, from `carry`, which becomes the state after it, to y."""
    x = inputs.x
    T, B, n = y.shape
    sizes = Sizes(program, T, B, n)
    way = choose(sizes.facts, T, B, n, x.dtype, x.device)
    keep = kept is not None or way.stepwise
    if kept is None and keep:
        kept = x.new_empty(kept_size(program, T, B, n, x.dtype, keep), dtype=torch.float32)
    buffers = memory.working(sizes, x) if kept is None else memory.parts(kept, sizes, x.dtype)
    if inputs.lengths is not None:
        buffers["y"].zero_()
    buffers["y"][0] = carry[0]
    if buffers["states"].numel():
        buffers["states"][:, 0] = carry[1:]
    products.inputs_first(buffers["zx"], inputs, sizes)
    given = {
        "x": x, "zx": buffers["zx"], "zr": buffers["zr"], "W": inputs.W_a,
        "p": stacked(inputs.vectors), "q": stacked(inputs.streams), "lengths": inputs.lengths,
        "reset": inputs.reset, "carry": carry, "states": buffers["states"],
        "values": buffers["values"], "y": buffers["y"],
    }  # fmt: skip
    first = 0 if sizes.facts["stages"][0] else 1  # nothing to do before the first product
    segments = range(first, sizes.facts["segments"][0])
    launch(kernels.load(program).forward, way, sizes, given, segments, {"KEEP": keep})
    y.copy_(buffers["y"][1:])


def stacked(parts: Sequence[Tensor]) -> Tensor | None:
    """Vectors, or streams, in float32 as one tensor; None for none."""
    if not parts:
        return None
    return torch.stack([as_numbers(part).float() for part in parts])


def scan_backward(
    program: str,
    given: Sequence[Tensor | None],
    inputs: Inputs,
    y: Tensor,
    kept: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients by each of the inputs' leaves, empty where not wanted.

    `given`: those of a loss by y and by each final state.
    """
    leaves = inputs.leaves
    T, B, n = y.shape
    sizes = Sizes(program, T, B, n)
    dy, *dfinal = given
    carry = y.new_zeros(sizes.K, B, n, dtype=torch.float32)
    for k, gradient in enumerate(dfinal):
        if gradient is not None:
            carry[k] = gradient
    if T and B and n:
        found = _gradients(program, sizes, dy, carry, plain(inputs), kept, list(wanted))
    else:
        found = [torch.zeros_like(leaf) for leaf in leaves]
        found[4 + sizes.V : 4 + sizes.V + sizes.K] = carry.unbind()
    return [
        (gradient if gradient.dtype == leaf.dtype else gradient.to(leaf.dtype))
        if want
        else leaf.new_empty(0)
        for gradient, leaf, want in zip(found, leaves, wanted, strict=True)
    ]


def _gradients(
    program: str, sizes: Sizes, dy: Tensor | None, carry: Tensor, inputs: Inputs, kept: Tensor,
    wanted: list[bool],
) -> list[Any]:  # fmt: skip
    """By each leaf; `carry` becomes the gradient by the first state."""
    x, W_a, lengths = inputs.x, inputs.W_a, inputs.lengths
    T, B, n = sizes.T, sizes.B, sizes.n
    buffers = memory.parts(kept, sizes, x.dtype)
    way = choose(sizes.facts, T, B, n, x.dtype, x.device, back=True)
    names = ["zx", "zr", *(["x"] if sizes.facts["reads_x"] else [])]
    fresh = x.new_empty if lengths is None else x.new_zeros
    dz = {name: fresh(x.shape if name == "x" else buffers[name].shape) for name in names}
    dp = carry.new_zeros(sizes.V, B, n)
    dq_wanted = any(wanted[4 + sizes.V + sizes.K :])
    dq = carry.new_zeros(sizes.Q, *(T, B, n) if dq_wanted else (0,))
    held = sizes.K + sizes.J + sizes.S + sizes.Q
    hold = carry.new_empty(held, B, n) if way.stepwise else None
    dy = None if dy is None else aligned(as_numbers(dy).to(x.dtype).contiguous())
    given = {
        "x": x, "zx": buffers["zx"], "zr": buffers["zr"], "W": products.by_column(W_a),
        "p": stacked(inputs.vectors), "q": stacked(inputs.streams), "lengths": lengths,
        "reset": inputs.reset, "carry": carry, "states": buffers["states"], "y": buffers["y"],
        "dy": dy, "dzx": dz["zx"], "dzr": dz["zr"], "ddirect": dz.get("x"), "dp": dp, "dq": dq,
        "hold": hold,
    }  # fmt: skip
    options = {"KEEP": True, "HAS_DY": dy is not None, "WANT_DQ": dq_wanted}
    segments = range(sizes.facts["segments"][1])
    launch(kernels.load(program).backward, way, sizes, given, segments, options, back=True)
    large = products.gradients(dz, buffers, inputs, sizes, wanted)
    return [*large, *dp.sum(1).unbind(), *carry.unbind(), *dq.unbind()]
