"""An outline as the page's program takes it: parts by name, arrays by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...layers.outline import (
    Affine,
    Chain,
    Layer,
    Outline,
    Pool,
    Scan,
    Scores,
    Spelling,
    Tokens,
    Window,
    Writer,
)
from ...scans.compiled.targets.javascript import emit
from ...scans.compiled.trace import Trace
from ..lowering import Lowered, Widths, bias, traced, weight, widths
from .weights import Weights


class Parts:
    """The parts of a model for JSON, and what they refer to: `weights`, and the printed `cells`."""

    def __init__(self, model: Lowered, precision: str) -> None:
        self.model, self.weights = model, Weights(precision)
        self.cells: list[str] = []

    def whole(self) -> dict[str, Any]:
        """Of the whole model."""
        outline, folded = self.model.outline, self.model.folded
        return {
            "folded": folded,
            "inputs": self.inputs(outline),
            "layers": [
                self.layer(layer, traces, folded and k == 0)
                for k, (layer, traces) in enumerate(zip(outline.layers, self.model.traces))
            ],
            "outputs": [self.affine(one) for one in outline.outputs],
            "pooling": self.pooling(outline.pooling),
            "condition": self.condition(outline),
            "chain": self.chain(outline.chain),
            "spelling": self.spelling(outline.spelling),
            "window": self.window(outline.window),
            "writer": self.writer(outline.writer),
        }

    def inputs(self, outline: Outline) -> dict[str, Any]:
        """What a token is, or numbers."""
        inputs = outline.inputs
        if isinstance(inputs, Tokens):
            table = inputs.table
            if self.model.folded:
                table = by_slot(table, self.model.traces[0][0], outline.layers[0].scans[0])
            return {"table": self.weights.matrix(table)}
        return {
            "size": inputs.size,
            "mean": None if inputs.mean is None else self.weights.vector(inputs.mean),
            "deviation": None
            if inputs.deviation is None
            else self.weights.vector(inputs.deviation),
            "embed": None if inputs.embed is None else self.affine(inputs.embed),
        }

    def layer(self, layer: Layer, traces: tuple[Trace, ...], folded: bool) -> dict[str, Any]:
        """A layer."""
        scans = [self.scan(scan, trace, folded) for scan, trace in zip(layer.scans, traces)]
        return {"scans": scans, "adds": layer.adds_input}

    def scan(self, scan: Scan, trace: Trace, folded: bool) -> dict[str, Any]:
        """A cell through time. Slots stand `n` numbers apart."""
        wide, add = widths(scan, trace), self.weights
        n = max(*wide.slots, *wide.states, *wide.vectors, wide.widest if scan.uneven else 0)
        products: list[list[Any]] = [[] for _ in trace.stages]
        for p in trace.products:
            for slots in together(range(p.slot, p.slot + p.count), wide, n):
                W = add.matrix(rows(scan, trace, slots, of_x=False))
                products[p.stage].append([slots[0] * n, p.operand, W])
        fed = together(range(trace.inputs), wide, n)
        by_x = [] if folded else fed
        biases = [(s[0] * n, np.concatenate([bias(scan, trace.gates[k]) for k in s])) for s in fed]
        return {
            "cell": self.cell(trace),
            "n": n,
            "size": scan.size,
            "slots": len(trace.gates),
            "states": wide.states,
            "first": [add.maybe(part) for part in scan.first],
            "bias": [[at, add.vector(b)] for at, b in biases if b.any()],
            "inputs": [[s[0] * n, add.matrix(rows(scan, trace, s, of_x=True))] for s in by_x],
            "products": products,
            "values": sorted({p.operand for p in trace.products if p.operand >= trace.states}),
            "vectors": [add.vector(vector) for vector in scan.vectors],
            "direct": -1 if trace.direct is None else trace.direct,
            "q": wide.masks,
        }

    def cell(self, trace: Trace) -> int:
        """The number of a cell's stages among those that are printed."""
        text = emit(trace)
        if text not in self.cells:
            self.cells.append(text)
        return self.cells.index(text)

    def affine(self, one: Affine) -> Mapping[str, Any]:
        """A map."""
        return {"W": self.weights.matrix(one.W), "b": self.weights.vector(one.b), "then": one.then}

    def pooling(self, pool: Pool | None) -> Mapping[str, Any] | None:
        """What stands for a whole sequence."""
        if pool is None:
            return None
        if pool.keys is None or pool.query is None:
            return {"kind": pool.kind}
        keys, query = self.affine(pool.keys), self.weights.vector(pool.query)
        return {"kind": pool.kind, "keys": keys, "query": query}

    def condition(self, outline: Outline) -> Mapping[str, Any] | None:
        """What a condition does."""
        known = outline.condition
        if known is None:
            return None
        first = None if known.first is None else self.affine(known.first)
        return {"embed": self.affine(known.embed), "joins": known.joins_input, "first": first}

    def chain(self, chain: Chain | None) -> Mapping[str, Any] | None:
        """Scores of tags in a row."""
        if chain is None:
            return None
        transitions = self.weights.add(chain.transitions, "float32")
        ends = [self.weights.vector(part) for part in (chain.start, chain.end)]
        return {"start": ends[0], "transitions": transitions, "end": ends[1]}

    def spelling(self, spelling: Spelling | None) -> Mapping[str, Any] | None:
        """What a word's characters add."""
        if spelling is None:
            return None
        kernel = spelling.convolution
        return {
            "table": self.weights.matrix(spelling.table),
            "layer": None if spelling.layer is None else self.traced(spelling.layer),
            "convolution": None if kernel is None else self.affine(kernel),
            "around": spelling.around,
            "size": spelling.size,
        }

    def traced(self, layer: Layer) -> dict[str, Any]:
        """A layer beside the stack's."""
        return self.layer(layer, tuple(map(traced, layer.scans)), False)

    def window(self, window: Window | None) -> Mapping[str, Any] | None:
        """What a forecast is made from."""
        if window is None:
            return None
        linear = None if window.linear is None else self.affine(window.linear)
        return {**vars(window), "linear": linear}

    def writer(self, writer: Writer | None) -> Mapping[str, Any] | None:
        """What writes a translation."""
        if writer is None:
            return None
        return {
            "table": self.weights.matrix(writer.table),
            "layers": [self.traced(layer) for layer in writer.layers],
            "bridges": [
                {"map": self.affine(one.map), "below": one.below, "parts": one.parts}
                for one in writer.bridges
            ],
            "attention": self.attention(writer.attention),
            "combine": self.affine(writer.combine),
            "output": self.affine(writer.output),
            "feeds": writer.feeds,
        }

    def attention(self, scores: Scores | None) -> Mapping[str, Any] | None:
        """How a source is looked at."""
        if scores is None:
            return None
        queries = None if scores.queries is None else self.weights.matrix(scores.queries)
        v = None if scores.v is None else self.weights.vector(scores.v)
        return {"keys": self.affine(scores.keys), "queries": queries, "v": v}


def together(slots: range, wide: Widths, n: int) -> list[range]:
    """The slots whose numbers stand one after the other: all, or each by itself."""
    if all(wide.slots[k] == n for k in slots):
        return [slots] if slots else []
    return [range(k, k + 1) for k in slots]


def rows(scan: Scan, trace: Trace, slots: range, *, of_x: bool) -> np.ndarray:
    """The matrix behind slots."""
    return np.concatenate([weight(scan, trace.gates[k], of_x=of_x) for k in slots])


def by_slot(table: np.ndarray, trace: Trace, scan: Scan) -> np.ndarray:
    """The columns of a folded table as the slots stand."""
    n, fed = scan.n, trace.gates[: trace.inputs]
    return np.concatenate([table[:, gate * n : (gate + 1) * n] for gate in fed], 1)
