"""The figure: the score of each variant with its seeds as points, and learning curves over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ground.extras import need
from ..pool.drawing import COLOURS, save
from .outcome import VariantRow

EXTRA = "compare"


def draw(
    folder: Path, axis: str, metric: str, name: str, rows: Sequence[VariantRow], *, log: bool
) -> None:
    """compare.png and compare.svg; `metric` is what is drawn and `name` what it is called."""
    figures = need("matplotlib.figure", EXTRA)
    places = list(dict.fromkeys(row.at for row in rows))
    panels = 1 + len(places)
    size = (4.6 * panels, 3.8)
    figure = figures.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    labels = list(dict.fromkeys(row.label for row in rows))
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    draw_scores(axes[0], axis, metric, rows, colours)
    for panel, place in zip(axes[1:], places):
        draw_curves(panel, metric, [row for row in rows if row.at == place], colours)
        panel.set_title(f"{axis} {place}" if axis else "")
    for panel in axes:
        panel.set_ylabel(name)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        if log:
            panel.set_yscale("log")
    save(figure, folder / "compare", EXTRA)


def draw_scores(
    panel: Any, axis: str, metric: str, rows: Sequence[VariantRow], colours: dict[str, str]
) -> None:
    """Seeds as points, the mean as a bar: along the axis of several lengths, else variant by
    variant.
    """
    trained = [row for row in rows if row.values(metric)]
    if axis == "length" and len({row.at for row in trained}) > 1:
        for label, colour in colours.items():
            mine = [row for row in trained if row.label == label]
            x = [int(row.at) for row in mine]
            style = "--" if all(not row.findings for row in mine) else "-"
            panel.plot(x, [row.mean(metric) for row in mine], style, color=colour, label=label)
            for at, row in zip(x, mine):
                values = row.values(metric)
                panel.plot([at] * len(values), values, "o", color=colour, markersize=4, alpha=0.7)
        panel.set_xticks(sorted({int(row.at) for row in trained}))
        panel.set_xlabel("length T")
        panel.legend(frameon=False, fontsize=8)
        return
    for i, row in enumerate(trained):
        values, colour = row.values(metric), colours[row.label]
        panel.plot([i] * len(values), values, "o", color=colour, markersize=5, alpha=0.7)
        panel.plot([i - 0.3, i + 0.3], [row.mean(metric)] * 2, color=colour, linewidth=2)
    names = ["\n".join(part for part in (row.label, row.at) if part) for row in trained]
    panel.set_xticks(range(len(trained)), names, rotation=30, ha="right", fontsize=8)


def draw_curves(
    panel: Any, metric: str, rows: Sequence[VariantRow], colours: dict[str, str]
) -> None:
    """Each run's evaluations over time; what is not trained is a level line."""
    for row in rows:
        label: str | None = row.label
        for finding in row.findings:
            points = [(p["elapsed"], p[metric]) for p in finding.curve if metric in p]
            if points:
                panel.plot(*zip(*points), color=colours[row.label], label=label, alpha=0.8)
                label = None
        if not row.findings and row.values(metric):
            panel.axhline(
                row.mean(metric), color=colours[row.label], linestyle="--", label=row.label
            )
    panel.set_xlabel("seconds of training")
    panel.legend(frameon=False, fontsize=8)
