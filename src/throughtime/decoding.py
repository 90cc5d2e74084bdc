"""Writing: sampling and beam search over anything that steps.

A model steps: `initial_state(B)`, `hidden(tokens [T, B], state)` to read a prime at once, and
`step(tokens [B], state) -> (logits [B, V], state)`. The parts of a state are [layers, B, n].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    temperature divides the logits (0: always the most probable token); top_k keeps the k most
    probable; top_p the fewest that hold that share of the probability; `forbidden` ids never occur.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    forbidden: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise InputError(f"temperature must be 0 or more, got {self.temperature}.")
        if self.top_k < 0:
            raise InputError(f"top_k must be 0 (off) or more, got {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must lie in (0, 1], got {self.top_p}.")

    def draw(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One token [B] from logits [B, V]."""
        if self.forbidden:
            logits = logits.index_fill(1, self._forbidden_on(logits.device), -math.inf)
        if self.temperature == 0:
            return logits.argmax(1)
        if self.temperature != 1:
            logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[1]:
            smallest = logits.topk(self.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < smallest, -math.inf)
        probabilities = logits.float().softmax(1)
        if self.top_p < 1:
            ordered, index = probabilities.sort(1, descending=True)
            outside = ordered.cumsum(1) - ordered >= self.top_p
            probabilities = torch.zeros_like(probabilities).scatter_(
                1, index, ordered.masked_fill(outside, 0.0)
            )
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

    def _forbidden_on(self, device: torch.device) -> Tensor:
        return torch.tensor(self.forbidden, device=device)


@torch.inference_mode()
def sample(
    model: Any,
    prime: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    eos: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Novel tokens after `prime` (at least one id, such as <bos>), one at a time, until `eos`.

    x<t+1> is the token drawn from ŷ<t>. The `eos` itself is not given out.
    """
    sampling = sampling or Sampling()
    device = next(model.parameters()).device
    state, last = read(model, prime, device)
    for _ in range(max_new_tokens):
        logits, state = model.step(last, state)
        last = sampling.draw(logits, generator)
        token = int(last)
        if token == eos:
            return
        yield token


def read(model: Any, prime: Sequence[int], device: torch.device) -> tuple[Any, Tensor]:
    """The state after all of `prime` but its last token, and that token [1]."""
    if not prime:
        raise InputError("the prime must hold at least one token, such as <bos>.")
    tokens = torch.tensor(prime, dtype=torch.int64, device=device)[:, None]
    state = model.initial_state(1)
    for window in tokens[:-1].split(1024):
        _, state = model.hidden(window, state)
    return state, tokens[-1]


@torch.inference_mode()
def beam_search(
    model: Any,
    prime: Sequence[int],
    max_new_tokens: int,
    num_beams: int,
    *,
    eos: int | None = None,
    forbidden: Sequence[int] = (),
    length_penalty: float = 0.0,
) -> list[tuple[list[int], float]]:
    """The most probable continuations, best first: (tokens, log-probability).

    A hypothesis ends at `eos`, which its score counts and its tokens leave out. Scores are compared
    divided by length ** length_penalty (0: the plain log-probability). The search ends when no open
    hypothesis can still enter the best `num_beams`, or at `max_new_tokens`.
    """
    if num_beams < 1:
        raise InputError(f"num_beams must be at least 1, got {num_beams}.")
    device = next(model.parameters()).device
    state, last = read(model, prime, device)
    scores = torch.zeros(1, device=device)
    written = torch.empty(1, 0, dtype=torch.int64, device=device)
    done: list[tuple[float, list[int], float]] = []
    for length in range(1, max_new_tokens + 1):
        logits, state = model.step(last, state)
        step_scores = logits.float().log_softmax(1)
        if forbidden:
            step_scores[:, list(forbidden)] = -math.inf
        total = scores[:, None] + step_scores
        if eos is not None:
            for row, score in zip(written.tolist(), total[:, eos].tolist()):
                if score > -math.inf:
                    done.append((score / length**length_penalty, row, score))
            total[:, eos] = -math.inf
        done = sorted(done, key=lambda d: -d[0])[:num_beams]
        scores, flat = total.flatten().topk(min(num_beams, total.numel()))
        alive = scores > -math.inf
        scores, flat = scores[alive], flat[alive]
        if not len(scores):
            break
        parent, last = flat // logits.shape[1], flat % logits.shape[1]
        state = reorder(state, parent)
        written = torch.cat([written[parent], last[:, None]], 1)
        # log-probabilities only fall; a positive length penalty may raise a score up to the limit
        reach = max_new_tokens if length_penalty > 0 else length
        if len(done) == num_beams and float(scores[0]) / reach**length_penalty < done[-1][0]:
            scores = scores[:0]
            break
    else:
        for row, score in zip(written.tolist(), scores.tolist()):
            done.append((score / max(len(row), 1) ** length_penalty, row, score))
    return [(row, score) for _, row, score in sorted(done, key=lambda d: -d[0])[:num_beams]]


def reorder(state: Any, index: Tensor) -> Any:
    """The state of the chosen batch rows: each part [layers, B, n] → [layers, len(index), n]."""
    return type(state)(*(part.index_select(1, index) for part in state))
