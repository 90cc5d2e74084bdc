"""What an agreement test found: shares of right items with intervals, in tables, for JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from ...ground.wording import plural
from ...tasks.task import Evaluation, aligned
from .pair import Pair


def wilson(right: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% confidence interval of a share (Wilson 1927); (0, 1) of nothing.

    (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n)
    """
    if not of:
        return 0.0, 1.0
    p, square = right / of, z * z / of
    middle, half = p + square / 2, z * math.sqrt(p * (1 - p) / of + square / (4 * of))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


@dataclass(frozen=True)
class Rate:
    """So many right of so many."""

    right: int
    of: int

    @classmethod
    def among(cls, right: np.ndarray, chosen: np.ndarray) -> Rate:
        """Of the chosen items."""
        return cls(int(right[chosen].sum()), int(chosen.sum()))

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None of nothing."""
        return self.right / self.of if self.of else None

    def to_dict(self) -> dict[str, Any]:
        """With its 95% interval."""
        low, high = wilson(self.right, self.of)
        return {"right": self.right, "of": self.of, "share": self.share, "low": low, "high": high}

    def __str__(self) -> str:
        return "–" if self.share is None else f"{100 * self.share:.1f}%"

    @property
    def interval(self) -> str:
        """As it is printed."""
        low, high = wilson(self.right, self.of)
        return f"{100 * low:.1f}–{100 * high:.1f}" if self.of else "–"


@dataclass(frozen=True)
class RateRow:
    """A line of a table: over all its items, and over those with every word in the vocabulary."""

    name: str
    model: Rate
    covered: Rate
    ngram: Rate | None
    ngram_covered: Rate | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "items": self.model.of,
            "covered": self.covered.of,
            "model": self.model.to_dict(),
            "model_covered": self.covered.to_dict(),
            "ngram": self.ngram and self.ngram.to_dict(),
            "ngram_covered": self.ngram_covered and self.ngram_covered.to_dict(),
        }


@dataclass(frozen=True)
class Agreement(Evaluation):
    """What was found: for each pair log P of both readings, under the model and the n-gram.

    An item is right where the good reading is the more probable one; a tie is wrong.
    """

    pairs: list[Pair]
    model: np.ndarray
    """log P [items, 2], good and bad."""
    ngram: np.ndarray | None
    covered: np.ndarray
    """Whether every word of both versions is in the vocabulary."""
    same: np.ndarray
    """Whether both versions are the same ids: a tie for any model."""
    source: str
    scoring: str
    ends: str
    order: int
    beyond: int
    """Items whose versions differ in more than the target word."""

    def row(self, name: str, chosen: np.ndarray) -> RateRow:
        """Of the items that `chosen` marks."""
        right = self.model[:, 0] > self.model[:, 1]
        both = chosen & self.covered
        all_items, known = Rate.among(right, chosen), Rate.among(right, both)
        if self.ngram is None:
            return RateRow(name, all_items, known, None, None)
        right = self.ngram[:, 0] > self.ngram[:, 1]
        return RateRow(name, all_items, known, Rate.among(right, chosen), Rate.among(right, both))

    @property
    def all(self) -> RateRow:
        """Over all items."""
        return self.row("all", np.ones(len(self.pairs), bool))

    def by(self, key: Callable[[Pair], Any]) -> list[RateRow]:
        """A row for each value of a key, in order; items without one are left out."""
        keys = [key(pair) for pair in self.pairs]
        values = list(dict.fromkeys(k for k in keys if k is not None))
        if not all(isinstance(value, str) for value in values):
            values.sort()
        number = {value: i for i, value in enumerate(values)}
        numbers = np.array([number.get(k, -1) for k in keys])
        return [self.row(str(value), numbers == i) for i, value in enumerate(values)]

    def tables(self) -> Iterator[tuple[str, list[RateRow]]]:
        """The tables that a person reads; those that would have one row are left out."""
        for title, key in TABLES.items():
            rows = self.by(key)
            if len(rows) > 1:
                yield title, rows

    def to_dict(self) -> dict[str, Any]:
        """Every figure, the items' own left out."""
        cells = self.by(
            lambda p: None if None in (p.distance, p.attractors) else (p.distance, p.attractors)
        )
        conditions = self.by(lambda p: f"{p.construction}: {p.condition}" if p.condition else None)
        return {
            "source": self.source,
            "scoring": self.scoring,
            "ends": self.ends,
            "ties": "wrong",
            "items": len(self.pairs),
            "covered": int(self.covered.sum()),
            "coverage": float(self.covered.mean()),
            "read_alike": int(self.same.sum()),
            "ngram_order": self.order if self.ngram is not None else None,
            "all": self.all.to_dict(),
            **{title: [row.to_dict() for row in rows] for title, rows in self.tables()},
            "by distance and attractors": [row.to_dict() for row in cells],
            "by condition": [row.to_dict() for row in conditions],
        }

    def report(self) -> str:
        """Coverage and tables."""
        whole = self.all
        said = [
            f"{plural(len(self.pairs), 'pair')}: {self.source}",
            f"scoring   {self.scoring}{self.ends}; a tie is wrong",
            f"coverage  {100 * self.covered.mean():.1f}%: of {plural(whole.covered.of, 'pair')} "
            "every word is in the vocabulary",
        ]
        if alike := int(self.same.sum()):
            said.append(f"          the same to the vocabulary, so ties: {plural(alike, 'pair')}")
        if self.beyond:
            said.append(
                "          different in more than one word, of which the first is scored: "
                f"{plural(self.beyond, 'pair')}"
            )
        head = ["", "pairs", "covered", "right", "95%", "right, covered"]
        if self.ngram is not None:
            head += [f"{self.order}-gram", "95%", "covered"]
        lines: list[list[str]] = [head, self.line(whole)]
        for title, rows in self.tables():
            lines += [[""] * len(head), [title, *[""] * (len(head) - 1)]]
            lines += [self.line(row, "  ") for row in rows]
        table = "\n".join(line.rstrip() for line in aligned(lines).split("\n"))
        return "\n".join([*said, "", table])

    def line(self, row: RateRow, indent: str = "") -> list[str]:
        """A row as it is printed."""
        m = row.model
        cells = [f"{m.of:,}", f"{row.covered.of:,}", str(m), m.interval, str(row.covered)]
        if row.ngram is not None:
            cells += [str(row.ngram), row.ngram.interval, str(row.ngram_covered)]
        return [indent + row.name, *cells]

    def write_items(self, file: TextIO) -> None:
        """A tab-separated line for each item, with its scores."""
        names = ["construction", "condition", "distance", "attractors", "opposed", "covered"]
        names += ["right", "good", "bad", "model_good", "model_bad"]
        scores = [self.model]
        if self.ngram is not None:
            names += ["ngram_good", "ngram_bad"]
            scores.append(self.ngram)
        print(*names, sep="\t", file=file)
        for i, p in enumerate(self.pairs):
            right = self.model[i, 0] > self.model[i, 1]
            values = [p.construction, p.condition, p.distance, p.attractors, p.opposed]
            values += [int(self.covered[i]), int(right), p.good, p.bad]
            said = ["" if v is None else v for v in values]
            said += [f"{score:.6f}" for both in scores for score in both[i]]
            print(*said, sep="\t", file=file)


TABLES: dict[str, Callable[[Pair], Any]] = {
    "by field": lambda pair: pair.field or None,
    "by phenomenon": lambda pair: pair.phenomenon or None,
    "original and nonce": lambda pair: pair.origin or None,
    "by construction": lambda pair: pair.construction,
    "by distance": lambda pair: pair.distance,
    "by attractors": lambda pair: pair.attractors,
    "by attractors of the other number": lambda pair: pair.opposed,
}
