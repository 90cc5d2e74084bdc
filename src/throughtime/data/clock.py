"""The steps of a series: from stamps to whole numbers and back, in equal steps or in months."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ground.errors import InputError
from .stamps import UNIT

MICROSECONDS = {
    "us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6,
    "w": 7 * 86400 * 10**6,
}  # fmt: skip
MONTHS = {"mo": 1, "q": 3, "y": 12}
DAY, LEAST_MONTH = MICROSECONDS["d"], 28 * MICROSECONDS["d"]


@dataclass(frozen=True)
class Step:
    """The step of series: `length` microseconds or months of dates, or of plain numbers."""

    kind: str
    """time, months or number."""
    length: float

    @classmethod
    def parse(cls, text: str, *, dates: bool) -> Step:
        """As it is typed: 15min, 1h, 7d, 1mo, 1y; or a number."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e-?\d+)?)?\s*([a-z]*)\s*", text.lower())
        number = float(found[1] or 1) if found else 0.0
        unit = found[2] if found else ""
        if dates and unit in MICROSECONDS and number * MICROSECONDS[unit] >= 1:
            return cls("time", round(number * MICROSECONDS[unit]))
        if dates and unit in MONTHS and number and number == int(number):
            return cls("months", number * MONTHS[unit])
        if not dates and not unit and number:
            return cls("number", number)
        expected = "as 15min, 1h, 1d, 1w, 1mo" if dates else "a number, as the stamps are"
        raise InputError(f"data.frequency must be {expected}; got {text[:40]!r}.")

    def __str__(self) -> str:
        if self.kind == "number":
            return f"{self.length:g}"
        units = MONTHS if self.kind == "months" else MICROSECONDS
        unit = max((u for u in units if self.length % units[u] == 0), key=units.__getitem__)
        return f"{self.length / units[unit]:g}{unit}"

    @property
    def season(self) -> int:
        """Steps after which most series repeat themselves; 1 where none are known."""
        if self.kind == "months":
            return max(1, round(12 / self.length))
        if self.kind == "number":
            return 1
        if self.length < DAY:
            return round(DAY / self.length)
        return 7 if self.length < 7 * DAY else max(1, round(365.25 * DAY / self.length))

    def places(self, stamps: np.ndarray, first: Any) -> np.ndarray:
        """How many steps each stamp is after `first`; between steps a part of one."""
        if self.kind == "number":
            return (stamps - first) / self.length
        if self.kind == "time":
            since = (stamps - first).astype("int64")
            return since / self.length
        start = np.array([first], UNIT)
        fits = (at_end(stamps) & at_end(start)[0]) | (within(stamps) == within(start)[0])
        months = month_of(stamps) - month_of(start)[0]
        return (months + np.where(fits, 0.0, 0.5)) / self.length

    def floor(self, stamp: Any) -> Any:
        """Where the step that a stamp is in begins, as calendars have it."""
        if self.kind == "time":
            since = int(stamp.astype(UNIT).astype("int64"))
            return np.datetime64(since - since % int(self.length), "us")
        if self.kind == "months":
            return stamp.astype("datetime64[M]").astype(UNIT)
        return np.floor(stamp / self.length) * self.length

    def stamps(self, first: Any, places: np.ndarray) -> np.ndarray:
        """The stamps so many steps after `first`."""
        if self.kind == "number":
            return first + places * self.length
        if self.kind == "time":
            return first + (places * int(self.length)).astype("timedelta64[us]")
        start = np.array([first], UNIT)
        month = month_of(start)[0] + places * int(self.length)
        begin = month.astype("datetime64[M]")
        if at_end(start)[0] and not at_beginning(start)[0]:
            time = (start - start.astype("datetime64[D]"))[0]
            return (
                (begin + 1).astype("datetime64[D]").astype(UNIT) - np.timedelta64(DAY, "us") + time
            )
        return begin.astype(UNIT) + within(start)[0]


def month_of(stamps: np.ndarray) -> np.ndarray:
    """Months since 1970."""
    return stamps.astype("datetime64[M]").astype("int64")


def within(stamps: np.ndarray) -> np.ndarray:
    """How far into their months stamps are."""
    return stamps - stamps.astype("datetime64[M]").astype(UNIT)


def at_end(stamps: np.ndarray) -> np.ndarray:
    """Whether stamps are on the last day of a month."""
    day = stamps.astype("datetime64[D]")
    return (day + 1).astype("datetime64[M]") != day.astype("datetime64[M]")


def at_beginning(stamps: np.ndarray) -> np.ndarray:
    """Whether stamps are on the first day of a month."""
    day = stamps.astype("datetime64[D]")
    return day == day.astype("datetime64[M]").astype("datetime64[D]")


def step_of(several: list[np.ndarray]) -> Step | None:
    """The step that occurs most between the stamps of some series; None where there is none."""
    counts: Counter[float] = Counter()
    for stamps in several:
        gaps = np.diff(stamps.astype("int64") if stamps.dtype.kind == "M" else stamps)
        values, often = np.unique(gaps[gaps > 0], return_counts=True)
        counts.update(dict(zip(values.tolist(), often.tolist())))
    if not counts:
        return None
    most = max(counts, key=lambda gap: (counts[gap], -gap))
    if several[0].dtype.kind != "M":
        return Step("number", float(most))
    if most >= LEAST_MONTH:
        steps = np.concatenate([np.diff(month_of(stamps)) for stamps in several])
        of_month = [at_end(s).all() or len(np.unique(within(s))) == 1 for s in several]
        if all(of_month) and (steps > 0).any():
            return Step("months", float(np.gcd.reduce(steps[steps > 0])))
    return Step("time", float(most))
