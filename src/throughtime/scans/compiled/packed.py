"""The layers of a stack with their weights packed: one native call for a step of all of them.

What each field means: `runtime/step.h`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...cells import Cell, Weights
from ..checks import derived
from . import build, padding, programs
from .call import MOST, Call, Stream, as_numbers, scratch
from .even import evened, uneven, units_of

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64


class Layer(ctypes.Structure):
    """`struct Layer` of `runtime/step.h`."""

    _fields_ = [
        ("call", Call),
        ("part", _integer * MOST),
        *((name, _integer) for name in ("place", "adds_input")),
        *((name, _pointer) for name in ("run", "size")),
    ]


class Step(ctypes.Structure):
    """`struct Step` of `runtime/step.h`."""

    _fields_ = [
        ("count", _integer),
        ("layers", _pointer),
        *((name, _integer) for name in ("B", "threads", "checked")),
        ("x", _pointer),
        ("x_batch", _integer),
        *((name, _pointer) for name in ("before", "after", "y", "scratch")),
    ]


class Packed:
    """Layers that step together, over copies of their weights.

    `places`: of each layer, the first of its parts of the state and the place in each part;
    `adds_input`: whether x + y goes on; `halves`: matrices that bfloat16 holds are stored so.
    Any thread may step at any time.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        weights: Sequence[Weights],
        places: Sequence[tuple[int, int]],
        adds_input: Sequence[bool],
        halves: bool,
    ) -> None:
        self.dtype = weights[0].W_a.dtype
        self.held: list[Tensor] = []
        self.layers = (Layer * len(cells))()
        kind = kind_of(self.dtype, halves)
        self.padded: dict[int, int] = {}  # the width of each part of the state that is padded
        for layer, cell, w, (part, place), adds in zip(
            self.layers, cells, weights, places, adds_input
        ):
            w, masks = derived(cell, w), []
            if uneven(cell):
                cell, w, widest, masks, _ = padding.even(cell, w)
                self.padded |= dict.fromkeys(range(part, part + len(cell.state)), widest)
            library = build.load(cell.ask(programs.find), kind, repr(cell))
            self.library = library
            self._pack(layer.call, library, cell, w)
            for i, mask in enumerate(masks):  # the same for all sequences
                layer.call.streams[i] = Stream(mask.data_ptr(), 0, 0, 1, True)
                self.held.append(mask)
            layer.part[:] = range(part, part + MOST)
            layer.place, layer.adds_input = place, adds
            layer.run = ctypes.cast(library.layer_step, _pointer)
            layer.size = ctypes.cast(library.layer_scratch, _pointer)
            theirs, ours = library.layer_size(), ctypes.sizeof(Layer)
            if theirs != ours:
                raise RuntimeError(
                    f"struct Layer has {theirs} bytes in runtime/step.h, {ours} in {__file__}."
                )
        self.run, self.size = (
            function_of(self.library, name, _integer) for name in ("step", "step_scratch")
        )
        self.head = (len(cells), ctypes.addressof(self.layers))
        self.known = (-1, 0, 0)  # the most sequences seen, threads, and the scratch that they need
        parts = max(part + len(cell.state) for cell, (part, _) in zip(cells, places))
        self.pointers = _pointer * parts

    def _pack(self, call: Call, library: ctypes.CDLL, cell: Cell, w: Weights) -> None:
        """Sizes and weights of a layer, as a call without steps has them."""
        W_x, W_a, b, *vectors = (
            as_numbers(part.detach()).clone(memory_format=torch.contiguous_format)
            for part in (*w[:3], *(w.vectors[name] for name in cell.vectors))
        )
        call.n_x, call.n = W_x.shape[-1], W_a.shape[-1]
        call.W_x, call.W_a, call.b = W_x.data_ptr(), W_a.data_ptr(), b.data_ptr()
        call.vectors[: len(vectors)] = [vector.data_ptr() for vector in vectors]
        size = function_of(library, "packed_size", _integer)(ctypes.addressof(call))
        packed = torch.empty(size, dtype=self.dtype, device="cpu")
        call.packed = packed.data_ptr()
        function_of(library, "pack", None)(ctypes.addressof(call))
        call.W_x = call.W_a = call.b = None
        self.held += [packed, *vectors]

    def step(
        self, x: Tensor, before: list[Tensor], after: list[Tensor], y: Tensor, checked: bool
    ) -> bool:
        """One step; x [..., B, n_x] and y [..., B, n] have one row for each sequence.

        `before` and `after` are the parts of the state; all is contiguous. False where x was to be
        checked and is not finite: then nothing was computed.
        """
        B, threads = x.shape[-2], torch.get_num_threads()
        x = padding.wider(x, max(self.layers[0].call.n_x, x.shape[-1]))
        call = Step(*self.head, B, threads, checked, x.data_ptr(), x.stride(-2))
        most, known, size = self.known
        if most < B or threads != known:
            size = self.size(ctypes.addressof(call))
            self.known = B, threads, size
        results = [*after, y]
        if self.padded:
            widths = [self.padded.get(part, 0) for part in range(len(before))]
            before = [padding.wider(p, w or p.shape[-1]) for p, w in zip(before, widths)]
            after = [r.new_empty(p.shape) for r, p in zip(results, before)]
            y = y.new_empty(*y.shape[:-1], self.layers[-1].call.n)
        given = self.pointers(*[part.data_ptr() for part in before])
        made = self.pointers(*[part.data_ptr() for part in after])
        call.before, call.after = ctypes.addressof(given), ctypes.addressof(made)
        call.y, call.scratch = y.data_ptr(), scratch(size, self.dtype)
        took = bool(self.run(ctypes.addressof(call)))
        if self.padded:
            for result, made_wider in zip(results, [*after, y]):
                result.copy_(made_wider[..., : result.shape[-1]])
        return took


def kind_of(dtype: torch.dtype, halves: bool) -> str:
    """Which library steps: one of `build.KINDS`."""
    return build.STORED if halves else str(dtype).removeprefix("torch.")


def function_of(library: ctypes.CDLL, name: str, gives: Any) -> Any:
    """A function of a library that takes one pointer."""
    function = getattr(library, name)
    function.argtypes, function.restype = (_pointer,), gives
    return function


def derives_matrices(cell: Cell, w: Weights) -> bool:
    """Whether the matrices that `step` reads are others than the parameters."""
    made = w if type(cell).derived is Cell.derived else cell.derived(w)
    others = (made.matrices[name] is not W for name, W in w.matrices.items())
    return made.W_x is not w.W_x or made.W_a is not w.W_a or any(others)


def why_not(cell: Cell, w: Weights, halves: bool) -> str | None:
    """Why a layer cannot step with packed weights, or None; compiles it if need be."""
    dtype = w.W_a.dtype
    if dtype not in (torch.float32, torch.float64):
        return f"weights are packed in float32 and float64; they are {dtype}."
    if cell.inputs:
        return f"{cell!r} reads {', '.join(cell.inputs)} at each step, which a step is not given."
    if halves and derives_matrices(cell, w):
        return f"{cell!r} derives its matrices, which are then not those stored in bfloat16."
    if uneven(cell):
        cell = cell.ask(evened, units_of(cell, w))
    return cell.ask(programs.why_not, kind_of(dtype, halves))


def widths_why_not(cells: Sequence[Cell], weights: Sequence[Weights]) -> str | None:
    """Why a layer cannot read x itself from the rows that the layer below leaves; or None."""
    below = None
    for cell, w in zip(cells, weights):
        n, of = cell.width(w), cell
        if uneven(cell):
            units = units_of(cell, w)
            n, of = max(units.values()), cell.ask(evened, units)
            if below is not None and n > below and of.ask(programs.reads_x):
                return f"{cell!r} reads x itself, and has a part wider than the layer below: {n}."
        below = n
    return None
