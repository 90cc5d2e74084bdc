"""What both kernels share: who owns what, where it lies, and the barrier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...trace import Product, Stage, Trace
from ...walk import Statement, walk
from .text import name_of

OPTIONS = (
    "BM: tl.constexpr, BU: tl.constexpr, KS: tl.constexpr, KC: tl.constexpr, SEG: tl.constexpr, "
    "ALONE: tl.constexpr, RESIDENT: tl.constexpr, KEEP: tl.constexpr, RAGGED: tl.constexpr, "
    "RESET: tl.constexpr, PRECISION: tl.constexpr"
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
        count = self.trace.inputs
        if i == self.trace.direct:
            return f"{'x' if kind == 'z' else 'ddirect'} + {at} + own"
        buffer = f"{kind}x"
        if i >= count:
            buffer, i, count = f"{kind}r", i - count, len(self.slots) - count
        return f"{buffer} + {at} * {count} + own + rows[:, None] * ({count - 1} * n) + {i} * n"

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
        for i in range(self.trace.vectors):
            yield f"p_{i} = tl.load(p + {i} * n + units, mask=units < n, other=0)[None, :] + zero"
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

    def time(self) -> Iterator[str]:
        """What holds at step t for the rows."""
        yield "at = t * size"
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

    def piece(self, stage: Stage) -> list[Statement]:
        """A stage's equations."""
        reads, makes = (list(map(name_of, names)) for names in (stage.reads, stage.makes))
        return walk(stage.forward, reads, makes, self.there(stage))

    def there(self, stage: Stage) -> dict[int, str]:
        """The masks of padded units, by the widths in the graphs."""
        return {width: name_of(mask) for width, mask in stage.there.items()}

    def derivative(self, stage: Stage) -> list[Statement]:
        """Of a stage: e… is what it adds to the gradient of what was read."""
        given = [*map(name_of, stage.reads), *(f"d{name_of(make)}" for make in stage.makes)]
        made = [f"e{name_of(read)}" for read in stage.reads]
        return walk(stage.backward, given, made, self.there(stage))
