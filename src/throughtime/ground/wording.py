"""Phrases that many messages share."""

from __future__ import annotations

from collections.abc import Collection


def plural(count: int, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def say_which(setting: str, value: str, options: Collection[str] = ()) -> str:
    """What to do about a column that is not there, whichever verb looks for it.

    `options` are the settings of the data that the verb at hand has options for.
    """
    if setting in options:
        return f" Say which it is: --{setting} {value}."
    return say_in_training(f"--data.{setting} {value}")


def say_in_training(option: str) -> str:
    """What to do where only training can be told."""
    return f" Say which it is when training: {option}; a run's other verbs read as it was trained."
