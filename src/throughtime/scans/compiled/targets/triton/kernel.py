"""What both kernels share: who owns what, where it lies, and the barrier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from ...phases import Round, rounds
from ...trace import Product, Stage, Trace
from ...walk import Statement, walk
from .text import combined, indented, line, name_of, reduced, unchanged, written

OPTIONS = (
    "BM: tl.constexpr, BU: tl.constexpr, KS: tl.constexpr, KC: tl.constexpr, SEG: tl.constexpr, "
    "ALONE: tl.constexpr, RESIDENT: tl.constexpr, KEEP: tl.constexpr, RAGGED: tl.constexpr, "
    "RESET: tl.constexpr, COLS: tl.constexpr, PRECISION: tl.constexpr"
)
UNSPECIALIZED = '@triton.jit(do_not_specialize=["T", "B", "t0", "t1"])'


class Kernel:
    """What both directions share."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.last = len(trace.stages) - 1
        self.states = range(trace.states)
        self.values = range(trace.states, trace.operands)
        self.slots = [i for i in range(len(trace.gates)) if i != trace.direct]
        """Those with a place in zx or zr; the slot that holds x itself is x."""

    def products(self, stage: int) -> list[Product]:
        return [product for product in self.trace.products if product.stage == stage]

    def slots_of(self, product: Product) -> range:
        return range(product.slot, product.slot + product.count)

    def place(self, i: int, kind: str = "z", at: str = "at") -> str:
        """The address of slot i of the rows' own units at step t, in the buffers of z or dz."""
        if i == self.trace.direct:
            return f"{'x' if kind == 'z' else 'ddirect'} + {at} + own"
        which, i, count = self.buffer(i)
        return f"{kind}{which} + ({at} * {count} + {i} * n) + own_{which}"

    def buffer(self, i: int) -> tuple[str, int, int]:
        """In which buffer slot i has its place, which one there, of how many."""
        count = self.trace.inputs
        return ("x", i, count) if i < count else ("r", i - count, len(self.slots) - count)

    def counts(self) -> Iterator[tuple[str, int]]:
        """The buffers of z and dz, and how many slots each has."""
        count = self.trace.inputs
        yield from (("x", count), ("r", len(self.slots) - count))

    def weights(self, indexed: str) -> Iterator[str]:
        """The resident weights of every slot in a product, as tiles [KS, KC, BU] or [KC, BU]."""
        for product in self.trace.products:
            for i in self.slots_of(product):
                gate = self.trace.gates[i]
                yield f"w_{i} = tl.load(W + {gate} * n * n + {indexed}, mask=wmask, other=0)"

    def begin(self) -> Iterator[str]:
        """Which rows and units are ours, and what holds for the whole launch."""
        yield "tile = tl.program_id(1)"
        yield "rows = tile * BM + tl.arange(0, BM)"
        yield "units = tl.program_id(0) * BU + tl.arange(0, BU)"
        yield "own = rows[:, None] * n + units[None, :]"
        yield "mine = (rows < B)[:, None] & (units < n)[None, :]"
        yield "zero = tl.zeros([BM, BU], tl.float32)"
        yield "DT = x.dtype.element_ty"
        yield "many = B.to(tl.int64)"
        yield "size = many * n"
        yield "long = (T + 1) * size"
        yield "goal = 0"
        if self.reductions:
            yield "columns = tl.num_programs(0)"
            yield "many_sums = tl.num_programs(1) * BM * COLS"
            yield "mine_of_row = rows * COLS + tl.program_id(0)"
            yield "all_of_row = rows[:, None] * COLS + tl.arange(0, COLS)[None, :]"
        for i in range(self.trace.vectors):
            yield f"p_{i} = tl.load(p + {i} * n + units, mask=units < n, other=0)[None, :]"
        yield "last = T"
        yield "if RAGGED:"
        yield "    length = tl.load(lengths + rows, mask=rows < B, other=0)"
        yield "    last = tl.max(length, 0).to(tl.int32)"
        yield "if KS == 1:"
        yield "    k = tl.arange(0, KC)"
        yield "    lrow = rows[:, None]"
        yield "    left = lrow * n + k[None, :]"
        yield "    lmask = (lrow < B) & (k < n)[None, :]"
        yield "    kt = k[:, None]"
        yield "    ut = units[None, :]"
        yield "else:"
        yield "    k = tl.arange(0, KS)[:, None] * KC + tl.arange(0, KC)[None, :]"
        yield "    lrow = rows[None, :, None]"
        yield "    left = lrow * n + k[:, None, :]"
        yield "    lmask = (lrow < B) & (k < n)[:, None, :]"
        yield "    kt = k[:, :, None]"
        yield "    ut = units[None, None, :]"
        yield "wmask = (kt < n) & (ut < n)"
        for which, count in self.counts():  # what all steps share, once: few instructions a step
            yield f"own_{which} = own + rows[:, None] * ({count - 1} * n)"
            yield f"left_{which} = left + lrow * ({count - 1} * n)"

    def time(self) -> Iterator[str]:
        """What holds at step t for the rows."""
        yield "at = t * size"
        if self.reductions:
            yield f"parity = (t % 2) * {self.reductions}"
        for i in range(self.trace.streams):
            yield f"q_{i} = tl.load(q + {i} * T * size + at + own, mask=mine, other=0)"
        yield "live = mine"
        yield "if RAGGED:"
        yield "    live = mine & (t < length)[:, None]"
        yield "fresh = rows < 0"
        yield "if RESET:"
        yield "    fresh = tl.load(reset + t * many + rows, mask=rows < B, other=0) != 0"

    def before(self, k: int, at: str = "at", where: str = "own") -> str:
        """The address of state k at t-1; `at` is the one of step t."""
        return f"y + {at} + {where}" if k == 0 else f"states + {k - 1} * long + {at} + {where}"

    def after(self, k: int) -> str:
        """The address of state k at t."""
        return self.before(k, "(at + size)")

    def made(self, stage: int) -> list[int]:
        """The slots in the products of a stage."""
        return [i for product in self.products(stage) for i in self.slots_of(product)]

    def rendezvous(self, between: Iterable[str]) -> Iterator[str]:
        """A barrier, with `between` done while others arrive; in launches apart it is their end."""
        yield "if (SEG < 0) and not ALONE:"
        yield "    goal += tl.num_programs(0)"
        yield "    arrive(arrived + tile)"
        yield from between
        yield "if (SEG < 0) and not ALONE:"
        yield "    wait(arrived + tile, goal)"

    def piece(self, stage: Stage | None) -> list[Round]:
        """A stage's equations, cut where they need a sum over all units of a row."""
        if stage is None:
            return [Round()]
        reads, makes = (list(map(name_of, names)) for names in (stage.reads, stage.makes))
        return rounds(walk(stage.forward, reads, makes, self.there(stage)))

    def there(self, stage: Stage) -> dict[int, str]:
        """The masks of padded units, by the widths in the graphs."""
        return {width: name_of(mask) for width, mask in stage.there.items()}

    def derivative(self, stage: Stage | None) -> list[Round]:
        """Of a stage: e… is what it adds to the gradient of what was read."""
        if stage is None:
            return [Round()]
        given = [*map(name_of, stage.reads), *(f"d{name_of(make)}" for make in stage.makes)]
        made = [f"e{name_of(read)}" for read in stage.reads]
        return rounds(walk(stage.backward, given, made, self.there(stage)))

    def segments(self, parts: Iterable[list[Round]]) -> None:
        """Numbers the segments: of each stage, in the order of the kernel, its `parts`."""
        self.parts = list(parts)
        self.firsts = list(accumulate(map(len, self.parts), initial=0))
        self.end_segment = self.firsts.pop() - 1
        self.places = list(accumulate(map(reductions, self.parts), initial=0))
        self.reductions = self.places.pop()

    def said(self, one: Statement) -> list[str]:
        """The lines of a statement."""
        return [line(one)]

    def play(self, number: int, once: list[str], after: Iterable[str]) -> Iterator[str]:
        """The rounds of the kernel's stage `number`, a segment each, and the lines `after` them.

        Between two rounds every program of the rows tells what it adds to the reductions. `once`:
        what is stored while others arrive for the first time. A launch of a later segment computes
        again what earlier ones did, since no launch hands that on.
        """
        parts, first, place = self.parts[number], self.firsts[number], self.places[number]
        last = first + len(parts) - 1
        for segment, part in enumerate(parts, first):
            if segment > first:
                between = once if segment == first + 1 else []
                yield f"if {within(segment - 1, last)}:"
                yield from indented(self.exchange(part, segment, place, between))
                place += len(part.reductions)
            yield f"if {within(segment, last)}:"
            lines = [text for one in part.statements for text in self.said(one)]
            yield from indented([*lines, *(after if segment == last else [])])

    def exchange(self, part: Round, segment: int, place: int, once: list[str]) -> Iterator[str]:
        """Reductions over the units of all programs of the rows, before `segment`."""
        names = [written(one.name) for one in part.reductions]
        where = [f"sums + (parity + {place + k}) * many_sums" for k in range(len(names))]
        for name, one in zip(names, part.reductions):
            yield f"{name} = {reduced(one)}"
        yield f"if (not ALONE) and (SEG < {segment}):"
        for name, at in zip(names, where):
            yield f"    tl.store({at} + mine_of_row, {name})"
        yield "    if tl.program_id(0) + columns < COLS:"
        for name, one, at in zip(names, part.reductions, where):
            yield f"        tl.store({at} + (mine_of_row + columns), {unchanged(one, name)})"
        stored = [f"if SEG < {segment}:", *indented(once)] if once else []
        yield from self.rendezvous(stored)
        yield "if ALONE:"
        yield from indented(f"{name} = {name}[:, None]" for name in names)
        yield f"elif (SEG < 0) or (SEG >= {segment}):"
        for name, one, at in zip(names, part.reductions, where):
            yield f"    {name} = {combined(one, f'{at} + all_of_row')}"


def reductions(parts: list[Round]) -> int:
    """How many reductions there are."""
    return sum(len(part.reductions) for part in parts)


def within(first: int, last: int) -> str:
    """The condition of a launch of all segments, or of one from `first` to `last`."""
    if first == last:
        return f"(SEG < 0) or (SEG == {first})"
    return f"(SEG < 0) or ((SEG >= {first}) and (SEG <= {last}))"
