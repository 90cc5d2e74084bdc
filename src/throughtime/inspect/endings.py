"""Gradients through time of any task, from the losses at the ends of its sequences.

A scan's lag counts its own steps before the loss, so a forward scan is measured from the loss at
the last step of a sequence, a backward scan from that at the first, where a task has one at each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.batches import by_length
from ..ground.errors import InputError
from ..tasks.endings import Ends
from ..tasks.task import Task
from .gates import Gates, summary
from .gradients import GradientsThroughTime
from .watch import Seen, watching

TOKENS = 1 << 13
"""Steps times sequences looked at together."""


@dataclass(frozen=True)
class Sequences:
    """Some of a task's sequences, and how to ask for the losses at their ends.

    `of[stack]` says what loss the gradients are of; `ends(model, some)` gives those of some.
    `total` sequences were there; `cut` of these are cut off after `longest` steps.
    """

    lengths: np.ndarray
    of: dict[str, str]
    ends: Callable[[Any, np.ndarray], Ends]
    total: int
    cut: int = 0
    longest: int | None = None

    def batches(self, model: Any) -> Iterator[Ends]:
        """Sequences of about the same length together."""
        for some in by_length(self.lengths, TOKENS):
            yield self.ends(model, some)


def sequences(task: Task, data: list[str] | None, count: int, seed: int) -> Sequences:
    """`count` of a task's sequences, drawn at random from the files `data`.

    None: the run's own validation data. Errors: `InputError` where there is no step to look at.
    """
    examples = task.to_look_at(data)
    lengths, longest = task.steps(examples), task.longest_looked_at
    usable = (lengths > 0).nonzero()[0]
    if not len(usable):
        raise InputError(
            f"none of the {len(lengths):,} examples has a step and a label that this run knows."
        )
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(usable, min(count, len(usable)), replace=False))
    chosen_lengths = lengths[chosen]
    return Sequences(
        chosen_lengths if longest is None else chosen_lengths.clip(max=longest),
        task.looked_into(),
        lambda model, some: task.ends(model, examples, chosen[some]),
        len(lengths),
        0 if longest is None else int((chosen_lengths > longest).sum()),
        longest,
    )


def gradients_by_stack(
    model: Any, found: Sequences, lags: int, advance: Callable[[float], None] | None = None
) -> dict[str, GradientsThroughTime]:
    """‖∂L/∂s‖ by lag for every stack of a task's model."""
    norms: dict[str, dict[str, list[Tensor]]] = {}
    layers: dict[str, tuple[str, ...]] = {}
    for batch in found.batches(model):
        by_end = {
            end: norms_of(model, batch, loss)
            for end, loss in batch.losses.items()
            if end != "first" or has_backward(model)
        }
        for name, lengths in batch.lengths.items():
            seen, _ = by_end["last"][name]
            layers[name] = seen.names()
            ends = ["whole"] if name in batch.apart and "whole" in by_end else ["last"]
            if seen.directions == 2 and "first" in by_end and ends == ["last"]:
                ends.append("first")
            for part in seen.parts:
                rows = [by_end[end][name][1][part][k :: len(ends)] for k, end in enumerate(ends)]
                by_scan = torch.stack(rows, 1).flatten(0, 1)
                norms.setdefault(name, {}).setdefault(part, []).append(
                    by_lag(by_scan, lengths, lags)
                )
        if advance is not None:
            advance(len(next(iter(batch.lengths.values()))))
    return {
        name: GradientsThroughTime(trimmed({p: joined(n) for p, n in parts.items()}), layers[name])
        for name, parts in norms.items()
    }


def has_backward(model: Any) -> bool:
    """Whether any stack of the model reads backwards."""
    return any(getattr(module, "bidirectional", False) for module in model.modules())


def norms_of(
    model: Any, batch: Ends, loss: Callable[[], Tensor]
) -> dict[str, tuple[Seen, dict[str, Tensor]]]:
    """Each stack watched, and its gradient norms [scans, T, B] by state part."""
    with watching(model) as watched, torch.enable_grad():
        value = loss()
        return {
            name: (watched[name], watched[name].gradient_norms(value)) for name in batch.lengths
        }


def by_lag(norms: Tensor, lengths: Tensor, lags: int) -> Tensor:
    """[scans, T, B] by step → [scans, ≤ lags + 1, B] by steps before each sequence's end."""
    T = norms.shape[1]
    lag = torch.arange(min(T, lags + 1))[:, None]
    step = (lengths.cpu() - 1 - lag).expand(-1, norms.shape[2])
    found = norms.gather(1, step.clamp(min=0).expand(len(norms), -1, -1))
    return found.masked_fill(step < 0, torch.nan)


def joined(several: list[Tensor]) -> Tensor:
    """[scans, lags, B] side by side, NaN where one is shorter."""
    most = max(one.shape[1] for one in several)
    return torch.cat(
        [F.pad(one, (0, 0, 0, most - one.shape[1]), value=torch.nan) for one in several], 2
    )


def trimmed(norms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The lags that a quarter of the sequences have: a median of fewer tells little."""
    known = ~next(iter(norms.values())).isnan().all(0)  # a row is NaN where a cell has no such part
    enough = int((known.sum(1) >= max(1, known.any(0).sum() // 4)).sum())
    return {part: one[:, : max(1, enough)] for part, one in norms.items()}


@torch.no_grad()
def gates_by_stack(model: Any, found: Sequences) -> dict[str, Gates]:
    """The gates of every stack over the batch that has the most steps."""
    batch = max(found.batches(model), key=lambda one: int(next(iter(one.lengths.values())).sum()))
    with watching(model, gates=True) as watched:
        batch.losses["last"]()
    return {name: summary(watched[name], lengths) for name, lengths in batch.lengths.items()}
