"""When a run stops, and when it evaluates, saves, logs and samples."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..config import Every, seconds
from ..ground.errors import InputError

EVALUATION_SHARE = 0.1
"""Of the time so far, evaluations may take so much, the next one included."""

LOOKING_SHARE = 0.1
"""The same for looks inside."""


class Budget:
    """The first of max_time, max_steps and epochs to be spent; 10 epochs if none is given.

    Intervals are the loop's settings that end in _every, by the name before that.
    """

    def __init__(self, config: Any, steps_per_epoch: int) -> None:
        self.config, self.steps_per_epoch = config, steps_per_epoch
        self.max_seconds = seconds(config.max_time) if config.max_time else math.inf
        epochs = config.most_epochs()
        self.epochs = epochs or math.inf
        steps = [config.max_steps, epochs and math.ceil(epochs * steps_per_epoch)]
        self.max_steps = min((s for s in steps if s is not None), default=math.inf)
        if self.max_seconds <= 0 or self.max_steps <= 0:
            raise InputError("the budget (max_time, epochs, max_steps) must be more than zero.")
        self.intervals = {
            setting.name.removesuffix("_every"): Every.parse(getattr(config.loop, setting.name))
            for setting in dataclasses.fields(config.loop)
            if setting.name.endswith("_every")
        }

    def progress(self, step: int, elapsed: float) -> float:
        """The share of the budget spent."""
        return max(elapsed / self.max_seconds, step / self.max_steps)

    def spent_by(self, step: int, elapsed: float) -> str:
        """Which part of the budget is spent, as the option that sets it; "" where none is."""
        if elapsed >= self.max_seconds:
            return f"--max-time {self.config.max_time}"
        if step < self.max_steps:
            return ""
        if self.config.max_steps is not None and step >= self.config.max_steps:
            return f"--max-steps {self.config.max_steps}"
        return f"--epochs {self.epochs:g}"

    def is_set(self, name: str) -> bool:
        """Whether an interval is set at all."""
        return self.intervals[name].amount > 0

    def due(self, name: str, step: int, elapsed: float, fired: dict[str, int]) -> bool:
        """Whether an interval has passed since this last said so, which `fired` remembers."""
        every = self.intervals.get(name)
        if every is None or every.amount <= 0:
            return False
        position = {
            "steps": step,
            "epochs": step / self.steps_per_epoch,
            "seconds": elapsed,
            "budget": self.progress(step, elapsed),
        }[every.unit]
        count = int(position / every.amount + 1e-9)
        due = count > fired.get(name, 0)
        fired[name] = count
        return due

    def affords(self, spent: float, elapsed: float, share: float = EVALUATION_SHARE) -> bool:
        """Whether what was spent on measuring leaves most of a time budget to training."""
        return self.max_seconds == math.inf or spent <= share * elapsed
