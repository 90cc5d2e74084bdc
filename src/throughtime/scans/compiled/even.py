"""Cells whose states have sizes of their own, or matrices beside their gates, as even cells.

The time loops know one width n, and gates. So every state, vector, stream and matrix is padded with
zeros to the widest size, and each matrix becomes a gate of which one half is read. A unit beyond a
part's own size must neither be seen by a reduction nor give a NaN to anybody: for each size that is
not the widest, a mask "there.SIZE" of the units that exist is one more input beside x, and the
tracer lets nothing pass where it is zero, in no direction. How many units there are is no part of a
program: one serves all sizes that have the same widest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ...cells import Bound, Cell, Weights, declared
from ...cells.base import Gate, as_it_is
from ...cells.noisy import Wrapped
from ..identity import Key, key_of

BEFORE = "there."
"""With a dot: no name of a cell's own."""


def uneven(cell: Cell) -> bool:
    """Whether a cell has more than the time loops know."""
    return bool(cell.sizes or cell.matrices or cell.takes)


class Even(Wrapped, wraps=True):
    """An uneven cell over padded parts; `whole` are the sizes that need no mask, being the widest.

    Its gates are the cell's, then its matrices. `step` is what a program computes, for second
    derivatives: it reads the sizes from the masks.
    """

    def __init__(self, cell: Cell, whole: tuple[str, ...]) -> None:
        masked = [name for name in declared.names(cell) if name not in whole]
        super().__init__(cell, *(BEFORE + name for name in masked))
        gates = (*cell.gates, *cell.matrices)
        vars(self).update(gates=gates, takes="", scalars=(), derives=False)
        self.whole, self.masked = whole, tuple(masked)

    @property
    def sizes(self) -> Mapping[str, str]:
        return {}

    @property
    def matrices(self) -> Mapping[str, tuple[str, str]]:
        return {}

    def size_of(self, part: str) -> str:
        """The name of the size of a state, a vector or an input."""
        return self.cell.sizes.get(part, "n")

    @property
    def taken(self) -> str:
        """The name of the size that gates take."""
        return declared.taken_by(self.cell)

    @property
    def of_x(self) -> str:
        """That of x where the equations read x itself: what they combine with units, or its own."""
        return "x" if "x" in declared.names(self.cell) else "n"

    def __repr__(self) -> str:
        return repr(self.cell)

    def bind(self, w: Weights) -> Bound:
        gates = zip(self.gates, *(part.chunk(len(self.gates)) for part in w[:3]), strict=True)
        return Bound({g: Gate(*parts) for g, *parts in gates} | w.vectors)

    def step(self, w: Any, x: Tensor, s: Any) -> Any:
        cell, N = self.cell, s[0].shape[-1]
        if not len(x):
            return self.State(*s)
        units: dict[str, int] = {}
        units |= dict.fromkeys(self.whole, int(N))
        units |= {name: int(getattr(w, BEFORE + name)[0].sum()) for name in self.masked}
        if "x" in units:
            x = x[..., : units["x"]]
        n, taken = units["n"], units[self.taken]

        def own(part: str, value: Tensor) -> Tensor:
            return value[..., : units[self.size_of(part)]]

        seen: dict[str, Any] = {cell.candidate: as_it_is} if cell.candidate else {}
        for name in cell.gates:
            gate = getattr(w, name)
            seen[name] = Gate(gate.W_x[:n, : x.shape[-1]], gate.W_a[:n, :taken], gate.b[:n])
        for name, (gives, takes) in cell.matrices.items():
            seen[name] = _Part(getattr(w, name), units[gives], units[takes], x)
        for name in (*cell.vectors, *cell.inputs):
            seen[name] = own(name, getattr(w, name))
        state = cell.State(*(own(name, part) for name, part in zip(cell.state, s)))
        made = cell.step(Bound(seen), x, state)
        return self.State(*(F.pad(part, (0, N - part.shape[-1])) for part in made))


class _Part:
    """A matrix within a gate that is padded around it."""

    def __init__(self, gate: Gate, gives: int, takes: int, x: Tensor) -> None:
        self.gate, self.gives, self.takes, self.x = gate, gives, takes, x

    def __call__(self, v: Tensor) -> Tensor:
        if v is self.x:
            return F.linear(v, self.gate.W_x[: self.gives, : v.shape[-1]])
        return F.linear(v, self.gate.W_a[: self.gives, : self.takes])


_evened: dict[tuple[Key, tuple[str, ...]], Even] = {}


def evened(cell: Cell, units: Mapping[str, int]) -> Even:
    """The even cell for parts of these sizes."""
    widest = max(units.values())
    whole = tuple(name for name, size in units.items() if size == widest)
    key = key_of(cell)
    known = None if key is None else _evened.get((key, whole))
    if known is None:
        known = Even(cell, whole)
        if key is not None:
            _evened[key, whole] = known
    return known


def units_of(cell: Cell, w: Weights) -> dict[str, int]:
    """How many units each size has, by its name."""
    n, n_x = cell.width(w), w.W_x.shape[-1]
    if n == 0:  # asked about the cell alone: most are widest in n
        return {name: 1 + (name == "n") for name in declared.names(cell)}
    return {name: cell.size(name, n, n_x) for name in declared.names(cell)}
