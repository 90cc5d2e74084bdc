"""Where a language model errs: by how much text it has seen, by how frequent a token is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

NORMAL = 1.96
"""Standard errors on each side of a 95% interval."""


@dataclass(frozen=True)
class Errors:
    """Loss by context and by frequency, over windows of text read from a zero state.

    `loss[t]` is the mean nats of the targets that come after t + 1 tokens, `interval[t]` the half
    width of its 95% interval over the windows. `bands`: tokens by rank of frequency in this text.
    """

    loss: Tensor
    interval: Tensor
    bands: list[Band]
    windows: int
    settled: int
    """Frequencies count targets with at least so many tokens before them."""

    def smooth(self) -> list[tuple[int, int, float, float]]:
        """First and last context of bins ever wider, their mean loss, and its interval."""
        found, start = [], 0
        while start < len(self.loss):
            end = min(len(self.loss), max(start + 1, round(start * 1.25)))
            part = slice(start, end)
            half = float(self.interval[part].mean()) / math.sqrt(end - start)
            found.append((start + 1, end, float(self.loss[part].mean()), half))
            start = end
        return found

    def enough(self, within: float = 0.02) -> int:
        """The least context whose loss is within `within` of what the longest contexts reach."""
        bins = self.smooth()
        tail = float(self.loss[-max(1, len(self.loss) // 4) :].mean())
        return next(first for first, _, loss, _ in bins if loss <= tail * (1 + within))


@dataclass(frozen=True)
class Band:
    """Tokens of neighbouring ranks: how many, how often, and what they cost."""

    first: int
    last: int
    examples: list[int]
    count: int
    share: float
    loss: float
    interval: float
    share_of_loss: float


@torch.no_grad()
def errors_by_context(
    model: Any, windows: tuple[Tensor, Tensor], ids: np.ndarray, *, settled: int | None = None
) -> Errors:
    """Loss of a language model by context and by frequency, over windows [T, B] of a text `ids`.

    Every window starts from a zero state, so that the first target is predicted from one token and
    the last from T. Ranks are of the text's own frequencies, in bands 1, 2–3, 4–7, 8–15 ….
    """
    tokens, targets = windows
    if not tokens.numel():
        raise InputError(f"windows must be [T, B], at least one step; got {list(tokens.shape)}.")
    T, B = tokens.shape
    settled = min(32, T // 2) if settled is None else settled
    nats, _ = model.nats(tokens, targets, model.initial_state(B))
    nats = nats.double()
    deviation = nats.std(1) if B > 1 else torch.full((T,), math.nan)
    return Errors(
        nats.mean(1),
        NORMAL * deviation / math.sqrt(B),
        bands(nats[settled:].flatten(), targets[settled:].flatten(), np.asarray(ids)),
        B,
        settled,
    )


def bands(nats: Tensor, targets: Tensor, ids: np.ndarray) -> list[Band]:
    """The costs of targets [N] by the rank of their frequency in the text."""
    size = int(max(ids.max(initial=0), int(targets.max()))) + 1
    counts = np.bincount(ids.astype(np.int64), minlength=size)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(1, size + 1)
    of_target = torch.from_numpy(rank)[targets.cpu()]
    nats = nats.cpu()
    kinds, found, total = int((counts > 0).sum()), [], float(nats.sum())
    for k in range(max(kinds, 1).bit_length()):
        first, last = 1 << k, min((1 << (k + 1)) - 1, kinds)
        inside = nats[(of_target >= first) & (of_target <= last)]
        if not len(inside):
            continue
        half = (
            NORMAL * float(inside.std()) / math.sqrt(len(inside)) if len(inside) > 1 else math.nan
        )
        found.append(
            Band(
                *(first, last, order[first - 1 : last][:4].tolist(), len(inside)),
                len(inside) / len(nats),
                float(inside.mean()),
                half,
                float(inside.sum()) / total if total else math.nan,
            )
        )
    return found
