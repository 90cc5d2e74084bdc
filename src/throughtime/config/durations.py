"""Durations and intervals as people write them: 90s, 3m, 1h30m; 500 steps, 1e, 30s, 10%."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..ground.errors import InputError
from .values import shown

LONGEST_TIME = 100 * 365.25 * 24 * 3600
"""The longest time, in seconds."""
SMALLEST, LARGEST_AMOUNT = 1e-6, 1e12
"""The bounds of an interval's amount, where it is not zero, in any unit."""


def seconds(duration: str) -> float:
    """'90s', '3m', '1h30m' or a plain number of seconds, in seconds."""
    text = str(duration).strip().lower()
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text)
    try:
        parts = [float(part or 0) for part in match.groups()] if match and text else None
    except ValueError:
        parts = None
    if parts is None:
        raise InputError(f"not a duration: {shown(duration)}. Write 90s, 3m or 1h30m.")
    total = 3600 * parts[0] + 60 * parts[1] + parts[2]
    if total > LONGEST_TIME:
        raise InputError(f"longer than a hundred years: {shown(duration)}.")
    return total


@dataclass(frozen=True)
class Every:
    """An interval of training, in steps, epochs, seconds or shares of the budget."""

    amount: float
    unit: Literal["steps", "epochs", "seconds", "budget"]

    @classmethod
    def parse(cls, text: str | int) -> Every:
        """500, 1e, 30s or 10%."""
        said = str(text).strip().lower()
        try:
            if said.endswith("%"):
                every = cls(float(said[:-1]) / 100, "budget")
            elif said.endswith("e"):
                every = cls(float(said[:-1]), "epochs")
            elif said.endswith(("s", "m", "h")):
                every = cls(seconds(said), "seconds")
            else:
                every = cls(float(int(said)), "steps")
            if every.amount != 0 and not SMALLEST <= every.amount <= LARGEST_AMOUNT:
                raise ValueError(said)
        except (ValueError, OverflowError):
            raise InputError(
                f"not an interval: {shown(text)}. Write steps (500), epochs (1e), time (30s) or a "
                "share of the budget (10%)."
            ) from None
        return every
