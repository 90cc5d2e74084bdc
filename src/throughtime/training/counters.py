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

    def learned(self, loss: float, clipped: bool) -> None:
        """A step was taken."""
        self.skipped_in_a_row = 0
        self.clipped += clipped
        self.logged_loss += loss
        self.logged_steps += 1
        recent = max(0.05, 1 / self.step)
        before = loss if math.isnan(self.running) else self.running
        self.running = before + recent * (loss - before)

    def skip(self) -> None:
        """A step was not taken."""
        self.skipped += 1
        self.skipped_in_a_row += 1

    def evaluated(self, score: float, loss: float, improved: bool) -> None:
        """The weights of this step were measured."""
        self.evaluated_step = self.step
        if improved:
            self.best, self.best_loss, self.best_step = score, loss, self.step
        self.without_improvement = 0 if improved else self.without_improvement + 1

    def log(self, steps_per_epoch: int) -> dict[str, float]:
        """The steps since this was asked last, for metrics.jsonl; nothing where there are none."""
        if not self.logged_steps:
            return {}
        loss, self.logged_loss = self.logged_loss / self.logged_steps, 0.0
        self.logged_steps = 0
        return {
            "loss": loss,
            "epoch": self.step / steps_per_epoch,
            "lr": self.lr,
            "norm": self.norm,
            "clipped": self.clipped / self.step,
            "skipped": self.skipped,
        }
