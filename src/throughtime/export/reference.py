"""An outline run in float64 by the cells' own equations: what exports are held against.

Numbers are NumPy arrays of `dtype`; `advance`, `apply`, `exp` and `total` are all the arithmetic
that a target may do in another way (`export/c/single.py`, `integers.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..cells import Weights
from ..layers.outline import Affine, Array, Layer, Outline, Scan, Tokens


class Reference:
    """One sequence, step by step, or a whole one."""

    dtype: Any = np.float64

    def __init__(self, outline: Outline, condition: Array | None = None) -> None:
        self.outline = outline
        self.layers = outline.every_layer
        self.scans = [scan for layer in self.layers for scan in layer.scans]
        self.bound = [bound(scan) for scan in self.scans]
        self.states = [self.first(scan) for scan in self.scans]
        self.e: Array | None = None
        if outline.condition is not None and condition is not None:
            self.set_condition(condition)

    # ---- arithmetic ---------------------------------------------------------------------------

    def advance(self, k: int, x: Array) -> Array:
        """y<t> [n] of scan k."""
        cell = self.scans[k].cell
        state = cell.State(*(torch.from_numpy(part)[None] for part in self.states[k]))
        made = cell.step(self.bound[k], torch.from_numpy(x)[None], state)
        self.states[k] = [part[0].numpy() for part in made]
        return self.states[k][0]

    def apply(self, one: Affine, x: Array) -> Array:
        """then(W x + b)."""
        y = one.W @ x + one.b
        return {"": y, "relu": np.maximum(y, 0.0), "tanh": np.tanh(y)}[one.then]

    def exp(self, x: Array) -> Array:
        """e^x."""
        return np.exp(x)

    def tanh(self, x: Array) -> Array:
        """tanh x."""
        return np.tanh(x)

    def total(self, x: Array) -> Array:
        """The sum over the first axis."""
        return x.sum(0)

    def softmax(self, v: Array) -> Array:
        """Over the first axis."""
        p = self.exp(v - v.max(0))
        return p / self.total(p)

    # ---- steps --------------------------------------------------------------------------------

    def first(self, scan: Scan) -> list[Array]:
        """The state before the first step."""
        return [part.astype(self.dtype) for part in scan.first]

    def begin(self) -> None:
        """Before the first step."""
        self.states = [self.first(scan) for scan in self.scans]

    def set_condition(self, v: Array) -> None:
        """Begin under a condition [n_v]."""
        known = self.outline.condition
        assert known is not None
        self.e = self.apply(known.embed, np.asarray(v, self.dtype))
        if known.first is not None:
            sizes = np.cumsum([len(part) for scan in self.scans for part in scan.first])
            parts = iter(np.split(self.apply(known.first, self.e), sizes[:-1]))
            self.states = [[next(parts) for _ in scan.first] for scan in self.scans]

    def x(self, given: Any) -> Array:
        """x<t> [n_x] of a token, of a word and its characters, or of numbers."""
        inputs = self.outline.inputs
        if isinstance(inputs, Tokens):
            spelling = self.outline.spelling
            token, characters = (given, ()) if spelling is None else given
            x = inputs.table[int(token)].astype(self.dtype)
            if spelling is not None:
                x = np.concatenate([x, self.spelled(characters)])
        else:
            x = self.numbers(np.asarray(given, np.float64))
            if inputs.embed is not None:
                x = self.apply(inputs.embed, x)
        known = self.outline.condition
        if known is not None and known.joins_input and self.e is not None:
            x = np.concatenate([x, self.e])
        return x

    def numbers(self, given: Array) -> Array:
        """Standardised numbers."""
        inputs = self.outline.inputs
        assert not isinstance(inputs, Tokens)
        if inputs.mean is not None and inputs.deviation is not None:
            given = (given - inputs.mean) / inputs.deviation
        return given.astype(self.dtype)

    def spelled(self, characters: Sequence[int]) -> Array:
        """What stands for a word's characters."""
        spelling = self.outline.spelling
        assert spelling is not None
        table = spelling.table.astype(self.dtype)
        if spelling.layer is None:
            assert spelling.convolution is not None
            if not len(characters):
                return np.zeros(spelling.size, self.dtype)
            before, after = spelling.around
            rows = np.pad(table[list(characters)], ((before, after), (0, 0)))
            width = before + after + 1
            found = [
                self.apply(spelling.convolution, rows[t : t + width].ravel())
                for t in range(len(characters))
            ]
            return np.max(found, 0)
        begin = sum(len(layer.scans) for layer in self.outline.layers)
        parts = []
        for d, scan in enumerate(spelling.layer.scans):
            self.states[begin + d] = self.first(scan)
            for character in reversed(characters) if d else characters:
                self.advance(begin + d, table[character])
            parts.append(self.states[begin + d][0])
        return np.concatenate(parts)

    def read(self, given: Any) -> Array:
        """y<t> [n] of the last layer, which has one direction."""
        return self.through(self.outline.layers, 0, self.x(given))

    def through(self, layers: Iterable[Layer], number: int, x: Array) -> Array:
        """A step through layers of one direction, the first of whose scans is that number."""
        for k, layer in enumerate(layers, number):
            y = self.advance(k, x)
            x = y + x if layer.adds_input else y
        return x

    def step(self, given: Any) -> Array:
        """What the last map gives after this input."""
        return self.output(self.read(given))

    def output(self, y: Array) -> Array:
        """The maps after the stack."""
        for one in self.outline.outputs:
            y = self.apply(one, y)
        return y

    def run(self, inputs: Iterable[Any]) -> Iterator[Array]:
        """Step by step."""
        for given in inputs:
            yield self.step(given)

    # ---- whole sequences ----------------------------------------------------------------------

    def outputs(self, xs: list[Array]) -> tuple[list[Array], Array]:
        """y<t> of every step in one direction or both, and the last layer's final ones."""
        self.begin()
        return self.over(self.outline.layers, xs)

    def over(self, layers: Iterable[Layer], xs: list[Array]) -> tuple[list[Array], Array]:
        """The same of any layers, the first ones."""
        number, finals = 0, []
        for layer in layers:
            sides, finals = [], []
            for d in range(len(layer.scans)):
                ys = [self.advance(number, x) for x in (reversed(xs) if d else xs)]
                sides.append(ys[::-1] if d else ys)
                finals.append(self.states[number][0])
                number += 1
            ys = [np.concatenate(parts) for parts in zip(*sides)]
            xs = [y + x for y, x in zip(ys, xs)] if layer.adds_input else ys
        return xs, np.concatenate(finals)

    def whole(self, inputs: Iterable[Any]) -> Array:
        """The probabilities of labels after a whole sequence."""
        return self.softmax(self.result(inputs))

    def result(self, inputs: Iterable[Any]) -> Array:
        """What the last map gives of a whole sequence."""
        ys, final = self.outputs([self.x(given) for given in inputs])
        return self.output(self.pooled(ys, final))

    def pooled(self, ys: list[Array], final: Array) -> Array:
        """[n]."""
        pool = self.outline.pooling
        assert pool is not None
        if pool.kind == "last":
            return final
        if not ys:
            return np.zeros_like(final)
        y = np.stack(ys)
        if pool.kind == "mean":
            return self.total(y) / self.dtype(len(y))
        if pool.kind == "max":
            return y.max(0)
        assert pool.keys is not None
        assert pool.query is not None
        scores = np.array([self.dot(pool.query, self.apply(pool.keys, row)) for row in y])
        return self.attended(scores, y)

    def attended(self, scores: Array, y: Array) -> Array:
        """Attention's pooling by the scores of steps."""
        return self.weighted(scores, y)

    def dot(self, a: Array, b: Array) -> Array:
        """a · b."""
        return self.total(a.astype(self.dtype) * b)

    def weighted(self, scores: Array, y: Array) -> Array:
        """Σ_t softmax(scores)<t> y<t>."""
        return self.total(self.softmax(scores)[:, None] * y)


def bound(scan: Scan) -> Any:
    """Weights as the cell's `step` reads them."""
    W_x, W_a, b = (torch.from_numpy(part) for part in (scan.W_x, scan.W_a, scan.b))
    vectors = dict(zip(scan.cell.vectors, map(torch.from_numpy, scan.vectors)))
    matrices = {name: torch.from_numpy(W) for name, W in scan.matrices.items()}
    return scan.cell.bind(Weights(W_x, W_a, b, vectors, matrices=matrices))
