"""What an outline says of whole sequences, in the reference's arithmetic: tags, forecasts,
translations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..layers.outline import Affine, Array, Chain, Scores, Writer
from .reference import Reference


def scores(reference: Reference, inputs: Iterable[Any]) -> Array:
    """What the last map gives at each step of a sequence, [T, K]."""
    ys, _ = reference.outputs([reference.x(given) for given in inputs])
    return np.array([reference.output(y) for y in ys])


def tags(reference: Reference, inputs: Sequence[Any]) -> list[int]:
    """The most probable tag of each step: by itself, or all together under a chain."""
    if not len(inputs):
        return []
    found, chain = scores(reference, inputs), reference.outline.chain
    return found.argmax(1).tolist() if chain is None else viterbi(found, chain)


def viterbi(found: Array, chain: Chain) -> list[int]:
    """The most probable sequence of tags by scores [T, K]."""
    dtype = found.dtype
    start, transitions, end = (
        part.astype(dtype) for part in (chain.start, chain.transitions, chain.end)
    )
    best, pointers = start + found[0], []
    for row in found[1:]:
        paths = best[:, None] + transitions
        pointers.append(paths.argmax(0))
        best = paths.max(0) + row
        best = best - best.max()
    tags = [int((best + end).argmax())]
    for pointer in reversed(pointers):
        tags.append(int(pointer[tags[-1]]))
    return tags[::-1]


# ---- forecasts ------------------------------------------------------------------------------


def forecast(reference: Reference, window: Array, known: Array) -> Array:
    """Of a scaled window [L, k + observed] and what is known [L + H, f] of its steps and those to
    come, the next steps [H, k, Q], scaled; Q is 1, or of each quantile, which rise."""
    about = reference.outline.window
    assert about is not None
    dtype, k, L = reference.dtype, about.targets, about.length
    window, known = window.astype(dtype), known.astype(dtype)
    anchor, scale = frame(reference, window[:, :k])
    y = (window[:, :k] - anchor) / scale
    x = np.concatenate([y, window[:, k:], known[1 : L + 1]], 1)
    reference.begin()
    a = np.zeros(0, dtype)
    for row in x[L - about.reads :]:
        a = reference.through(reference.outline.layers, 0, row)
    each = max(1, len(about.quantiles))
    if about.direct:
        out = reference.output(np.concatenate([a, known[L:].ravel()]))
        made = out.reshape(about.horizon, k, each)
        if about.linear is not None:
            moved = np.stack([reference.apply(about.linear, y[:, j]) for j in range(k)], 1)
            made = made + moved[:, :, None]
    else:
        steps = []
        for t in range(about.horizon):
            steps.append(reference.output(a).reshape(k, each))
            if t + 1 < about.horizon:
                x_next = np.concatenate([steps[-1][:, 0], known[L + t + 1]])
                a = reference.through(reference.outline.layers, 0, x_next)
        made = np.array(steps)
    return np.sort(made * scale[:, None] + anchor[:, None], -1)


def frame(reference: Reference, y: Array) -> tuple[Array, Array]:
    """What is taken off the targets of a window [L, k], and what they are divided by."""
    about, dtype = reference.outline.window, reference.dtype
    assert about is not None
    mean = reference.total(y) / dtype(len(y))
    scale = np.ones_like(mean)
    if about.scaled:
        off = y - mean
        scale = np.sqrt(reference.total(off * off) / dtype(len(y)) + dtype(about.least))
    anchors = {"last": y[-1], "mean": mean, "none": np.zeros_like(mean)}
    return anchors[about.anchor], scale


# ---- translations ---------------------------------------------------------------------------


class Translating:
    """A source that was read, and its translation, token by token."""

    def __init__(self, reference: Reference, source: Sequence[int]) -> None:
        self.reference, outline = reference, reference.outline
        assert outline.writer is not None
        self.writer: Writer = outline.writer
        self.table = self.writer.table.astype(reference.dtype)
        self.first = sum(len(layer.scans) for layer in outline.layers)
        self.values, _ = reference.outputs([reference.x(token) for token in source])
        by_layer, number = [], 0
        for layer in outline.layers:
            scans = range(number, number + len(layer.scans))
            by_layer.append([reference.states[k] for k in scans])
            number += len(layer.scans)
        parts = iter(self.writer.bridges)
        for k, scan in enumerate(reference.scans[self.first :], self.first):
            state = []
            for _ in scan.first:
                bridge = next(parts)
                sides = by_layer[bridge.below]
                v = [side[part] for part in bridge.parts for side in sides]
                state.append(reference.apply(bridge.map, np.concatenate(v)))
            reference.states[k] = state
        self.h = np.zeros(len(self.writer.combine.W), reference.dtype)
        attention = self.writer.attention
        self.keys: list[Array] = []
        if attention is not None:
            self.keys = [reference.apply(attention.keys, value) for value in self.values]

    def step(self, token: int) -> Array:
        """Logits of the token after this one."""
        reference, writer = self.reference, self.writer
        x = self.table[token]
        if writer.feeds:
            x = np.concatenate([x, self.h])
        s = reference.through(writer.layers, self.first, x)
        if writer.attention is not None:
            s = np.concatenate([s, self.context(writer.attention, s)])
        self.h = reference.apply(writer.combine, s)
        return reference.apply(writer.output, self.h)

    def context(self, attention: Scores, s: Array) -> Array:
        """What attention sees of the source."""
        reference = self.reference
        if not self.values:
            return np.zeros(sum(scan.size for scan in self.outline_scans()), reference.dtype)
        if attention.v is None or attention.queries is None:
            found = [reference.dot(s, key) for key in self.keys]
        else:
            v, query = attention.v, reference.apply(without_bias(attention.queries), s)
            found = [reference.dot(v, reference.tanh(query + key)) for key in self.keys]
        return reference.weighted(np.array(found), np.stack(self.values))

    def outline_scans(self) -> Any:
        """Those of the last layer that reads."""
        return self.reference.outline.layers[-1].scans

    def greedy(
        self, first: int, most: int, end: int, never: Sequence[int],
        seen: Callable[[Array], None] | None = None,
    ) -> list[int]:  # fmt: skip
        """The most probable tokens one after the other, without the end; `seen` is shown the
        logits."""
        tokens = [first]
        for _ in range(most):
            logits = self.step(tokens[-1])
            if seen is not None:
                seen(logits)
            allowed = logits.copy()
            allowed[list(never)] = -np.inf
            tokens.append(int(allowed.argmax()))
            if tokens[-1] == end:
                return tokens[1:-1]
        return tokens[1:]


def without_bias(W: Array) -> Affine:
    """The map W x."""
    return Affine(W, np.zeros(len(W)))
