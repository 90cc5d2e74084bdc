"""The operators `throughtime::scan` and `throughtime::scan_backward`, over the compiled library.

As operators of torch they have a fake form (shapes without numbers) and a derivative, so that
`torch.compile` and `torch.export` see one node where the time loop is. A program is handed over
as its text: an exported model carries its equations with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...cells import Weights
from ...ground.tracing import batched, transformed
from .. import reference
from ..contract import Problem
from . import call, programs
from .gpu import call as gpu_call
from .inputs import Inputs

_library = torch.library.Library("throughtime", "DEF")
_inputs = (
    "Tensor x, Tensor W_x, Tensor W_a, Tensor b, Tensor[] vectors, Tensor[] state, "
    "Tensor[] streams, Tensor? lengths, Tensor? reset"
)
_library.define(f"scan(str program, {_inputs}, bool keep) -> Tensor[]")
_library.define(
    f"scan_backward(str program, Tensor? dy, Tensor?[] dfinal, {_inputs}, Tensor y, "
    "Tensor kept, bool[] wanted) -> Tensor[]"
)
_READ = len(Inputs._fields)


def _target(program: str) -> ModuleType:
    """Who runs a program: each has `scan`, `scan_backward` and `kept_size`."""
    return gpu_call if programs.facts(program)["target"] == "triton" else call


def _scan(program: str, *given: Any) -> list[Tensor]:
    return _target(program).scan(program, Inputs(*given[:_READ]), given[_READ])


def _scan_backward(program: str, dy: Any, dfinal: Any, *given: Any) -> list[Tensor]:
    inputs = Inputs(*given[:_READ])
    found = _target(program).scan_backward(program, [dy, *dfinal], inputs, *given[_READ:])
    return [t.new_empty(0) if g is None else g for g, t in zip(found, inputs.leaves)]


for _device in ("CPU", "CUDA"):
    _library.impl("scan", _scan, _device)
    _library.impl("scan_backward", _scan_backward, _device)


@torch.library.register_fake("throughtime::scan", lib=_library)
def _(program: str, *given: Any) -> list[Tensor]:
    (x, _, W_a, _, _, state, *_), keep = Inputs(*given[:_READ]), given[_READ]
    T, B, _ = x.shape
    n = W_a.shape[-1]
    made = [x.new_empty(T, B, n), *(start.new_empty(B, n) for start in state)]
    if keep:
        size = _target(program).kept_size(program, T, B, n, x.dtype, keep)
        made.append(x.new_empty(size, dtype=call.real_dtype(x.dtype)))
    return made


@torch.library.register_fake("throughtime::scan_backward", lib=_library)
def _(program: str, dy: Any, dfinal: Any, *given: Any) -> list[Tensor]:
    leaves, wanted = Inputs(*given[:_READ]).leaves, given[-1]
    return [t.new_empty(t.shape if want else (0,)) for t, want in zip(leaves, wanted)]


class _Scan(torch.autograd.Function):
    """Both operators as one differentiable function, without torch's machinery for operators."""

    @staticmethod
    def forward(ctx: Any, program: str, lengths: Any, reset: Any, *leaves: Tensor) -> Any:
        inputs = Inputs.made(leaves, _sizes(program), lengths, reset)
        *made, kept = _target(program).scan(program, inputs, True)
        _save(ctx, program, inputs, made[0], kept)
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> Any:
        return (None, None, None, *_differentiate(ctx, given, ctx.needs_input_grad[3:]))


def _sizes(program: str) -> tuple[int, int]:
    """How many vectors and states its cell has."""
    told = programs.facts(program)
    return told["vectors"], told["states"]


def _save(ctx: Any, program: str, inputs: Inputs, y: Tensor, kept: Tensor) -> None:
    ctx.program = program
    ctx.set_materialize_grads(False)  # zeros cost time, and mostly y alone has a gradient
    ctx.save_for_backward(*inputs.leaves, y, kept, inputs.lengths, inputs.reset)


def _differentiate(
    ctx: Any, given: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by x, W_x, W_a, b, the vectors, the states and the streams."""
    x, *rest, y, kept, lengths, reset = ctx.saved_tensors
    inputs = Inputs.made([x, *rest], _sizes(ctx.program), lengths, reset)
    if torch.is_grad_enabled() or transformed() or any(map(batched, given)):
        # the derivative of this derivative may be asked for, or many gradients at once
        return _by_reference(ctx.program, given, inputs, wanted)
    if _plain(x, *given):
        found = _target(ctx.program).scan_backward(ctx.program, given, inputs, y, kept, wanted)
    else:
        dy, *dfinal = given
        backward = torch.ops.throughtime.scan_backward
        found = backward(ctx.program, dy, dfinal, *inputs, y, kept, list(wanted))
    return [g if want else None for g, want in zip(found, wanted)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    program, *given, _ = inputs
    _save(ctx, program, Inputs(*given), output[0], output[-1])


def _gradients(ctx: Any, given: list[Tensor | None]) -> tuple[Any, ...]:
    V, K = _sizes(ctx.program)
    needs, S = ctx.needs_input_grad, programs.facts(ctx.program)["streams"]
    several = (need or [False] * count for need, count in zip(needs[5:8], (V, K, S)))
    found = _differentiate(ctx, given[: 1 + K], [*needs[1:5], *(n for of in several for n in of)])
    ends = 4 + V, 4 + V + K
    parts = found[4 : ends[0]], found[ends[0] : ends[1]], found[ends[1] :]
    return (None, *found[:4], *parts, None, None, None)


def _by_reference(
    program: str, given: Sequence[Tensor | None], inputs: Inputs, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The same gradients through the equations in Python, which can be differentiated again."""
    # Aliases, so that an input which depends on another is not counted twice.
    with torch.enable_grad():
        leaves = [leaf.view_as(leaf) for leaf in inputs.leaves]
        x, W_x, W_a, b, vectors, state, streams, *rest = inputs.of(
            [leaf.to(inputs.x.dtype) for leaf in leaves]
        )
    cell = programs.CELLS[program]
    w = Weights(W_x, W_a, b, dict(zip(cell.vectors, vectors)))
    with torch.enable_grad():
        y, final = reference.run(Problem(cell, w, x, cell.State(*state), *rest, streams=streams))
    results = [
        (r, g.to(r.dtype)) for r, g in zip((y, *final), given) if g is not None and r.requires_grad
    ]
    asked = [leaf for leaf, want in zip(leaves, wanted) if want]
    found = iter(
        torch.autograd.grad(
            [r for r, _ in results],
            asked,
            [g for _, g in results],
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
        )
        if results
        else [None] * len(asked)
    )
    return [next(found) if want else None for want in wanted]


torch.library.register_autograd("throughtime::scan", _gradients, setup_context=_setup, lib=_library)


def _plain(*tensors: Tensor | None) -> bool:
    """Whether numbers are computed now, and nobody records what is done with them."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    return all(type(tensor) in PLAIN for tensor in tensors)


PLAIN = (Tensor, torch.nn.Parameter, type(None))


def apply(program: str, inputs: Inputs) -> Sequence[Tensor]:
    """y and the final states: directly where that is the same, else as an operator of torch."""
    leaves = inputs.leaves
    keep = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
    if not _plain(*leaves):
        made = torch.ops.throughtime.scan(program, *inputs, keep)
        return made[: 1 + len(inputs.state)]
    if keep:
        return _Scan.apply(program, inputs.lengths, inputs.reset, *leaves)
    return _target(program).scan(program, inputs, False)
