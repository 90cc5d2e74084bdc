"""Durations and intervals as people write them: 90s, 3m, 1h30m; 500 steps, 1e, 30s, 10%."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..ground.errors import InputError


def seconds(duration: str) -> float:
    """'90s', '3m', '1h30m' or a plain number of seconds, in seconds."""
    text = str(duration).strip().lower()
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text)
    try:
        parts = [float(part or 0) for part in match.groups()] if match and text else None
    except ValueError:
        parts = None
    if parts is None:
        raise InputError(f"not a duration: {duration!r}. Write 90s, 3m or 1h30m.")
    return 3600 * parts[0] + 60 * parts[1] + parts[2]


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
            if said.startswith("-"):
                raise ValueError(said)
            if said.endswith("%"):
                return cls(float(said[:-1]) / 100, "budget")
            if said.endswith("e"):
                return cls(float(said[:-1]), "epochs")
            if said.endswith(("s", "m", "h")):
                return cls(seconds(said), "seconds")
            return cls(float(int(said)), "steps")
        except ValueError:
            raise InputError(
                f"not an interval: {text!r}. Write steps (500), epochs (1e), time (30s) or a share "
                "of the budget (10%)."
            ) from None
