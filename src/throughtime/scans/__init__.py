"""`scan`: a cell carried through time, by one of several backends that agree.

- `compiled`: native code made from the equations, any cell, on the CPU.
- `reference`: the equations in a Python loop. Any cell, any device; the oracle; never optimised.
- `native`: torch's own kernels (oneDNN, cuDNN), for the cells that torch has.
- `auto`: the fastest that can run; `why_not` tells why one cannot. Nothing is tried and caught.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..cells import Cell, Weights
from ..ground import lengths as ragged
from ..ground.errors import BackendUnavailable, InputError, NonFiniteError, ShapeError, one_of
from . import compiled, native, reference

BACKENDS: dict[str, ModuleType] = {
    "compiled": compiled,
    "native": native,
    "reference": reference,
}
"""The backends, fastest first: each has `why_not(cell, w, x)` and `run(…)`."""


def scan(
    cell: Cell | type[Cell],
    w: Weights,
    x: Tensor,
    state: Any = None,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Any]:
    """Carry `cell` through time: for t = 1…T, state<t> = step(w, x<t>, state<t-1>).

    Shapes: x [T, B, n_x]; w as `cell.weights(n_x, n)` makes them; each part of `state` [B, n];
    lengths [B], integers on any device, zero allowed; reset [T, B], boolean, true where a new
    sequence starts inside a stream (the state is zero before that step).
    Returns y [T, B, n], the first part of the state at each step, zero beyond a sequence's length;
    and the state after each sequence's own last step (the initial one for length 0).
    Initial state: zeros where `state` is None.

    Errors: `ShapeError` names the expected and the given shape; `NonFiniteError` where x is data
    on the CPU (it carries no gradient) and holds NaN or infinity outside the padding;
    `BackendUnavailable` where a backend asked for by name cannot run, with the reason.
    Oracle: every backend against `reference` in float64.
    """
    cell = as_cell(cell)
    T, B, n = check_shapes(cell, w, x)
    if lengths is not None:
        lengths = ragged.check(lengths, T, B, x.device)
    reset = check_reset(reset, T, B, x.device)
    check_finite(x, lengths)
    if state is None:
        state = cell.initial_state(B, n, dtype=x.dtype, device=x.device)
    else:
        state = check_state(cell, state, (B, n))
    return run(cell, w, x, state, lengths, reset, backend)


def run(
    cell: Cell,
    w: Weights,
    x: Tensor,
    state: Any,
    lengths: Tensor | None,
    reset: Tensor | None,
    backend: str,
) -> tuple[Tensor, Any]:
    """`scan` without its checks, for callers that have made them."""
    module = choose(backend, cell, w, x)
    if module is compiled or state[0].dtype == x.dtype:
        return module.run(cell, w, x, state, lengths, reset)
    # a state in float32 beside half precision: only compiled scans carry it as it is
    same = cell.State(*(part.to(x.dtype) for part in state))
    y, final = module.run(cell, w, x, same, lengths, reset)
    return y, cell.State(*(new.to(old.dtype) for new, old in zip(final, state)))


def choose(backend: str, cell: Cell, w: Weights, x: Tensor) -> ModuleType:
    """The module of `backend`; for "auto" the fastest that can run."""
    if backend == "auto":
        first = native if compiled.is_slower(x) else compiled
        order = sorted(BACKENDS.values(), key=lambda module: module is not first)
        return next(module for module in order if module.why_not(cell, w, x) is None)
    module = BACKENDS[one_of("backend", backend, ("auto", *BACKENDS))]
    if reason := module.why_not(cell, w, x):
        raise BackendUnavailable(f"backend {backend!r} cannot run this scan: {reason}")
    return module


def why_not(
    backend: str,
    cell: Cell | type[Cell],
    x: Tensor | None = None,
    w: Weights | None = None,
) -> str | None:
    """Why `backend` cannot scan `cell` (over inputs like `x` with weights like `w`), or None.

    Without `x` and `w` the answer is about the cell alone, for float32 on the CPU.
    """
    module = BACKENDS[one_of("backend", backend, BACKENDS)]
    cell = as_cell(cell)
    x = torch.empty(0, 0, 0) if x is None else x
    return module.why_not(cell, cell.weights(0, 0) if w is None else w, x)


def as_cell(cell: Cell | type[Cell]) -> Cell:
    """A cell from a cell or from a class of cells with its default options."""
    if isinstance(cell, type) and issubclass(cell, Cell):
        return cell()
    if not isinstance(cell, Cell):
        raise InputError(f"cell must be a tt.Cell such as tt.LSTM or tt.LSTM(), got {cell!r}.")
    return cell


def check_shapes(cell: Cell, w: Weights, x: Tensor) -> tuple[int, int, int]:
    """Raise `ShapeError` unless x and w fit the cell; return T, B, n."""
    check_kind(x, w.W_x.dtype)
    if x.dim() != 3:
        raise ShapeError(f"x must be [T, B, n_x], three dimensions; got {list(x.shape)}.")
    G, n = len(cell.gates), w.W_a.shape[-1]
    n_x = x.shape[-1]
    expected = {"W_x": (G * n, n_x), "W_a": (G * n, n), "b": (G * n,)}
    given = {"W_x": w.W_x.shape, "W_a": w.W_a.shape, "b": w.b.shape}
    for name in cell.vectors:
        expected[name] = (n,)
        if name not in w.vectors:
            raise ShapeError(f"{cell!r} needs the vector {name} [{n}]; the weights have none.")
        given[name] = w.vectors[name].shape
    for name, shape in expected.items():
        if tuple(given[name]) != shape:
            raise ShapeError(
                f"{name} must be {list(shape)} for {cell!r} with n = {n} and x of width {n_x}; "
                f"got {list(given[name])}."
            )
    return x.shape[0], x.shape[1], n


def check_kind(x: Any, dtype: torch.dtype) -> None:
    """Raise `InputError` unless x is a tensor of the weights' dtype (autocast converts)."""
    if not isinstance(x, Tensor):
        raise InputError(f"x must be a tensor, got {type(x).__name__}.")
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(f"x must be {dtype}, as the weights are; got {x.dtype}.")


def check_state(cell: Cell, state: Any, shape: tuple[int, ...]) -> Any:
    """The state as `cell.State`; raise `ShapeError` unless each part has `shape`."""
    parts = (state,) if isinstance(state, Tensor) else tuple(state)
    names = getattr(state, "_fields", None)
    if len(parts) != len(cell.state) or names not in (None, cell.state):
        came = ", ".join(names) if names else f"{len(parts)} without names"
        raise ShapeError(
            f"the state of {cell!r} has the parts {', '.join(cell.state)}; got {came}."
        )
    for name, part in zip(cell.state, parts):
        if tuple(part.shape) != shape:
            raise ShapeError(f"state {name} must be {list(shape)}; got {list(part.shape)}.")
    return cell.State(*parts)


def check_reset(reset: Tensor | None, T: int, B: int, device: torch.device) -> Tensor | None:
    """Raise `ShapeError` unless reset is None or boolean [T, B]."""
    if reset is None:
        return None
    if reset.dtype != torch.bool or tuple(reset.shape) != (T, B):
        raise ShapeError(
            f"reset must be boolean [{T}, {B}]; got {reset.dtype} {list(reset.shape)}."
        )
    return reset.to(device)


def check_finite(x: Tensor, lengths: Tensor | None) -> None:
    """Raise `NonFiniteError` for NaN or infinity in data: on the CPU, without a gradient.

    Activations are left alone: a network that explodes in training is the trainer's to detect.
    """
    if x.requires_grad or x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if x.numel() == 0 or bool(torch.isfinite(x.sum())):
        return
    bad = ~torch.isfinite(x)
    if lengths is not None:
        bad &= ragged.mask(lengths, x.shape[0])[..., None]
    if bad.any():
        t, b, i = bad.nonzero()[0].tolist()
        raise NonFiniteError(
            f"x holds {int(bad.sum())} values that are NaN or infinite, the first at "
            f"t = {t}, sequence {b}, feature {i}: {float(x[t, b, i])}. Clean the data, or mask it "
            "with lengths."
        )
