"""Spans as tags: IOB1, IOB2 and BIOES read, written, repaired; which tag may follow which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..ground.errors import InputError

SCHEMES = ("IOB1", "IOB2", "BIOES")
"""The schemes that are known."""

TAG = re.compile(r"O|[BIES]-(.+)")
"""A tag of a span: where in it, and its type."""


class Span(NamedTuple):
    """A span of words, `end` not among them."""

    type: str
    start: int
    end: int


def parts(tag: str) -> tuple[str, str]:
    """O, or the place in a span, and the span's type."""
    return tag[:1], tag[2:]


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


def tags_of(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """The tags of spans that do not overlap, in order."""
    tags = ["O"] * length
    before: Span | None = None
    for span in spans:
        kind, start, end = span
        for i in range(start, end):
            tags[i] = f"I-{kind}"
        if scheme == "IOB1":
            if before and before.end == start and before.type == kind:
                tags[start] = f"B-{kind}"
        else:
            tags[start] = f"B-{kind}"
        if scheme == "BIOES":
            tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{kind}"
        before = span
    return tags


def scheme_of(sequences: Iterable[Sequence[str]]) -> str | None:
    """The scheme that tags are in; None where they are not those of spans.

    BIOES where an E or S occurs; IOB1 where spans begin with I after O, or after another type, and
    never with a B that IOB1 would not need; else IOB2.
    """
    some, inside_first, begin_first, ends = False, False, False, False
    for tags in sequences:
        before = ("O", "")
        for tag in tags:
            if not TAG.fullmatch(tag):
                return None
            place, kind = parts(tag)
            some |= place != "O"
            ends |= place in "ES"
            first = before[0] == "O" or before[1] != kind
            inside_first |= place == "I" and first
            begin_first |= place == "B" and first
            before = place, kind
    if not some:
        return None
    return "BIOES" if ends else "IOB1" if inside_first and not begin_first else "IOB2"


def read_spans(tags: Sequence[str], places: Sequence[str], scheme: str) -> tuple[list[Span], int]:
    """The spans of a sentence, and how many of its tags were not as the scheme writes them.

    Those are repaired: an I that begins a span is taken for its beginning. `places` are FILE:LINE
    of each tag, for the error about a tag that is none of a span.
    """
    allowed = "OBIES" if scheme == "BIOES" else "OBI"
    for tag, place in zip(tags, places):
        if not TAG.fullmatch(tag) or tag[0] not in allowed:
            raise InputError(
                f"{place}: expected a tag of {scheme}, O or {', '.join(allowed[1:])} with -TYPE; "
                f"got {tag!r}. For classes that are no spans: --data.scheme none."
            )
    spans = spans_of(tags)
    return spans, sum(a != b for a, b in zip(tags, tags_of(spans, len(tags), scheme)))


def tag_names(types: Iterable[str], scheme: str) -> list[str]:
    """All tags that spans of these types can have in a scheme."""
    places = "BIES" if scheme == "BIOES" else "BI"
    return ["O", *(f"{place}-{kind}" for kind in sorted(set(types)) for place in places)]


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
