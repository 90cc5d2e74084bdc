"""Evaluation mode and frozen weights, left again whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from .frozen import Freezable, Frozen


@contextlib.contextmanager
def evaluating(model: nn.Module, *, inference: bool = True) -> Iterator[None]:
    """While the block runs, `model` is in evaluation mode and, with `inference`, makes no graph.

    Afterwards, and after an error, each of its modules is in the mode that it was in.
    """
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(inference):
            yield
    finally:
        for module, training in before:
            module.training = training


@contextlib.contextmanager
def frozen(model: nn.Module, weights: str = "float32") -> Iterator[list[Frozen]]:
    """While the block runs, every stack of a model is `frozen`; what each of them gives."""
    with contextlib.ExitStack() as held:
        stacks = [module for module in model.modules() if isinstance(module, Freezable)]
        yield [held.enter_context(stack.frozen(weights)) for stack in stacks]
