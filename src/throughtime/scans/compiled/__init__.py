"""The compiled backend: native code for any cell, made from its equations, on CPU and GPU.

Here is the whole way: the tracer, the C++ that it prints, the time loop around it, the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...ground.errors import InputError
from ...ground.tracing import followed, jit_tracing, portable_now, transformed
from ..contract import Problem, Runnable
from ..identity import key_of
from ..restarts import by_rows
from . import build, call, gpu, operator, padding, programs
from .even import evened, uneven, units_of
from .inputs import Inputs

TORCHS: bool = False
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def prepare(problem: Problem) -> Runnable | str:
    """For pointwise equations: on the CPU with a C++ compiler, on CUDA with Triton."""
    return why_not(problem) or Runnable(run, cost, carries_float32=True)


def why_not(problem: Problem) -> str | None:
    """The reason, or None. That there is none is remembered, of everyday calls on the CPU."""
    cell, w, x, *_ = problem
    if followed() or not x.is_cpu or gpu.interpreted(x.device) or uneven(cell):
        return _why_not(problem)
    if (key := key_of(cell)) is None:
        return _why_not(problem)
    dtypes = x.dtype, library_dtype(x.dtype), w.W_x.dtype, torch.get_default_dtype()
    asked = key, dtypes, x.shape[-1] == w.W_a.shape[-1]
    if asked in programs.able:
        return None
    reason = _why_not(problem)
    if reason is None:
        programs.able.add(asked)
    return reason


def _why_not(problem: Problem) -> str | None:
    cell, w, x, *_ = problem
    if x.device.type != "cpu" and not gpu.serves(x.device):
        return f"compiled scans run on the CPU and on CUDA; x is on {x.device}."
    dtype = autocast_dtype(x)
    if dtype not in dtypes(x.device):
        names = ", ".join(str(kind).removeprefix("torch.") for kind in dtypes(x.device))
        return f"compiled scans on {x.device.type} are for {names}; x is {dtype}."
    if autocast_dtype(w.W_x) != dtype:
        return f"x is {dtype}, W_x {autocast_dtype(w.W_x)}."
    if transformed():
        return "compiled scans have no rule for torch.func's transforms and forward derivatives."
    if jit_tracing():
        return (
            "torch.jit.trace sees torch's own operations only; torch.export takes compiled scans."
        )
    if torch.compiler.is_compiling() and portable_now():
        return "throughtime.portable() asks for torch's own operations: let backend be auto."
    if torch.compiler.is_compiling() and problem.restart is not None:
        return "a reset to a state that is not zero has no place in a graph of torch.compile."
    units, named = {"n": cell.width(w)}, cell
    if uneven(cell):
        units = units_of(cell, w)
        cell = cell.ask(evened, units)
    n, widest = units["n"], max(units.values())
    if cell.ask(programs.reads_x) and "x" not in units and not x.shape[-1] == n == widest:
        other = f"; others of its parts have {widest}" if widest > n else ""
        return (
            f"{named!r} reads x itself, which must then be as wide as the state: {n}; it is "
            f"{x.shape[-1]}{other}."
        )
    if gpu.serves(x.device):
        return cell.ask(gpu.why_not, x.device)
    return cell.ask(programs.why_not, str(library_dtype(dtype)).removeprefix("torch."))


def why_not_way(problem: Problem, way: str) -> str | None:
    """Why a way of the GPU (`gpu/ways.py`) cannot run the problem, or None."""
    if reason := why_not(problem):
        return reason
    cell, w, x, *_ = problem
    if not gpu.serves(x.device):
        return f"{way!r} is a way of a GPU; x is on {x.device}."
    n = cell.width(w)
    if uneven(cell):
        units = units_of(cell, w)
        cell, n = cell.ask(evened, units), max(units.values())
    return gpu.why_not_way(cell, way, x, n)


def dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    """What x may be in."""
    return gpu.DTYPES if gpu.serves(device) else DTYPES


def autocast_dtype(x: Tensor) -> torch.dtype:
    """What autocast turns x into where it is on, else x's own."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
        return x.dtype
    return torch.get_autocast_dtype(kind)


def run(problem: Problem) -> tuple[Tensor, Any]:
    """Shapes as in `scan`. Autocast rounds x and the matrices, not the bias or the state."""
    if problem.restart is not None:
        return by_rows(run, problem)
    target = "triton" if gpu.serves(problem.x.device) else "cpp"
    if uneven(problem.cell):
        y, final = run(padding.even_problem(problem, target))
        return padding.own(problem.cell, problem.state, y, final)
    cell, w, x, state, lengths, reset, _, streams = problem
    W_x, W_a, b, vectors = w[:4]
    if torch.is_autocast_enabled("cpu"):
        x, W_x, W_a = (part.to(autocast_dtype(part)) for part in (x, W_x, W_a))
    leaves = [x, W_x, W_a, b, *(vectors[name] for name in cell.vectors), *state]
    check_kinds(leaves)
    dtype = x.dtype
    inside = dtype if target == "triton" else library_dtype(dtype)
    if inside is not dtype:
        leaves = [part.to(inside) for part in leaves]
    if streams:
        real, shape = call.real_dtype(inside), (*x.shape[:2], W_a.shape[-1])
        given = (s if s.dtype == torch.bool else s.to(real) for s in streams)
        leaves += [stream.expand(shape) for stream in given]
    inputs = Inputs.made(leaves, (len(cell.vectors), len(state)), lengths, reset)
    y, *final = operator.apply(cell.ask(programs.find, target), inputs)
    final = [call.in_dtype(new, old.dtype) for new, old in zip(final, state)]
    return call.in_dtype(y, dtype), cell.State(*final)


def check_kinds(leaves: Sequence[Tensor]) -> None:
    """Raise `InputError` unless weights and state are of x's dtype and device: x comes first.

    Beside matrices in half precision, the bias, the vectors and the state may be in float32.
    """
    x, *parts = leaves
    real = call.real_dtype(x.dtype)
    dtype, device = x.dtype, x.device
    for k, part in enumerate(parts):
        fits = part.dtype is dtype or (k > 1 and part.dtype is real)
        if not fits or part.device != device:
            raise InputError(
                f"weights and state must be {x.dtype} on {x.device}, as x is; one is "
                f"{part.dtype} on {part.device}."
            )


def cost(problem: Problem) -> float:
    """Beside the others; `native` has what it does better."""
    return 3.0 if problem.x.is_cuda else 1.0


def library_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 in place of bfloat16 where the processor cannot multiply that."""
    slow = dtype == torch.bfloat16 and not build.multiplies_halves()
    return torch.float32 if slow else dtype
