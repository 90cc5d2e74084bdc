"""What readers leave out, counted over all files and told in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..ground.wording import plural

NAMED = 3
"""Of more files, the first and the last are named."""


class LeftOut:
    """How many of what was left out, and of which files."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sources: dict[str, None] = {}

    def add(self, source: str, noun: str, count: int = 1) -> None:
        """So many of `noun`, in the singular, are left out of a file."""
        if count:
            self.counts[noun] += count
            self.sources[source] = None

    def clear(self) -> None:
        """Begin anew."""
        self.counts.clear()
        self.sources.clear()

    def __bool__(self) -> bool:
        return bool(self.counts)

    def said(self) -> str:
        """What was left out, without the files."""
        return f"{', '.join(plural(n, noun) for noun, n in self.counts.items())} left out"

    def warning(self) -> str:
        """The same with the files."""
        return f"{files_said(list(self.sources))}: {self.said()}."


def read_said(source: str, items: str, left_out: LeftOut | None = None) -> str:
    """What was read, in one line: from where, how many items, and what was left out."""
    return f"read {source}: {items}{f'; {left_out.said()}' if left_out else ''}."


def files_said(files: Sequence[str | Path]) -> str:
    """Files in a line of text: one by its name, several by their number and some names."""
    names = [str(file) for file in files]
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names) if len(names) <= NAMED else f"{names[0]} … {names[-1]}"
    return f"{len(names):,} files ({shown})"
