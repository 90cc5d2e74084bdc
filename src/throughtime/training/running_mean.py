"""The running mean of a model's weights: `loop.ema`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class RunningMean:
    """w̄ ← d w̄ + (1 − d) w after every step t that learned,  d = min(decay, (1 + t) / (10 + t)).

    The smaller d of the first steps forgets where the weights began. Where `decay` is 0 there is no
    mean, and the weights themselves are in its place.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.named = {k: p for k, p in model.named_parameters() if p.is_floating_point()}
        self.model, self.parts = model, [p.detach().clone() for p in self.named.values() if decay]

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Take in the weights after so many steps."""
        if self.decay:
            d = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.parts, list(self.named.values()), 1 - d)  # pyright: ignore[reportPrivateImportUsage]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """While the block runs the model has the mean; afterwards, and after an error, the same
        weights as before."""
        if not self.decay:
            yield
            return
        weights: list[Tensor] = list(self.named.values())
        with torch.no_grad():
            before = [p.detach().clone() for p in weights]
            torch._foreach_copy_(weights, self.parts)  # pyright: ignore[reportPrivateImportUsage]
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(weights, before)  # pyright: ignore[reportPrivateImportUsage]

    def state(self) -> dict[str, Tensor] | None:
        """The model's state with the mean in its place, for a checkpoint."""
        if not self.decay:
            return None
        with self.in_place():
            return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def take_up(self, saved: Any) -> None:
        """What `state` gave; of a run that had none the mean begins with its weights.

        Errors: `ValueError` for what is none of these weights.
        """
        if not self.decay:
            return
        for part, (name, weight) in zip(self.parts, self.named.items()):
            found = weight if saved is None else saved.get(name) if is_state(saved) else None
            if not isinstance(found, Tensor) or found.shape != part.shape:
                raise ValueError(f"ema: no {name}")
            if not found.isfinite().all():
                raise ValueError(f"ema: {name} holds what is no number")
            with torch.no_grad():
                part.copy_(found)


def is_state(saved: Any) -> bool:
    """Whether it is a mapping, as `state` gives."""
    return isinstance(saved, Mapping)
