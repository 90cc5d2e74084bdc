"""What a step costs by each way, on paper: bytes, operations, meetings, microseconds.

The constants are an H100's. Those of a barrier and of the parts of a step were measured or reckoned
in `docs/decisions/gpu-scans.md`; a step was measured to take longer than the sum of them, so an
estimate is multiplied by what `measured.json` says of its way, which `benchmarks/gpu.py` writes.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from .cards import Card
from .ways import Way

BARRIER = 0.9
"""Microseconds of a barrier of the programs of the same rows, measured alone."""

LAUNCH = 1.9
"""Of a launch after another in a captured graph, the least seen."""

STORE = 0.4
"""Until what a program stored is seen by the others."""

LATENCY = 0.4
"""Of the second cache, or of shared memory and what waits for it."""

GATES = 0.6
"""The sum among warps and the equations, for each level of products."""

CACHE = 5e6
"""Bytes a microsecond from the second cache, all multiprocessors together."""

MEMORY = 3e6
"""Bytes a microsecond from memory."""

SMALL = 1.75e6
"""Operations a microsecond of one multiprocessor, on tiles as small as a step's."""

LARGE = 4e8
"""Operations a microsecond of the whole card, in the large products around the time loop."""


class Cost(NamedTuple):
    """Of one step, forward in time or back."""

    bytes: float
    """Through the second cache, all programs together."""
    operations: float
    """Of the recurrent products."""
    meetings: int
    """Barriers, or launches by `graph`."""
    us: float
    """Microseconds, on paper."""


def of_step(
    facts: dict[str, Any], way: Way, B: int, n: int, size: int, card: Card, back: bool = False
) -> Cost:
    """`size`: bytes of a number. n_x is taken to be n."""
    columns, tiles = way.programs(B, n)
    programs = columns * tiles
    turns = max(1.0, programs / card.processors)
    levels, slots = _levels(facts), facts["slots"]
    read = operations = 0.0
    for taken, count in levels:
        from_others = (count if back else taken) * way.BM * n * size
        anew = 0 if way.resident else count * way.BU * n * size
        read += programs * ((0 if way.alone else from_others) + anew)
        operations += 2.0 * way.BM * n * way.BU * count
    meetings = _meetings(facts, way, back)
    each = LAUNCH if way.stepwise else BARRIER + STORE
    own = B * n * (2 * slots * size + 8 * facts["states"])
    large = 2.0 * B * n * n * facts["inputs"] * (3 if back else 1)
    us = (
        meetings * each
        + max(1, len(levels)) * (LATENCY + GATES)
        + read / CACHE
        + own / MEMORY
        + turns * operations / SMALL
        + large / LARGE
    )
    return Cost(read + own, programs * operations, meetings, us)


def _meetings(facts: dict[str, Any], way: Way, back: bool) -> int:
    """Barriers of a step, or launches."""
    segments = facts["segments"][back]
    if way.stepwise and back:
        return segments
    # forward nothing is done before the first product, as a rule; back, nobody waits for the last
    spared = 1 if back or not facts["stages"][0] else 0
    return 0 if way.alone else segments - spared


def _levels(facts: dict[str, Any]) -> list[tuple[int, int]]:
    """Of each level of products: how many operands they take, and how many slots they feed."""
    taken: dict[int, set[int]] = {}
    slots: Counter[int] = Counter()
    for stage, operand, _, count in facts["products"]:
        taken.setdefault(stage, set()).add(operand)
        slots[stage] += count
    return [(len(taken[stage]), slots[stage]) for stage in sorted(slots)]


def expected(
    facts: dict[str, Any], way: Way, B: int, n: int, size: int, card: Card, back: bool = False
) -> float:
    """Microseconds of a step: the estimate, and how far measured ones were from theirs."""
    paper = of_step(facts, way, B, n, size, card, back)
    return paper.us * longer(card.name, way.name, back)


@functools.cache
def longer(card: str, way: str, back: bool) -> float:
    """How much longer than on paper steps took: on this card, or on those that were measured.

    A way that was not measured is taken to be as far off as the worst that was.
    """
    rows = [row for row in measured() if row["back"] is back]
    rows = [row for row in rows if row["card"] == card] or rows
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["way"], []).append(math.log(row["us"] / row["on paper"]))
    means = {name: math.exp(sum(logs) / len(logs)) for name, logs in found.items()}
    return means.get(way, max(means.values(), default=1.0))


@functools.cache
def measured() -> list[dict[str, Any]]:
    """Steps that were timed: of what, by which way, microseconds, and those on paper."""
    text = (Path(__file__).parent / "measured.json").read_text(encoding="utf-8")
    return json.loads(text)
