"""Phrases that many messages share."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def say_in_training(option: str) -> str:
    """What to do about a column that is not there, whichever verb looks for it."""
    return f" Say which it is when training: {option}; a run's other verbs read as it was trained."
