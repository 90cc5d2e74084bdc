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
from .inputs import Inputs

MOST = 16
"""States, operands, vectors or streams of a cell, as in `runtime/plan.h`."""

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64


class Stream(ctypes.Structure):
    """`struct Stream` of `runtime/plan.h`."""

    _fields_ = [
        ("at", _pointer),
        *((name, _integer) for name in ("time", "batch", "unit", "truths")),
    ]


class Call(ctypes.Structure):
    """`struct Call` of `runtime/plan.h`."""

    _fields_ = [
        *((name, _integer) for name in ("T", "B", "n_x", "n", "threads", "keep")),
        *((name, _pointer) for name in ("lengths", "reset", "x")),
        *((name, _integer) for name in ("x_time", "x_batch")),
        *((name, _pointer) for name in ("W_x", "W_a", "b")),
        *((name, _pointer * MOST) for name in ("vectors", "start", "start_operand")),
        ("streams", Stream * MOST),
        ("y", _pointer),
        ("final", _pointer * MOST),
        ("z", _pointer),
        *((name, _pointer * MOST) for name in ("states", "operands")),
        ("dy", _pointer),
        *((name, _integer) for name in ("dy_time", "dy_batch")),
        ("dfinal", _pointer * MOST),
        *((name, _pointer) for name in ("dx", "dW_x", "dW_a", "db")),
        *((name, _pointer * MOST) for name in ("dvectors", "dstart", "dstreams")),
        *((name, _pointer) for name in ("packed", "scratch")),
    ]


class Native:
    """A program's library for one dtype, and what its first line tells of the cell."""

    def __init__(self, program: str, dtype: torch.dtype) -> None:
        cell = programs.CELLS.get(program)
        library = build.load(program, str(dtype).removeprefix("torch."), repr(cell or "a cell"))
        theirs, ours = library.call_size(), ctypes.sizeof(Call)
        if theirs != ours:
            raise RuntimeError(
                f"struct Call has {theirs} bytes in runtime/plan.h, {ours} in {__file__}."
            )
        self.forward, self.backward = library.forward, library.backward
        self.forward_scratch = library.forward_scratch
        self.backward_scratch = library.backward_scratch
        for run in (self.forward, self.backward):
            run.argtypes, run.restype = (_pointer, _integer), _integer
        for size in (self.forward_scratch, self.backward_scratch):
            size.argtypes, size.restype = (_pointer,), _integer


native = functools.cache(Native)


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """What sums, pieces and carried states are in: half precision is rounded from float32."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def kept_sizes(
    cell: dict[str, Any], T: Any, B: Any, n: Any, dtype: torch.dtype, keep: bool
) -> tuple[Any, dict[int, Any], dict[int, Any]]:
    """The sizes of z, of each state and of each operand that has a buffer, in reals.

    z is as wide as the processor's vectors ask for, at most 64 bytes; nothing where not kept. The
    first state is y; in half precision states are carried apart from their rounded forms.
    """
    lanes = 64 // real_dtype(dtype).itemsize
    wide: Any = (n + lanes - 1) // lanes * lanes
    rounded = dtype != real_dtype(dtype)
    z = T * B * wide * cell["slots"] if keep else 0
    state = (T * B if keep else 2 * B) * wide
    value = (T * B if keep else B) * wide
    states: dict[int, Any] = dict.fromkeys(range(0 if rounded else 1, cell["states"]), state)
    operands: dict[int, Any] = dict.fromkeys(range(cell["states"], cell["operands"]), value)
    if rounded:
        operands |= {k: state for k in cell["taken"] if k > 0}
        operands = {j: size // 2 for j, size in operands.items()}
    return z, states, operands


def kept_size(program: str, T: Any, B: Any, n: Any, dtype: torch.dtype, keep: bool) -> Any:
    """The size of all of them."""
    z, states, operands = kept_sizes(programs.facts(program), T, B, n, dtype, keep)
    return z + sum(states.values()) + sum(operands.values())


@functools.lru_cache(1024)
def kept_places(
    program: str, T: int, B: int, n: int, dtype: torch.dtype, keep: bool
) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
    """The size of all, and behind z where each state and each operand begins, by its number."""
    z, *buffers = kept_sizes(programs.facts(program), T, B, n, dtype, keep)
    places: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    at = z
    for sizes, found in zip(buffers, places):
        for number, size in sizes.items():
            found.append((number, at))
            at += size
    return at, *places


def scan(program: str, inputs: Inputs, keep: bool) -> list[Tensor]:
    """y, the final states, and what the backward needs, in one buffer."""
    x, state = inputs.x, inputs.state
    T, B, _ = x.shape
    n = inputs.W_a.shape[-1]
    real = real_dtype(x.dtype)
    like = x if real is x.dtype else x.new_empty(0, dtype=real)
    y = x.new_empty(T, B, n)
    finals = [like.new_empty(B, n) for _ in state]
    kept = like.new_empty(kept_places(program, T, B, n, x.dtype, keep)[0])
    run = native(program, x.dtype)
    held: list[Any] = []
    call = describe(held, program, inputs, y, kept, keep)
    fill(call.final, finals)
    carry(run.forward, call, scratch(run.forward_scratch(ctypes.addressof(call)), real))
    finals = [in_dtype(final, start.dtype) for final, start in zip(finals, state)]
    return [y, *finals, kept] if keep else [y, *finals]


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
    x, V, K = inputs.x, len(inputs.vectors), len(inputs.state)
    real = real_dtype(x.dtype)
    gradients = [
        t.new_empty(t.shape if want else (0,), dtype=x.dtype if t is x else real)
        for t, want in zip(inputs.leaves, wanted, strict=True)
    ]
    for gradient in gradients[4 + V + K :]:
        gradient.zero_()  # where nothing reads it
    held: list[Any] = []
    run = native(program, x.dtype)
    call = describe(held, program, inputs, y, kept, True)
    dy, *dfinal = given
    if dy is not None:
        dy = as_numbers(dy).to(x.dtype)
        dy = dy if dy.stride(-1) == 1 else dy.contiguous()
        call.dy, call.dy_time, call.dy_batch = dy.data_ptr(), dy.stride(0), dy.stride(1)
    dfinal = [None if d is None else as_numbers(d).to(real).contiguous() for d in dfinal]
    fill(call.dfinal, dfinal)
    asked = [g if want else None for g, want in zip(gradients, wanted)]
    for name, gradient in zip(("dx", "dW_x", "dW_a", "db"), asked):
        setattr(call, name, None if gradient is None else gradient.data_ptr())
    fill(call.dvectors, asked[4 : 4 + V])
    fill(call.dstart, asked[4 + V : 4 + V + K])
    fill(call.dstreams, asked[4 + V + K :])
    carry(run.backward, call, scratch(run.backward_scratch(ctypes.addressof(call)), real))
    return [gradient.to(t.dtype) for gradient, t in zip(gradients, inputs.leaves)]


def carry(run: Any, call: Call, scratch: int) -> None:
    """From the first step to the last, with pauses in a long call: there Python hears Ctrl-C."""
    call.scratch, step, at = scratch, 0, ctypes.addressof(call)
    while step >= 0:
        step = run(at, step)


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
    held: list[Any], program: str, inputs: Inputs, y: Tensor, kept: Tensor, keep: bool
) -> Call:
    """What both directions read; `held` keeps contiguous copies alive as long as the call."""

    def dense(tensor: Tensor, dtype: torch.dtype | None = None) -> int:
        fits = dtype is None or tensor.dtype is dtype
        if fits and tensor.is_contiguous() and not (tensor.is_neg() or tensor._is_zerotensor()):
            return tensor.data_ptr()
        given = tensor
        tensor = as_numbers(tensor)
        if dtype not in (None, tensor.dtype) or not tensor.is_contiguous():
            tensor = tensor.to(dtype).contiguous()
        if tensor is not given:
            held.append(tensor)
        return tensor.data_ptr()

    x, W_x, W_a, b, vectors, state, streams, lengths, reset = inputs
    T, B, n_x = x.shape
    x = as_numbers(x)
    if x.stride(-1) != 1:
        x = x.contiguous()
    held.append(x)
    call = Call(T, B, n_x, W_a.shape[-1], torch.get_num_threads(), keep)
    if lengths is not None:
        call.lengths = dense(lengths)
    if reset is not None:
        call.reset = dense(reset)
    call.x, call.x_time, call.x_batch = x.data_ptr(), x.stride(0), x.stride(1)
    real = real_dtype(x.dtype)
    call.W_x, call.W_a, call.b = dense(W_x), dense(W_a), dense(b, real)
    for i, tensor in enumerate(vectors):
        call.vectors[i] = dense(tensor, real)
    starts, operands = call.start, call.start_operand
    for k, tensor in enumerate(state):
        starts[k] = at = dense(tensor, real)
        operands[k] = at if real is x.dtype else dense(tensor, x.dtype)
    for i, tensor in enumerate(streams):
        tensor = as_numbers(tensor)
        if tensor.stride(-1) not in (0, 1):
            tensor = tensor.contiguous()
        held.append(tensor)
        truths = tensor.dtype == torch.bool
        call.streams[i] = Stream(tensor.data_ptr(), *tensor.stride(), truths)
    call.y, call.z = y.data_ptr(), (first := kept.data_ptr())
    _, *buffers = kept_places(program, T, B, call.n, x.dtype, keep)
    for places, pointers in zip(buffers, (call.states, call.operands)):
        for number, place in places:
            pointers[number] = first + place * real.itemsize
    return call


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor.to(dtype)`, which takes its time even where there is nothing to do."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def as_numbers(tensor: Tensor) -> Tensor:
    """The tensor with its numbers in memory: a view may negate them, a zero may have none."""
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return tensor.resolve_neg()


def fill(pointers: Any, tensors: Sequence[Tensor | None]) -> None:
    """The addresses of `tensors`, null for None."""
    for i, tensor in enumerate(tensors):
        pointers[i] = None if tensor is None else tensor.data_ptr()
