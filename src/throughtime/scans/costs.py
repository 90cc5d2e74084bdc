"""What a scan may cost: the estimate by which `auto` compares backends.

Seconds are a sum over six features of a scan, each times a constant of the backend:

    call       1                                   Python, checks, memory
    step       T                                   what a step costs whatever its size
    packed     G·n·(n_x + n)                       weights read or laid out once a call
    streamed   T·G·n·n                             recurrent weights read at every step
    product    T·B·G·n·(n_x + n)                   multiply-adds
    pointwise  T·B·G·n                             elements between the products

for each dtype, apart for inference and training. The constants were measured on two cores of an
Intel Xeon with AVX-512 and AMX by `python benchmarks/auto.py --fit`, which prints them anew; only
their proportions matter. They are the same on every machine, so that a choice, and with it the last
bits of a result, does not depend on a measurement; but for bfloat16 where there are no AMX tiles.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from .contract import Problem

FEATURES = ("call", "step", "packed", "streamed", "product", "pointwise")
Constants = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Costs:
    """A backend's constants by (cell's class or "", dtype, whether gradients are recorded)."""

    constants: dict[tuple[str, str, bool], Constants]
    by_cell: bool = False

    def key(self, problem: Problem) -> tuple[str, str, bool]:
        """Which constants are those of `problem`."""
        cell = type(problem.cell).__name__ if self.by_cell else ""
        return cell, dtype_of(problem.x), records_gradients(problem)

    def seconds(self, problem: Problem) -> float:
        """The estimate."""
        a, b, c, d, e, f = self.constants[self.key(problem)]
        T, B, n_x = problem.x.shape
        rows, n = problem.w.W_a.shape
        steps = T * rows
        return a + b * T + rows * (n_x + n) * (c + e * T * B) + steps * (d * n + f * B)


def features(problem: Problem) -> tuple[float, ...]:
    """The six of a scan."""
    T, B, n_x = problem.x.shape
    rows, n = problem.w.W_a.shape
    return 1, T, rows * (n_x + n), T * rows * n, T * B * rows * (n_x + n), T * B * rows


def dtype_of(x: Tensor) -> str:
    """The dtype that products are in, autocast heeded; half precision without tiles is apart."""
    dtype = x.dtype
    if x.dtype != torch.float64 and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    if dtype == torch.float64:
        return "float64"
    if dtype == torch.float32 or x.device.type != "cpu":
        return "float32"
    return "bfloat16" if has_tiles() else "bfloat16 without tiles"


@functools.cache
def has_tiles() -> bool:
    """Whether oneDNN may multiply bfloat16 on this processor's AMX tiles."""
    return bool(torch.cpu._is_amx_tile_supported())


def records_gradients(problem: Problem) -> bool:
    """Whether a backward may follow."""
    w = problem.w
    return torch.is_grad_enabled() and any(
        part.requires_grad
        for part in (problem.x, *w[:3], *w.vectors.values(), *(problem.state or ()))
    )
