"""What a translator reads and reports: pairs of sentences, their vocabularies, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..config.translation import TranslatorConfig
from ..data.batches import Ragged
from ..data.parallel import hold_out, read_parallel
from ..data.vocabulary import Vocabulary
from .task import Evaluation, Prediction, figures


class Pairs(NamedTuple):
    """N pairs: token ids, those of the target with their <eos>; and the sentences themselves."""

    source: Ragged
    target: Ragged
    sources: Sequence[str]
    references: Sequence[str]

    @property
    def longest(self) -> np.ndarray:
        """The length of each pair's longer side [N]."""
        return np.maximum(self.source.lengths, self.target.lengths)


def read(
    config: TranslatorConfig,
) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Training and validation sentences; the latter drawn from the former where none are given."""
    train = read_parallel(config.train, config.data.encoding)
    if config.valid:
        return train, read_parallel(config.valid, config.data.encoding)
    return hold_out(train, config.data.holdout, config.data.split_seed)


def vocabularies(
    config: TranslatorConfig, sources: list[str], targets: list[str]
) -> tuple[Vocabulary, Vocabulary]:
    """Of each side, or one of both."""
    data = config.data

    def of(texts: Any, level: str, size: int | None) -> Vocabulary:
        return Vocabulary.of_texts(
            texts, level, size=size, min_count=data.min_count, lowercase=data.lowercase,
            words=data.words,
        )  # fmt: skip

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
