"""The table: on the terminal, and as Markdown with what must be known to read it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..tasks.task import Score, aligned
from ..training.monitor import clock
from .outcome import VariantRow, spread

NOTHING = "–"


@dataclass(frozen=True)
class ComparisonTable:
    """Rows under headings, and the notes below them."""

    heads: list[str]
    cells: list[list[str]]
    notes: list[str]

    def text(self) -> str:
        """For a terminal."""
        return "\n".join([aligned([self.heads, *self.cells]), "", *self.notes])

    def markdown(self) -> str:
        """For a page."""
        lines = [self.heads, ["---", *["---:"] * (len(self.heads) - 1)], *self.cells]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return table + "\n\n" + "\n".join(f"- {note}" for note in self.notes) + "\n"


def table_of(
    axis: str, score: Score, unit: str, rows: Sequence[VariantRow], notes: list[str]
) -> ComparisonTable:
    """The columns that have something to say; the score's comes first."""
    columns: list[tuple[str, Callable[[VariantRow], str]]] = [
        ("", lambda row: row.label),
        (axis, lambda row: row.at or NOTHING),
        (score.title, lambda row: with_spread(row, score.metric)),
        ("bits/character", lambda row: with_spread(row, "bits_per_char")),
    ]
    if axis == "level":
        columns += [
            ("with <unk> spelled", lambda row: with_spread(row, "bits_per_char_spelled")),
            ("tokens/character", lambda row: number(row.facts.get("tokens_per_character"), 3)),
            ("<unk>", lambda row: percent(row.facts.get("unk_rate"))),
        ]
    columns += [
        ("solved", solved),
        ("sequences until then", solved_after),
        ("width", lambda row: widths(row.hidden_size)),
        ("parameters", lambda row: integer(row.parameters)),
        (f"{unit}/s", lambda row: integer(mean([f.per_second for f in row.findings]))),
        ("characters/s", characters_per_second if axis == "level" else lambda row: NOTHING),
        ("time", lambda row: duration(mean([f.values["seconds"] for f in row.findings]))),
        ("horizon", horizon),
        ("failed", lambda row: str(len(row.failures)) if row.failures else NOTHING),
    ]
    said = [(head, [say(row) for row in rows]) for head, say in columns]
    said = said[:1] + [(head, cells) for head, cells in said[1:] if set(cells) != {NOTHING}]
    return ComparisonTable(
        [head for head, _ in said], [list(row) for row in zip(*(cells for _, cells in said))], notes
    )


def with_spread(row: VariantRow, metric: str) -> str:
    """Mean ± sample standard deviation over the seeds."""
    values = row.values(metric)
    if not values:
        return NOTHING
    sd = spread(values)
    return f"{row.mean(metric):.4f}" + (f" ± {sd:.4f}" if sd is not None else "")


def solved(row: VariantRow) -> str:
    """How many of the runs solved the problem; the best weights count."""
    ends = row.values("solved")
    if not ends:
        return NOTHING
    return f"{sum(f.solved_after is not None for f in row.findings)} of {len(ends)}"


def solved_after(row: VariantRow) -> str:
    """The median number of sequences until the first evaluation that counts as solved."""
    steps = [f.solved_after for f in row.findings if f.solved_after is not None]
    if not steps or row.variant is None:
        return NOTHING
    return f"{statistics.median(steps) * row.variant.config.loop.batch_size:,.0f}"


def horizon(row: VariantRow) -> str:
    """The median over the seeds; beyond what was measured counts as the longest."""
    if not row.horizon:
        return NOTHING
    middle = statistics.median(math.inf if k is None else k for k in row.horizon)
    if middle == math.inf:
        lags = max(f.values["horizon"]["lags"] for f in row.findings)
        return f"> {lags}"
    return f"{middle:.0f}"


def characters_per_second(row: VariantRow) -> str:
    """Of training text."""
    share = row.facts.get("tokens_per_character")
    speed = mean([f.per_second for f in row.findings])
    return integer(speed / share if speed is not None and share else None)


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return statistics.fmean(values) if values else None


def number(value: float | None, decimals: int) -> str:
    """Or a dash."""
    return NOTHING if value is None else f"{value:.{decimals}f}"


def percent(value: float | None) -> str:
    """Or a dash."""
    return NOTHING if value is None else f"{value:.2%}"


def integer(value: float | None) -> str:
    """With thousands, or a dash."""
    return NOTHING if value is None or math.isnan(value) else f"{value:,.0f}"


def widths(sizes: int | list[int] | None) -> str:
    """The size of all layers, or that of each."""
    return ", ".join(map(integer, sizes)) if isinstance(sizes, list) else integer(sizes)


def duration(value: float | None) -> str:
    """1:05, or a dash."""
    return NOTHING if value is None else clock(value)


def notes_of(
    solved_means: str,
    comparison: Any,
    rows: Sequence[VariantRow],
    cores: int,
    baseline: dict[str, Any],
) -> list[str]:
    """What must be known to read the table."""
    found = [f.values for row in rows for f in row.findings]
    at_once = range_of([v["jobs"] for v in found])
    threads = range_of([v["threads"] for v in found])
    equal = {
        "parameters": "widths are such that parameters are as equal as can be",
        "width": "all of the same width",
        "time": "all of the same width, for the same time",
    }[comparison.equal]
    notes = [
        f"{equal}; seeds: {comparison.seeds}"
        + (", mean ± sample standard deviation" if comparison.seeds > 1 else ""),
    ]
    if found:
        notes.append(
            f"runs at once: {at_once}, threads of each: {threads}, cores: {cores}; speeds and time "
            "budgets depend on it"
        )
    if ends := sorted({v["ended"] for v in found if v.get("ended")}):
        notes.append(f"the budget that ended the runs: {', '.join(ends)}")
    if any(row.horizon for row in rows):
        notes.append(
            "horizon: the lag from which the gradient of the last loss by the state is below 1% of "
            "that at lag 0 (median over positions; the layer and part of the state that lasts "
            "longest)"
        )
    if comparison.levels:
        notes.append(
            "a word model that reads <unk> is not told which word it was, and none sees white "
            "space within lines: its bits per character are flattered. With <unk> spelled, each "
            "unknown word of the validation text is paid for letter by letter, under single-"
            "character frequencies of the training words that occur once"
        )
    for at, order in baseline.items():
        notes.append(f"ngram{f' ({at})' if at else ''}: Witten-Bell of order {order}; its "
                     "parameters are the n-grams that it keeps")  # fmt: skip
    if any(row.values("solved") for row in rows):
        notes.append(solved_means)
    notes += sorted({v["slow"] for v in found if v.get("slow")})
    for row in rows:
        notes += few_steps(row)
        notes += [f"{row.label} {row.at} failed: {why}" for why in row.failures]
    return notes


FEW_STEPS = 0.25
"""A run with less than this share of the median steps of its row says little beside the others."""


def few_steps(row: VariantRow) -> list[str]:
    """A note for each seed that made far fewer steps than its siblings."""
    steps = {f.seed: f.values["steps"] for f in row.findings}
    usual = statistics.median(steps.values()) if steps else 0
    return [
        f"{' '.join(part for part in (row.label, row.at) if part)}, seed {seed}: {n:,} steps where "
        f"its siblings made {usual:,.0f} (median): mean and deviation of the row say little"
        for seed, n in steps.items()
        if n < FEW_STEPS * usual
    ]


def range_of(values: Sequence[int]) -> str:
    """2, or 1–2."""
    low, high = min(values, default=0), max(values, default=0)
    return str(low) if low == high else f"{low}–{high}"
