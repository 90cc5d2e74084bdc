"""How int8-full rounds what a product takes, and what the sums of its integers stand for."""

from __future__ import annotations

import numpy as np

from ...layers.outline import Array
from ..lowering import scales
from .single import ROUND, f32

Ranges = dict[bytes, float]
"""Of each matrix, as C has it, the largest number that it is multiplied with."""


def step_of(largest: float) -> np.float32:
    """s_x: what an integer of x stands for."""
    return f32(largest / 127) if largest > 0 else f32(1)


def per(largest: float) -> np.float32:
    """1 / s_x, as C multiplies with it."""
    return f32(1) / step_of(largest)


def row_scales(W: Array, largest: float) -> Array:
    """s_row s_x."""
    return scales(W).astype(f32) * step_of(largest)


def quantised(x: Array, largest: float) -> Array:
    """q_x."""
    v = x.astype(f32) * per(largest)
    v = np.where(v > f32(-127), np.where(v < f32(127), v, f32(127)), f32(-127))
    return ((v + ROUND) - ROUND).astype(np.int64)
