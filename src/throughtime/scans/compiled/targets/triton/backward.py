"""The kernel backward in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...trace import Product, Trace
from ...walk import Statement
from .kernel import OPTIONS, UNSPECIALIZED, Kernel, within
from .text import indented


class Backward(Kernel):
    """Backward in time: dz of each step, and the gradients of the first state."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.segments(map(self.derivative, reversed(trace.stages)))

    def kernel(self) -> list[str]:
        return [
            UNSPECIALIZED,
            "def backward(x, zx, zr, W, p, q, lengths, reset, carry, states, y, dy, dzx, dzr, "
            f"ddirect, dp, dq, hold, arrived, sums, T, B, n, t0, t1, HAS_DY: tl.constexpr, "
            f"WANT_DQ: tl.constexpr, {OPTIONS}):",
            *indented(self.begin()),
            "    first = tl.minimum(t1, last) - 1",
            *indented(self.take()),
            "    for back in range(0, first + 1 - t0):",
            "        t = first - back",
            *indented(self.time(), 2),
            *indented(self.step(), 2),
            *indented(self.end()),
        ]

    def take(self) -> Iterator[str]:
        for k in self.states:
            yield f"c_{k} = tl.load(carry + {k} * size + own, mask=mine, other=0)"
        for i in range(self.trace.vectors):
            yield f"sum_{i} = tl.load(dp + {i} * size + own, mask=mine, other=0)"
        yield from self.fetch("(first * size)", "mine & (first >= t0)")
        yield "if RESIDENT:"
        yield from indented(self.weights("ut * n + kt"))

    def fetch(self, at: str, mask: str) -> Iterator[str]:
        """What step t reads that only its own program needs: z, the states before it, dy."""
        yield f"some = {mask}"
        for i in range(len(self.trace.gates)):
            yield f"next_z_{i} = tl.load({self.place(i, at=at)}, mask=some, other=0)"
        for k in self.states:
            yield f"next_b_{k} = tl.load({self.before(k, at)}, mask=some, other=0)"
        yield "if HAS_DY:"
        yield f"    next_dy = tl.load(dy + {at} + own, mask=some, other=0)"

    @property
    def held(self) -> list[str]:
        """What a segment hands on to the next: gradients so far."""
        return [
            *(f"db_{k}" for k in self.states),
            *(f"dv_{j}" for j in self.values),
            *(f"dz_{i}" for i in range(len(self.trace.gates))),
            *(f"dq_{i}" for i in range(self.trace.streams)),
        ]

    def step(self) -> Iterator[str]:
        for k in self.states:
            yield f"b_{k} = tl.where(fresh[:, None], 0.0, next_b_{k}.to(tl.float32))"
        for i in range(len(self.trace.gates)):
            yield f"z_{i} = next_z_{i}.to(tl.float32)"
        yield "if HAS_DY:"
        yield "    now_dy = tl.where(live, next_dy.to(tl.float32), 0.0)"
        for number, name in enumerate(self.held):
            yield f"{name} = zero"
            yield "if SEG > 0:"
            yield f"    {name} = tl.load(hold + {number} * size + own, mask=mine, other=0)"
        for number in range(self.last + 1):
            yield from self.stage(number)

    def stage(self, number: int) -> Iterator[str]:
        """Gradients by what the products of the stage after took, and through its piece."""
        stage, first = self.last - number, self.firsts[number]
        yield f"if {within(first, first)}:"
        yield from indented(
            text for product in self.products(stage + 1) for text in self.multiply(product)
        )
        if number == 0:
            for k in self.states:
                yield f"do_{k} = c_{k}"
            yield "if HAS_DY:"
            yield "    do_0 += now_dy"
        yield from self.play(number, list(self.meanwhile()), self.after_piece(number))

    def said(self, one: Statement) -> list[str]:
        """What is made is added to what there is of it."""
        lines, name = super().said(one), one.name.text
        if one.made and name.startswith("ep_"):
            lines.append(f"sum_{name[3:]} += tl.where(live, {name}, 0.0)")
        elif one.made:
            lines.append(f"d{name[1:]} += {name}")
        return lines

    def after_piece(self, number: int) -> Iterator[str]:
        """dz is told; at the end of a step, the gradients by the state before it."""
        if number < self.last:
            yield from self.tell(self.made(self.last - number))
            yield from self.rendezvous([*self.meanwhile(), *self.ahead(number)])
            return
        told = {i for product in self.trace.products for i in self.slots_of(product)}
        yield from self.tell(i for i in range(len(self.trace.gates)) if i not in told)
        yield "if WANT_DQ:"
        yield from indented(
            f"tl.store(dq + {i} * T * size + at + own, tl.where(live, dq_{i}, 0.0), mask=mine)"
            for i in range(self.trace.streams)
        )
        for k in self.states:
            through = f"tl.where(fresh[:, None], 0.0, db_{k})"
            yield f"c_{k} = tl.where(live, {through}, c_{k})"
        yield from self.ahead(number)

    def meanwhile(self) -> Iterator[str]:
        yield "if SEG >= 0:"
        for place, name in enumerate(self.held):
            yield f"    tl.store(hold + {place} * size + own, {name}, mask=mine)"

    def ahead(self, number: int) -> Iterator[str]:
        """In the first segment, while others arrive, what the next step reads is fetched."""
        if number == 0:
            yield "if SEG < 0:"
            yield from indented(self.fetch("(at - size)", "mine & (t > t0)"))

    def tell(self, slots: Iterable[int]) -> Iterator[str]:
        """dz of slots to which nothing will be added."""
        for i in slots:
            yield f"dz_{i} = tl.where(live, dz_{i}, 0.0)"
            yield f"tl.store({self.place(i, 'dz')}, dz_{i}.to(DT), mask=mine)"

    def multiply(self, product: Product) -> Iterator[str]:
        """The gradient of the operand += dz W_a, for the own units."""
        j = product.operand
        to = f"db_{j}" if j < self.trace.states else f"dv_{j}"
        slots = self.slots_of(product)
        yield "if ALONE:"
        for i in slots:
            yield f"    {to} = tl.dot(dz_{i}.to(DT), w_{i}, {to}, input_precision=PRECISION)"
        yield "elif RESIDENT:"
        for i in slots:
            said = 'mask=lmask, other=0, cache_modifier=".cg"'
            yield f"    g_{i} = tl.load({self.wide(i)}, {said})"
        for i in slots:
            sums = "" if i == slots[0] else "e, "
            yield f"    e = tl.dot(g_{i}, w_{i}, {sums}input_precision=PRECISION)"
        yield "    if KS > 1:"
        yield "        e = tl.sum(e, 0)"
        yield f"    {to} += e"
        yield "else:"
        yield "    for k0 in range(0, n, KC):"
        yield "        kb = k0 + tl.arange(0, KC)"
        yield "        lsome = (rows < B)[:, None] & (kb < n)[None, :]"
        yield "        wsome = (kb < n)[:, None] & (units < n)[None, :]"
        for i in slots:
            index = f"W + {self.trace.gates[i]} * n * n + units[None, :] * n + kb[:, None]"
            yield f"        u_{i} = tl.load({index}, mask=wsome, other=0)"
            read = self.wide(i, block=True)
            yield f'        g_{i} = tl.load({read}, mask=lsome, other=0, cache_modifier=".cg")'
            yield f"        {to} = tl.dot(g_{i}, u_{i}, {to}, input_precision=PRECISION)"

    def wide(self, i: int, block: bool = False) -> str:
        """The address of dz of slot i at step t, of all units or of a block of them."""
        which, i, count = self.buffer(i)
        where = f"(rows[:, None] * ({count} * n) + kb[None, :])" if block else f"left_{which}"
        return f"dz{which} + (at * {count} + {i} * n) + {where}"

    def end(self) -> Iterator[str]:
        yield f"if {within(self.end_segment, self.end_segment)}:"
        for k in self.states:
            yield f"    tl.store(carry + {k} * size + own, c_{k}, mask=mine)"
        for i in range(self.trace.vectors):
            yield f"tl.store(dp + {i} * size + own, sum_{i}, mask=mine)"
