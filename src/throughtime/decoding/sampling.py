"""How the next token is drawn, row by row: no row has a part in another's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..ground.errors import InputError, ThroughtimeError

DRAWN_AT_ONCE = 1 << 22
"""Probabilities that are summed up at a time, in float64: 32 MB."""

NO_NUMBERS = ThroughtimeError(
    "what the model computes is NaN or infinite, so that nothing can be written: its weights are "
    "no numbers or far too large. Take another --checkpoint, or train anew."
)
"""What is raised where a model's logits hold NaN or +infinity."""


class Before(NamedTuple):
    """What penalties look at: which tokens stand in a text [B, V], its prime included, and how
    often each was written [B, V], the prime apart."""

    seen: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    First the penalties, on logits z of tokens that were there before:
    repetition_penalty p: z / p where z > 0, else z · p (Keskar et al. 2019, arXiv:1909.05858);
    presence_penalty p: z − p if the token was written; frequency_penalty p: z − p · how often.
    Then temperature divides the logits (0: always the most probable token); top_k keeps the k most
    probable; top_p the fewest that hold that share of the probability; min_p those that are at
    least so probable as the most probable one times min_p; `forbidden` ids never occur.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    forbidden: tuple[int, ...] = field(default=())
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise InputError(f"temperature must be 0 or more, got {self.temperature}.")
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (off) or more, got {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must lie in (0, 1], got {self.top_p}.")
        if not 0 <= self.min_p <= 1:
            raise InputError(f"min_p must lie in [0, 1], got {self.min_p}.")
        if not 0 < self.repetition_penalty < math.inf:
            raise InputError(
                f"repetition_penalty must be above 0 (1: none), got {self.repetition_penalty}."
            )

    @property
    def looks_back(self) -> bool:
        """Whether `draw` needs to know what was before."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1, 0, 0)

    def draw(
        self,
        logits: Tensor,
        generator: torch.Generator | None = None,
        *,
        chances: Tensor | None = None,
        before: Before | None = None,
    ) -> Tensor:
        """One token [B] from logits [B, V]: where the sum of the probabilities passes `chances`.

        chances [B], float64 in [0, 1), are drawn from the generator where they are not given.
        """
        check_numbers(logits)
        if before is not None:
            logits = self.penalised(logits, before)
        if self.forbidden:
            forbidden = torch.tensor(self.forbidden, device=logits.device)
            logits = logits.index_fill(1, forbidden, -math.inf)
        if self.temperature == 0:
            return logits.argmax(1)
        if chances is None:
            shape, device = len(logits), logits.device
            chances = torch.rand(shape, dtype=torch.float64, generator=generator, device=device)
        rows = max(1, DRAWN_AT_ONCE // logits.shape[1])
        parts = zip(logits.split(rows), chances.split(rows))
        return torch.cat([passed(self.probabilities(part), some) for part, some in parts])

    def penalised(self, logits: Tensor, before: Before) -> Tensor:
        """Logits lower for tokens that were there before."""
        p = self.repetition_penalty
        if p != 1:
            lower = torch.where(logits > 0, logits / p, logits * p)
            logits = torch.where(before.seen, lower, logits)
        if self.presence_penalty:
            logits = logits - self.presence_penalty * (before.counts > 0)
        if self.frequency_penalty:
            logits = logits - self.frequency_penalty * before.counts
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """What is drawn from, [B, V]; rows need not sum up to 1."""
        if self.temperature != 1:
            scaled = logits / self.temperature
            if not bool(torch.isfinite(scaled.amax(1)).all()):  # so cold that they overflow
                scaled = (logits - logits.amax(1, keepdim=True)) / self.temperature
                scaled = scaled.nan_to_num(nan=0.0, neginf=-math.inf)  # 0 / 0 is the largest
            logits = scaled
        if 0 < self.top_k < logits.shape[1]:
            smallest = logits.topk(self.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < smallest, -math.inf)
        probabilities = logits.float().softmax(1)
        if self.top_p < 1:
            ordered, index = probabilities.sort(stable=True, dim=1, descending=True)
            outside = ordered.cumsum(1) - ordered >= self.top_p
            outside[:, 0] = False  # the most probable, though top_p be 0 in float32
            probabilities = torch.zeros_like(probabilities).scatter_(
                1, index, ordered.masked_fill(outside, 0.0)
            )
        if self.min_p:
            least = self.min_p * probabilities.amax(1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < least, 0.0)
        return probabilities


def passed(probabilities: Tensor, chances: Tensor) -> Tensor:
    """The first token [B] whose sum with all before it passes that share of the whole."""
    sums = probabilities.double().cumsum(1)
    whole = sums[:, -1:].contiguous()
    found = torch.searchsorted(sums, whole * chances[:, None], right=True)
    last = torch.searchsorted(sums, whole)  # the last that has any: a share may round up to all
    return torch.minimum(found, last)[:, 0]


def check_numbers(logits: Tensor) -> None:
    """Raise `ThroughtimeError` where a model's logits [B, V] hold NaN or +infinity."""
    if not bool((logits.amax(1) < math.inf).all()):
        raise NO_NUMBERS
