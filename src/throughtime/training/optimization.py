"""Optimizers, learning-rate schedules and clipping, from an `OptimConfig`."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config import OptimConfig
from ..config.values import listed
from ..ground.errors import InputError
from ..layers.stack import Stack

RISING = 0.1
"""The share of the budget in which a slanted schedule rises."""


class Freezing:
    """The parts of a model that do not learn, or not yet: `optim.freeze`.

    Errors: `InputError` for a part that the model has not, and where nothing is left to learn.
    """

    def __init__(self, model: nn.Module, config: OptimConfig) -> None:
        named = [part for text in config.freeze for part in listed(text)]
        self.parts = [parameters_of(model, name) for name in named]
        self.share = config.unfreeze
        frozen = {id(p) for part in self.parts for p in part}
        if frozen and all(id(p) in frozen for p in model.parameters()) and not self.share:
            raise InputError("optim.freeze freezes all weights: nothing is left to learn.")
        if not self.share:
            for part in self.parts:
                for p in part:
                    p.requires_grad_(False)

    def hold(self, progress: float) -> None:
        """Let no gradient be of what is frozen after this share of the budget."""
        if self.share:
            thawed = int(progress / self.share + 1e-9)
            for part in self.parts[: max(0, len(self.parts) - thawed)]:
                for p in part:
                    p.grad = None


def parameters_of(model: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters of a module by its name, of a layer of a stack (stack.0), or one parameter."""
    every = dict(model.named_parameters())
    owner, _, last = name.rpartition(".")
    modules = dict(model.named_modules())
    stack = modules.get(owner)
    if isinstance(stack, Stack) and last.isdecimal():
        D = stack.directions
        scans = list(stack.weights)[int(last) * D : (int(last) + 1) * D]
        found = [p for weights in scans for p in weights.parameters()]
    else:
        found = [p for key, p in every.items() if key == name or key.startswith(f"{name}.")]
        if not found:  # by its last name: embedding for inputs.embedding
            found = [p for key, p in every.items() if f".{name}." in f".{key}."]
    if not found:
        tops = dict.fromkeys(key.partition(".")[0] for key in every)
        raise InputError(f"optim.freeze: the model has no {name!r}; it has {', '.join(tops)}.")
    return found


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer; weight decay acts on matrices only.

    Updates run fused, one pass over each parameter: six times faster for a large embedding.
    """
    if config.lr <= 0:
        raise InputError(f"optim.lr must be positive, got {config.lr}.")
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    fused = True if all(p.device.type in ("cpu", "cuda") for p in parameters) else None
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    return kind(groups, lr=config.lr, betas=(config.betas[0], config.betas[1]), fused=fused)


class Schedule:
    """The learning rate at each step. Only plateau has a memory, which `state` holds."""

    def __init__(self, config: OptimConfig) -> None:
        self.config = config
        self.state = {"scale": 1.0, "stale": 0}

    def lr(self, step: int, epoch: int, progress: float) -> float:
        """After `step` steps, in `epoch` (from 0), with this share of the budget spent."""
        c = self.config
        lr = c.lr * min(1.0, max((step + 1) / c.warmup, progress / 0.05)) if c.warmup else c.lr
        if c.schedule == "cosine":
            cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
            return lr * (c.final_lr + (1 - c.final_lr) * cosine)
        if c.schedule == "slanted":
            up = min(1.0, progress / RISING)
            down = 1 - max(0.0, progress - RISING) / (1 - RISING)
            return c.lr * max(min(up, down), c.final_lr)
        if c.schedule == "decay":
            return lr * c.decay ** max(0, epoch + 1 - c.decay_after)
        return lr * self.state["scale"]

    def evaluated(self, improved: bool) -> None:
        """Hear whether the last evaluation was the best so far."""
        if self.config.schedule != "plateau":
            return
        self.state["stale"] = 0 if improved else self.state["stale"] + 1
        if self.state["stale"] >= self.config.patience:
            self.state["stale"] = 0
            self.state["scale"] *= self.config.decay


def clip(model: nn.Module, config: OptimConfig) -> tuple[float, bool]:
    """Clip the gradients by value, then by norm; return the norm before and whether it was cut."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    value = float(norm)
    if not math.isfinite(value):
        return value, False
    clipped = False
    if config.clip_value:
        largest = max(float(g.abs().max()) for g in gradients)
        clipped = largest > config.clip_value
        if clipped:
            torch.nn.utils.clip_grad_value_(model.parameters(), config.clip_value)
            norm = torch.nn.utils.get_total_norm(gradients)
    if config.clip_norm and float(norm) > config.clip_norm:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), config.clip_norm, norm)
        clipped = True
    return value, clipped
