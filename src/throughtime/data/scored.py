"""Texts to score: lines, or whole files, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .lines import Inputs


def texts_to_score(inputs: Inputs, per: str, at_once: int) -> Iterator[list[str]]:
    """Some texts at a time: `per` "line", one a line, in the order in which they come, none held
    back while there are no more; "document", one a file, of standard input all of it. Of a text in
    memory (`given`) each is one.
    """
    if per == "line":
        for lines in inputs.chunks(at_once):
            yield [line.text for line in lines]
    elif inputs.paths is not None:
        for path in inputs.paths:
            yield [whole(replace(inputs, paths=(path,)))]
    else:
        yield [whole(inputs)]


def whole(inputs: Inputs) -> str:
    """All lines with their ends."""
    return "".join(line.text + line.end for line in inputs.lines())


def some_of(texts: Iterable[str], at_once: int) -> Iterator[list[str]]:
    """Texts in memory, some at a time."""
    found: list[str] = []
    for text in texts:
        found.append(text)
        if len(found) == at_once:
            yield found
            found = []
    if found:
        yield found
