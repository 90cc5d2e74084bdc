"""Resets to a state that is not zero, for backends whose time loop knows zero alone.

A reset starts a new sequence, so that a stream with resets is a ragged batch: each piece between
two of them is a row of its own, from its own initial state. All rows are one scan without resets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..ground import lengths as ragged
from .contract import Problem


def by_rows(run: Callable[[Problem], tuple[Tensor, Any]], problem: Problem) -> tuple[Tensor, Any]:
    """`run` on the pieces of `problem` as rows of one ragged batch; results as of the whole."""
    cell, w, x, state, lengths, reset, restart, streams = problem
    T, B, _ = x.shape
    if T == 0 or B == 0 or reset is None:
        return run(problem._replace(reset=None, restart=None))
    alive = x.new_ones(T, B, dtype=torch.bool) if lengths is None else ragged.mask(lengths, T)
    resets = reset & alive
    starts = resets.clone()
    starts[0] = True
    row = (starts.T.flatten().cumsum(0) - 1).view(B, T).T  # [T, B], rows sequence by sequence
    owner, begin = starts.T.nonzero().unbind(1)
    step = torch.arange(T, device=x.device)[:, None] - begin[row]
    sizes = torch.bincount(row[alive], minlength=len(owner))
    longest = int(sizes.max())
    at = step[alive], row[alive]

    def in_rows(part: Tensor) -> Tensor:
        return part.new_zeros(longest, len(owner), part.shape[-1]).index_put(at, part[alive])

    pieces = [in_rows(stream.expand(T, B, -1)) for stream in streams]
    fresh = resets[begin, owner][:, None]
    first = cell.State(*(torch.where(fresh, r[owner], s[owner]) for r, s in zip(restart, state)))
    y, final = run(Problem(cell, w, in_rows(x), first, sizes, streams=pieces))
    whole = y.new_zeros(T, B, y.shape[-1]).index_put(alive.nonzero(as_tuple=True), y[at])
    return whole, cell.State(*(part[row[-1]] for part in final))
