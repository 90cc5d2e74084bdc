"""The way `graph` on a device: steps as CUDA graphs, replayed piece by piece over a scan's time.

A graph reads and writes where it did when it was captured. So each shape of scan has `Places`:
memory for STEPS steps at addresses that stay, and graphs of 1, 2, 4, … of them. A scan is cut into
pieces of those lengths; what a piece reads is copied there, and what it made from there. Another T
captures nothing new but, at most, a piece of another length.

A piece is captured at its second use, since its first loads the kernels. Where a graph is being
captured already, and over a few steps, launches go one by one (`usable`): the same kernels, and so
the same bits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ....ground.recorded import Recording, Replays, turns_on

STEPS = 64
"""In one graph, at most."""

FEWEST = 8
"""Steps of a scan from which graphs are worth the copies."""

ROOM = 2**26
"""Bytes of the tensors with a time, in one shape's places; fewer steps where they need more."""

MOST = 4
"""Shapes of scans whose places are kept; the one that was used longest ago goes."""

TIMES = {
    "x": 0, "zx": 0, "zr": 0, "q": 1, "reset": 0, "states": 1, "values": 1, "y": 0, "dy": 0,
    "dzx": 0, "dzr": 0, "ddirect": 0, "dq": 1,
}  # fmt: skip
"""Which dimension is the time, of the tensors that have one."""

LONGER = ("states", "y")
"""With one entry more: what stands before the first step."""

MADE = (
    ("zx", "zr", "states", "values", "y"),
    ("dzx", "dzr", "ddirect", "dq"),
)
"""What is written step by step, forward in time and back."""

ONLY_MADE = (("zr", "values"), MADE[True])
"""Which of them are not read before that."""

CARRIED = ("carry", "dp")
"""What goes from step to step, and is given back at the end."""

SCRATCH = ("hold", "arrived", "sums")
"""What nobody else reads."""


Given = Mapping[str, Tensor | None]
"""A kernel's tensors by name."""


class Step(Protocol):
    """Launches a segment of step t over tensors that have room for `long` steps."""

    def __call__(self, tensors: Given, long: int, t: int, segment: int, /) -> None: ...


Record = Callable[[Callable[[Sequence[Tensor]], Sequence[Tensor]], Sequence[Tensor], bool], Replays]


def usable(T: int, x: Tensor) -> bool:
    """Whether steps like these run as graphs."""
    return T >= FEWEST and x.is_cuda and not torch.cuda.is_current_stream_capturing()


def pieces(T: int, longest: int) -> list[tuple[int, int]]:
    """First step and length of each piece: powers of two up to `longest`, the long ones first."""
    found, first = [], 0
    while first < T:
        length = min(longest, 1 << ((T - first).bit_length() - 1))
        found.append((first, length))
        first += length
    return found


class Order(NamedTuple):
    """In which order a scan's steps go."""

    segments: range
    back: bool

    def of(self, length: int) -> list[tuple[int, int]]:
        """Step and segment of each launch."""
        steps = reversed(range(length)) if self.back else range(length)
        return [(t, segment) for t in steps for segment in self.segments]


class Places:
    """Memory of one shape of scan at addresses that stay, and the graphs over it."""

    def __init__(self, given: Given, T: int, timed: dict[str, int]) -> None:
        whole = {name: one for name, one in given.items() if one is not None}
        self.timed = {name: at for name, at in timed.items() if name in whole}
        self.timed = {name: at for name, at in self.timed.items() if whole[name].numel()}
        bytes_of_step = sum(whole[name].nbytes // T for name in self.timed)
        fitting = max(1, ROOM // max(bytes_of_step, 1))
        self.long = min(STEPS, 1 << (fitting.bit_length() - 1))
        with torch.inference_mode(False):  # they outlive a block of it
            self.tensors = {
                name: None if one is None else self._like(name, one) for name, one in given.items()
            }
        device = next(iter(whole.values())).device
        self.turns = turns_on(device)
        self.used: set[int] = set()
        self.graphs: dict[int, Replays] = {}

    def _like(self, name: str, one: Tensor) -> Tensor:
        shape = list(one.shape)
        if name in self.timed:
            shape[self.timed[name]] = self.long + (name in LONGER)
        return one.new_zeros(shape)

    def take(self, given: Given, first: int, length: int, back: bool) -> None:
        """What a piece reads; where sequences end in it, all that it leaves as it is, too."""
        lengths, here = given["lengths"], self.tensors["lengths"]
        if lengths is not None and here is not None:
            torch.sub(lengths, first, out=here).clamp_(0, length)
        for name in self.timed:
            if lengths is not None or name not in ONLY_MADE[back]:
                begins = lengths is None and name in LONGER and not back  # the state before
                place, one = self.piece(given, name, first, 0 if begins else length)
                place.copy_(one)

    def give(self, given: Given, first: int, length: int, back: bool) -> None:
        """What a piece made."""
        for name in self.timed:
            if name in MADE[back]:
                place, one = self.piece(given, name, first, length)
                one.copy_(place)

    def piece(self, given: Given, name: str, first: int, length: int) -> tuple[Tensor, Tensor]:
        """The place and what is given, of steps first to first + length - 1."""
        here, there = self.tensors[name], given[name]
        assert here is not None
        assert there is not None
        dim, long = self.timed[name], length + (name in LONGER)
        return here.narrow(dim, 0, long), there.narrow(dim, first, long)

    def both(self, given: Given, names: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """The place and what is given, of the tensors without a time that are there."""
        pairs = ((self.tensors.get(name), given.get(name)) for name in names)
        return [(a, b) for a, b in pairs if a is not None and b is not None]

    def play(self, step: Step, order: Order, length: int, record: Record) -> None:
        """A piece of `length` steps, here."""

        def launches(_: Sequence[Tensor]) -> Sequence[Tensor]:
            for t, segment in order.of(length):
                step(self.tensors, self.long, t, segment)
            return ()

        if length not in self.graphs and length in self.used:
            there = [one for one in self.tensors.values() if one is not None]
            self.graphs[length] = record(launches, there, False)
        self.used.add(length)
        if length in self.graphs:
            self.graphs[length].replay()
        else:
            launches(())


def run(
    step: Step, given: Given, T: int, segments: range, back: bool, key: Hashable, reads_x: bool,
    record: Record = Recording,
) -> None:  # fmt: skip
    """A scan's steps, over places of the shapes given; any thread may call."""
    timed = {name: dim for name, dim in TIMES.items() if reads_x or name != "x"}
    order = Order(segments, back)
    with _lock:
        places = _places(given, T, timed, key)
        places.turns.begin()
        without = [name for name in given if name not in (*timed, *SCRATCH, "lengths", "x")]
        for here, there in places.both(given, without):
            here.copy_(there)
        found = pieces(T, places.long)
        for first, length in reversed(found) if back else found:
            places.take(given, first, length, back)
            places.play(step, order, length, record)
            places.give(given, first, length, back)
        for here, there in places.both(given, CARRIED):
            there.copy_(here)
        places.turns.end()


def _places(given: Given, T: int, timed: dict[str, int], key: Hashable) -> Places:
    """Those of this shape, kept or new."""
    there = {name: one for name, one in given.items() if one is not None}
    kinds = tuple((name, one.dtype, one.numel() > 0) for name, one in there.items())
    key = key, kinds, next(iter(there.values())).device
    if key not in _kept:
        _kept[key] = Places(given, T, timed)
        while len(_kept) > MOST:
            _, gone = _kept.popitem(last=False)
            gone.turns.finish()
    _kept.move_to_end(key)
    return _kept[key]


_lock = threading.Lock()
_kept: OrderedDict[Hashable, Places] = OrderedDict()
