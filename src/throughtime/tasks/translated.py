"""What a translator reads and reports: pairs of sentences, their vocabularies, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from torch import Tensor

from ..config.translation import TranslatorConfig
from ..data.batches import Ragged
from ..data.vocabulary import PAD, Vocabulary
from .example_task import Encoded, shifted
from .task import Evaluation, Prediction, figures

BothSides = tuple[list[str], list[str]]
"""Sentences of both sides, line by line."""


@dataclass(frozen=True)
class Pairs(Encoded):
    """N pairs: token ids, those of the target with their <eos>; and the sentences themselves."""

    source: Ragged
    target: Ragged
    sources: Sequence[str]
    references: Sequence[str]

    @property
    def lengths(self) -> np.ndarray:
        """The length of each pair's longer side [N]."""
        return np.maximum(self.source.lengths, self.target.lengths)

    def pad(self, some: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Source and lengths; the decoder's inputs (<bos> first), targets and lengths."""
        source, source_lengths = self.source.pad(some, PAD)
        targets, lengths = self.target.pad(some, PAD)
        return source, source_lengths, shifted(targets), targets, lengths

    def fingerprint(self) -> str:
        """Of the token ids."""
        return f"{self.source.fingerprint()} {self.target.fingerprint()}"


def vocabularies(
    config: TranslatorConfig, sources: list[str], targets: list[str]
) -> tuple[Vocabulary, Vocabulary]:
    """Of each side, or one of both."""
    data = config.data

    def of(texts: Any, level: str, size: int | None) -> Vocabulary:
        return Vocabulary.of_texts(texts, level, **data.vocabulary(size=size))

    if data.joint:
        both = of(chain(sources, targets), config.level, data.vocab_size)
        return both, both
    size = data.vocab_size if data.target_vocab_size is None else data.target_vocab_size
    return (
        of(sources, config.level, data.vocab_size),
        of(targets, config.target_level or config.level, size),
    )


def prediction(number: int, texts: list[tuple[str, float]], *, several: bool) -> Prediction:
    """A line, or NUMBER ||| TEXT ||| SCORE for each of several."""
    found = [{"text": text, "score": value} for text, value in texts]
    if not several:
        return Prediction(texts[0][0], {"translation": texts[0][0], "score": texts[0][1]})
    lines = [f"{number} ||| {text} ||| {value:.4f}" for text, value in texts]
    return Prediction("\n".join(lines), {"translations": found})


@dataclass(frozen=True)
class TranslationEvaluation(Evaluation):
    """What `evaluate` found. The loss has no smoothing; `perplexity_per_word` counts the words
    between spaces and an end for each sentence, whatever a token is.
    """

    bleu: float
    chrf: float
    loss: float
    perplexity: float
    perplexity_per_word: float
    unk_rate: float
    sentences: int
    tokens: int
    bleu_signature: str
    chrf_signature: str

    def report(self) -> str:
        """The figures, then how BLEU and chrF were found."""
        return (
            f"{figures(self.to_dict())}\n\nBLEU  {self.bleu_signature}\nchrF  {self.chrf_signature}"
        )
