"""Ragged batches: masks, reversal and checks for sequences of different lengths.

Time-major throughout: [T, B, …]; `lengths [B]` counts the true steps of each sequence, zero
allowed. Steps at or beyond the length are padding and never change a result or a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ShapeError
from .tracing import numbers_hidden


def check(lengths: Tensor, T: int, B: int, device: torch.device) -> Tensor:
    """Return `lengths` as int64 [B] on `device`; raise `ShapeError` if they do not fit [T, B]."""
    lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point() or lengths.dtype == torch.bool or lengths.shape != (B,):
        raise ShapeError(
            f"lengths must be integers of shape [{B}], one for each sequence; "
            f"got {lengths.dtype} {list(lengths.shape)}."
        )
    if B and not numbers_hidden() and (lengths.min() < 0 or lengths.max() > T):
        raise ShapeError(
            f"lengths must lie between 0 and T = {T}; got {int(lengths.min())} "
            f"to {int(lengths.max())}."
        )
    return lengths.to(device, torch.int64)


def mask(lengths: Tensor, T: int) -> Tensor:
    """[T, B], true where t < length."""
    return torch.arange(T, device=lengths.device)[:, None] < lengths


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """`x [T, B, …]` with its padding replaced by zeros, whatever stood there (NaN included)."""
    keep = mask(lengths, x.shape[0]).reshape(*x.shape[:2], *([1] * (x.dim() - 2)))
    return torch.where(keep, x, x.new_zeros(()))


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse `x [T, B, …]` in time, each sequence within its own length; padding stays put."""
    if lengths is None:
        return x.flip(0)
    T = x.shape[0]
    t = torch.arange(T, device=x.device)[:, None]
    index = torch.where(t < lengths, lengths - 1 - t, t)
    index = index.reshape(*x.shape[:2], *([1] * (x.dim() - 2))).expand_as(x)
    return x.gather(0, index)
