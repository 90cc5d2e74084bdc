"""int8-full: products of integers, q_W · q_x, whose sums int32 holds exactly.

    q_x = round(x / s_x) in −127 … 127;  W x ≈ s_row s_x (q_W · q_x)

s_x stands for a product and is fixed: the largest number that came there when the model read its
training data, or where that is gone what an exporter makes up, is 127 of it. What lies between
products, the states among it, stays float32, each operation rounded once: `Exact` is the same
arithmetic in Python, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.outline import Affine, Array, Outline, Tokens
from ..lowering import Lowered, bias, integers, traced, weight
from ..reference import Reference
from . import single
from .quantising import Ranges, quantised, row_scales
from .single import f32
from .steps import Names


class Exact(Reference):
    """The arithmetic of NAME.c at int8-full. Without `ranges` products are plain, and what they
    take is `seen`."""

    dtype = f32

    def __init__(
        self, model: Lowered, ranges: Ranges | None, condition: Array | None = None
    ) -> None:
        self.ranges, self.folded = ranges, model.folded
        self.seen: Ranges = {}
        self.keys: dict[int, bytes] = {}  # what a matrix holds, by its id
        self.kept: dict[bytes, tuple[Array, Array]] = {}  # its integers and the scales of its rows
        super().__init__(model.outline, None)
        self.traces = [traced(scan) for scan in self.scans]
        self.does = [
            [[] if stage is None else single.statements(stage) for stage in trace.stages]
            for trace in self.traces
        ]
        self.names = [Names(scan, trace) for scan, trace in zip(self.scans, self.traces)]
        self.matrices = [self.products_of(k) for k in range(len(self.scans))]
        if condition is not None and self.outline.condition is not None:
            self.set_condition(condition)

    def products_of(self, k: int) -> tuple[Array | None, list[Array]]:
        """The matrices of a scan's step as C has them: of x, and of each product."""
        scan, trace = self.scans[k], self.traces[k]
        of_x = None
        if trace.inputs:
            gates = trace.gates[: trace.inputs]
            of_x = np.concatenate([weight(scan, g, of_x=True) for g in gates])
        others = [
            np.concatenate(
                [weight(scan, g, of_x=False) for g in trace.gates[p.slot : p.slot + p.count]]
            )
            for p in trace.products
        ]
        return of_x, others

    # ---- arithmetic ---------------------------------------------------------------------------

    def product(self, W: Array, x: Array) -> Array:
        """What is added to y."""
        if id(W) not in self.keys:
            self.keys[id(W)] = W.tobytes()
        key = self.keys[id(W)]
        if self.ranges is None:
            largest = float(np.abs(x).max(initial=0.0))
            self.seen[key] = max(self.seen.get(key, 0.0), largest)
            return (W @ x.astype(np.float64)).astype(f32)
        largest = self.ranges.get(key, 0.0)
        if key not in self.kept:
            self.kept[key] = integers(W).astype(np.int64), row_scales(W, largest)
        q, scale = self.kept[key]
        sums = q @ quantised(x, largest)
        return sums.astype(f32) * scale

    def advance(self, k: int, x: Array) -> Array:
        scan, trace, names = self.scans[k], self.traces[k], self.names[k]
        of_x, matrices = self.matrices[k]
        states, sizes = self.states[k], names.sizes
        z = np.zeros(names.slots, f32)
        fed = names.places[trace.inputs]
        if of_x is not None:
            gates = trace.gates[: trace.inputs]
            b = np.concatenate([bias(scan, g) for g in gates]).astype(f32)
            if self.folded and k == 0:
                n = scan.n
                own = np.concatenate([x[g * n : (g + 1) * n] for g in gates])
                z[:fed] = own + b
            else:
                z[:fed] = b + self.product(of_x, x)
        made: dict[str, Array] = {}

        def read(name: str) -> Array:
            kind, number = name.rstrip("]").split("[")
            i = int(number)
            if kind == "q":
                return (np.arange(sizes.widest) < sizes.masks[i]).astype(f32)
            part = x if kind == "z" and i == trace.direct else None
            if kind == "z" and part is None:
                part = z[names.places[i] : names.places[i + 1]]
            if kind == "state":
                part = states[i]
            if kind == "p":
                part = scan.vectors[i].astype(f32)
            assert part is not None
            return np.pad(part, (0, sizes.widest - len(part)))

        for number, (stage, does) in enumerate(zip(trace.stages, self.does[k])):
            for p, W in zip(trace.products, matrices):
                if p.stage == number:
                    operand = states[p.operand] if p.operand < trace.states else None
                    if operand is None:
                        operand = made[f"value[{p.operand}]"][: names.made[p.operand]]
                    at = names.places[p.slot]
                    z[at : at + len(W)] += self.product(W, operand)
            if stage is not None:
                made |= single.run(stage, does, sizes.widest, read)
        self.states[k] = [made[f"out[{i}]"][:n] for i, n in enumerate(sizes.states)]
        return self.states[k][0]

    def apply(self, one: Affine, x: Array) -> Array:
        y = one.b.astype(f32) + self.product(one.W, x)
        if one.then == "relu":
            return np.where(y < 0, f32(0), y)
        return single.tanh(y) if one.then == "tanh" else y

    def exp(self, x: Array) -> Array:
        return single.exp(x)

    def tanh(self, x: Array) -> Array:
        return single.tanh(x)

    def total(self, x: Array) -> Array:
        return single.total(x)

    def numbers(self, given: Array) -> Array:
        inputs = self.outline.inputs
        assert not isinstance(inputs, Tokens)
        x = given.astype(f32)
        if inputs.mean is not None and inputs.deviation is not None:
            x = (x - inputs.mean.astype(f32)) / inputs.deviation.astype(f32)
        return x

    def attended(self, scores: Array, y: Array) -> Array:
        highest, sum_of = f32(0), f32(0)
        pooled = np.zeros(y.shape[1], f32)
        for t, (score, row) in enumerate(zip(scores, y)):
            if t == 0:
                highest = score
            if score > highest:
                share = self.exp(highest - score)
                pooled, sum_of, highest = pooled * share, sum_of * share, score
            share = self.exp(score - highest)
            pooled, sum_of = pooled + share * row, sum_of + share
        return pooled / sum_of


def making(model: Lowered, ranges: Ranges) -> Any:
    """What has this arithmetic, as a `Reference` is made."""

    def made(outline: Outline, condition: Array | None = None) -> Exact:
        assert outline is model.outline
        return Exact(model, ranges, condition)

    return made
