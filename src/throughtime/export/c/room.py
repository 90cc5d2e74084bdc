"""What every kind of model gives to the files of an export."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """What stands in NAME.h and, after the layers, in NAME.c; bytes of the state, which `each` text
    or sequence has; the type of the state, where NAME.h has none."""

    header: str
    source: str
    state_bytes: int
    each: str
    private: str = ""
