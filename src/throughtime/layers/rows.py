"""Rows that have no part in each other's result, to the last bit, however many there are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .frozen import Freezable

ON_CPU, ELSEWHERE = 16, 128
"""Rows of a block: what a matrix costs to read is worth so many rows at least."""


def block_of(device: torch.device) -> int:
    """How many rows a product takes at a time."""
    return ON_CPU if device.type == "cpu" else ELSEWHERE


def in_blocks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`function` of rows [B, …], each as it would be by itself.

    A library's product of another number of rows may sum in another order. Here it has always the
    same number: the last block is filled up with zeros.
    """
    B, size = len(rows), block_of(rows.device)
    missing = -B % size
    filled = F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, missing)) if missing else rows
    made = [function(block) for block in filled.split(size)]
    return (made[0] if len(made) == 1 else torch.cat(made))[:B]


def steps_row_by_row(model: nn.Module) -> bool:
    """Whether steps of a model's stacks give the same bits for any number of rows: those of frozen
    stacks in native code do."""
    stacks = [module for module in model.modules() if isinstance(module, Freezable)]
    return bool(stacks) and all(
        stack._frozen is not None and stack._frozen.why_not is None for stack in stacks
    )
