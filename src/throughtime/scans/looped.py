"""The equations in a loop of torch's own, which a graph holds as one operation: any cell, any time.

What `throughtime.portable()` puts in a graph of torch.export in the compiled scan's place. The
oracle is `reference`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..ground import lengths as ragged
from .contract import Problem


def run(problem: Problem) -> tuple[Tensor, Any]:
    """Shapes as in `scan`; at least one step. No gradient comes back: torch makes a graph of the
    backward too, which takes it minutes and takes no other length."""
    from torch._higher_order_ops.scan import scan as loop

    cell, w, x, state, lengths, reset, restart, streams = tree_map_only(
        Tensor, Tensor.detach, tuple(problem)
    )
    T, B, n_x = x.shape
    n = cell.width(w)
    streams = [
        stream.expand(T, B, cell.size(cell.sizes.get(name, "n"), n, n_x)).to(x.dtype)
        for name, stream in zip(cell.inputs, streams)
    ]
    given = [x, *streams]
    if lengths is not None:
        given = [ragged.zero_padding(part, lengths) for part in given]
        given.append(ragged.mask(lengths, T)[..., None])
    if reset is not None:
        given.append(reset[..., None])
    zeros = (x.new_zeros(()),) * len(cell.state)
    inputs = len(cell.inputs)

    def step(before: list[Tensor], given: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        x, *more = given
        streams, more = more[:inputs], more[inputs:]
        if reset is not None:
            again = restart or zeros
            before = [torch.where(more[-1], r, s) for r, s in zip(again, before)]
        bound = cell.bind(w)  # here, since views of one tensor may not come in
        for name, stream in zip(cell.inputs, streams):
            setattr(bound, name, stream)
        after = list(cell.step(bound, x, cell.State(*before)))
        y = after[0]
        if lengths is not None:
            after = [torch.where(more[0], new, old) for new, old in zip(after, before)]
            y = torch.where(more[0], y, y.new_zeros(()))
        return [part.clone() for part in after], [y.clone()]  # nothing that comes out is shared

    final, (y,) = loop(step, [part.clone() for part in state], given)
    return y, cell.State(*final)
