"""Widths that give different cells the same number of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from ..ground.errors import InputError

WIDEST_TRIED = 1 << 16
"""Width beyond which no match is looked for."""


def parameters(task: Any, config: Any) -> int:
    """The parameters of the model that the prepared `task` would build with `config`.

    The model is built without its numbers (on torch's meta device), so the count is that of the
    model itself, whatever its shape, at no cost in memory.
    """
    other = copy.copy(task)
    other.config = config
    other.find_cells()
    other.device = torch.device("meta")
    with torch.device("meta"):
        model = other.build_model()
    return sum(p.numel() for p in model.parameters())


def match(task: Any, config: Any, wanted: int | None, label: str) -> int:
    """Set `config.model.hidden_size` so that the parameters are as near `wanted` as can be.

    Layers of several sizes keep their proportions.

    None: leave it. Returns the count. Errors: `InputError` where even a width of 1 has more.
    """
    if wanted is None:
        return parameters(task, config)

    given = config.model.hidden_size

    def count(n: int) -> int:
        config.model.hidden_size = scaled(given, n)
        return parameters(task, config)

    n = nearest(count, wanted)
    if n is None:
        large = [
            f"--{section}.{name}"
            for section, name in (("data", "vocab_size"), ("model", "embedding_size"))
            if hasattr(getattr(config, section, None), name)
        ]
        lower = f", lower {' or '.join(large)}" if large else ""
        raise InputError(
            f"{label} has {count(1):,} parameters at a width of 1 already, more than the "
            f"{wanted:,} to match: --equal parameters cannot be. Raise --model.hidden_size{lower}, "
            "or compare at --equal time or width."
        )
    return count(n)


def scaled(sizes: int | list[int], n: int) -> int | list[int]:
    """The sizes of layers in proportion, n the largest; of one size, n."""
    if isinstance(sizes, int):
        return n
    return [max(1, round(size * n / max(sizes))) for size in sizes]


def nearest(count: Callable[[int], int], wanted: int) -> int | None:
    """The n ≥ 1 whose count, which rises with n, is nearest to `wanted`; of two, the smaller.

    None where count(1) is above it.
    """
    if count(1) > wanted:
        return None
    low, high = 1, 2
    while high < WIDEST_TRIED and count(high) <= wanted:
        low, high = high, 2 * high
    while high - low > 1:  # count(low) ≤ wanted < count(high)
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= wanted else (low, middle)
    return low if wanted - count(low) <= count(high) - wanted else high
