"""What <unk> hides: the bits that spelling the unknown words would cost.

A model that writes <unk> has not said which word came, so its bits per character are too low. With
the word spelled after it, letter by letter, by a model of single characters, the code tells the
whole text again (but for white space, which word models do not see) and compares with characters.

    cost(w) = −Σ log2 P(character) − log2 P(end),   P(x) = (n(x) + 1) / (N + A + 1)

where n counts the characters and ends of the training words that occur once, which are the likest
to unknown ones there are (of all training words, where none occurs once); N is the sum of n, A the
number of different x. A character that they have not is one of the 1,114,112 code points, each as
probable, under the 1 that is left over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..data.lines import split_lines
from ..data.text import Text
from ..data.tokenizing import SPECIALS, UNK, count_characters, count_words
from ..data.vocabulary import Vocabulary, as_text

CODE_POINTS = 0x110000


class Speller:
    """The model of single characters; `ends` where a word's end must be told."""

    def __init__(self, words: Counter[str], *, ends: bool) -> None:
        once = [word for word, n in words.items() if n == 1] or list(words)
        self.ends = len(once) if ends else 0
        self.counts = Counter(character for word in once for character in word)
        self.total = self.counts.total() + self.ends + len(self.counts) + 1 + ends

    def bits(self, word: str) -> float:
        """What a word costs."""
        cost = 0.0
        for character in word:
            n = self.counts.get(character)
            share = (n + 1) / self.total if n else 1 / self.total / CODE_POINTS
            cost -= math.log2(share)
        return cost - (math.log2((self.ends + 1) / self.total) if self.ends else 0.0)


def hidden_bits(task: Any) -> float:
    """The bits that spelling all unknown words of the validation text takes, on a prepared task.

    A <unk> that stands in the text itself hides nothing and costs nothing.
    """
    if task.valid.counts.unknown == 0:
        return 0.0
    config, vocabulary = task.config, task.vocabulary
    train, valid = task.texts()
    at_word = config.level == "word"
    known: Counter[str] = Counter()
    for chunk, _ in train.chunks():
        text = [as_text(chunk, config.data.lowercase)]
        known += count_words(text, config.data.words) if at_word else count_characters(text)
    speller = Speller(known, ends=at_word)
    return sum(map(speller.bits, unknown(vocabulary, valid)))


def unknown(vocabulary: Vocabulary, text: Text) -> Iterator[str]:
    """Each token of the text that is read as <unk>, as it stands there."""
    for chunk, _ in text.chunks():
        for line in split_lines(as_text(chunk, vocabulary.lowercase), keepends=True):
            for i, surface in zip(vocabulary.encode(line).tolist(), vocabulary.surfaces(line)):
                if i == UNK and surface != SPECIALS[UNK]:
                    yield surface
