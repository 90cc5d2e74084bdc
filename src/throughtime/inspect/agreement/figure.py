"""Agreement as a picture: accuracy by distance and by attractors, or by construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...ground.extras import need
from .results import Agreement, Rate, RateRow, wilson


def draw(results: Mapping[str, Agreement], title: str = "") -> Any:
    """A matplotlib figure: by distance and attractors where the pairs tell, else by construction.

    A curve for each result by its name, the first one's n-gram in grey; the first are the widest,
    so that equal ones show. The bands and the whiskers are 95% intervals, the dashes chance.
    """
    first = next(iter(results.values()))
    if "by distance" not in dict(first.tables()):
        return by_construction(first, title)
    figure = need("matplotlib.figure", "inspect").Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1], sharey=True)
    for axes, by in ((left, "by distance"), (right, "by attractors")):
        for i, (name, result) in enumerate(results.items()):
            rows = dict(result.tables()).get(by, [])
            width = 1.5 + 1.7 * (len(results) - 1 - i)
            curve(axes, rows, [row.model for row in rows], name, f"C{i}", width)
        if first.ngram is not None:
            rows = dict(first.tables()).get(by, [])
            curve(axes, rows, [row.ngram for row in rows], f"{first.order}-gram", "0.5", 1.5)
    prepare(left, "distance from subject to verb, words")
    prepare(right, "nouns in between")
    right.xaxis.set_major_locator(need("matplotlib.ticker", "inspect").MaxNLocator(integer=True))
    left.set_ylabel("the right verb is the more probable one")
    left.legend(loc="lower left", ncols=2, frameon=False)
    figure.suptitle(title)
    return figure


def prepare(axes: Any, label: str) -> None:
    """Limits, the line of chance, the horizontal label."""
    ticker = need("matplotlib.ticker", "inspect")
    axes.axhline(0.5, color="0.6", linestyle="--", linewidth=1)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def curve(
    axes: Any,
    rows: Sequence[RateRow],
    rates: Sequence[Rate | None],
    label: str,
    color: str,
    width: float,
) -> None:
    """Shares over the numbers that the rows are named after, with a band of 95%."""
    points = [(float(row.name), rate) for row, rate in zip(rows, rates) if rate and rate.of]
    x = [at for at, _ in points]
    bands = [wilson(rate.right, rate.of) for _, rate in points]
    axes.fill_between(x, [b[0] for b in bands], [b[1] for b in bands], alpha=0.2, color=color, lw=0)
    shares = [rate.share for _, rate in points]
    axes.plot(x, shares, color=color, label=label, lw=width, marker="o", ms=width + 1.5)


def by_construction(result: Agreement, title: str) -> Any:
    """A bar for each construction, a mark for the n-gram."""
    tables = dict(result.tables())
    rows = tables.get("by construction", [result.all])
    Figure = need("matplotlib.figure", "inspect").Figure
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = list(range(len(rows)))[::-1]
    shares = [row.model.share or 0.0 for row in rows]
    bands = [wilson(row.model.right, row.model.of) for row in rows]
    errors = [
        [share - low for share, (low, _) in zip(shares, bands)],
        [high - share for share, (_, high) in zip(shares, bands)],
    ]
    axes.barh(places, shares, color="C0", alpha=0.8, label="model", xerr=errors, ecolor="0.3")
    if result.ngram is not None:
        marks = [row.ngram.share or 0.0 if row.ngram else 0.0 for row in rows]
        axes.plot(marks, places, "D", color="C1", label=f"{result.order}-gram", markersize=5)
    axes.axvline(0.5, color="0.6", linestyle="--", linewidth=1)
    axes.set_yticks(places, [f"{row.name}  ({row.model.of:,})" for row in rows])
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(need("matplotlib.ticker", "inspect").PercentFormatter(1.0))
    axes.set_xlabel("the good sentence is the more probable one")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle(title, x=0.02, ha="left")
    return figure
