"""States of stacks, of either layout: taken apart, carried, cut from the graph, reordered, saved.

A stack of one cell and one size has one state of that cell, its parts [L·D, B, n]. Any other has a
tuple with one state for each layer, their parts [D, B, n of the layer]. A part that has a size of
its own has that in place of n. Sequences are the second dimension of every part, whatever the
layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import scans
from ..cells import Cell
from ..ground.errors import InputError, ShapeError


def each(function: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """`function` of every tensor of a state, and of those in its place in other states."""
    if isinstance(state, Tensor):
        return function(state, *others)
    return rebuilt(state, (each(function, *parts) for parts in zip(state, *others, strict=True)))


def rebuilt(state: Any, parts: Iterable[Any]) -> Any:
    """A state or a tuple of states of the same kind from other parts."""
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def tensors(state: Any) -> list[Tensor]:
    """Every tensor of a state, in order: what a checkpoint holds of it."""
    return [state] if isinstance(state, Tensor) else [t for part in state for t in tensors(part)]


def like(state: Any, parts: Sequence[Tensor]) -> Any:
    """A state laid out as `state` from what `tensors` gave; `ValueError` for another number."""
    if len(parts) != len(tensors(state)):
        raise ValueError(f"{len(parts)} parts of a state that has {len(tensors(state))}")
    given = iter(parts)
    return each(lambda _: next(given), state)


class Layout:
    """Where the states of a stack's scans stand: layer by layer, forward before backward.

    `sizes` n of each layer; `inputs` how wide the x of each is; `widths` of each the sizes of the
    parts of its state, `outputs` that of the first, which is what the next layer sees of it.
    """

    def __init__(
        self, cells: Sequence[Cell], sizes: Sequence[int], input_size: int, directions: int
    ) -> None:
        self.cells, self.sizes, self.directions = tuple(cells), tuple(sizes), directions
        inputs, widths = [input_size], []
        for cell, n in zip(self.cells, self.sizes):
            widths.append(cell.state_sizes(n, inputs[-1]))
            inputs.append(widths[-1][0] * directions)
        self.widths, self.inputs = tuple(widths), tuple(inputs[:-1])
        self.outputs = tuple(of[0] for of in widths)
        alike = len(set(zip(self.sizes, self.widths))) == 1
        self.uniform = alike and all(cell == cells[0] for cell in cells)

    def apart(self, state: Any) -> list[Any]:
        """The state of each scan, its parts [B, n]."""
        if self.uniform:
            State, count = self.cells[0].State, len(self.cells) * self.directions
            return [State(*(part[k] for part in state)) for k in range(count)]
        return [
            cell.State(*(part[d] for part in one))
            for cell, one in zip(self.cells, state)
            for d in range(self.directions)
        ]

    def together(self, states: Sequence[Any]) -> Any:
        """The stack's state from that of each scan."""
        if self.uniform:
            return self.cells[0].State(*(torch.stack(parts) for parts in zip(*states)))
        return tuple(
            cell.State(*(torch.stack(parts) for parts in zip(*states[k : k + self.directions])))
            for cell, k in zip(self.cells, range(0, len(states), self.directions))
        )

    def by_layer(self, state: Any) -> list[Any]:
        """The state of each layer, its parts [D, B, n]."""
        if not self.uniform:
            return list(state)
        rows = range(0, len(self.cells) * self.directions, self.directions)
        return [each(lambda part, k=k: part[k : k + self.directions], state) for k in rows]

    def of_layers(self, states: Sequence[Any]) -> Any:
        """The stack's state from that of each layer."""
        return each(lambda *parts: torch.cat(parts), *states) if self.uniform else tuple(states)

    def check(self, state: Any, batch: int) -> Any:
        """The state; raise `ShapeError` unless it is one of this layout."""
        D = self.directions
        if self.uniform:
            rows = (len(self.cells) * D, batch)
            return scans.check_state(self.cells[0], state, rows, self.widths[0])
        if not isinstance(state, (tuple, list)) or hasattr(state, "_fields"):
            came = type(state).__name__
        elif len(state) == len(self.cells):
            layers = enumerate(zip(self.cells, state, self.widths), 1)
            return tuple(
                scans.check_state(cell, one, (D, batch), sizes, f" of layer {layer}")
                for layer, (cell, one, sizes) in layers
            )
        else:
            came = f"{len(state)} states"
        raise ShapeError(
            f"the state must be a tuple with one state for each of {len(self.cells)} layers, which "
            f"differ in cell or size; got {came}."
        )


def layers_of(
    cell: Any, hidden_size: int | Sequence[int], num_layers: int | None
) -> tuple[tuple[Cell, ...], tuple[int, ...]]:
    """The cell and the size of each layer; one that is not a sequence is that of all layers."""
    cells: Any = cell if isinstance(cell, (list, tuple)) else None
    sizes: Any = hidden_size if isinstance(hidden_size, (list, tuple)) else None
    depths = {
        name: depth
        for name, depth in (
            ("num_layers", num_layers),
            ("hidden_size", None if sizes is None else len(sizes)),
            ("cell", None if cells is None else len(cells)),
        )
        if depth is not None
    }
    if len(set(depths.values())) > 1:
        said = ", ".join(
            f"num_layers is {depth}" if name == "num_layers" else f"{name} has {depth}"
            for name, depth in depths.items()
        )
        raise InputError(f"how many layers? {said}: give as many, or leave num_layers out.")
    depth = next(iter(depths.values()), 1)
    of_layers: Any = cells if cells is not None else [cell] * depth
    widths: Any = sizes if sizes is not None else [hidden_size] * depth
    for name, values in (("num_layers", [depth]), ("hidden_size", widths)):
        for value in values:
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
    return tuple(map(scans.as_cell, of_layers)), tuple(widths)
