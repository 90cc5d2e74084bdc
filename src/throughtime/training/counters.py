"""Where training is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Counters:
    """Saved in every checkpoint; what the clock and the course of training decide."""

    step: int = 0
    elapsed: float = 0.0
    clipped: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best: float = math.inf
    best_loss: float = math.inf
    best_step: int = 0
    without_improvement: int = 0
    evaluated_step: int = -1
    evaluating: float = 0.0
    looking: float = 0.0
    averaged: list[int] = field(default_factory=list)
    tokens: int = 0
    running: float = math.nan
    lr: float = 0.0
    norm: float = 0.0
    logged_loss: float = 0.0
    logged_steps: int = 0
    fired: dict[str, int] = field(default_factory=dict)
