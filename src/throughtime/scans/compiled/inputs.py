"""What a program's library reads, as one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """Shapes as in `scan`, vectors and state in the cell's order; the order of the operators."""

    x: Tensor
    W_x: Tensor
    W_a: Tensor
    b: Tensor
    vectors: Sequence[Tensor]
    state: Sequence[Tensor]
    lengths: Tensor | None = None
    reset: Tensor | None = None

    @property
    def leaves(self) -> list[Tensor]:
        """What has a gradient: x, W_x, W_a, b, the vectors, the state."""
        return [*self[:4], *self.vectors, *self.state]

    def of(self, leaves: Sequence[Tensor]) -> Inputs:
        """The same with other leaves."""
        x, W_x, W_a, b, *rest = leaves
        V = len(self.vectors)
        return Inputs(x, W_x, W_a, b, rest[:V], rest[V:], self.lengths, self.reset)
