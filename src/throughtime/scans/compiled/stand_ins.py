"""What `step` is run on to see what it does: small tensors, and gates that tell of their halves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from ...cells import Cell
from ...cells.base import Gate, as_it_is


@dataclass(frozen=True)
class StandIn:
    """The size and the kind of the tensors that stand for x, states, vectors and streams."""

    batch: int
    width: int
    dtype: torch.dtype

    def zeros(self) -> Tensor:
        """x, a state, or a stream."""
        return torch.zeros(self.batch, self.width, dtype=self.dtype)


STAND_INS = (
    StandIn(2, 3, torch.float32),
    StandIn(5, 4, torch.float64),
    StandIn(1, 1040, torch.float32),
)
"""One sequence and a large width are among them: code may treat those apart."""

Half = Callable[[str, Tensor, str], Tensor]
"""What a half of a gate is: of "input" or "recurrent", its argument and the gate's name."""


class StandInGate(Gate):
    """What `step` sees in place of a gate."""

    def __init__(self, name: str, half: Half) -> None:
        self.name, self.half = name, half

    def input(self, x: Tensor) -> Tensor:
        return self.half("input", x, self.name)

    def recurrent(self, v: Tensor) -> Tensor:
        return self.half("recurrent", v, self.name)


def step(
    cell: Cell,
    half: Half,
    x: Tensor,
    states: Sequence[Tensor],
    vectors: Sequence[Tensor],
    streams: Sequence[Tensor],
) -> list[Tensor]:
    """The new states that `cell.step` makes of these."""
    gates = {name: StandInGate(name, half) for name in cell.gates}
    more = zip((*cell.vectors, *cell.inputs), (*vectors, *streams))
    marks = {cell.candidate: as_it_is} if cell.candidate else {}
    w = SimpleNamespace(**gates, **dict(more), **marks)
    return list(cell.step(w, x, cell.State(*states)))
