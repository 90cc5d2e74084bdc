"""How a scan runs on a GPU: the ways, their tiles, and why one cannot run.

- `block`: one program carries its rows through all steps, with all units of all gates; the weights
  stay with it. Narrow layers.
- `grid`: the units are split over programs that stay for all steps; a barrier after each segment.
  Each keeps its columns of the weights, or reads them anew where they are too many. Every program
  must be on the device at once.
- `graph`: a launch for each segment of each step, the weights read anew. Every size.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

from .cards import Card

WAYS = ("block", "grid", "graph")
VARIABLE = "THROUGHTIME_GPU"
"""Names the way to take, in place of the one that the sizes ask for."""

MIXED = 64
"""Units of a row up to which one program has them all where the equations mix them: more of them
would not stay in registers, and a barrier for each sum costs less."""


class Way(NamedTuple):
    """A way with its tiles: BM rows, BU units, the sum over k in KS pieces of KC."""

    name: str
    BM: int
    BU: int
    KS: int
    KC: int
    warps: int
    resident: bool = True
    """The weights stay with their programs."""
    stepwise: bool = False
    """A launch for each segment of each step, in place of barriers: the same bits."""

    @property
    def alone(self) -> bool:
        """Whether a program owns all units of its rows."""
        return self.name == "block"

    def programs(self, B: int, n: int) -> tuple[int, int]:
        """Along the units, along the rows."""
        return -(-n // self.BU), -(-B // self.BM)


def block(facts: dict[str, Any], n: int, size: int, card: Card) -> Way | str:
    """`size`: bytes of a number."""
    N = max(power(n), 16)
    if facts["reduces"] and N > MIXED:
        return f"its equations mix the units of a row, which one program does up to n = {MIXED}"
    if not facts["products"] and not facts["reduces"]:
        N = min(N, 64)  # units know nothing of each other: any program may have any of them
    way = Way("block", 16, N, 1, N, min(max(4, N // 8), 16))
    return too_large(facts, way, size, card) or way


def grid(facts: dict[str, Any], B: int, n: int, size: int, card: Card) -> Way | str:
    """Every multiprocessor of the card has one program."""
    N = max(power(n), 64)
    pieces = 8 if N > 512 else 4
    for BM in (16, 32):
        way = Way("grid", BM, 8, pieces, N // pieces, pieces)  # 8: the least that is multiplied
        if fits(way, B, n, card) and not too_large(facts, way, size, card):
            return way
    tiles = ((16, 16), (32, 16), (64, 16), (64, 32), (64, 64))
    for BM, BU in tiles:
        way = Way("grid", BM, BU, 1, 128 // size, 4, resident=False)
        if fits(way, B, n, card):
            return too_large(facts, way, size, card) or way
    return (
        f"it needs {math.prod(way.programs(B, n))} programs on the device at once, which has "
        f"{card.processors} multiprocessors"
    )


def fits(way: Way, B: int, n: int, card: Card) -> bool:
    """Whether all programs are on the card at once."""
    return math.prod(way.programs(B, n)) <= card.processors


def too_large(facts: dict[str, Any], way: Way, size: int, card: Card) -> str | None:
    """Why a program has no room for what it holds, or None."""
    needed = shared(facts, way, size)
    if needed <= card.shared:
        return None
    return (
        f"its weights and operands are {needed // 1024} KiB, and a multiprocessor holds "
        f"{card.shared // 1024}"
    )


def shared(facts: dict[str, Any], way: Way, size: int) -> int:
    """Bytes of shared memory of a program, at most: what the compiler was seen to take.

    Weights that stay, and of the stage that has most products a tile of an operand or of dz for
    each; of weights that are read anew, a block of each; and room to put tiles in another order.
    """
    stages: Counter[int] = Counter()
    for stage, _, _, count in facts["products"]:
        stages[stage] += count
    most, all_of_them = max(stages.values(), default=0), stages.total()
    if not way.resident:
        return most * (way.BM + way.BU) * way.KC * size + way.BM * way.BU * 8 + 8 * 1024
    N = way.KS * way.KC
    tiles = max(most * way.BM * N * size, most * way.KS * way.BM * way.BU * 4)
    return all_of_them * N * way.BU * size + tiles + way.BM * way.BU * 8 + 4 * 1024


def graph(facts: dict[str, Any], B: int, size: int, card: Card) -> Way:
    """Every size."""
    ways = [
        Way("graph", BM, 16, 1, 128 // size, 4, resident=False, stepwise=True)
        for BM in (64, 32, 16)
    ]
    roomy = [way for way in ways if not too_large(facts, way, size, card)]
    return next((way for way in roomy if way.BM // 2 < B), ways[-1])


def found(facts: dict[str, Any], B: int, n: int, size: int, card: Card) -> dict[str, Way | str]:
    """Each way for a problem on a card, or why it cannot run there, from the narrowest on."""
    return {
        "block": block(facts, n, size, card),
        "grid": grid(facts, B, n, size, card),
        "graph": graph(facts, B, size, card),
    }


def power(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()
