"""Sentences as numbers: each distinct word form once, with its id and its characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..ground import terminal
from .affixes import Spelling, lacking
from .batches import Ragged
from .vocabulary import SPECIALS, Vocabulary


class Words(NamedTuple):
    """The words of a batch, side by side: what a tagger reads.

    `ids [T, B]` of the vocabulary; `forms [T, B]` says which of the batch's W distinct forms each
    is; `characters [L, W]` and `character_lengths [W]` are theirs; `lengths [B]` in words.
    """

    ids: Tensor
    forms: Tensor
    characters: Tensor
    character_lengths: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Words:
        """The same, there."""
        return Words(*(part.to(device) for part in self))


@dataclass(frozen=True)
class Forms:
    """N sentences of forms: their numbers in a table of distinct forms."""

    sentences: Ragged
    ids: np.ndarray
    """[F], of the vocabulary."""
    characters: Ragged
    """Of each form."""
    lacking: np.ndarray
    """[F], which of them the vocabulary lacks."""

    @classmethod
    def of(
        cls,
        sentences: Iterable[Sequence[str]],
        words: Vocabulary,
        characters: Vocabulary,
        reader: Vocabulary | Spelling | None = None,
    ) -> Forms:
        """Encode the words of sentences; a `reader` with affixes gives those that the vocabulary
        lacks ids of their own."""
        numbers: dict[str, int] = {}
        rows = [[numbers.setdefault(word, len(numbers)) for word in words] for words in sentences]
        spelled = Ragged.of(characters.encode(form).astype(np.int64) for form in numbers)
        ids = (reader or words).encode_tokens(numbers)
        return cls(Ragged.of(rows), ids, spelled, lacking(ids, words))

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def unknown(self) -> float:
        """The share of words that are <unk>."""
        values = self.sentences.values
        return float(self.lacking[values].mean()) if len(values) else 0.0

    def pad(self, chosen: np.ndarray) -> Words:
        """Those sentences; padding repeats the batch's first form, or a form without characters."""
        padded, lengths = self.sentences.pad(chosen, -1)
        numbers = padded.numpy()
        inside = numbers >= 0
        distinct, of_words = np.unique(numbers[inside], return_inverse=True)
        forms = np.zeros(numbers.shape, np.int64)
        forms[inside] = of_words
        ids = np.zeros(numbers.shape, np.int64)
        ids[inside] = self.ids[numbers[inside]]
        if len(distinct):
            characters, counts = self.characters.pad(distinct)
        else:
            characters, counts = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1).long()
        return Words(torch.from_numpy(ids), torch.from_numpy(forms), characters, counts, lengths)


def vocabularies(
    sentences: Iterable[Sequence[str]], size: int, min_count: int, *, lowercase: bool
) -> tuple[Vocabulary, Vocabulary]:
    """Of words, at most `size` of those that occur `min_count` times, and of their characters."""
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for form, count in Counter(word for words in sentences for word in words).items():
        words[form.lower() if lowercase else form] += count
        for character in form:
            characters[character] += count
    kept = frequent(words, min_count)
    if not kept:
        terminal.warn(f"no word occurs {min_count} times: all but one are <unk>.")
        kept, size = words, len(SPECIALS) + 1
    vocabulary = Vocabulary.of_counts(kept, size=size, lowercase=lowercase)
    # characters seen once become <unk>, so that it is learned
    return vocabulary, Vocabulary.of_counts(frequent(characters, 2) or characters, "char")


def frequent(counts: Counter[str], least: int) -> Counter[str]:
    """What occurs so often."""
    return Counter({token: n for token, n in counts.items() if n >= least})
