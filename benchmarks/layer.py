"""One layer to be timed: our weights, an input, the gradient of the output; its cost in FLOP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import throughtime as tt
from peers import DecayUnit
from throughtime import scans
from throughtime.cells import Cell
from timing import Times

TRAINING, INFERENCE = MODES = ("forward+backward", "inference")

CELLS: dict[str, Cell] = {
    type(cell).__name__: cell
    for cell in (
        tt.LSTM(),
        tt.RNN(),
        tt.SimpleGRU(),
        tt.GRU(),
        tt.GRUResetAfter(),
        tt.PeepholeLSTM(),
        tt.LayerNormLSTM(),
        tt.LayerNormGRU(),
        DecayUnit(),
    )
}

AMPLIFYING = ("LayerNormLSTM",)
"""Cells in which, with random weights, any rounding grows: their first steps are compared."""

Shape = tuple[int, int, int]
"""T, B and n = n_x."""


@dataclass(frozen=True)
class Options:
    """What the command line chose."""

    shapes: tuple[Shape, ...]
    seconds: float
    backend: str
    device: str
    threads: int


class Layer:
    """A cell at a shape T, B, n = n_x, with weights and data from a fixed seed."""

    def __init__(
        self, cell: Cell, shape: Shape, o: Options, dtype: torch.dtype = torch.float32
    ) -> None:
        T, B, n = shape
        self.cell, self.shape, self.backend = cell, shape, o.backend
        torch.manual_seed(1)
        w = cell.weights(n, n)
        parts = [part.detach().to(o.device, dtype).requires_grad_() for part in w[:3]]
        vectors = {k: v.detach().to(o.device, dtype).requires_grad_() for k, v in w.vectors.items()}
        self.w = tt.Weights(*parts, vectors)
        self.x = torch.randn(T, B, n).to(o.device, dtype)
        self.dy = torch.randn(T, B, n).to(o.device, dtype)

    @property
    def name(self) -> str:
        """The cell's."""
        return type(self.cell).__name__

    def why_not(self) -> str | None:
        """Why the backend asked for cannot run this layer."""
        if self.backend == "auto":
            return None
        return tt.why_not(self.backend, self.cell, self.x, self.w)

    def chosen(self) -> str:
        """The name of the backend that runs."""
        return chosen_backend(self.backend, self.cell, self.w, self.x)

    def flop(self, mode: str) -> float:
        """Of the matrix products alone: 2·T·B·(n_x + n)·G·n forward, twice that backward."""
        T, B, n = self.shape
        forward = 2.0 * T * B * 2 * n * len(self.cell.gates) * n
        return 3 * forward if mode == TRAINING else forward

    @property
    def parameters(self) -> list[Tensor]:
        """All weights."""
        return [*self.w[:3], *self.w.vectors.values()]

    def scan(self, x: Tensor) -> Tensor:
        """Ours: y [T, B, n]."""
        return tt.scan(self.cell, self.w, x, backend=self.backend)[0]

    def ours(self, mode: str) -> Callable[[], Any]:
        """A call of ours."""
        return self.call(self.scan, self.parameters, mode)

    def call(
        self, forward: Callable[[Tensor], Tensor], parameters: Sequence[Tensor], mode: str
    ) -> Callable[[], tuple[Tensor, ...]]:
        """A call of `forward`: y; in training also the gradients of x and of all parameters."""
        if mode == INFERENCE:

            def infer() -> tuple[Tensor, ...]:
                with torch.no_grad():
                    return (forward(self.x),)

            return infer
        x = self.x.clone().requires_grad_()

        def train() -> tuple[Tensor, ...]:
            y = forward(x)
            return (y, *torch.autograd.grad(y, [x, *parameters], self.dy))

        return train

    def check(self, ours: Callable[[], Any], peer: Callable[[], Any], mode: str) -> None:
        """Raise `AssertionError` unless both give the same y and, in training, the same dx."""
        some = (0, 1) if mode == TRAINING and self.name not in AMPLIFYING else (0,)
        steps = slice(8 if self.name in AMPLIFYING else None)
        ours_found, found = ours(), peer()
        for a, b in ((ours_found[k][steps], found[k][steps]) for k in some):
            tolerance = 0.05 if self.x.dtype == torch.bfloat16 else 1e-4
            agree(a, b, tolerance, f"{self.name} {self.shape} {mode}")

    def row(self, mode: str) -> dict[str, Any]:
        """How a row of this layer begins."""
        return {"cell": self.name, "mode": mode, "T, B, n": ", ".join(map(str, self.shape))}


def chosen_backend(backend: str, cell: Cell, w: tt.Weights, x: Tensor) -> str:
    """The name of the backend that a scan takes, as `scans.choose` does."""
    if backend != "auto":
        return backend
    problem = scans.Problem(cell, w, x)
    ways = {name: known.prepare(problem) for name, known in scans.BACKENDS.items()}
    costs = {name: way.cost(problem) for name, way in ways.items() if not isinstance(way, str)}
    return min(costs, key=costs.__getitem__)


def agree(a: Tensor, b: Tensor, tolerance: float, what: str) -> None:
    """Raise `AssertionError` if a and b differ by more than a share of b's largest entry."""
    difference = float((a.detach().float() - b.detach().float()).abs().max())
    allowed = tolerance * max(1.0, float(b.detach().abs().max()))
    assert difference <= allowed, f"{what}: ours and the peer's differ by {difference:.2e}"


def versus(
    layer: Layer, mode: str, times: Times, peer: str = "peer", ours: str = "ours"
) -> dict[str, Any]:
    """A row of ours against a peer of the same cost."""
    flop = layer.flop(mode)
    return {
        **layer.row(mode),
        "backend": layer.chosen(),
        "ours ms": 1e3 * times.median(ours),
        "peer ms": 1e3 * times.median(peer),
        "ours GFLOP/s": flop / times.median(ours) / 1e9,
        "peer GFLOP/s": flop / times.median(peer) / 1e9,
        "ratio": times.ratio(peer, ours),
    }
