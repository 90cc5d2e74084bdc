"""One call of a compiled library: its arguments in C's form, its memory, forward and backward."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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


class Native:
    """A program's library for one dtype, and what its first line tells of the cell."""

    def __init__(self, program: str, dtype: torch.dtype) -> None:
        cell = programs.CELLS.get(program)
        told = programs.facts(program)
        self.states, self.operands, self.slots = told["states"], told["operands"], told["slots"]
        library = build.load(program, str(dtype).removeprefix("torch."), repr(cell or "a cell"))
        self.forward, self.backward = library.forward, library.backward
        self.forward_scratch, self.backward_scratch = (
            library.forward_scratch,
            library.backward_scratch,
        )
        self.forward_scratch.restype = self.backward_scratch.restype = _integer


native = functools.cache(Native)


def kept_sizes(cell: dict[str, int], T: Any, B: Any, n: Any, itemsize: int, keep: bool) -> Any:
    """The sizes of z and of a buffer for each other state and each operand.

    z is as wide as the processor's vectors ask for, at most 64 bytes; nothing where not kept.
    """
    lanes = 64 // itemsize
    wide = (n + lanes - 1) // lanes * lanes
    z = T * B * wide * cell["slots"] if keep else 0
    state = (T * B if keep else 2 * B) * wide
    operand = (T * B if keep else B) * wide
    return z, state, operand


def kept_size(program: str, T: Any, B: Any, n: Any, itemsize: int, keep: bool) -> Any:
    """The size of all of them."""
    cell = programs.facts(program)
    z, state, operand = kept_sizes(cell, T, B, n, itemsize, keep)
    return z + (cell["states"] - 1) * state + (cell["operands"] - cell["states"]) * operand


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
    """y, the final states, and what the backward needs, in one buffer."""
    T, B, _ = x.shape
    n = W_a.shape[-1]
    y = x.new_empty(T, B, n)
    finals = [x.new_empty(B, n) for _ in state]
    kept = x.new_empty(kept_size(program, T, B, n, x.element_size(), keep))
    run = native(program, x.dtype)
    held: list[Any] = []
    call = describe(held, run, x, W_x, W_a, b, vectors, state, lengths, reset, y, kept, keep)
    fill(call.final, finals)
    at = ctypes.byref(call)
    call.scratch = scratch(run.forward_scratch(at), x.dtype)
    run.forward(at)
    return [y, *finals, kept] if keep else [y, *finals]


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
    kept: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients by x, W_x, W_a, b, each vector, each initial state; empty where not wanted."""
    like = [x, W_x, W_a, b, *vectors, *state]
    gradients = [
        t.new_empty(t.shape if want else (0,)) for t, want in zip(like, wanted, strict=True)
    ]
    held: list[Any] = []
    run = native(program, x.dtype)
    call = describe(held, run, x, W_x, W_a, b, vectors, state, lengths, reset, y, kept, True)
    if dy is not None:
        dy = dy if dy.stride(-1) == 1 else dy.contiguous()
        call.dy, call.dy_time, call.dy_batch = dy.data_ptr(), dy.stride(0), dy.stride(1)
    dfinal = [None if d is None else d.contiguous() for d in dfinal]
    fill(call.dfinal, dfinal)
    asked = [g if want else None for g, want in zip(gradients, wanted)]
    for name, gradient in zip(("dx", "dW_x", "dW_a", "db"), asked):
        setattr(call, name, None if gradient is None else gradient.data_ptr())
    fill(call.dvectors, asked[4 : 4 + len(vectors)])
    fill(call.dstart, asked[4 + len(vectors) :])
    at = ctypes.byref(call)
    call.scratch = scratch(run.backward_scratch(at), x.dtype)
    run.backward(at)
    return gradients


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.held: dict[torch.dtype, Tensor] = {}


_buffers = _Buffers()


def scratch(size: int, dtype: torch.dtype) -> int:
    """The address of `size` numbers to work in, the same at every call of a thread.

    The first touch of fresh memory costs more than a product that fills it. A buffer much larger
    than what is asked for is given back.
    """
    held = _buffers.held.pop(dtype, None)
    if held is None or not size <= held.numel() <= 4 * size + 2**20:
        del held  # free before taking anew
        held = torch.empty(size, dtype=dtype, device="cpu")
    _buffers.held[dtype] = held
    return held.data_ptr()


def describe(
    held: list[Any],
    run: Native,
    x: Tensor,
    W_x: Tensor,
    W_a: Tensor,
    b: Tensor,
    vectors: Sequence[Tensor],
    state: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
    kept: Tensor,
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
    call.y, call.z = y.data_ptr(), kept.data_ptr()
    if run.operands > 1:
        item = x.element_size()
        cell = {"slots": run.slots}
        z, size, operand = (part * item for part in kept_sizes(cell, T, B, call.n, item, keep))
        at = kept.data_ptr() + z
        for k in range(1, run.states):
            call.states[k] = at
            at += size
        for j in range(run.states, run.operands):
            call.operands[j] = at
            at += operand
    return call


def fill(pointers: Any, tensors: Sequence[Tensor | None]) -> None:
    """The addresses of `tensors`, null for None."""
    for i, tensor in enumerate(tensors):
        pointers[i] = None if tensor is None else tensor.data_ptr()
