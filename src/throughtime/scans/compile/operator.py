"""The operators `throughtime::scan` and `throughtime::scan_backward`, over the compiled library.

As operators of torch they have a fake form (shapes without numbers) and a derivative, so that
`torch.compile` and `torch.export` see one node where the time loop is. A program is handed over
as its text: an exported model carries its equations with it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...cell import Weights
from .. import reference
from . import build, programs

MOST = 16
"""States, operands or vectors of a cell, as in `runtime/plan.h`."""

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64


class Call(ctypes.Structure):
    """`struct Call` of `runtime/plan.h`."""

    _fields_ = [
        *((name, _integer) for name in ("T", "B", "n_x", "n", "threads", "keep")),
        *((name, _pointer) for name in ("lengths", "reset", "x")),
        *((name, _integer) for name in ("x_time", "x_batch")),
        *((name, _pointer) for name in ("W_x", "W_a", "b")),
        *((name, _pointer * MOST) for name in ("vectors", "start")),
        ("y", _pointer),
        ("final", _pointer * MOST),
        ("z", _pointer),
        *((name, _pointer * MOST) for name in ("states", "operands")),
        ("dy", _pointer),
        *((name, _integer) for name in ("dy_time", "dy_batch")),
        ("dfinal", _pointer * MOST),
        *((name, _pointer) for name in ("dx", "dW_x", "dW_a", "db")),
        *((name, _pointer * MOST) for name in ("dvectors", "dstart")),
        ("scratch", _pointer),
    ]


@functools.lru_cache(maxsize=None)
def library(program: str, dtype: torch.dtype) -> ctypes.CDLL:
    cell = programs.CELLS.get(program)
    loaded = build.load(program, str(dtype).removeprefix("torch."), repr(cell or "a cell"))
    loaded.forward_scratch.restype = loaded.backward_scratch.restype = _integer
    return loaded


def kept_shapes(
    program: str, T: Any, B: Any, n: Any, itemsize: int, keep: bool
) -> tuple[Any, list[Any]]:
    """The sizes of z and of the buffers for the other states and the operands."""
    cell = programs.facts(program)
    lanes = 64 // itemsize  # whatever the processor's vectors, they fit into this padding
    width = (n + lanes - 1) // lanes * lanes
    rows = T * B
    states = [(rows if keep else 2 * B) * n] * (cell["states"] - 1)
    operands = [(rows if keep else B) * n] * (cell["operands"] - cell["states"])
    return (rows * width * cell["slots"] if keep else 0), states + operands


def scan(
    program: str,
    x: Tensor,
    W_x: Tensor,
    W_a: Tensor,
    b: Tensor,
    vectors: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    """y, the final states, and what the backward needs: z, the other states, the operands."""
    T, B, _ = x.shape
    n = W_a.shape[-1]
    y = x.new_empty(T, B, n)
    finals = [x.new_empty(B, n) for _ in state]
    size, others = kept_shapes(program, T, B, n, x.element_size(), keep)
    kept = [x.new_empty(size), *(x.new_empty(size) for size in others)]
    held: list[Any] = []
    call = _call(held, program, x, W_x, W_a, b, vectors, state, lengths, reset, y, kept, keep)
    _fill(call.final, finals)
    native = library(program, x.dtype)
    scratch = x.new_empty(native.forward_scratch(ctypes.byref(call)))
    call.scratch = scratch.data_ptr()
    native.forward(ctypes.byref(call))
    return [y, *finals, *(kept if keep else [])]


def scan_backward(
    program: str,
    dy: Tensor | None,
    dfinal: Sequence[Tensor | None],
    x: Tensor,
    W_x: Tensor,
    W_a: Tensor,
    b: Tensor,
    vectors: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients by x, W_x, W_a, b, each vector, each initial state; empty where not wanted."""
    like = [x, W_x, W_a, b, *vectors, *state]
    gradients = [
        t.new_empty(t.shape if want else (0,)) for t, want in zip(like, wanted, strict=True)
    ]
    held: list[Any] = []
    call = _call(held, program, x, W_x, W_a, b, vectors, state, lengths, reset, y, kept, True)
    if dy is not None:
        dy = dy if dy.stride(-1) == 1 or dy.shape[-1] == 1 else dy.contiguous()
        call.dy, call.dy_time, call.dy_batch = dy.data_ptr(), dy.stride(0), dy.stride(1)
        if dy.shape[-1] == 1 and dy.stride(-1) != 1:
            held.append(dy)
    dfinal = [None if d is None else d.contiguous() for d in dfinal]
    _fill(call.dfinal, dfinal)
    asked = [g if want else None for g, want in zip(gradients, wanted)]
    for name, gradient in zip(("dx", "dW_x", "dW_a", "db"), asked):
        setattr(call, name, None if gradient is None else gradient.data_ptr())
    _fill(call.dvectors, asked[4 : 4 + len(vectors)])
    _fill(call.dstart, asked[4 + len(vectors) :])
    native = library(program, x.dtype)
    scratch = x.new_empty(native.backward_scratch(ctypes.byref(call)))
    call.scratch = scratch.data_ptr()
    native.backward(ctypes.byref(call))
    return gradients


def _call(
    held: list[Any],
    program: str,
    x: Tensor,
    W_x: Tensor,
    W_a: Tensor,
    b: Tensor,
    vectors: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
    kept: Sequence[Tensor],
    keep: bool,
) -> Call:
    """What both directions read; `held` keeps contiguous copies alive as long as the call."""

    def dense(tensor: Tensor) -> int:
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
            held.append(tensor)
        return tensor.data_ptr()

    T, B, n_x = x.shape
    if x.stride(-1) != 1:
        x = x.contiguous()
        held.append(x)
    call = Call(T, B, n_x, W_a.shape[-1], torch.get_num_threads(), keep)
    if lengths is not None:
        call.lengths = dense(lengths)
    if reset is not None:
        call.reset = dense(reset)
    call.x, call.x_time, call.x_batch = x.data_ptr(), x.stride(0), x.stride(1)
    call.W_x, call.W_a, call.b = dense(W_x), dense(W_a), dense(b)
    for to, tensors in ((call.vectors, vectors), (call.start, state)):
        for i, tensor in enumerate(tensors):
            to[i] = dense(tensor)
    call.y, call.z = y.data_ptr(), kept[0].data_ptr()
    others = len(state) - 1
    for k, buffer in enumerate(kept[1 : 1 + others]):
        call.states[k + 1] = buffer.data_ptr()
    for j, buffer in enumerate(kept[1 + others :]):
        call.operands[len(state) + j] = buffer.data_ptr()
    return call


def _fill(pointers: Any, tensors: Sequence[Tensor | None]) -> None:
    for i, tensor in enumerate(tensors):
        pointers[i] = None if tensor is None else tensor.data_ptr()


_library = torch.library.Library("throughtime", "DEF")
_inputs = (
    "Tensor x, Tensor W_x, Tensor W_a, Tensor b, Tensor[] vectors, Tensor[] state, "
    "Tensor? lengths, Tensor? reset"
)
_library.define(f"scan(str program, {_inputs}, bool keep) -> Tensor[]")
_library.define(
    f"scan_backward(str program, Tensor? dy, Tensor?[] dfinal, {_inputs}, Tensor y, "
    "Tensor[] kept, bool[] wanted) -> Tensor[]"
)
_library.impl("scan", scan, "CPU")
_library.impl("scan_backward", scan_backward, "CPU")


@torch.library.register_fake("throughtime::scan", lib=_library)
def _(
    program: str,
    x: Tensor,
    W_x: Tensor,
    W_a: Tensor,
    b: Tensor,
    vectors: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    T, B, _ = x.shape
    n = W_a.shape[-1]
    size, others = kept_shapes(program, T, B, n, x.element_size(), keep)
    made = [x.new_empty(T, B, n), *(x.new_empty(B, n) for _ in state)]
    return made + ([x.new_empty(size) for size in (size, *others)] if keep else [])


@torch.library.register_fake("throughtime::scan_backward", lib=_library)
def _(
    program: str,
    dy: Tensor | None,
    dfinal: Sequence[Tensor | None],
    x: Tensor,
    W_x: Tensor,
    W_a: Tensor,
    b: Tensor,
    vectors: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    like = [x, W_x, W_a, b, *vectors, *state]
    return [t.new_empty(t.shape if want else (0,)) for t, want in zip(like, wanted)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    program, x, W_x, W_a, b, vectors, state, lengths, reset, _ = inputs
    ctx.program, ctx.vectors, ctx.states = program, len(vectors), len(state)
    y, kept = output[0], output[1 + len(state) :]
    ctx.lengths, ctx.reset = lengths, reset
    ctx.save_for_backward(x, W_x, W_a, b, *vectors, *state, y, *kept)


def _differentiate(ctx: Any, given: list[Tensor | None]) -> tuple[Any, ...]:
    x, W_x, W_a, b, *rest = ctx.saved_tensors
    V, K = ctx.vectors, ctx.states
    vectors, state, y, kept = rest[:V], rest[V : V + K], rest[V + K], rest[V + K + 1 :]
    needs = ctx.needs_input_grad
    wanted = [*needs[1:5], *(needs[5] or [False] * V), *(needs[6] or [False] * K)]
    inputs = (x, W_x, W_a, b, vectors, state, ctx.lengths, ctx.reset)
    if torch.is_grad_enabled():  # the derivative of this derivative may be asked for
        gradients = _by_reference(ctx.program, given[: 1 + K], inputs, wanted)
    else:
        found = torch.ops.throughtime.scan_backward(
            ctx.program, given[0], list(given[1 : 1 + K]), *inputs, y, list(kept), wanted
        )
        gradients = [g if want else None for g, want in zip(found, wanted)]
    return (None, *gradients[:4], gradients[4 : 4 + V], gradients[4 + V :], None, None, None)


def _by_reference(
    program: str, given: Sequence[Tensor | None], inputs: tuple[Any, ...], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The same gradients through the equations in Python, which can be differentiated again."""
    x, W_x, W_a, b, vectors, state, lengths, reset = inputs
    cell = programs.CELLS[program]
    w = Weights(W_x, W_a, b, dict(zip(cell.vectors, vectors)))
    y, final = reference.run(cell, w, x, cell.State(*state), lengths, reset)
    results = [(r, g) for r, g in zip((y, *final), given) if g is not None and r.requires_grad]
    leaves = [x, W_x, W_a, b, *vectors, *state]
    asked = [leaf for leaf, want in zip(leaves, wanted) if want]
    found = iter(
        torch.autograd.grad(
            [r for r, _ in results],
            asked,
            [g for _, g in results],
            create_graph=True,
            allow_unused=True,
        )  # fmt: skip
        if results
        else [None] * len(asked)
    )
    return [next(found) if want else None for want in wanted]


torch.library.register_autograd(
    "throughtime::scan", _differentiate, setup_context=_save, lib=_library
)
