"""The signs of ABC 2.1 as regular expressions."""

from __future__ import annotations

import re

NUMBER = r"\d{0,9}"
LENGTH = rf"{NUMBER}(?:/{{1,9}}{NUMBER})?"
NOTE = r"(?:\^\^?|__?|=)?[A-Ga-g][,']*"
ITEM = re.compile(
    rf"""
      (?P<space> [\s`]+ )
    | (?P<inline> \[ (?P<letter>[A-Za-z]) : (?P<value>[^\]]*) \] )
    | (?P<bar> (?: :+\[?\|[|:\]]* | ::+ | \.?\[?\|[|:\]]* ) (?P<volta>\d[\d,-]*)? )
    | (?P<ending> \[ (?: (?P<numbers>\d[\d,-]*) | "[^"\n]*" ) )
    | (?P<text> "[^"]*" )
    | (?P<chord> \[ (?P<inside>[^\]|:]*) \] (?P<chord_length>{LENGTH}) )
    | (?P<note> {NOTE} (?P<note_length>{LENGTH}) )
    | (?P<rest> [zx] (?P<rest_length>{LENGTH}) )
    | (?P<bars_of_rest> [ZX] (?P<count>{NUMBER}) )
    | (?P<tuplet> \( (?P<p>\d) (?: :(?P<q>{NUMBER}) (?: :(?P<r>{NUMBER}) )? )? )
    | (?P<slur> \.?\( | \) )
    | (?P<tie> \.?- )
    | (?P<broken> >+ | <+ )
    | (?P<grace> \{{ /? (?P<graces>[^}}]*) \}} )
    | (?P<decoration> ![^!\s|]+! | \+[^+\s|]+\+ )
    | (?P<overlay> &+ )
    | (?P<spacer> y\d* )
    | (?P<mark> [.~HLMOPSTuv] | [$*;?@]+ )
    """,
    re.X,
)
IN_CHORD = re.compile(rf"\s*(?:\"[^\"]*\"|![^!\s]+!|[.~HLMOPSTuv])*({NOTE})({LENGTH})\s*-?\s*")
IN_GRACE = re.compile(rf"\s*(?:{NOTE}{LENGTH}|z{LENGTH}|[\s>()<-]|[.~HLMOPSTuv]|![^!\s]+!)")
MODES = ("maj", "min", "m", "mix", "dor", "phr", "lyd", "loc", "aeo", "ion", "exp")
"""Modes of a key by what counts of their names: three letters, or m."""
KEY = re.compile(r"\s*([A-G])([#b]?)(?:(\s*)([a-z]+)(?![a-z=]))?(?=$|[\s^_=\d])", re.I)
CLEF = r"(?:treble|alto|tenor|bass|perc|soprano|mezzosoprano|baritone)[1-5]?[+-]?8?(?=$|\s)"
NO_KEY = re.compile(rf"\s*(?:$|(?:HP|none)(?=$|\s)|[a-z]+\s*=|{CLEF})", re.I)
"""K: that names no tonic: bagpipes, none, or a clef alone."""


def tonic_and_mode(value: str) -> tuple[str, str] | None:
    """The tonic of K: (F#, Bb) and its mode in lower case, three letters at most; None for none.

    What follows is no part of them: accidentals, a clef with or without `clef=`, `octave=`,
    `transpose=`. Source: ABC 2.1, 3.1.14 and 4.6.
    """
    match = KEY.match(value)
    if not match:
        return None
    tonic, accidental, space, word = match.groups()
    mode = (word or "").lower()[:3]
    if mode and mode not in MODES and not (mode[0] == "m" and not space):
        if not space:
            return None
        mode = ""
    return tonic.upper() + accidental, mode


ITEM_KINDS = (
    *("space", "inline", "bar", "ending", "text", "chord", "note", "rest", "bars_of_rest"),
    *("tuplet", "slur", "tie", "broken", "grace", "decoration", "overlay", "spacer", "mark"),
)
