"""The reference backend: the equations as they stand, one step at a time. The oracle.

In a graph of torch.export under `throughtime.portable()` the loop is torch's own (`looped`).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ..ground import lengths as ragged
from ..ground.tracing import jit_tracing, portable_now
from . import looped
from .contract import Problem, Runnable

TORCHS: bool = False


def prepare(problem: Problem) -> Runnable:
    """The reference runs every cell everywhere."""
    if torch.compiler.is_compiling() and portable_now() == "loop":
        return Runnable(looped.run, cost, interpreted=True)
    return Runnable(run, cost, interpreted=True)


def run(problem: Problem) -> tuple[Tensor, Any]:
    """Shapes as in `scan`."""
    cell, w, x, state, lengths, reset, restart, streams = problem
    T, B, _ = x.shape
    if jit_tracing():
        warnings.warn(
            f"torch.jit.trace records this loop of {int(T)} steps and takes no other number of "
            "them; torch.export does.",
            torch.jit.TracerWarning,  # pyright: ignore[reportPrivateImportUsage]
            stacklevel=2,
        )
    n, n_x = cell.width(w), x.shape[-1]
    streams = [
        stream.expand(T, B, cell.size(cell.sizes.get(name, "n"), n, n_x))
        for name, stream in zip(cell.inputs, streams)
    ]
    alive = None
    if lengths is not None:
        x, *streams = (ragged.zero_padding(part, lengths) for part in (x, *streams))
        alive = ragged.mask(lengths, T)[..., None]
    bound = cell.bind(w)
    zeros = (x.new_zeros(()),) * len(cell.state)
    ys = []
    for t in range(T):
        before = state
        if reset is not None:
            new = reset[t][:, None]
            before = cell.State(*(torch.where(new, r, s) for r, s in zip(restart or zeros, state)))
        for name, stream in zip(cell.inputs, streams):
            setattr(bound, name, stream[t].to(x.dtype))
        after = cell.step(bound, x[t], before)
        if alive is None:
            state = after
            ys.append(after[0])
        else:
            state = cell.State(*(torch.where(alive[t], new, old) for new, old in zip(after, state)))
            ys.append(torch.where(alive[t], after[0], after[0].new_zeros(())))
    y = torch.stack(ys) if ys else x.new_zeros(0, B, state[0].shape[-1])
    return y, state


def cost(problem: Problem) -> float:
    """Above all others."""
    return 10.0
