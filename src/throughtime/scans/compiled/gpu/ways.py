"""How a scan runs on a GPU: the ways, their tiles, and which of them a problem takes.

- `block`: one program carries its rows through all steps, with all units of all gates; the weights
  stay with it. Narrow layers.
- `grid`: the units are split over programs that stay for all steps; a barrier after each segment.
  Each keeps its columns of the weights, or reads them anew where they are too many. Every program
  must be on the device at once.
- `graph`: a launch for each segment of each step, the weights read anew. Every size.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import torch

from ....ground.errors import InputError, one_of

WAYS = ("block", "grid", "graph")
VARIABLE = "THROUGHTIME_GPU"
"""Names the way to take, in place of the one that the sizes ask for."""

BLOCK = 132 * 1024
"""Bytes of weights that a program of `block` may keep: it needs half as much again beside them."""

GRID = 200 * 1024
"""Bytes of weights and of tiles of dz that a program of `grid` may hold."""

WIDEST = 1024
"""Units of a row that one program has where the equations mix them."""


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


def multiplied(facts: dict[str, Any]) -> int:
    """How many slots have a product: blocks n × n of weights."""
    return sum(count for *_, count in facts["products"])


def block(facts: dict[str, Any], B: int, n: int, size: int) -> Way | str:
    """`size`: bytes of a number."""
    N = max(power(n), 16)
    held = multiplied(facts) * N * N * size
    if held > BLOCK:
        return f"its weights are {held // 1024} KiB, more than one multiprocessor holds"
    return Way("block", 16, N, 1, N, max(4, N // 8))


def grid(facts: dict[str, Any], B: int, n: int, size: int, processors: int) -> Way | str:
    """`processors`: multiprocessors of the device, each with one program."""
    if facts["reduces"]:
        return rows("grid", n, size)
    N = max(power(n), 64)
    pieces = 8 if N > 512 else 4
    for BM in (16, 32):
        way = Way("grid", BM, 8, pieces, N // pieces, pieces)  # 8: the least that is multiplied
        widest = max((count for *_, count in facts["products"]), default=0)
        held = (multiplied(facts) * way.BU + widest * BM) * N * size
        if math.prod(way.programs(B, n)) <= processors and held <= GRID:
            return way
    for BM, BU in ((16, 16), (32, 16), (64, 16), (64, 32), (64, 64)):
        way = Way("grid", BM, BU, 1, 128 // size, 4, resident=False)
        if math.prod(way.programs(B, n)) <= processors:
            return way
    return (
        f"it needs {math.prod(way.programs(B, n))} programs on the device at once, which has "
        f"{processors} multiprocessors"
    )


def rows(name: str, n: int, size: int) -> Way | str:
    """A program has all units of its rows, since the equations mix them, and reads the weights."""
    if n > WIDEST:
        return f"its equations mix the units, which runs up to n = {WIDEST} there; n is {n}"
    return Way(name, 16, max(power(n), 16), 1, 64 // size, 8 if n <= 256 else 16, resident=False)


def graph(facts: dict[str, Any], B: int, n: int, size: int) -> Way | str:
    """Every size."""
    if facts["reduces"]:
        way = rows("graph", n, size)
        return way if isinstance(way, str) else way._replace(stepwise=True)
    BM = 16 if B <= 16 else 32 if B <= 32 else 64
    return Way("graph", BM, 16, 1, 128 // size, 4, resident=False, stepwise=True)


def choose(facts: dict[str, Any], T: int, B: int, n: int, dtype: torch.dtype, device: Any) -> Way:
    """The way of a problem; what `THROUGHTIME_GPU` names where it is set."""
    size = dtype.itemsize
    found: dict[str, Way | str] = {
        "block": block(facts, B, n, size),
        "grid": grid(facts, B, n, size, multiprocessors(device)),
        "graph": graph(facts, B, n, size),
    }
    if device.type != "cuda" and isinstance(found["grid"], Way):
        # the interpreter runs programs one after the other: none may wait for the next
        way = found["grid"]
        whole = way.KS * way.KC  # and sums of several tensors are slow there
        found["grid"] = way._replace(stepwise=True, KS=1, KC=whole)
    asked = os.environ.get(VARIABLE)
    if asked:
        way = found[one_of(VARIABLE, asked, WAYS)]
        if isinstance(way, str):
            raise InputError(f"{VARIABLE}={asked} cannot run this scan: {way}.")
        return way
    able = [way for way in found.values() if isinstance(way, Way)]
    return able[-1] if T == 1 else able[0]


def why_no_way(facts: dict[str, Any], n: int) -> str | None:
    """Why no way runs a cell at width n, or None."""
    way = graph(facts, 1, n, 4)
    return way if isinstance(way, str) else None


def multiprocessors(device: Any) -> int:
    """Of a device; as of an H100 where there is none (the interpreter)."""
    if device.type != "cuda":
        return 132
    return torch.cuda.get_device_properties(device).multi_processor_count


def power(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()
