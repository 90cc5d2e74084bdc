"""One step of any cell, looked into: its gates, and the share of its memory that it keeps.

No cell is known by name. A gate is what a logistic function returns when its argument comes,
through arithmetic, from a gate's affine map `w.g(v, x)`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..cells import Cell, Gate
from ..cells.base import Matrix

LOGISTIC = ("sigmoid", "sigmoid_", "special_expit", "expit", "hardsigmoid")
ARITHMETIC = {
    *("add", "sub", "mul", "div", "truediv", "true_divide", "neg", "subtract", "multiply"),
    *("radd", "rsub", "rmul", "iadd", "isub", "imul", "add_", "sub_", "mul_", "addcmul"),
    *("clamp", "where", "positive"),
}


class Step(NamedTuple):
    """What one step did: the state after it, the gates by name, the shares kept by state part."""

    after: Any
    gates: dict[str, Tensor]
    kept: dict[str, Tensor]


class _Following(TorchFunctionMode):
    """Follows what comes from affine maps through arithmetic, and holds gates constant."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[int, tuple[str, ...]] = {}
        self.alive: list[Tensor] = []  # so that no id stands for two tensors
        self.gates: dict[str, Tensor] = {}

    def mark(self, tensor: Tensor, names: tuple[str, ...]) -> Tensor:
        self.alive.append(tensor)
        self.sources[id(tensor)] = names
        return tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [a for a in (*args, *(kwargs or {}).values()) if isinstance(a, Tensor)]
        found = dict.fromkeys(name for a in given for name in self.sources.get(id(a), ()))
        if not found or not isinstance(result, Tensor):
            return result
        name = getattr(func, "__name__", "")
        if name in LOGISTIC:
            constant = result.detach()
            self.gates["+".join(found)] = constant
            self.alive.append(constant)
            return constant
        if name.strip("_") in ARITHMETIC or name in ARITHMETIC:
            self.mark(result, tuple(found))
        return result


class _Marking:
    """A `Gate` or `Matrix` whose results are constants that `_Following` knows by its name."""

    def __init__(self, gate: Gate | Matrix, name: str, following: _Following) -> None:
        self.gate, self.name, self.following = gate, name, following

    def __getattr__(self, name: str) -> Any:
        return getattr(self.gate, name)

    def __call__(self, *given: Tensor) -> Tensor:
        return self.following.mark(self.gate(*given).detach(), (self.name,))

    def input(self, x: Tensor) -> Tensor:
        return self.following.mark(cast(Gate, self.gate).input(x).detach(), (self.name,))

    def recurrent(self, v: Tensor) -> Tensor:
        return self.following.mark(cast(Gate, self.gate).recurrent(v).detach(), (self.name,))


def look(cell: Cell, bound: Any, x: Tensor, s: Any) -> Step:
    """Run `cell.step` and see its gates and what it keeps.

        kept of a part c, unit i: ∂c<t>[i] / ∂c<t-1>[i] with every gate and candidate constant

    Γ_f of an LSTM, 1 − Γ_u of the notes' GRUs, Γ_z of torch's, 0 of a basic RNN, whose whole state
    goes through its matrix; right for a cell of the user's own too. Shapes: x [B, n_x], each part
    of s [B, n] → each gate and each share [B, n]. Nothing has a graph.
    """
    following = _Following()
    w = SimpleNamespace(
        **{
            name: _Marking(value, name, following)
            if isinstance(value, (Gate, Matrix))
            else (value.detach() if isinstance(value, Tensor) else value)
            for name, value in vars(bound).items()
        }
    )
    with torch.enable_grad():
        s = type(s)(*(part.detach().requires_grad_() for part in s))
        with following:
            after = cell.step(w, x.detach(), s)
        kept = {name: direct(new, old) for name, new, old in zip(cell.state, after, s, strict=True)}
    return Step(type(after)(*(part.detach() for part in after)), following.gates, kept)


def direct(new: Tensor, old: Tensor) -> Tensor:
    """∂new/∂old, unit by unit; zero where there is no path."""
    if not new.requires_grad:
        return torch.zeros_like(new)
    ones = torch.ones_like(new)
    (grad,) = torch.autograd.grad(new, old, ones, allow_unused=True, retain_graph=True)
    return torch.zeros_like(new) if grad is None else grad
