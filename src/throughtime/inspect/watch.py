"""`watching`: every stack of a model scans by the reference loop, and what it does is recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..cells import Cell, Weights
from ..ground.errors import InputError
from ..layers.stack import Stack
from .equations import Step, look


class Seen:
    """What one stack did while watched: `states[k][t]` is the state that scan k made at step t.

    Scan k is layer k // D in direction k % D, D directions; a backward scan's step 0 is the last of
    the sequence. A stack that runs several times, as a decoder fed step by step does, adds the
    steps of each run to those before. The tensors have their graph, unless gates are watched:
    then `steps[k][t]` is what `equations.look` saw.
    """

    def __init__(self, stack: Stack) -> None:
        self.directions = stack.directions
        self.cells = [cell for cell in stack.cells for _ in range(stack.directions)]
        self.scans = len(self.cells)
        self.states: list[list[Any]] = [[] for _ in range(self.scans)]
        self.steps: list[list[Step]] = [[] for _ in range(self.scans)]
        self.runs = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the state that any layer has."""
        return tuple(dict.fromkeys(name for cell in self.cells for name in cell.state))

    def names(self) -> tuple[str, ...]:
        """What to call each scan: "layer 1", or "layer 1, forward" where there are two."""
        if self.directions == 1:
            return tuple(f"layer {k + 1}" for k in range(self.scans))
        sides = ("forward", "backward")
        return tuple(f"layer {k // 2 + 1}, {sides[k % 2]}" for k in range(self.scans))

    def gradient_norms(self, loss: Tensor) -> dict[str, Tensor]:
        """‖∂loss/∂s<t>‖ for each part s of the state: [scans, steps, B].

        The total derivative by the tensor that `step` returned: through the steps that follow, the
        layers above, and the other parts made of it (an LSTM's a<t> is made of c<t>). Zero where
        the loss does not depend on it, NaN where a layer's cell has no such part. On the CPU; the
        graph stays.
        """
        flat = [part for steps in self.states for state in steps for part in state]
        grads = torch.autograd.grad(loss, flat, allow_unused=True, retain_graph=True)
        norms = iter(
            part.new_zeros(len(part)) if grad is None else grad.norm(dim=-1)
            for part, grad in zip(flat, grads)
        )
        T = len(self.states[0])
        if not T:
            return {name: torch.zeros(self.scans, 0, 0) for name in self.parts}
        missing = torch.full((T, len(flat[0])), torch.nan, dtype=flat[0].dtype)
        found: dict[str, list[Tensor]] = {name: [missing] * self.scans for name in self.parts}
        for k, cell in enumerate(self.cells):
            P = len(cell.state)
            table = torch.stack([next(norms) for _ in range(T * P)]).view(T, P, -1)
            for p, name in enumerate(cell.state):
                found[name][k] = table[:, p].detach().cpu()
        return {name: torch.stack(rows) for name, rows in found.items()}


class _Watched:
    """Stands in for a cell in a stack: the same equations, each step recorded."""

    def __init__(self, cell: Cell, seen: Seen, gates: bool) -> None:
        self.watched, self.seen, self.gates = cell, seen, gates
        self.scan = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watched, name)

    def bind(self, w: Weights) -> Any:
        """Called once a scan, before its first step."""
        self.scan = self.seen.runs % self.seen.scans
        self.seen.runs += 1
        return self.watched.bind(w)

    def step(self, w: Any, x: Tensor, s: Any) -> Any:
        if self.gates:
            found = look(self.watched, w, x, s)
            self.seen.steps[self.scan].append(found)
            self.seen.states[self.scan].append(found.after)
            return found.after
        if torch.is_grad_enabled() and not x.requires_grad:  # so that a frozen model has a graph
            x = x.detach().requires_grad_()
        after = self.watched.step(w, x, s)
        # a part handed on as it is: another step's tensor, told apart by a copy
        after = type(after)(*(p.clone() if any(p is old for old in (x, *s)) else p for p in after))
        if torch.is_grad_enabled():
            for part in after:
                if not part.requires_grad:  # made of nothing but the first state
                    part.requires_grad_()
        self.seen.states[self.scan].append(after)
        return after


def require_stacks(model: nn.Module) -> dict[str, Stack]:
    """Every `Stack` in `model` by its name; `InputError` where there is none."""
    stacks = {name: module for name, module in model.named_modules() if isinstance(module, Stack)}
    if not stacks:
        raise InputError(
            f"this {type(model).__name__} has no stack of cells to look into: it carries no state "
            "through time."
        )
    return stacks


@contextlib.contextmanager
def watching(model: nn.Module, *, gates: bool = False) -> Iterator[dict[str, Seen]]:
    """While the block runs, every `Stack` in `model` scans by the reference loop and is recorded.

    Gives what each stack did by its name in the model ("stack", "encoder", …). Any cell, depth and
    direction, ragged lengths, resets; the model is in evaluation mode meanwhile, and afterwards as
    it was. Errors: `InputError` where the model has no `Stack`.
    """
    stacks = require_stacks(model)
    seen = {name: Seen(stack) for name, stack in stacks.items()}
    before = {name: (stack.evaluated_cells, stack.backend) for name, stack in stacks.items()}
    training = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        for name, stack in stacks.items():
            stack.evaluated_cells = tuple(  # type: ignore[assignment]
                _Watched(cell, seen[name], gates) for cell in stack.evaluated_cells
            )
            stack.backend = "reference"
        yield seen
    finally:
        for name, stack in stacks.items():
            stack.evaluated_cells, stack.backend = before[name]
        for name, module in model.named_modules():
            module.training = training[name]
