"""The kernel forward in time."""

from __future__ import annotations

from collections.abc import Iterator

from ...trace import Product, Trace
from .kernel import OPTIONS, UNSPECIALIZED, Kernel, within
from .text import indented


class Forward(Kernel):
    """Forward in time."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.segments(map(self.piece, trace.stages))

    def kernel(self) -> list[str]:
        return [
            UNSPECIALIZED,
            "def forward(x, zx, zr, W, p, q, lengths, reset, carry, states, values, y, arrived, "
            f"sums, T, B, n, t0, t1, {OPTIONS}):",
            *indented(self.begin()),
            *indented(self.hold()),
            "    for t in range(t0, tl.minimum(t1, last)):",
            *indented(self.time(), 2),
            *indented(self.step(), 2),
            *indented(self.end()),
        ]

    @property
    def given(self) -> list[int]:
        """The slots that hold something before the products: input halves, and x itself."""
        direct = [] if self.trace.direct is None else [self.trace.direct]
        return [*range(self.trace.inputs), *direct]

    def hold(self) -> Iterator[str]:
        for k in self.states:
            yield f"s_{k} = tl.load(carry + {k} * size + own, mask=mine, other=0)"
        for i in self.given:
            yield f"x_{i} = {self.read(i, 't0 * size')}"
        yield "if RESIDENT:"
        yield from indented(self.weights("ut * n + kt"))

    def read(self, i: int, at: str, mask: str = "mine") -> str:
        """Slot i of the own units from memory; what is made of it there would wait for it."""
        return f"tl.load({self.place(i, at=at)}, mask={mask}, other=0)"

    def step(self) -> Iterator[str]:
        yield "kept_steps = T"
        yield "kept_at = at"
        yield "if not KEEP:"
        yield "    kept_steps = 1"
        yield "    kept_at = at * 0"
        for k in self.states:
            yield f"b_{k} = tl.where(fresh[:, None], 0.0, s_{k})"
        for i in range(len(self.trace.gates)):
            yield f"z_{i} = {f'x_{i}.to(tl.float32)' if i in self.given else 'zero'}"
        for number in range(self.last + 1):
            yield from self.stage(number)

    def stage(self, number: int) -> Iterator[str]:
        """The products of a stage, and its piece."""
        slots, first = self.made(number), self.firsts[number]
        yield f"if {within(first, first)}:"
        yield from indented(self.product(number, slots))
        rest = [i for i in slots if i >= self.trace.inputs]
        if rest and first < self.end_segment:
            yield f"if SEG > {first}:"
            for i in rest:
                yield f"    z_{i} = {self.read(i, 'at')}.to(tl.float32)"
        kept = list(self.keep(slots))
        yield from self.play(number, kept, self.after_piece(number, kept))

    def product(self, number: int, slots: list[int]) -> Iterator[str]:
        """z of the slots of a stage, whole."""
        products = self.products(number)
        for j in dict.fromkeys(product.operand for product in products):
            yield from self.multiply(j, [q for q in products if q.operand == j])
        yield from self.add(slots)
        for i in slots:
            yield f"z_{i} = z_{i}.to(DT).to(tl.float32)"

    def after_piece(self, number: int, kept: list[str]) -> Iterator[str]:
        """What a stage made is told."""
        for j in self.values:
            if self.trace.made[j] == number:
                yield f"tl.store({self.value(j)} + own, v_{j}.to(DT), mask=mine)"
        kept = kept if len(self.parts[number]) == 1 else []
        if number < self.last:
            if self.trace.stages[number] is not None:
                yield from self.rendezvous(kept)
            return
        taken = {q.operand for q in self.trace.products}
        yield f"tl.store({self.after(0)}, tl.where(live, o_0, 0.0).to(DT), mask=mine)"
        for k in self.states[1:]:
            if k in taken:
                yield f"tl.store({self.after(k)}, o_{k}, mask=live)"
        yield from self.rendezvous([*kept, *self.done(taken)])

    def keep(self, slots: list[int]) -> Iterator[str]:
        """z for the backward, and for later segments in launches of their own."""
        yield "if KEEP:"
        stores = (f"tl.store({self.place(i)}, z_{i}.to(DT), mask=live)" for i in slots)
        yield from indented(stores)

    def done(self, taken: set[int]) -> Iterator[str]:
        """The end of a step: states that no other program reads, and what the next one reads."""
        yield "if KEEP:"
        yield from indented(
            f"tl.store({self.after(k)}, o_{k}, mask=live)"
            for k in self.states[1:]
            if k not in taken
        )
        for k in self.states:
            yield f"s_{k} = tl.where(live, o_{k}, s_{k})"
        yield "if SEG < 0:"
        yield "    more = mine & (t + 1 < T)"
        for i in self.given:
            yield f"    x_{i} = {self.read(i, '(at + size)', 'more')}"

    def value(self, j: int) -> str:
        """Where value j of step t is: kept for all steps, else one step's alone."""
        number = j - self.trace.states
        return f"values + {number} * kept_steps * size + kept_at"

    def multiply(self, j: int, products: list[Product]) -> Iterator[str]:
        """d = operand j times the weights of the slots of `products`; z += d where d is whole."""
        slots = [i for product in products for i in self.slots_of(product)]
        register = f"b_{j}" if j < self.trace.states else f"v_{j}"
        yield "if ALONE:"
        yield f"    a_{j} = {register}.to(DT)"
        yield "elif RESIDENT:"
        yield "    if KS == 1:"
        yield "        keep = lmask & (fresh == 0)[:, None]"
        yield "    else:"
        yield "        keep = lmask & (fresh == 0)[None, :, None]"
        yield f"    a_{j} = {self.operand(j, 'keep', 'lmask', 'left')}"
        yield "if RESIDENT:"
        for i in slots:
            yield f"    d_{i} = tl.dot(a_{j}, w_{i}, input_precision=PRECISION)"
        yield "else:"
        yield "    for k0 in range(0, n, KC):"
        yield "        kb = k0 + tl.arange(0, KC)"
        yield "        lsome = (rows < B)[:, None] & (kb < n)[None, :]"
        yield "        some = lsome & (fresh == 0)[:, None]"
        where = "(rows[:, None] * n + kb[None, :])"
        yield f"        a_{j} = {self.operand(j, 'some', 'lsome', where)}"
        yield "        wsome = (kb < n)[:, None] & (units < n)[None, :]"
        for i in slots:
            index = f"W + {self.trace.gates[i]} * n * n + units[None, :] * n + kb[:, None]"
            yield f"        u_{i} = tl.load({index}, mask=wsome, other=0)"
            yield f"        z_{i} = tl.dot(a_{j}, u_{i}, z_{i}, input_precision=PRECISION)"

    def add(self, slots: list[int]) -> Iterator[str]:
        """z += d, the sum of its KS pieces, of all slots in one go."""
        if not slots:
            return
        yield "if RESIDENT and KS == 1:"
        for i in slots:
            yield f"    z_{i} += d_{i}"
        yield "elif RESIDENT:"
        if len(slots) == 1:
            yield f"    z_{slots[0]} += tl.sum(d_{slots[0]}, 0)"
            return
        given = ", ".join(f"d_{i}" for i in slots)
        yield f"    {given} = tl.reduce(({given}), 0, add_{len(slots)})"
        for i in slots:
            yield f"    z_{i} += d_{i}"

    def operand(self, j: int, before: str, now: str, where: str) -> str:
        """Operand j of all units, as the other programs of the rows left it.

        The masks: of a state, zero where reset, and of a value of this step.
        """
        said = 'other=0, cache_modifier=".cg"'
        if j < self.trace.states:
            return f"tl.load({self.before(j, where=where)}, mask={before}, {said}).to(DT)"
        return f"tl.load({self.value(j)} + {where}, mask={now}, {said})"

    def end(self) -> Iterator[str]:
        yield f"if {within(self.end_segment, self.end_segment)}:"
        for k in self.states:
            yield f"    tl.store(carry + {k} * size + own, s_{k}, mask=mine)"
