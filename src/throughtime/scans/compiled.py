"""The compiled backend: native code for any cell, made from its equations, on the CPU.

`compile/` has the way: the tracer, the C++ that it prints, the time loop around it, the operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..cell import Cell, Weights
from .compile import operator, programs

DTYPES = (torch.float32, torch.float64)


def why_not(cell: Cell, w: Weights, x: Tensor) -> str | None:
    """Compiled scans run on the CPU, for pointwise equations, where there is a C++ compiler."""
    if x.device.type != "cpu":
        return f"compiled scans run on the CPU; x is on {x.device}."
    if x.dtype not in DTYPES or w.W_x.dtype != x.dtype:
        return f"compiled scans are for float32 and float64; x is {x.dtype}, W_x {w.W_x.dtype}."
    if torch.is_autocast_enabled("cpu"):
        return f"autocast asks for {torch.get_autocast_dtype('cpu')}."
    if not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    ):
        return "compiled scans have no rule for torch.func's transforms and forward derivatives."
    if cell.ask(programs.reads_x) and x.shape[-1] != w.W_a.shape[-1]:
        return (
            f"{cell!r} reads x itself, which must then be as wide as the state: "
            f"{w.W_a.shape[-1]}; it is {x.shape[-1]}."
        )
    return cell.ask(programs.why_not, str(x.dtype).removeprefix("torch."))


def run(
    cell: Cell, w: Weights, x: Tensor, state: Any, lengths: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Any]:
    """Shapes as in `scan`."""
    vectors = [w.vectors[name] for name in cell.vectors]
    y, *final = operator.apply(
        cell.ask(programs.find), x, w.W_x, w.W_a, w.b, vectors, list(state), lengths, reset
    )
    return y, cell.State(*final)
