"""The layers of a frozen stack as the engine reads them, or why it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..cells import Cell, Weights
from ..layers.frozen import Frozen
from ..scans import derived
from ..scans.compiled import padding, programs
from ..scans.compiled.even import evened, uneven, units_of
from .packing import Packing
from .structs import Layer

FOLDED = 1 << 28
"""Multiplications that making W_x x + b of all tokens may take: some milliseconds."""


def program_of(cell: Cell, w: Weights) -> str:
    """Of a cell with these sizes; begins with `programs.CANNOT` where there is none."""
    if uneven(cell):
        cell = cell.ask(evened, units_of(cell, w))
    return programs.find(cell)


def why_not(frozen: Frozen) -> str | None:
    """Why no program can step through a stack, or None."""
    layout = frozen.layout
    if layout.directions > 1:
        return "a bidirectional stack has no steps."
    if frozen.backend not in ("auto", "compiled"):
        return f"the backend is {frozen.backend!r}."
    W = frozen.weights[0].W_x
    if not W.is_cpu:
        return f"native steps run on the CPU; the weights are on {W.device}."
    if W.dtype not in (torch.float32, torch.float64):
        return f"native steps are for float32 and float64; the weights are {W.dtype}."
    for cell, w in zip(layout.cells, frozen.weights):
        if cell.inputs:
            return f"{cell!r} reads {', '.join(cell.inputs)} at each step, beside x."
        program = program_of(cell, w)
        if program.startswith(programs.CANNOT):
            reason = program.removeprefix(programs.CANNOT).rpartition(programs.END)[0]
            return f"{cell!r}: {reason}"
    return None


class Even(NamedTuple):
    """A layer's program, its weights as that reads them, and the sizes of the parts of its state.

    `masks` are what it reads beside x; `told` the first line of the program; `derives`: the
    matrices are made from the parameters.
    """

    program: str
    w: Weights
    cell: Cell
    sizes: tuple[int, ...]
    masks: list[Tensor]
    told: dict[str, Any]
    derives: bool

    @classmethod
    def of(cls, cell: Cell, w: Weights, sizes: Sequence[int]) -> Even:
        """Weights derived, and padded where parts differ in size."""
        program, derives, masks = program_of(cell, w), cell.derives, []
        w = derived(cell, w)
        if uneven(cell):
            cell, w, _, masks, _ = padding.even(cell, w)
        return cls(program, w, cell, tuple(sizes), masks, programs.facts(program), derives)


def packed(even: Even, number: int, n_x: int, adds: bool, stored: str, packing: Packing) -> Layer:
    """A layer of the cell `number` of the program."""
    stored = "float32" if even.derives else stored  # made from what is rounded
    w, told = even.w, even.told
    n, G = w.W_a.shape[-1], len(even.cell.gates)
    gates, inputs = told["gates"], told["inputs"]
    layer = Layer(cell=number, n=n, n_x=n_x, adds_input=adds)
    of_x = list(gates[:inputs])
    b = w.b.unflatten(0, (G, n)).new_zeros(len(gates), n)
    b[:inputs] = w.b.unflatten(0, (G, n))[of_x]
    columns = w.W_x.shape[-1]
    layer.bias = packing.at(packing.laid_out(b))
    if inputs:
        layer.input = packing.gates(w.W_x, of_x, n, stored)
    if told["reads_x"] and (columns > n_x or packing.padded(n) > packing.padded(n_x)):
        layer.wide = packing.padded(max(n, columns))
    for k, (_, _, slot, count) in enumerate(told["products"]):
        layer.products[k] = packing.gates(w.W_a, gates[slot : slot + count], n, stored)
    for k, name in enumerate(even.cell.vectors):
        layer.vectors[k] = packing.vector(w.vectors[name].expand(n))
    for k, mask in enumerate(even.masks):
        layer.streams[k] = packing.vector(mask.flatten().to(b.dtype))
    return layer


def looks_up(even: Even, adds: bool, table: Tensor) -> bool:
    """Whether W_x x + b of every token is made once, for a first layer."""
    n, inputs = even.w.W_a.shape[-1], even.told["inputs"]
    if even.told["reads_x"] or adds:
        return False
    return 0 < table.numel() * inputs * n <= FOLDED
