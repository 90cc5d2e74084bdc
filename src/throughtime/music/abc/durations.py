"""Lengths in ABC as exact fractions: metres, units, notes, broken rhythms."""

from __future__ import annotations

import re
from fractions import Fraction


def metre_of(value: str) -> Fraction | None:
    """Whole notes in a bar of M:; None for a free metre. Raises `ValueError` for what is none."""
    text = value.strip()
    if text.lower() in ("none", ""):
        return None
    if text in ("C", "C|"):
        return Fraction(1)
    match = re.fullmatch(r"\(?\s*(\d{1,9}(?:\s*\+\s*\d{1,9})*)\s*\)?\s*/\s*(\d{1,9})", text)
    if not match or int(match[2]) == 0:
        raise ValueError(f"not a metre: {value!r}; expected M:6/8, M:C or M:none")
    metre = Fraction(sum(map(int, match[1].split("+"))), int(match[2]))
    if not metre:
        raise ValueError(f"a metre of no length: {value!r}")
    return metre


def is_compound(value: str) -> bool:
    """Whether M: is a compound metre, such as 6/8 or 9/8."""
    beats = value.strip().partition("/")[0]
    return bool(re.fullmatch(r"\d{1,9}", beats)) and int(beats) % 3 == 0 and int(beats) > 3


def unit_of(value: str) -> Fraction:
    """Whole notes in a unit of L:. Raises `ValueError` for what is none."""
    match = re.fullmatch(r"(\d{1,9})(?:/(\d{1,9}))?", value.strip())
    if not match or not int(match[1]) or (match[2] and not int(match[2])):
        raise ValueError(f"not a note length: {value!r}; expected L:1/8")
    return Fraction(int(match[1]), int(match[2] or 1))


def factor(length: str) -> Fraction:
    """The factor that a note's written length stands for: 3, /2, 3/2, // …"""
    above, slash, below = length.partition("/")
    numerator = int(above) if above else 1
    if not slash:
        return Fraction(numerator)
    slashes = 1 + len(below) - len(below.lstrip("/"))
    digits = below.lstrip("/")
    return Fraction(numerator, int(digits) * 2 ** (slashes - 1) if digits else 2**slashes)


def broken_first(signs: str) -> Fraction:
    """The factor of the note before > or <."""
    k = Fraction(1, 2 ** len(signs))
    return 2 - k if signs[0] == ">" else k
