"""Which way a scan takes on a GPU, and why not the others."""

from __future__ import annotations

import os
from typing import Any

import torch

from ....ground.errors import InputError, one_of
from . import cost
from .cards import Card, card_of
from .ways import VARIABLE, WAYS, Way, found


def choose(
    facts: dict[str, Any], T: int, B: int, n: int, dtype: torch.dtype, device: torch.device,
    back: bool = False,
) -> Way:  # fmt: skip
    """The way of a problem; what `THROUGHTIME_GPU` names where it is set."""
    card = card_of(device)
    ways = found(facts, B, n, dtype.itemsize, card)
    if device.type != "cuda" and isinstance(ways["grid"], Way):
        # the interpreter runs programs one after the other: none may wait for the next
        way = ways["grid"]
        whole = way.KS * way.KC  # and sums of several tensors, and many programs, are slow there
        ways["grid"] = way._replace(stepwise=True, KS=1, KC=whole, BU=max(way.BU, 16))
    asked = os.environ.get(VARIABLE)
    if asked:
        way = ways[one_of(VARIABLE, asked, WAYS)]
        if isinstance(way, str):
            raise InputError(f"{VARIABLE}={asked} cannot run this scan: {way}.")
        return way
    return cheapest(ways, facts, T, B, n, dtype.itemsize, card, back)


def cheapest(
    ways: dict[str, Way | str], facts: dict[str, Any], T: int, B: int, n: int, size: int,
    card: Card, back: bool = False,
) -> Way:  # fmt: skip
    """The one of the `ways` that run of which the least time is expected; one step is launched."""
    if T == 1 and isinstance(alone := ways["graph"], Way):
        return alone
    able = [way for way in ways.values() if isinstance(way, Way)]
    return min(able, key=lambda way: cost.expected(facts, way, B, n, size, card, back))


def why_not(facts: dict[str, Any], way: str, B: int, n: int, size: int, card: Card) -> str | None:
    """Why a way cannot run there, or None."""
    found_there = found(facts, B, n, size, card)[one_of("way", way, WAYS)]
    return found_there if isinstance(found_there, str) else None


def told(
    facts: dict[str, Any], B: int, n: int, dtype: torch.dtype, card: Card, T: int = 100
) -> str:
    """For a person: the way that a scan takes there, what a step should take, why no narrower."""
    ways = found(facts, B, n, dtype.itemsize, card)
    way = cheapest(ways, facts, T, B, n, dtype.itemsize, card)
    us = cost.expected(facts, way, B, n, dtype.itemsize, card)
    kept = "" if way.resident or way.name == "graph" else ", weights read anew"
    reasons = [f"no {name}: {one}" for name, one in ways.items() if isinstance(one, str)]
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"n = {n}: {way.name}{kept}, some {us:.1f} µs a step{why}"
