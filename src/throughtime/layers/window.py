"""The fixed window, in a recurrent stack's place: it measures what recurrence is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .stack import drop


class Recent(NamedTuple):
    """The last k − 1 inputs, [k − 1, B, n_x]: all that a window has of the past."""

    x: Tensor


class Window(nn.Module):
    """A feed-forward network that sees the last k inputs side by side, at every position alike.

        h<0>,t = [x<t-k+1>, …, x<t-1>, x<t>];  h<l>,t = tanh(W_l h<l-1>,t + b_l)

    It is used as a `Stack` is: `run` and `initial_state`. The state is the last k − 1 inputs, so
    splitting a sequence and carrying the state equals the whole.
    Shapes: x [T, B, n_x] → y [T, B, n], n the last layer's size. Initial values: state zero,
    weights as in torch.nn.Linear. Source: Bengio et al. 2003, without direct connections from input
    to softmax. Oracle: each position by itself.
    """

    def __init__(
        self, context: int, input_size: int, hidden_sizes: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.context, self.input_size = context, input_size
        self.dropout = dropout
        sizes = [context * input_size, *hidden_sizes]
        self.output_size = sizes[-1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def run(self, x: Tensor, state: Recent, lengths: None, reset: None) -> tuple[Tensor, Recent]:
        """y and the last inputs; dropout acts between layers. A stream has no lengths or resets."""
        T, k = len(x), self.context
        known = torch.cat([state.x.to(x.dtype), x])  # position t of x stands at t + k − 1
        y = torch.cat([known[j : j + T] for j in range(k)], -1)
        for i, layer in enumerate(self.layers):
            if i and self.training:
                y = drop(y, self.dropout, False)
            y = torch.tanh(layer(y))
        return y, Recent(known[T:])

    def initial_state(self, batch: int) -> Recent:
        """Zeros, as before the first input."""
        like = self.layers[0].weight
        return Recent(like.new_zeros(self.context - 1, batch, self.input_size))  # type: ignore[operator]
