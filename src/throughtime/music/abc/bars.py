"""Which bars have the metre's length.

A bar is right if it is as long as the metre. A short bar at the end of a section and a short bar at
the beginning of one are both right if the one can be played after the other and they complete each
other to the metre: the pick-up and the final bar, a bar cut by a repeat sign, the last bar of a
first ending. After a section's end may come the next section, the section itself, the place where
its repeat begins, another ending, or the tune's beginning (tunes are played more than once).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .music import Bar


@dataclass(frozen=True)
class Judged:
    """How many bars with a metre are right; `wrong` are the others; `free` have no metre."""

    right: int
    wrong: tuple[Bar, ...]
    free: int

    @property
    def judged(self) -> int:
        """Bars that have a metre."""
        return self.right + len(self.wrong)


def judge(bars: Sequence[Bar]) -> Judged:
    """Compare each bar of a voice with its metre."""
    whole = [is_whole(bar) for bar in bars]
    fits = list(whole)
    for end, start in may_follow(bars):
        if not whole[end] and not whole[start] and complete(bars[end], bars[start]):
            fits[end] = fits[start] = True
    measured = [(bar, fit) for bar, fit in zip(bars, fits) if bar.metre is not None]
    return Judged(
        right=sum(bar.bars for bar, fit in measured if fit),
        wrong=tuple(bar for bar, fit in measured if not fit),
        free=len(bars) - len(measured),
    )


def is_whole(bar: Bar) -> bool:
    """Whether the bar, with every voice laid over it, is as long as its metre."""
    if bar.metre is None:
        return False
    return all(length == bar.bars * bar.metre for length in (bar.length, *bar.overlays))


def complete(end: Bar, start: Bar) -> bool:
    """Whether two short bars make a whole one."""
    return end.length + start.length in (end.metre, start.metre)


def may_follow(bars: Sequence[Bar]) -> Iterator[tuple[int, int]]:
    """Pairs (last bar of a section, first bar of a section that may be played after it)."""
    starts = [i for i in range(len(bars)) if i == 0 or is_boundary(bars[i - 1], bars[i])]
    repeat = 0
    for k, start in enumerate(starts):
        if bars[start].left.endswith(":"):
            repeat = start
        following = {start, repeat, 0, *starts[k + 1 : k + 2]}
        for other in starts[k + 2 :]:  # the bar before a first ending leads to the others too
            if bars[starts[k + 1]].ending and bars[other].ending:
                following.add(other)
            else:
                break
        end = starts[k + 1] - 1 if k + 1 < len(starts) else len(bars) - 1
        yield from ((end, first) for first in sorted(following))


def is_boundary(before: Bar, after: Bar) -> bool:
    """Whether a section ends between two bars: at any bar line but a plain one, at an ending."""
    line = after.left.lstrip(".")
    return line != "|" or bool(after.ending) or after.part or before.metre != after.metre
