"""What a program's library reads, as one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """Shapes as in `scan`, vectors, state and streams in the cell's order; the operators' order.

    `streams` [T, B, n] are the cell's inputs beside x: real, or truths.
    """

    x: Tensor
    W_x: Tensor
    W_a: Tensor
    b: Tensor
    vectors: Sequence[Tensor]
    state: Sequence[Tensor]
    streams: Sequence[Tensor] = ()
    lengths: Tensor | None = None
    reset: Tensor | None = None

    @property
    def leaves(self) -> list[Tensor]:
        """What may have a gradient: x, W_x, W_a, b, the vectors, the state, the streams."""
        return [*self[:4], *self.vectors, *self.state, *self.streams]

    def of(self, leaves: Sequence[Tensor]) -> Inputs:
        """The same with other leaves."""
        sizes = len(self.vectors), len(self.state)
        return Inputs.made(leaves, sizes, self.lengths, self.reset)

    @staticmethod
    def made(
        leaves: Sequence[Tensor],
        sizes: tuple[int, int],
        lengths: Tensor | None,
        reset: Tensor | None,
    ) -> Inputs:
        """From the leaves; `sizes` tells how many vectors and states are among them."""
        V, K = sizes
        x, W_x, W_a, b, *rest = leaves
        return Inputs(x, W_x, W_a, b, rest[:V], rest[V : V + K], rest[V + K :], lengths, reset)
