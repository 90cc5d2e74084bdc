"""Where a language model errs: by how much text it has seen, by how frequent a token is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.stored import Ids
from ..ground.errors import InputError

NORMAL = 1.96
"""Standard errors on each side of a 95% interval."""
CONTEXTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True)
class ContextErrors:
    """The loss of the same targets after more and more of the text before them.

        loss[i] = mean over targets of −log P(target | the contexts[i] tokens before it), in nats
        interval[i]: half the 95% interval of the mean difference to the loss after the longest

    All from a zero state. `targets` counts them.
    """

    contexts: list[int]
    loss: list[float]
    interval: list[float]
    targets: int

    def enough(self, within: float = 0.02) -> int:
        """The least context from which on no loss is above the last by more than the share `within`
        and by more than chance (`interval`).
        """
        enough, last = self.contexts[-1], self.loss[-1]
        rows = zip(reversed(self.contexts), reversed(self.loss), reversed(self.interval))
        for context, loss, interval in rows:
            if loss - last > max(last * within, 0.0 if math.isnan(interval) else interval):
                break
            enough = context
        return enough

    def above(self, context: int) -> float:
        """By which share of the last loss the losses from a context on are above it, at most."""
        last = self.loss[-1]
        beyond = [loss for k, loss in zip(self.contexts, self.loss) if k >= context]
        return (max(beyond) - last) / last if last else 0.0


@torch.no_grad()
def errors_by_context(
    model: Any, windows: tuple[Tensor, Tensor], *, advance: Callable[[float], None] | None = None
) -> ContextErrors:
    """The loss of the last targets of windows [T, B] after their last 1, 2, 3, 4, 6 … T tokens."""
    tokens, targets = windows
    if not tokens.numel():
        raise InputError(f"windows must be [T, B], at least one step; got {list(tokens.shape)}.")
    T, B = tokens.shape
    contexts = [*(k for k in CONTEXTS if k < T), T]
    rows = []
    for k in contexts:
        h, _ = model.hidden(tokens[-k:], model.initial_state(B))
        rows.append(model.head.nats(h[-1], targets[-1]).double())
        if advance is not None:
            advance(k)
    nats = torch.stack(rows)
    spread = (nats - nats[-1]).std(1) if B > 1 else torch.full((len(nats),), math.nan)
    half = NORMAL * spread / math.sqrt(B)
    return ContextErrors(contexts, nats.mean(1).tolist(), half.tolist(), B)


@dataclass(frozen=True)
class Band:
    """Tokens of neighbouring ranks: which, how often they are targets, and what they cost."""

    first: int
    last: int
    examples: list[int]
    count: int
    share: float
    loss: float
    interval: float
    share_of_loss: float


@torch.no_grad()
def errors_by_frequency(
    model: Any, windows: tuple[Tensor, Tensor], ids: Ids, *, settled: int | None = None
) -> list[Band]:
    """The loss of tokens by the rank of their frequency in the text `ids`, over windows [T, B].

    Bands of ranks 1, 2–3, 4–7, 8–15 …. Windows start from a zero state; their first `settled`
    targets (32, or half of them) do not count.
    """
    tokens, targets = windows
    settled = min(32, len(tokens) // 2) if settled is None else settled
    nats, _ = model.nats(tokens, targets, model.initial_state(tokens.shape[1]))
    return bands(nats[settled:].flatten(), targets[settled:].flatten(), np.asarray(ids))


def bands(nats: Tensor, targets: Tensor, ids: np.ndarray) -> list[Band]:
    """The costs of targets [N] by the rank of their frequency in the text."""
    size = int(max(ids.max(initial=0), int(targets.max()))) + 1
    counts = np.bincount(ids.astype(np.int64), minlength=size)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(1, size + 1)
    of_target = torch.from_numpy(rank)[targets.cpu()]
    nats = nats.double().cpu()
    kinds, found, total = int((counts > 0).sum()), [], float(nats.sum())
    for k in range(kinds.bit_length()):
        first, last = 1 << k, min((1 << (k + 1)) - 1, kinds)
        inside = nats[(of_target >= first) & (of_target <= last)]
        if not len(inside):
            continue
        spread = float(inside.std()) if len(inside) > 1 else math.nan
        found.append(
            Band(
                *(first, last, order[first - 1 : last][:4].tolist(), len(inside)),
                len(inside) / len(nats),
                float(inside.mean()),
                NORMAL * spread / math.sqrt(len(inside)),
                float(inside.sum()) / total if total else math.nan,
            )
        )
    return found
