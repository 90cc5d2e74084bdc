"""Tokens as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def surfaces(vocabulary: Any, ids: Iterable[int]) -> list[str]:
    """The text that each id adds to that of the ids before it; part of a character gives none."""
    decoder = vocabulary.decoder()
    return [decoder.push(int(i)) for i in ids]


def label(vocabulary: Any, i: int) -> str:
    """One token by itself."""
    return vocabulary.label(i)


def shown(text: str) -> str:
    """A label on one line, spaces visible."""
    signs = {" ": "␣", "\n": "⏎", "\t": "⇥"}
    return "".join(signs.get(c, c) for c in text) if len(text) == 1 else text.replace("\n", "⏎")


def unit_of(level: str) -> str:
    """What one token of a level is called."""
    return {"char": "character", "byte": "byte", "word": "word"}.get(level, "token")
