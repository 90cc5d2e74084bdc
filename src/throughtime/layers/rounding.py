"""Weights rounded to what fewer bits hold: bfloat16, or integers of a byte with a scale."""

from __future__ import annotations

import torch
from torch import Tensor

STORED = ("float32", "bf16", "int8")
"""How weights may be stored while they are frozen."""

LARGEST = 127
"""Of the integers: a row's largest number is so many of its scale."""


def in_bytes(W: Tensor) -> tuple[Tensor, Tensor]:
    """W [m, n] as integers in −127 … 127 and what one of each row stands for, scales [m]."""
    scale = W.abs().amax(1) / LARGEST if W.shape[1] else W.new_ones(len(W))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (W / scale[:, None]).round().clamp(-LARGEST, LARGEST), scale


def rounded(W: Tensor, stored: str) -> Tensor:
    """The numbers that are left of a matrix [m, n]."""
    if stored == "bf16":
        return W.to(torch.bfloat16).to(W.dtype)
    if stored == "int8":
        integers, scale = in_bytes(W)
        return integers * scale[:, None]
    return W
