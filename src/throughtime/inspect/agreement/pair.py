"""A minimal pair: two sentences of which one is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """One item.

    Between subject and verb stand `attractors` nouns, `opposed` of them of the other number.
    `whole` says that the sentences end where the text ends, so that their end counts; `choice` is
    (prefix, good word, bad word) where the file names them itself. `field`, `phenomenon` and
    `origin`, original or nonce, are what the file says of the item; "" where it says nothing.
    """

    good: str
    bad: str
    construction: str
    condition: str = ""
    distance: int | None = None
    attractors: int | None = None
    opposed: int | None = None
    whole: bool = True
    choice: tuple[str, str, str] | None = None
    field: str = ""
    phenomenon: str = ""
    origin: str = ""

    def target(self) -> tuple[str, str, str]:
        """What both share before the first word that differs, and the two words.

        Punctuation at the end of those words is no part of them, unless it is all that differs. A
        sentence that ends where the other goes on has the word "".
        """
        if self.choice:
            return self.choice
        good, bad = self.good.split(), self.bad.split()
        t = next((t for t, (a, b) in enumerate(zip(good, bad)) if a != b), min(len(good), len(bad)))
        a, b = (words[t] if t < len(words) else "" for words in (good, bad))
        if bare(a) != bare(b):
            a, b = bare(a), bare(b)
        return " ".join(good[:t]), a, b


def bare(word: str) -> str:
    """A word without the punctuation after it; punctuation alone stays."""
    return word.rstrip(".,;:!?\"')]»”’") or word


Found = Iterator[tuple[Pair, str]]
"""Pairs, each with the file and line it comes from."""
