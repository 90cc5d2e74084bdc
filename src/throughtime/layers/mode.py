"""Evaluation mode that is left again, whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


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
