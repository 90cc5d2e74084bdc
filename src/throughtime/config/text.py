"""Settings of text, whatever is learned from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .settings import limited

LARGEST_VOCABULARY = 2**31 - 1

LEVELS = Literal["char", "byte", "word", "subword"]
"""What a token can be."""


@dataclass
class TextConfig:
    """How text becomes tokens.

    Args:
        vocab_size: Most tokens in the vocabulary; default 50000 for words, 8000 for subwords,
            all characters.
        min_count: Tokens seen less often become <unk>.
        lowercase: Fold the text to lower case.
        words: With level word, split at spaces only (text tokenised already) or at punctuation too.
    """

    vocab_size: int | None = limited(None, 5, LARGEST_VOCABULARY)
    min_count: int = limited(1, 1)
    lowercase: bool = False
    words: Literal["punctuation", "spaces"] = "punctuation"
