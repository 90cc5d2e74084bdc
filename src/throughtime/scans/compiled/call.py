"""One call of a compiled library: its arguments in C's form, its memory, forward and backward."""

from __future__ import annotations

import ctypes
import functools
import threading
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

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


AT: dict[str, int] = {name: getattr(Call, name).offset // 8 for name, *_ in Call._fields_}
"""Where each field begins in a `Call` as an array of integers, which is filled much faster."""


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


class Layout(NamedTuple):
    """What all calls of one size have in common.

    `size` of all that is kept; `head`, a `Call` without tensors; `places`, of each state and
    operand that has a buffer behind z, its place in a `Call` and the bytes from z; `scratch`, the
    sizes asked for so far, by direction and whether x has a gradient.
    """

    size: int
    head: array[int]
    places: list[tuple[int, int]]
    scratch: dict[tuple[bool, bool], int]


@functools.lru_cache(1024)
def layout(
    program: str, T: int, B: int, n_x: int, n: int, dtype: torch.dtype, keep: bool, threads: int
) -> Layout:
    """That of one size."""
    z, *buffers = kept_sizes(programs.facts(program), T, B, n, dtype, keep)
    size, places = z, []
    for name, sizes in zip(("states", "operands"), buffers):
        for number, count in sizes.items():
            places.append((AT[name] + number, size * real_dtype(dtype).itemsize))
            size += count
    head = array("q", bytes(Call(T, B, n_x, n, threads, keep)))
    return Layout(size, head, places, {})


def scan(program: str, inputs: Inputs, keep: bool) -> list[Tensor]:
    """y, the final states, and what the backward needs, in one buffer."""
    x, state = inputs.x, inputs.state
    n = inputs.W_a.shape[-1]
    T, B, n_x = x.shape
    of = layout(program, T, B, n_x, n, x.dtype, keep, torch.get_num_threads())
    real = real_dtype(x.dtype)
    like = x if real is x.dtype else x.new_empty(0, dtype=real)
    y = x.new_empty(T, B, n)
    finals = [like.new_empty(B, n) for _ in state]
    kept = like.new_empty(of.size)
    run = native(program, x.dtype)
    held: list[Any] = []
    call = describe(held, of, inputs, y, kept)
    fill(call, "final", finals)
    carry(run.forward, call, scratch(size_of(run.forward_scratch, call, of, inputs), real))
    finals = [in_dtype(final, start.dtype) for final, start in zip(finals, state)]
    return [y, *finals, kept] if keep else [y, *finals]


def scan_backward(
    program: str,
    given: Sequence[Tensor | None],
    inputs: Inputs,
    y: Tensor,
    kept: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients by each of the inputs' leaves, None where not wanted.

    `given`: those of a loss by y and by each final state.
    """
    x, V, K = inputs.x, len(inputs.vectors), len(inputs.state)
    real = real_dtype(x.dtype)
    gradients: list[Tensor | None] = [
        empty_of(t, x.dtype if t is x else real) if want else None
        for t, want in zip(inputs.leaves, wanted, strict=True)
    ]
    for gradient in gradients[4 + V + K :]:
        if gradient is not None:
            gradient.zero_()  # where nothing reads it
    held: list[Any] = []
    run = native(program, x.dtype)
    T, B, n_x = x.shape
    n = inputs.W_a.shape[-1]
    of = layout(program, T, B, n_x, n, x.dtype, True, torch.get_num_threads())
    call = describe(held, of, inputs, y, kept)
    dy, *dfinal = given
    if dy is not None:
        dy = in_dtype(as_numbers(dy), x.dtype)
        dy = dy if dy.stride(-1) == 1 else dy.contiguous()
        call[AT["dy"]], call[AT["dy_time"]] = dy.data_ptr(), dy.stride(0)
        call[AT["dy_batch"]] = dy.stride(1)
    dfinal = [None if d is None else in_dtype(as_numbers(d), real).contiguous() for d in dfinal]
    fill(call, "dfinal", dfinal)
    fill(call, "dx", gradients[:4])  # dx, dW_x, dW_a, db, one after the other
    fill(call, "dvectors", gradients[4 : 4 + V])
    fill(call, "dstart", gradients[4 + V : 4 + V + K])
    fill(call, "dstreams", gradients[4 + V + K :])
    size = size_of(run.backward_scratch, call, of, inputs, (True, wanted[0]))
    carry(run.backward, call, scratch(size, real))
    return [g if g is None else in_dtype(g, t.dtype) for g, t in zip(gradients, inputs.leaves)]


def size_of(
    ask: Any,
    call: array[int],
    of: Layout,
    inputs: Inputs,
    kind: tuple[bool, bool] = (False, False),
) -> int:
    """How many numbers of scratch a call needs; ragged ones differ from each other."""
    size = of.scratch.get(kind) if inputs.lengths is None else None
    if size is None:
        size = ask(call.buffer_info()[0])
        if inputs.lengths is None:
            of.scratch[kind] = size
    return size


def carry(run: Any, call: array[int], scratch: int) -> None:
    """From the first step to the last, with pauses in a long call: there Python hears Ctrl-C."""
    call[AT["scratch"]], step, at = scratch, 0, call.buffer_info()[0]
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


def describe(held: list[Any], of: Layout, inputs: Inputs, y: Tensor, kept: Tensor) -> array[int]:
    """What both directions read; `held` keeps contiguous copies alive as long as the call."""

    def dense(tensor: Tensor, dtype: torch.dtype) -> int:
        plain = not (tensor.is_neg() or tensor._is_zerotensor())
        if plain and tensor.dtype is dtype and tensor.is_contiguous():
            return tensor.data_ptr()
        held.append(tensor := as_numbers(tensor).to(dtype).contiguous())
        return tensor.data_ptr()

    x, W_x, W_a, b, vectors, state, streams, lengths, reset = inputs
    x = as_numbers(x)
    if x.stride(-1) != 1:
        x = x.contiguous()
    held.append(x)
    call = of.head[:]
    if lengths is not None:
        call[AT["lengths"]] = dense(lengths, torch.int64)
    if reset is not None:
        call[AT["reset"]] = dense(reset, torch.bool)
    at, item, real = AT["x"], x.dtype, real_dtype(x.dtype)
    call[at], call[at + 1], call[at + 2] = x.data_ptr(), x.stride(0), x.stride(1)
    call[at + 3], call[at + 4], call[at + 5] = dense(W_x, item), dense(W_a, item), dense(b, real)
    for i, tensor in enumerate(vectors, AT["vectors"]):
        call[i] = dense(tensor, real)
    starts, operands = AT["start"], AT["start_operand"]
    for k, tensor in enumerate(state):
        call[starts + k] = start = dense(tensor, real)
        call[operands + k] = start if real is item else dense(tensor, item)
    for i, tensor in enumerate(streams):
        tensor = as_numbers(tensor)
        if tensor.stride(-1) not in (0, 1):
            tensor = tensor.contiguous()
        held.append(tensor)
        truths = tensor.dtype == torch.bool
        at = AT["streams"] + 5 * i
        call[at : at + 5] = array("q", (tensor.data_ptr(), *tensor.stride(), truths))
    call[AT["y"]], call[AT["z"]] = y.data_ptr(), (first := kept.data_ptr())
    for place, behind in of.places:
        call[place] = first + behind
    return call


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor.to(dtype)`, which takes its time even where there is nothing to do."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def empty_of(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """As large, contiguous."""
    if tensor.dtype is dtype and tensor.is_contiguous():
        return torch.empty_like(tensor)
    return tensor.new_empty(tensor.shape, dtype=dtype)


def as_numbers(tensor: Tensor) -> Tensor:
    """The tensor with its numbers in memory: a view may negate them, a zero may have none."""
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return tensor.resolve_neg()


def fill(call: array[int], name: str, tensors: Sequence[Tensor | None]) -> None:
    """The addresses of `tensors` from the field `name` on, null for None."""
    for i, tensor in enumerate(tensors, AT[name]):
        if tensor is not None:
            call[i] = tensor.data_ptr()
