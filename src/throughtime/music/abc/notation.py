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
KEY = re.compile(
    r"(?:[A-G][#b]?\s*(?:(?:m|min|maj|mix|dor|phr|lyd|loc|aeo|ion|exp)[a-z]*)?|HP|Hp|none|)(?=$|[\s^_=\d])",
    re.I,
)
ITEM_KINDS = (
    *("space", "inline", "bar", "ending", "text", "chord", "note", "rest", "bars_of_rest"),
    *("tuplet", "slur", "tie", "broken", "grace", "decoration", "overlay", "spacer", "mark"),
)
