"""How probable a language model, and an n-gram beside it, find each reading of a pair.

whole sentence   Σ_t log P(y<t> | opening, y<1> … y<t-1>), and the log P of what ends a line in the
                 training text, <eos> or a newline, where there is one
target word      log P(word | opening, prefix); where a token may be a part of a word, times the
                 probability that the word ends there: Σ over the tokens that cannot go on with it
                 (else "like" could never be less probable than "likes")

`opening` is what the model was trained to begin after, `Language.opening`. Scores are sums in
float64 of the model's float32 nats. Oracle: the model stepped token by token in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.batches import Ragged, by_length
from ...data.vocabulary import BOS, EOS, UNK, Vocabulary
from ...ground import terminal
from ...ground.errors import InputError
from ...models.language import LanguageModel
from ...ngram import WittenBell
from .pair import Pair

BATCH_TOKENS = 4096
"""Tokens read at a time, padding included: it changes no result beyond rounding."""


class Reading(NamedTuple):
    """What is scored: ids from `begin` on, given those before."""

    ids: tuple[int, ...]
    begin: int


@dataclass(frozen=True)
class PairReader:
    """Pairs as readings for a model's vocabulary.

    `final` is put after a sentence that ends without punctuation; `eos` counts what ends a line.
    """

    task: Any
    scoring: Literal["sentence", "target"] = "sentence"
    final: str = ""
    eos: bool = True

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's."""
        return self.task.vocabulary

    def readings(self, pair: Pair) -> tuple[Reading, Reading]:
        """Of the good version and of the bad one."""
        opening = self.task.opening()
        if self.scoring == "sentence":
            good, bad = (self.sentence(text, pair.whole) for text in (pair.good, pair.bad))
            before = opening
        else:
            prefix, *words = pair.target()
            if not all(words):
                raise InputError(
                    f"{pair.good!r} and {pair.bad!r}: one ends where the other goes on, so there "
                    "is no target word to compare. Leave such pairs out, or --scoring sentence."
                )
            before = [*opening, *self.encode(prefix)]
            space = " " if prefix and self.word_ends else ""
            good, bad = (self.encode(space + word) for word in words)
        return Reading((*before, *good), len(before)), Reading((*before, *bad), len(before))

    @property
    def word_ends(self) -> bool:
        """Whether a target word's end is scored: a token may be a part of a word."""
        return self.scoring == "target" and self.task.config.level != "word"

    def sentence(self, text: str, whole: bool) -> list[int]:
        """A sentence's ids, and of what ends it where it is whole."""
        text = text.strip()
        if not whole:
            return self.encode(text)
        if text[-1:].isalnum():
            text += self.final
        return self.encode(text) + (self.line_end() if self.eos else [])

    def line_end(self) -> list[int]:
        """What stands at the end of a line in the training text; nothing where that is unknown."""
        if self.task.config.data.eos == "line":
            return [EOS]
        ids = [] if self.task.config.level == "word" else self.encode("\n")
        return [] if UNK in ids else ids

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        return self.vocabulary.encode(text).tolist() if text else []


class Distinct:
    """Readings with those that occur twice taken once: `index` leads from each to its own."""

    def __init__(self, readings: Sequence[Reading], word_ends: bool) -> None:
        places: dict[Reading, int] = {}
        self.index = np.array([places.setdefault(r, len(places)) for r in readings], np.int64)
        self.readings = list(places)
        self.ragged = Ragged.of(r.ids for r in self.readings)
        self.begin = np.array([r.begin for r in self.readings], np.int64)
        self.word_ends = word_ends


@torch.inference_mode()
def model_scores(model: LanguageModel, vocabulary: Vocabulary, readings: Distinct) -> np.ndarray:
    """log P of each reading, float64."""
    device = next(model.parameters()).device
    breaks = torch.tensor(vocabulary.word_breaks(), device=device)
    found = np.empty(len(readings.readings))
    with terminal.progress("scoring", int(readings.ragged.lengths.sum())) as advance:
        for chosen in by_length(readings.ragged.lengths, BATCH_TOKENS):
            ids, lengths = readings.ragged.pad(chosen)
            begin = torch.from_numpy(readings.begin[chosen])
            ends = breaks if readings.word_ends else None
            scores = batch_scores(model, ids.to(device), lengths.to(device), begin.to(device), ends)
            found[chosen] = scores.cpu().numpy()
            advance(int(lengths.sum()))
    return found


def batch_scores(
    model: LanguageModel, ids: Tensor, lengths: Tensor, begin: Tensor, breaks: Tensor | None
) -> Tensor:
    """log P of each column's tokens from `begin [B]` up to `lengths [B]`; ids [T, B].

    With `breaks`, ids that end a word, also the log P that one of them is next.
    """
    T, B = ids.shape
    h, _ = model.hidden(ids, model.initial_state(B))
    t = torch.arange(1, T, device=ids.device)[:, None]
    scored = (t >= begin) & (t < lengths)
    nats = torch.zeros(T - 1, B, dtype=torch.float64, device=ids.device)
    if scored.any():
        nats[scored] = model.head.nats(h[:-1][scored], ids[1:][scored]).double()
    total = -nats.sum(0)
    if breaks is not None:
        last = h[lengths - 1, torch.arange(B, device=ids.device)]
        log_p = model.head.logits(last).double().log_softmax(-1)
        total += log_p[:, breaks].logsumexp(-1)
    return total


def ngram_scores(counts: WittenBell, vocabulary: Vocabulary, readings: Distinct) -> np.ndarray:
    """The same under an n-gram model; <bos>, which training text has none of, is no history."""
    ids, lengths = readings.ragged.values, readings.ragged.lengths
    starts = readings.ragged.starts
    within = np.arange(len(ids)) - np.repeat(starts, lengths)
    # a history begins after <bos>: position −1 is <bos> itself, which is never scored
    position = within - np.repeat(ids[starts] == BOS, lengths)
    log_p = np.log(counts.probabilities(ids, position))
    log_p[within < np.repeat(readings.begin, lengths)] = 0
    found = np.add.reduceat(log_p, starts)
    if readings.word_ends:
        breaks = np.zeros(len(vocabulary), bool)
        breaks[list(vocabulary.word_breaks())] = True
        found += np.log(counts.probability_among(breaks, ids, position, starts + lengths - 1))
    return found
