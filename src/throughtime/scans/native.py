"""The native backend: torch's own fused layers, for the three cells that torch has.

torch's kernels know neither zero lengths nor resets, and give the memory cell of the last step
only. So time is cut wherever a sequence ends or starts anew, and each piece, in which nothing
happens, is one call of the kernel over the sequences still running.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from ..cells import LSTM, RNN, Cell, GRUResetAfter, Weights
from ..ground.tracing import jit_tracing, portable_now, transformed
from .contract import Problem, Runnable

CELLS = {RNN("relu"): 0, RNN("tanh"): 1, LSTM(): 2, GRUResetAfter(): 3}
"""What torch has, with cuDNN's numbers for them."""

TORCHS: bool = True

WIDE = 650_000
"""Weights from which torch's step is the faster in training in bfloat16, as measured."""

WORK = {"half, training": 15e6, "half, inference": 60e6, "training": 40e6}
"""Weights times sequences from which torch's step is the faster, as measured."""

_VF = torch._VF  # the functions behind torch.nn.LSTM, GRU, RNN and their cells


def prepare(problem: Problem) -> Runnable | str:
    """torch has the RNN, the GRU that resets after the product, and the LSTM with tanh output."""
    cell, _, x, *_ = problem
    if not any(cell == known for known in CELLS):
        return (
            f"torch has no kernel for {cell!r}; it has RNN(), GRUResetAfter() and "
            "LSTM(output='tanh')."
        )
    if transformed():
        return "torch's kernels have no rule for torch.func's transforms and forward derivatives."
    if portable_now() and torch.compiler.is_compiling():
        return "a graph of torch's kernels holds the number of steps of its example."
    if half_by_autocast(x) and cell == LSTM() and not has_half_lstm():
        return "oneDNN has no bfloat16 LSTM for this processor, which autocast asks for."
    return Runnable(run, cost, torchs=TORCHS)


def cost(problem: Problem) -> float:
    """Above the compiled backend's, but for one wide step: what is left of it is one product.

    Where a state of half precision is carried in float32, or under autocast, torch would round it
    at each step.
    """
    _, w, x, state, *_ = problem
    if x.shape[0] != 1 or half_by_autocast(x):
        return 2.0
    weights, learns = w.W_x.numel() + w.W_a.numel(), torch.is_grad_enabled() and learned(problem)
    work = weights * x.shape[1]
    if x.dtype != torch.bfloat16:
        return 0.0 if learns and work > WORK["training"] else 2.0
    if state is not None and state[0].dtype != x.dtype:
        return 2.0
    if learns:
        return 0.0 if weights > WIDE or work > WORK["half, training"] else 2.0
    return 0.0 if work > WORK["half, inference"] else 2.0


def learned(problem: Problem) -> bool:
    """Whether what goes in has gradients."""
    return problem.x.requires_grad or problem.w.W_a.requires_grad


def half_by_autocast(x: Tensor) -> bool:
    """Whether autocast is on, on the CPU, in bfloat16."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


@functools.cache
def has_half_lstm() -> bool:
    """Whether oneDNN's LSTM in bfloat16, which torch takes under autocast, runs here."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def run(problem: Problem) -> tuple[Tensor, Any]:
    """Shapes as in `scan`."""
    cell, w, x, state, lengths, reset, *_ = problem
    T, B, _ = x.shape
    if T == 0:
        return x.new_zeros(0, B, w.W_a.shape[-1]), state
    if lengths is None and reset is None:
        return piece(cell, w, x, state)
    return in_pieces(problem)


def in_pieces(problem: Problem) -> tuple[Tensor, Any]:
    """Cut time where a sequence ends or is reset; run each piece on the sequences alive in it."""
    cell, w, x, state, lengths, reset, restart, _ = problem
    T, B, _ = x.shape
    lengths = torch.full((B,), T, device=x.device) if lengths is None else lengths
    order = lengths.argsort(descending=True, stable=True)
    x, lengths = x[:, order], lengths[order]
    state = [part[order] for part in state]
    cuts = {0, *lengths.tolist()}
    restart = [part[order] for part in restart] if restart else [x.new_zeros(B, 1)] * len(state)
    if reset is not None:
        reset = reset[:, order]
        cuts |= set(reset.any(1).nonzero()[:, 0].tolist())
    longest = int(lengths.max()) if B else 0
    starts = sorted(t for t in cuts if t < longest)
    ys = []
    for start, end in zip(starts, [*starts[1:], longest]):
        alive = int((lengths > start).sum())
        before = [part[:alive] for part in state]
        if reset is not None:
            new = reset[start, :alive, None]
            before = [torch.where(new, r[:alive], part) for r, part in zip(restart, before)]
        y, after = piece(cell, w, x[start:end, :alive], cell.State(*before))
        ys.append(torch.nn.functional.pad(y, (0, 0, 0, B - alive)))
        state = [torch.cat([new, old[alive:]]) for new, old in zip(after, state)]
    ys.append(x.new_zeros(T - longest, B, w.W_a.shape[-1]))
    back = order.argsort()
    return torch.cat(ys)[:, back], cell.State(*(part[back] for part in state))


def piece(cell: Cell, w: Weights, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """One call of torch's kernel over x [T, B, n_x], nothing beginning or ending inside."""
    parameters = [w.W_x, w.W_a, w.b, second_bias(cell, w)]
    # torch's layers repack the weights at every call, its cells do not, but know no autocast
    if x.shape[0] == 1 and not half_by_autocast(x):
        return one_step(cell, parameters, x[0], state)
    carried = [part[None].contiguous() for part in state]
    if torch.cudnn_is_acceptable(x):
        return by_cudnn(cell, parameters, x, carried)
    # a traced graph may be called with gradients or without
    keep = torch.is_grad_enabled() or jit_tracing()
    options = (True, 1, 0.0, keep, False, False)
    if isinstance(cell, LSTM):
        y, a, c = _VF.lstm(x, carried, parameters, *options)
        return y, cell.State(a=a[0], c=c[0])
    if isinstance(cell, GRUResetAfter):
        y, c = _VF.gru(x, carried[0], parameters, *options)
        return y, cell.State(c=c[0])
    layer = _VF.rnn_tanh if cell == RNN("tanh") else _VF.rnn_relu
    y, a = layer(x, carried[0], parameters, *options)
    return y, cell.State(a=a[0])


def by_cudnn(
    cell: Cell, parameters: list[Tensor], x: Tensor, state: list[Tensor]
) -> tuple[Tensor, Any]:
    """`piece` on cuDNN, which reads all weights from one buffer.

    torch.nn's functions copy parameters that lie apart one by one and warn of it at every call.
    """
    with torch.no_grad():
        buffer = torch.cat([part.flatten() for part in parameters])
    a, c = state[0], state[1] if len(state) > 1 else None
    y, a, c, *_ = _VF._cudnn_rnn(
        *(x, parameters, len(parameters), buffer, a, c),
        *(CELLS[cell], parameters[1].shape[-1], 0, 1, False),  # no projection, one layer
        *(0.0, torch.is_grad_enabled(), False, [], None),  # no dropout, one direction
    )
    return y, cell.State(*(part[0] for part in (a, c)[: len(state)]))


def one_step(cell: Cell, parameters: list[Tensor], x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """One time step: x [B, n_x]."""
    if isinstance(cell, LSTM):
        new = cell.State(*_VF.lstm_cell(x, list(state), *parameters))
    elif isinstance(cell, GRUResetAfter):
        new = cell.State(_VF.gru_cell(x, state.c, *parameters))
    else:
        layer = _VF.rnn_tanh_cell if cell == RNN("tanh") else _VF.rnn_relu_cell
        new = cell.State(layer(x, state.a, *parameters))
    return new[0][None], new


def second_bias(cell: Cell, w: Weights) -> Tensor:
    """torch adds two biases; only the GRU's candidate needs the second one."""
    zeros = torch.zeros_like(w.b)
    if isinstance(cell, GRUResetAfter):
        n = w.W_a.shape[-1]
        return torch.cat([zeros[: 2 * n], w.vectors["d_c"]])
    return zeros
