"""Spans as tags: five schemes read, written, repaired; which tag may follow which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..ground.errors import InputError

SCHEMES = ("IOB2", "IOB1", "BIOES", "BILOU", "BMES")
"""The schemes that are known; of two that fit tags alike, the first is taken."""

ENDS = {"BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
"""What schemes that mark ends call the first, the inner and the last word of a span, and a single
one."""

TAG = re.compile(r"O|[BIESMLU](-.+)?")
"""A tag of a span: where in it, and its type, if it has one."""

PLACES = {"M": "I", "L": "E", "U": "S"}
"""The same places by their names in BIOES."""

UNTYPED = "_"
"""The type of spans that have none (B, I, O alone), as seqeval names it."""

MISFITS = 0.1
"""Tags without types that fit no scheme better than for this share are classes by themselves."""


class Span(NamedTuple):
    """A span of words, `end` not among them."""

    type: str
    start: int
    end: int


def parts(tag: str) -> tuple[str, str]:
    """O, or the place in a span by its name in BIOES, and the span's type."""
    place = PLACES.get(tag[:1], tag[:1])
    return place, tag[2:] or ("" if place == "O" else UNTYPED)


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a sequence of tags, whatever its scheme, as conlleval reads them.

    A span begins at B and S, at I or E where no span of that type is open, and ends before what
    begins another one, before O, and after E and S. Oracle: seqeval.metrics.sequence_labeling's
    get_entities.
    """
    found: list[Span] = []
    open_type, start = None, 0
    for i, tag in enumerate(tags):
        place, kind = parts(tag)
        if open_type is not None and (place in "OBS" or kind != open_type):
            found.append(Span(open_type, start, i))
            open_type = None
        if place == "O":
            continue
        if open_type is None:
            open_type, start = kind, i
        if place in "ES":
            found.append(Span(open_type, start, i + 1))
            open_type = None
    if open_type is not None:
        found.append(Span(open_type, start, len(tags)))
    return found


def places_of(length: int, again: bool, scheme: str) -> str:
    """The places of a span's words, a letter each; `again`: right after one of its type."""
    if scheme in ENDS:
        first, inner, last, single = ENDS[scheme]
        return single if length == 1 else first + inner * (length - 2) + last
    return ("I" if scheme == "IOB1" and not again else "B") + "I" * (length - 1)


def touching(spans: Iterable[Span]) -> Iterator[tuple[Span, bool]]:
    """Each span, and whether one of its type ends where it begins; spans come in order."""
    before: Span | None = None
    for span in spans:
        yield span, before is not None and (before.end, before.type) == (span.start, span.type)
        before = span


def tags_of(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """The tags of spans that do not overlap, in order."""
    tags = ["O"] * length
    for (kind, start, end), again in touching(spans):
        ending = "" if kind == UNTYPED else f"-{kind}"
        tags[start:end] = [p + ending for p in places_of(end - start, again, scheme)]
    return tags


def scheme_of(sequences: Iterable[Sequence[str]], likely: str | None = None) -> str | None:
    """The scheme that writes most of the tags as they are; None where they are not those of spans.

    Of several that fit alike `likely`, else the first of `SCHEMES`.
    """
    seen: Counter[tuple[str, bool]] = Counter()
    typed = False
    for tags in sequences:
        if not all(map(TAG.fullmatch, tags)):
            return None
        for span, again in touching(spans_of(tags)):
            seen["".join(tag[0] for tag in tags[span.start : span.end]), again] += 1
            typed |= span.type != UNTYPED
    if not seen:
        return None
    wrong = {scheme: repairs(seen, scheme) for scheme in SCHEMES}
    best = min(SCHEMES, key=lambda scheme: (wrong[scheme], scheme != likely))
    words = sum(n * len(places) for (places, _), n in seen.items())
    return best if typed or wrong[best] <= MISFITS * words else None


def repairs(seen: Counter[tuple[str, bool]], scheme: str) -> int:
    """How many tags a scheme would write otherwise, of spans by their places and `again`."""
    return sum(
        n * sum(a != b for a, b in zip(places, places_of(len(places), again, scheme)))
        for (places, again), n in seen.items()
    )


def read_spans(tags: Sequence[str], places: Sequence[str], scheme: str) -> tuple[list[Span], int]:
    """The spans of a sentence, and how many of its tags were not as the scheme writes them.

    Those are repaired: an I that begins a span is taken for its beginning. `places` are FILE:LINE
    of each tag, for the error about a tag that is none of a span.
    """
    allowed = "O" + ENDS.get(scheme, "BI")
    for tag, place in zip(tags, places):
        if not TAG.fullmatch(tag) or tag[0] not in allowed:
            raise InputError(
                f"{place}: expected a tag of {scheme}, O or {', '.join(allowed[1:])} with -TYPE; "
                f"got {tag!r}. Tags that are no spans, but classes, are told when training: "
                "--data.scheme none."
            )
    spans = spans_of(tags)
    return spans, sum(a != b for a, b in zip(tags, tags_of(spans, len(tags), scheme)))


def tag_names(types: Iterable[str], scheme: str) -> list[str]:
    """All tags that spans of these types can have in a scheme."""
    places = "BIES" if scheme == "BIOES" else "BI"
    endings = ("" if kind == UNTYPED else f"-{kind}" for kind in sorted(set(types)))
    return ["O", *(place + ending for ending in endings for place in places)]


class Legal(NamedTuple):
    """What may be: the first tag [K], one after another [K, K], the last tag [K]."""

    start: np.ndarray
    transitions: np.ndarray
    end: np.ndarray


def legal(names: Sequence[str], scheme: str) -> Legal:
    """What IOB2 or BIOES lets follow one another."""
    closes = scheme == "BIOES"

    def may_follow(before: str, after: str) -> bool:
        (place, kind), (next_place, next_kind) = parts(before), parts(after)
        inside = place in "BI" and kind == next_kind  # a span that can go on
        if closes and place in "BI":
            return inside and next_place in "IE"
        return inside if next_place in "IE" else True

    last = [not (closes and name[0] in "BI") for name in names]
    return Legal(
        np.array([name[0] not in "IE" for name in names]),
        np.array([[may_follow(a, b) for b in names] for a in names]),
        np.array(last),
    )
