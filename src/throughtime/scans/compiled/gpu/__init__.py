"""Compiled scans on a GPU: the equations as Triton kernels, and the ways to run them.

Tested without a GPU in Triton's interpreter, which runs the same kernels on tensors of the CPU:
with TRITON_INTERPRET=1 and THROUGHTIME_GPU=block, grid or graph in the environment.
"""

from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor

from ....cells import Cell
from .. import programs
from . import choice
from .cards import card_of
from .ways import VARIABLE

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ARCHITECTURE = (8, 0)
"""The oldest that has the products in bfloat16 and the barriers."""


def serves(device: torch.device) -> bool:
    """Whether tensors on `device` are these kernels' affair."""
    return device.type == "cuda" or interpreted(device)


def interpreted(device: torch.device) -> bool:
    """Whether they run in Triton's interpreter, on the CPU."""
    asked = os.environ.get("TRITON_INTERPRET") == "1" and VARIABLE in os.environ
    return device.type == "cpu" and asked


@functools.cache
def installed() -> bool:
    """Whether Triton is."""
    return importlib.util.find_spec("triton") is not None


def why_not(cell: Cell, device: torch.device) -> str | None:
    """Why there are no kernels for `cell` on `device`, or None."""
    if not installed():
        return "Triton, which makes kernels for GPUs, is not installed: pip install triton."
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < ARCHITECTURE:
        return f"compiled scans need a GPU of architecture sm_80 or later; {device} is older."
    return why_no_program(cell)


def why_no_program(cell: Cell) -> str | None:
    """Why the equations of `cell` make no kernels, on whatever GPU, or None."""
    program = programs.find(cell, "triton")
    if program.startswith(programs.CANNOT):
        return program.removeprefix(programs.CANNOT).rpartition(programs.END)[0]
    return None


def why_not_way(cell: Cell, way: str, x: Tensor, n: int) -> str | None:
    """Why one of the ways cannot run a scan of x [T, B, n_x], or None; as of `choice`."""
    facts = programs.facts(programs.find(cell, "triton"))
    return choice.why_not(facts, way, x.shape[1], n, x.dtype.itemsize, card_of(x.device))


why_not._dynamo_marked_constant = True  # type: ignore[attr-defined]  as in `programs`
