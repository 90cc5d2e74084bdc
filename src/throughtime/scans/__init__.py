"""`scan`: a cell carried through time, by one of several backends that agree.

- `compiled`: native code made from the equations, any cell, on the CPU.
- `reference`: the equations in a Python loop. Any cell, any device; the oracle; never optimised.
- `native`: torch's own kernels (oneDNN, cuDNN), for the cells that torch has.
- `auto`: the cheapest that can run, by an estimate; `why_not` tells why one cannot. Nothing is
  tried and caught.

What a backend is: `contract.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..cells import Cell, Weights
from ..cells.failures import told
from ..ground import lengths as ragged
from ..ground.errors import BackendUnavailable, InputError, one_of
from ..ground.tracing import jit_tracing
from . import compiled, native, reference
from .checks import as_cell as as_cell
from .checks import check_finite as check_finite
from .checks import check_inputs as check_inputs
from .checks import check_kind as check_kind
from .checks import check_reset as check_reset
from .checks import check_shapes as check_shapes
from .checks import check_state as check_state
from .checks import derived as derived
from .checks import first_state as first_state
from .checks import starts_at_zero as starts_at_zero
from .compiled import packed
from .compiled.packed import Packed as Packed
from .contract import Backend, Problem, Runnable
from .steps import check_step

BACKENDS: dict[str, Backend] = {
    "compiled": compiled,
    "native": native,
    "reference": reference,
}
"""The backends; in a graph, where costs are not known, the first that can run is taken."""


def scan(
    cell: Cell | type[Cell],
    w: Weights,
    x: Tensor,
    state: Any = None,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    inputs: Mapping[str, Tensor] | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Any]:
    """Carry `cell` through time: for t = 1…T, state<t> = step(w, x<t>, state<t-1>).

    Shapes: x [T, B, n_x]; w as `cell.weights(n_x, n)` makes them; each part of `state` [B, n], or
    as wide as the cell says;
    lengths [B], integers on any device, zero allowed; reset [T, B], boolean, true where a new
    sequence starts inside a stream (the state before that step is the initial one); inputs, what
    the cell reads at each step beside x, by name: [T, B, n], of its `constants` [B, n], or 1 in
    place of a size; of x's dtype, or boolean, which is read as 1 and 0.
    Returns y [T, B, n], the first part of the state at each step, zero beyond a sequence's length;
    and the state after each sequence's own last step (the initial one for length 0).
    Initial state: the cell's `initial_state`, zeros as a rule, where `state` is None; plus
    `w.first`, where the weights have one.

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
    streams = check_inputs(cell, inputs, x, n)
    check_finite(x, lengths)
    if state is None:
        state = first_state(cell, w, B, x.dtype, x.device)
    else:
        state = check_state(cell, state, (B,), cell.state_sizes(n, x.shape[-1]))
    return run(cell, w, x, state, lengths, reset, backend, streams)


def run(
    cell: Cell,
    w: Weights,
    x: Tensor,
    state: Any,
    lengths: Tensor | None,
    reset: Tensor | None,
    backend: str,
    streams: Sequence[Tensor] = (),
) -> tuple[Tensor, Any]:
    """`scan` without its checks, for callers that have made them."""
    restart = None
    if reset is not None and not starts_at_zero(cell, w):
        restart = first_state(cell, w, x.shape[1], x.dtype, x.device)
    w = derived(cell, w)
    if len(streams) != len(cell.inputs):
        raise InputError(f"{cell!r} reads {', '.join(cell.inputs)} beside x: tt.scan takes inputs.")
    problem = plain(Problem(cell, w, x, state, lengths, reset, restart, streams))
    if not jit_tracing():
        cell.ask(check_step, w.W_x.shape[-1], cell.width(w), x.dtype)
    way = choose(backend, problem)
    if not way.carries_float32 and state[0].dtype != x.dtype:
        before, anew = (rounded_to(x.dtype, cell, s) for s in (problem.state, problem.restart))
        problem = problem._replace(state=before, restart=anew)
    with told():
        y, final = way.run(problem)
    if way.carries_float32:
        return y, final
    return y, cell.State(*(new.to(old.dtype) for new, old in zip(final, state)))


def pack(
    cells: Sequence[Cell],
    weights: Sequence[Weights],
    places: Sequence[tuple[int, int]],
    adds_input: Sequence[bool],
    halves: bool,
    backend: str,
) -> Packed | str:
    """Layers that step in one native call, as `Packed` has them; or why they cannot."""
    if backend not in ("auto", "compiled"):
        return f"the backend is {backend!r}."
    for cell, w in zip(cells, weights):
        x = w.W_x.new_empty(1, 0, w.W_x.shape[-1])
        reason = compiled.why_not(Problem(cell, w, x)) or packed.why_not(cell, w, halves)
        if reason:
            return reason
        cell.ask(check_step, w.W_x.shape[-1], cell.width(w), x.dtype)
    if reason := packed.widths_why_not(cells, weights):
        return reason
    return Packed(cells, weights, places, adds_input, halves)


def plain(problem: Problem) -> Problem:
    """The problem with views that negate their numbers (`torch._neg_view`) made numbers."""
    if torch.compiler.is_compiling():
        return problem  # torch does it
    cell, w, x, state, lengths, reset, restart, streams = problem
    of_w = (*w[:3], *w.vectors.values(), *w.matrices.values())
    parts = (x, *of_w, *state, *(restart or ()), *streams)
    if not any(map(Tensor.is_neg, parts)):
        return problem
    vectors, matrices = (
        {name: part.resolve_neg() for name, part in parts.items()}
        for parts in (w.vectors, w.matrices)
    )
    W_x, W_a, b = (part.resolve_neg() for part in w[:3])
    w = Weights(W_x, W_a, b, vectors, matrices=matrices)
    state, restart = (
        given and cell.State(*(part.resolve_neg() for part in given)) for given in (state, restart)
    )
    streams = [stream.resolve_neg() for stream in streams]
    return Problem(cell, w, x.resolve_neg(), state, lengths, reset, restart, streams)


def rounded_to(dtype: torch.dtype, cell: Cell, state: Any) -> Any:
    """The state in another dtype."""
    return None if state is None else cell.State(*(part.to(dtype) for part in state))


def choose(backend: str, problem: Problem) -> Runnable:
    """The way of `backend` to run the problem; for "auto" the cheapest of all."""
    if backend != "auto":
        way = BACKENDS[one_of("backend", backend, ("auto", *BACKENDS))].prepare(problem)
        if isinstance(way, str):
            raise BackendUnavailable(f"backend {backend!r} cannot run this scan: {way}")
        return way
    ways = [prepared.prepare(problem) for prepared in BACKENDS.values()]
    able = [way for way in ways if not isinstance(way, str)]
    if torch.compiler.is_compiling() or jit_tracing():
        return able[0]
    return min(able, key=lambda way: way.cost(problem))


def torchs() -> list[str]:
    """The backends whose kernels are those of torch.nn's own layers."""
    return [name for name, backend in BACKENDS.items() if backend.TORCHS]


def why_not(
    backend: str,
    cell: Cell | type[Cell],
    x: Tensor | None = None,
    w: Weights | None = None,
    *,
    way: str | None = None,
) -> str | None:
    """Why `backend` cannot scan `cell` (over inputs like `x` with weights like `w`), or None.

    Without `x` and `w` the answer is about the cell alone, for float32 on the CPU. `way`: one of
    those that "compiled" has on a GPU, block, grid or graph: why it cannot take that one.
    """
    chosen = BACKENDS[one_of("backend", backend, BACKENDS)]
    cell = as_cell(cell)
    x = torch.empty(0, 0, 0) if x is None else x
    problem = Problem(cell, cell.weights(0, 0) if w is None else w, x)
    if way is not None:
        if backend != "compiled":
            return f"backend {backend!r} has one way alone; those of a GPU are of 'compiled'."
        return compiled.why_not_way(problem, one_of("way", way, compiled.gpu.ways.WAYS))
    found = chosen.prepare(problem)
    return found if isinstance(found, str) else None


def why_slow(
    cell: Cell | type[Cell], x: Tensor | None = None, w: Weights | None = None
) -> str | None:
    """Why "auto" can only take a loop in Python, as a sentence for a person; None if it need not.

    Arguments as of `why_not`.
    """
    cell = as_cell(cell)
    x = torch.empty(0, 0, 0) if x is None else x
    problem = Problem(cell, cell.weights(0, 0) if w is None else w, x)
    ways = [backend.prepare(problem) for backend in BACKENDS.values()]
    if any(not isinstance(way, str) and not way.interpreted for way in ways):
        return None
    reason = next(way for way in ways if isinstance(way, str))
    return f"{cell!r} runs as a loop in Python, several times slower than compiled: {reason}"
