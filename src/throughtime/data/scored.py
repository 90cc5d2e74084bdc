"""Texts to score: lines, or whole files, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..ground.errors import InputError
from .lines import Inputs


def texts_to_score(inputs: Inputs, per: str, at_once: int, most: int) -> Iterator[list[str]]:
    """Some texts at a time: `per` "line", one a line, in the order in which they come, none held
    back while there are no more; "document", one a file, of standard input all of it. Of a text in
    memory (`given`) each is one.

    Errors: `InputError` with the place of a text of more than `most` bytes: each token of it is
    answered, in memory.
    """
    inputs = replace(inputs, longest=most, option="--max-bytes")
    if per == "line":
        for lines in inputs.chunks(at_once):
            yield [line.text for line in lines]
    elif inputs.paths is not None:
        for path in inputs.paths:
            yield [whole(replace(inputs, paths=(path,)), str(path), most)]
    else:
        yield [whole(inputs, "standard input", most)]


def whole(inputs: Inputs, source: str, most: int) -> str:
    """All lines with their ends."""
    found, size = [], 0
    for line in inputs.lines():
        found += [line.text, line.end]
        size += len(line.text.encode()) + len(line.end)
        if size > most:
            raise InputError(
                f"{source}: a text of more than {most:,} bytes. Say --max-bytes NUMBER if it is "
                "meant: each token is answered. What a long text is on the whole, evaluate tells."
            )
    return "".join(found)


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
