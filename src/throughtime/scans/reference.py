"""The reference backend: the equations as they stand, one step at a time. The oracle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..cells import Cell, Weights
from ..ground import lengths as ragged


def why_not(cell: Cell, w: Weights, x: Tensor) -> str | None:
    """The reference runs every cell everywhere."""
    return None


def run(
    cell: Cell, w: Weights, x: Tensor, state: Any, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Any]:
    """Shapes as in `scan`."""
    T, B, _ = x.shape
    alive = None
    if lengths is not None:
        x = ragged.zero_padding(x, lengths)
        alive = ragged.mask(lengths, T)[..., None]
    bound = cell.bind(w)
    ys = []
    for t in range(T):
        before = state
        if reset is not None:
            zero = x.new_zeros(())
            before = cell.State(*(torch.where(reset[t][:, None], zero, s) for s in state))
        after = cell.step(bound, x[t], before)
        if alive is None:
            state = after
            ys.append(after[0])
        else:
            state = cell.State(*(torch.where(alive[t], new, old) for new, old in zip(after, state)))
            ys.append(torch.where(alive[t], after[0], after[0].new_zeros(())))
    y = torch.stack(ys) if ys else x.new_zeros(0, B, w.W_a.shape[-1])
    return y, state
