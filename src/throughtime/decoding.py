"""Writing: sampling and beam search over anything that steps.

A model steps: `initial_state(B)`, `hidden(tokens [T, B], state)` to read a prime at once, and
`step(tokens [B], state) -> (logits [B, V], state)`. The parts of a state are [layers, B, n].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .ground.errors import InputError, ThroughtimeError
from .layers.attention import Memory
from .layers.states import rebuilt


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
        check_numbers(logits)
        if self.forbidden:
            logits = logits.index_fill(1, self._forbidden_on(logits.device), -math.inf)
        if self.temperature == 0:
            return logits.argmax(1)
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
            ordered, index = probabilities.sort(1, descending=True)
            outside = ordered.cumsum(1) - ordered >= self.top_p
            outside[:, 0] = False  # the most probable, though top_p be 0 in float32
            probabilities = torch.zeros_like(probabilities).scatter_(
                1, index, ordered.masked_fill(outside, 0.0)
            )
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

    def _forbidden_on(self, device: torch.device) -> Tensor:
        return torch.tensor(self.forbidden, device=device)


def check_numbers(logits: Tensor) -> None:
    """Raise `ThroughtimeError` where a model's logits [B, V] hold NaN or +infinity."""
    if not bool((logits.amax(1) < math.inf).all()):
        raise ThroughtimeError(
            "what the model computes is NaN or infinite, so that nothing can be written: its "
            "weights are no numbers or far too large. Take another --checkpoint, or train anew."
        )


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
) -> list[Hypothesis]:
    """The most probable continuations of one prime, best first, as `BeamSearch` finds them."""
    search = BeamSearch(
        num_beams, eos=eos, forbidden=tuple(forbidden), length_penalty=length_penalty
    )
    device = next(model.parameters()).device
    with torch.inference_mode():
        state, last = read(model, prime, device)
    return search(model.step, state, last, [max_new_tokens])[0]


def reorder(state: Any, rows: Tensor, sentences: Tensor | None = None) -> Any:
    """The state of the chosen hypotheses: each part [layers, R, n] → [layers, len(rows), n],
    whatever the layout.

    A `Memory` [T_x, sentences, …] is shared by all hypotheses of a sentence: what is kept of it are
    the chosen sentences; None: all.
    """
    if isinstance(state, Tensor):
        return state.index_select(1, rows)
    if state is None:
        return None
    if isinstance(state, Memory):
        if sentences is None:
            return state
        return Memory(*(part.index_select(1, sentences) for part in state))
    return rebuilt(state, (reorder(part, rows, sentences) for part in state))
