"""What words share with others: their beginnings and endings; words never seen have them too."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .vocabulary import EOS, SPECIALS, UNK, Vocabulary, as_text

SHARED = 5
"""An affix that fewer words have is none."""
REMEMBERED = 1 << 16
"""Unknown words whose ids are kept at hand."""


class AffixTables(NamedTuple):
    """The affixes of tokens by number from 1, 0 for none, and `number`, how many there are.

    `table [V, 2 · most]` has those of each token; `begins [B + 1, most]` and `ends [E + 1, most]`
    those of a word whose longest known beginning and ending have these numbers, None where words
    that the vocabulary lacks have no affixes.
    """

    table: Tensor
    number: int
    begins: Tensor | None = None
    ends: Tensor | None = None


def affixes_of(vocabulary: Vocabulary, most: int, *, of_unknown: bool) -> AffixTables | None:
    """The tables of a vocabulary for a network; None where `most` is 0."""
    if not most:
        return None
    table, count = affix_table(vocabulary.tokens, most)
    found = AffixTables(torch.from_numpy(table), count)
    if not of_unknown:
        return found
    spelling = spelling_of(vocabulary, most)
    begins, ends = (torch.from_numpy(chains) for chains in (spelling.begins, spelling.ends))
    return found._replace(begins=begins, ends=ends)


def affix_table(tokens: Sequence[str], most: int) -> tuple[np.ndarray, int]:
    """The affixes of each token by number from 1, [V, 2 · most], 0 for none; how many there are.

    Column k − 1 is the token's first k characters, column most + k − 1 its last k, for k = 1 …
    `most`. A whole token is no affix of itself, specials have none, and what fewer than `SHARED`
    tokens begin or end with does not count.
    """
    numbers = {affix: i for i, affix in enumerate(affix_names(tokens, most), 1)}
    table = np.zeros((len(tokens), 2 * most), np.int64)
    for row, token in enumerate(tokens):
        for column, affix in affixes(token, most):
            table[row, column] = numbers.get(affix, 0)
    return table, len(numbers)


def affix_names(tokens: Sequence[str], most: int) -> list[tuple[str, str]]:
    """What stands in the rows of an affix embedding, in their order."""
    counts = Counter(affix for token in tokens for _, affix in affixes(token, most))
    return [affix for affix, n in counts.items() if n >= SHARED]


def affixes(token: str, most: int) -> Iterator[tuple[int, tuple[str, str]]]:
    """The column and the name of each of a token's affixes."""
    if token in SPECIALS:
        return
    for k in range(1, min(most, len(token) - 1) + 1):
        yield k - 1, ("begins", token[:k])
        yield most + k - 1, ("ends", token[-k:])


class Spelling:
    """Ids of words, those that a vocabulary of V words lacks by what they begin and end with.

    A word of the vocabulary has its own id. Another whose longest known beginning has the number b
    and whose longest known ending has e, counted from 1 and 0 for none, has V + b · (E + 1) + e,
    with E endings in all; <unk> where both are 0. The shorter ones follow: where five words begin
    with "inter", five begin with "inte". So an id says all that a network can know of such a word,
    in any process and at any time, and nothing has to be kept.
    """

    def __init__(self, vocabulary: Vocabulary, most: int) -> None:
        self.vocabulary, self.most = vocabulary, most
        self.key = f"affixes {most}"
        names = affix_names(vocabulary.tokens, most)
        numbers = {name: i for i, name in enumerate(names, 1)}
        self.number = {side: {} for side in ("begins", "ends")}
        for side, affix in names:
            self.number[side][affix] = 1 + len(self.number[side])
        self.begins = self.chains("begins", numbers, lambda affix, k: affix[:k])
        self.ends = self.chains("ends", numbers, lambda affix, k: affix[-k:])
        size = len(vocabulary) + len(self.begins) * len(self.ends)
        self.dtype: type = np.uint32 if size <= 1 << 32 else np.uint64
        self.id_of = functools.lru_cache(REMEMBERED)(self._id_of)

    def chains(self, side: str, numbers: dict[tuple[str, str], int], part: Any) -> np.ndarray:
        """For each known affix of a side, the numbers of it and of the shorter ones in it."""
        found = np.zeros((1 + len(self.number[side]), self.most), np.int64)
        for affix, row in self.number[side].items():
            for k in range(1, len(affix) + 1):
                found[row, k - 1] = numbers[side, part(affix, k)]
        return found

    def _id_of(self, word: str) -> int:
        """Of a word that the vocabulary lacks."""
        longest = {"begins": 0, "ends": 0}
        for _, (side, affix) in affixes(word, self.most):
            longest[side] = self.number[side].get(affix, longest[side])
        begin, end = longest.values()
        return len(self.vocabulary) + begin * len(self.ends) + end if begin or end else UNK

    def encode(self, chunk: str | bytes, *, eos_at_lines: bool = False) -> np.ndarray:
        """As `Vocabulary.encode`."""
        ids = self.vocabulary.encode(chunk, eos_at_lines=eos_at_lines).astype(self.dtype)
        at = np.flatnonzero(ids == UNK)
        if len(at) == 0:
            return ids
        words = self.vocabulary.surfaces(as_text(chunk, self.vocabulary.lowercase))
        place = np.cumsum(ids != EOS) - 1  # <eos> stands for no word
        for k in at.tolist():
            ids[k] = self.id_of(words[place[k]])
        return ids

    def encode_tokens(self, tokens: Iterable[str]) -> np.ndarray:
        """As `Vocabulary.encode_tokens`."""
        given = [token.lower() if self.vocabulary.lowercase else token for token in tokens]
        ids = self.vocabulary.encode_tokens(given)
        for k in np.flatnonzero(ids == UNK).tolist():
            ids[k] = self.id_of(given[k])
        return ids


@functools.lru_cache(4)
def spelling_of(vocabulary: Vocabulary, most: int) -> Spelling:
    """The spelling of a vocabulary, made once."""
    return Spelling(vocabulary, most)


def reader_of(vocabulary: Vocabulary, most: int, *, of_unknown: bool) -> Vocabulary | Spelling:
    """What makes ids of a text for a network with affixes of up to `most` characters.

    Vocabularies of release 0.1 read more specials than words that are written so.
    """
    if not most or not of_unknown or vocabulary.of_0_1:
        return vocabulary
    return spelling_of(vocabulary, most)


def lacking(ids: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Which ids are of words that the vocabulary lacks."""
    return (ids == UNK) | (ids >= len(vocabulary))
