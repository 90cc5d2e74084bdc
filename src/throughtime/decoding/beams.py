"""Beam search: the most probable continuations, for many sentences at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..ground.errors import InputError
from .reading import read, reorder
from .sampling import check_numbers


class Hypothesis(NamedTuple):
    """Tokens without <eos>, and their log-probability, <eos> counted where they end with it."""

    tokens: list[int]
    score: float


@dataclass(frozen=True)
class BeamSearch:
    """The most probable continuations, for many sentences at once.

    A hypothesis ends at `eos`, where that is among the `num_beams` best next tokens of all open
    hypotheses of its sentence; so one beam is greedy. Scores are compared divided by
    length ** length_penalty (0: the plain log-probability), `eos` counted in the length. A sentence
    is done when no open hypothesis can still enter its best `n_best` (default: `num_beams`), or at
    its limit. `forbidden` ids never occur; no n-gram of `no_repeat_ngram` tokens occurs twice.
    Sentences have no part in each other's result.
    """

    num_beams: int
    n_best: int | None = None
    eos: int | None = None
    forbidden: tuple[int, ...] = ()
    length_penalty: float = 0.0
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise InputError(f"num_beams must be at least 1, got {self.num_beams}.")

    @torch.inference_mode()
    def __call__(
        self, step: Callable[[Tensor, Any], tuple[Tensor, Any]], state: Any, last: Tensor,
        limits: Sequence[int],
    ) -> list[list[Hypothesis]]:  # fmt: skip
        """Continuations of each sentence after its token in `last [S]`, best first.

        `state` is that after all tokens before `last`; `limits [S]` the most new tokens of each.
        `step` sees the hypotheses of a sentence side by side.
        """
        K, S = self.num_beams, len(last)
        keep = self.n_best or K
        state = reorder(state, torch.arange(S, device=last.device).repeat_interleave(K))
        last = last.repeat_interleave(K)
        scores = torch.full((S, K), -math.inf, device=last.device)
        scores[:, 0] = 0.0
        written = last.new_empty(S * K, 0)
        done: list[list[tuple[float, Hypothesis]]] = [[] for _ in range(S)]
        open_sentences = list(range(S))
        length = 0
        while True:
            going, rows = [], written.view(len(scores), K, length)
            best = scores.amax(1).tolist()
            for k, i in enumerate(open_sentences):
                if length >= limits[i]:
                    for row, score in zip(rows[k].tolist(), scores[k].tolist()):
                        self.end(done[i], row, score, max(length, 1))
                elif best[k] > -math.inf and not self.settled(
                    done[i], keep, best[k], length, limits[i]
                ):
                    going.append(k)
                done[i] = sorted(done[i], key=lambda d: -d[0])[:keep]
            if not going:
                return [[hypothesis for _, hypothesis in some] for some in done]
            if len(going) < len(open_sentences):
                open_sentences = [open_sentences[k] for k in going]
                chosen = torch.tensor(going, device=last.device)
                scores = scores[chosen]
                of_rows = (chosen[:, None] * K + torch.arange(K, device=last.device)).flatten()
                state = reorder(state, of_rows, chosen)
                last, written = last[of_rows], written[of_rows]
            logits, state = step(last, state)
            length += 1
            scores, parent, last, ended = self.extend(logits, scores, written)
            rows = written.view(len(scores), K, length - 1)
            for k, parents, found in ended:
                for beam, score in zip(parents, found):
                    self.end(done[open_sentences[k]], rows[k, beam].tolist(), score, length)
            state = reorder(state, parent)
            written = torch.cat([written[parent], last[:, None]], 1)

    def extend(
        self, logits: Tensor, scores: Tensor, written: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, list[int], list[float]]]]:
        """Scores [S, K], parents and tokens [S·K] of the open hypotheses that are a token longer.

        And those that end here: (sentence, their beams, their scores).
        """
        check_numbers(logits)
        (S, K), V = scores.shape, logits.shape[1]
        new = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
        if self.forbidden:
            new[:, list(self.forbidden)] = -math.inf
        if self.no_repeat_ngram:
            self.forbid_repeats(new, written)
        total = scores.view(S, K, 1) + new.view(S, K, V)
        best, flat = total.view(S, K * V).topk(min(2 * K, K * V), dim=1)
        beam, token = flat // V, flat % V
        ended = []
        if self.eos is not None:
            is_end = token == self.eos
            ends = is_end[:, :K] & (best[:, :K] > -math.inf)
            for k in ends.any(1).nonzero()[:, 0].tolist():
                at = ends[k].nonzero()[:, 0]
                ended.append((k, beam[k, at].tolist(), best[k, at].tolist()))
            best = best.masked_fill(is_end, -math.inf)
        scores, order = best.topk(min(K, best.shape[1]), dim=1)
        first = torch.arange(S, device=scores.device)[:, None] * K
        parent = first + beam.gather(1, order)
        return scores, parent.flatten(), token.gather(1, order).flatten(), ended

    def end(
        self, done: list[tuple[float, Hypothesis]], row: list[int], score: float, length: int
    ) -> None:
        """Count a hypothesis as done, if it is possible at all."""
        if score > -math.inf:
            done.append((score / length**self.length_penalty, Hypothesis(row, score)))

    def settled(self, done: list[Any], keep: int, best: float, length: int, limit: int) -> bool:
        """Whether no open hypothesis can still enter the best.

        Log-probabilities only fall; a positive length penalty may raise a score up to the limit.
        """
        if len(done) < keep:
            return False
        worst = sorted((d[0] for d in done), reverse=True)[keep - 1]
        reach = limit if self.length_penalty > 0 else length
        return best / reach**self.length_penalty < worst

    def forbid_repeats(self, new: Tensor, written: Tensor) -> None:
        """No token that would complete an n-gram for the second time."""
        n = self.no_repeat_ngram
        if written.shape[1] < n:
            return
        for k, row in enumerate(written.tolist()):
            begin = row[len(row) - n + 1 :]
            again = [row[i + n - 1] for i in range(len(row) - n + 1) if row[i : i + n - 1] == begin]
            new[k, again] = -math.inf


def beam_search(
    model: Any,
    prime: Sequence[int],
    max_new_tokens: int,
    num_beams: int,
    *,
    eos: int | None = None,
    forbidden: Sequence[int] = (),
    length_penalty: float = 0.0,
    state: Any = None,
) -> list[Hypothesis]:
    """The most probable continuations of one prime, best first, as `BeamSearch` finds them."""
    search = BeamSearch(
        num_beams, eos=eos, forbidden=tuple(forbidden), length_penalty=length_penalty
    )
    device = next(model.parameters()).device
    with torch.inference_mode():
        state, last = read(model, prime, device, state)
    return search(model.step, state, last, [max_new_tokens])[0]
