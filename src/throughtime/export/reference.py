"""An outline run in float64 by the cells' own equations: what exports are held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from ..cells import Weights
from ..layers.outline import Affine, Array, Outline, Scan, Tokens


class Reference:
    """One sequence, step by step."""

    def __init__(self, outline: Outline, condition: Array | None = None) -> None:
        self.outline = outline
        self.scans = [scan for layer in outline.layers for scan in layer.scans]
        self.bound = [bound(scan) for scan in self.scans]
        self.states = [state_of(scan) for scan in self.scans]
        self.e = None
        if outline.condition is not None and condition is not None:
            self.set_condition(condition)

    def set_condition(self, v: Array) -> None:
        """Begin under a condition [n_v]."""
        known = self.outline.condition
        assert known is not None
        self.e = apply(known.embed, torch.from_numpy(np.asarray(v, np.float64))[None])
        if known.first is not None:
            parts = iter(apply(known.first, self.e).split(self.first_sizes(), 1))
            self.states = [
                scan.cell.State(*(next(parts) for _ in scan.first)) for scan in self.scans
            ]

    def first_sizes(self) -> list[int]:
        """Of each part of each state."""
        return [scan.n for scan in self.scans for _ in scan.first]

    def x(self, given: Any) -> Tensor:
        """x<t> [1, n_x] of a token or of numbers."""
        inputs = self.outline.inputs
        if isinstance(inputs, Tokens):
            x = torch.from_numpy(inputs.table[int(given)])[None]
        else:
            numbers = np.asarray(given, np.float64)
            if inputs.mean is not None and inputs.deviation is not None:
                numbers = (numbers - inputs.mean) / inputs.deviation
            x = torch.from_numpy(numbers)[None]
        known = self.outline.condition
        if known is not None and known.joins_input and self.e is not None:
            x = torch.cat([x, self.e], 1)
        return x

    def read(self, given: Any) -> Tensor:
        """y<t> [1, n] of the last layer, which has one direction."""
        x = self.x(given)
        for k, layer in enumerate(self.outline.layers):
            y = self.advance(k, x)
            x = y + x if layer.adds_input else y
        return x

    def advance(self, k: int, x: Tensor) -> Tensor:
        """One step of scan k."""
        self.states[k] = self.scans[k].cell.step(self.bound[k], x, self.states[k])
        return self.states[k][0]

    def whole(self, inputs: Iterable[Any]) -> Array:
        """The probabilities of labels after a whole sequence, in one direction or both."""
        xs = [self.x(given) for given in inputs]
        self.states = [state_of(scan) for scan in self.scans]
        number, finals = 0, []
        for layer in self.outline.layers:
            sides, finals = [], []
            for d in range(len(layer.scans)):
                ys = [self.advance(number, x) for x in (reversed(xs) if d else xs)]
                sides.append(ys[::-1] if d else ys)
                finals.append(self.states[number][0])
                number += 1
            ys = [torch.cat(parts, 1) for parts in zip(*sides)]
            xs = [y + x for y, x in zip(ys, xs)] if layer.adds_input else ys
        logits = torch.from_numpy(self.output(self.pooled(xs, torch.cat(finals, 1))))
        return logits.softmax(0).numpy()

    def pooled(self, ys: list[Tensor], final: Tensor) -> Tensor:
        """[1, n]."""
        pool = self.outline.pooling
        assert pool is not None
        if pool.kind == "last":
            return final
        if not ys:
            return torch.zeros_like(final)
        y = torch.cat(ys)
        if pool.kind == "mean":
            return y.mean(0, keepdim=True)
        if pool.kind == "max":
            return y.amax(0, keepdim=True)
        assert pool.keys is not None
        assert pool.query is not None
        scores = apply(pool.keys, y) @ torch.from_numpy(pool.query)
        return (scores.softmax(0)[:, None] * y).sum(0, keepdim=True)

    def step(self, given: Any) -> Array:
        """What the last map gives after this input."""
        return self.output(self.read(given))

    def output(self, y: Tensor) -> Array:
        """The maps after the stack."""
        for one in self.outline.outputs:
            y = apply(one, y)
        return y[0].numpy()

    def run(self, inputs: Iterable[Any]) -> Iterator[Array]:
        """Step by step."""
        for given in inputs:
            yield self.step(given)


def bound(scan: Scan) -> Any:
    """Weights as the cell's `step` reads them."""
    W_x, W_a, b = (torch.from_numpy(part) for part in (scan.W_x, scan.W_a, scan.b))
    vectors = dict(zip(scan.cell.vectors, map(torch.from_numpy, scan.vectors)))
    return scan.cell.bind(Weights(W_x, W_a, b, vectors))


def state_of(scan: Scan) -> Any:
    """Before the first step, [1, n]."""
    return scan.cell.State(*(torch.from_numpy(part)[None].clone() for part in scan.first))


def apply(one: Affine, x: Tensor) -> Tensor:
    """then(W x + b)."""
    y = linear(x, torch.from_numpy(one.W), torch.from_numpy(one.b))
    return {"": lambda v: v, "relu": torch.relu, "tanh": torch.tanh}[one.then](y)
