"""What words share with others: their beginnings and endings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .vocabulary import SPECIALS, Vocabulary

SHARED = 5
"""An affix that fewer words have is none."""


def affixes_of(vocabulary: Vocabulary, most: int) -> tuple[Tensor, int] | None:
    """`affix_table` of a vocabulary for a network; None where `most` is 0."""
    if not most:
        return None
    table, count = affix_table(vocabulary.tokens, most)
    return torch.from_numpy(table), count


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
