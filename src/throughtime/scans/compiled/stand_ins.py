"""What `step` is run on to see what it does: small tensors, and gates that tell of their halves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from ...cells import Cell, declared
from ...cells.base import Gate, Matrix, as_it_is
from .even import Even


@dataclass(frozen=True)
class StandIn:
    """The size and the kind of the tensors that stand for x, states, vectors and streams.

    Sizes of a cell's own differ from n and from one another.
    """

    batch: int
    width: int
    dtype: torch.dtype

    def zeros(self, width: int) -> Tensor:
        """x, a state, a vector for each sequence, or a stream."""
        return torch.zeros(self.batch, width, dtype=self.dtype)

    def sizes(self, cell: Cell) -> dict[str, int]:
        """The width that stands for each size of the cell, by its name."""
        names = declared.names(cell.cell) if isinstance(cell, Even) else ("n",)
        return {name: self.width + 4 * k for k, name in enumerate(names)}


STAND_INS = (
    StandIn(2, 3, torch.float32),
    StandIn(5, 4, torch.float64),
    StandIn(1, 1040, torch.float32),
)
"""One sequence and a large width are among them: code may treat those apart."""


class Given(NamedTuple):
    """What `step` reads: states [B, size], vectors [size], streams [B, size]."""

    x: Tensor
    states: list[Tensor]
    vectors: list[Tensor]
    streams: list[Tensor]


def given(cell: Cell, stand_in: StandIn) -> Given:
    """Zeros for a cell, of the sizes of its parts."""
    sizes, zeros = stand_in.sizes(cell), stand_in.zeros

    def width(part: str) -> int:
        return sizes[cell.size_of(part)] if isinstance(cell, Even) else stand_in.width

    masks = cell.masked if isinstance(cell, Even) else ()
    streams = [zeros(width(name)) for name in cell.inputs[: len(cell.inputs) - len(masks)]]
    return Given(
        zeros(sizes[cell.of_x] if isinstance(cell, Even) else stand_in.width),
        [zeros(width(part)) for part in cell.state],
        [zeros(width(name))[0] for name in cell.vectors],
        streams + [zeros(sizes[name]) for name in masks],
    )


Half = Callable[[str, Tensor, str, int], Tensor]
"""What a half of a gate is: of "input", "recurrent" or "matrix", its argument, the gate's name, and
how many units it gives."""


class StandInGate(Gate):
    """What `step` sees in place of a gate."""

    def __init__(self, name: str, half: Half, size: int) -> None:
        self.name, self.half, self.size = name, half, size

    def input(self, x: Tensor) -> Tensor:
        return self.half("input", x, self.name, self.size)

    def recurrent(self, v: Tensor) -> Tensor:
        return self.half("recurrent", v, self.name, self.size)


class StandInMatrix(Matrix):
    """What `step` sees in place of a matrix."""

    def __init__(self, name: str, half: Half, size: int) -> None:
        self.name, self.half, self.size = name, half, size

    def __call__(self, v: Tensor) -> Tensor:
        return self.half("matrix", v, self.name, self.size)


def step(
    cell: Cell,
    stand_in: StandIn,
    half: Half,
    x: Tensor,
    states: Sequence[Tensor],
    vectors: Sequence[Tensor],
    streams: Sequence[Tensor],
) -> list[Tensor]:
    """The new states that `cell.step` makes of these; of an even cell, those of the cell itself."""
    sizes = stand_in.sizes(cell)
    inside = cell.cell if isinstance(cell, Even) else cell
    w: dict[str, object] = {name: StandInGate(name, half, sizes["n"]) for name in inside.gates}
    if isinstance(cell, Even):
        of = inside.matrices.items()
        w |= {name: StandInMatrix(name, half, sizes[gives]) for name, (gives, _) in of}
    w |= zip((*inside.vectors, *inside.inputs), (*vectors, *streams))
    w |= {inside.candidate: as_it_is} if inside.candidate else {}
    return list(inside.step(SimpleNamespace(**w), x, inside.State(*states)))
