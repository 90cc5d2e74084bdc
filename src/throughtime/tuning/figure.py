"""The figure: the search as it went, what mattered, and the score along each setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.search import Range, said_of
from ..ground.extras import need
from ..pool.drawing import COLOURS, save
from ..tasks.task import Score
from .outcome import Tried

MOST_SETTINGS = 6
"""Settings along which the score is drawn: those that mattered most."""
BLUE, RED, GREY = COLOURS[0], COLOURS[1], "#888888"


def draw(
    folder: Path,
    rows: Sequence[Tried],
    space: dict[str, Range],
    importances: dict[str, float],
    score: Score,
) -> None:
    """tune.png and tune.svg."""
    figures = need("matplotlib.figure", "tune")
    along = list(importances or space)[:MOST_SETTINGS]
    panels = 1 + bool(importances) + len(along)
    columns = panels if panels <= 4 else -(-panels // 2)
    lines = -(-panels // columns)
    figure = figures.Figure(figsize=(3.8 * columns, 3.3 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    draw_course(axes[0], rows, score)
    if importances:
        draw_importances(axes[1], importances)
    for panel, name in zip(axes[1 + bool(importances) :], along):
        draw_along(panel, rows, name, space[name], score)
    for panel in axes[panels:]:
        panel.set_axis_off()
    for panel in axes[:panels]:
        panel.spines[["top", "right"]].set_visible(False)
    save(figure, folder / "tune", "tune")


def draw_course(panel: Any, rows: Sequence[Tried], score: Score) -> None:
    """Trial by trial the score, crosses for those that were ended, and the best so far."""
    trials = sorted((row.trial for row in rows), key=lambda trial: trial.number)
    complete = [(trial.number, trial.score) for trial in trials if trial.score is not None]
    ended = [
        (trial.number, trial.evaluations[max(trial.evaluations)])
        for trial in trials
        if trial.state == "pruned" and trial.evaluations
    ]
    if ended:
        panel.plot(*zip(*ended), "x", color=GREY, markersize=5, label="ended for being behind")
    if complete:
        panel.plot(*zip(*complete), "o", color=BLUE, markersize=4, alpha=0.8, label="complete")
        best, so_far = [], None
        for _, value in complete:
            ahead = so_far is None or score.better((value, 0.0), (so_far, 0.0))
            so_far = value if ahead else so_far
            best.append(so_far)
        numbers = [number for number, _ in complete]
        panel.step(numbers, best, where="post", color=RED, linewidth=1.5, label="the best so far")
    finish(panel, "trial", score)
    panel.legend(frameon=False, fontsize=8)


def draw_importances(panel: Any, importances: dict[str, float]) -> None:
    """A bar for each setting."""
    names = list(importances)[::-1]
    shares = [importances[name] for name in names]
    panel.barh(range(len(names)), shares, color=BLUE)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    for at, share in enumerate(shares):
        panel.annotate(f"{share:.0%}", (share, at), (3, 0), textcoords="offset points",
                       va="center", fontsize=8)  # fmt: skip
    panel.set_xlim(0, 1.15 * max(shares))
    panel.set_xlabel("share in what became of the score")


def draw_along(panel: Any, rows: Sequence[Tried], name: str, range_: Range, score: Score) -> None:
    """The score of complete trials along one setting; the best has a ring."""
    complete = [row.trial for row in rows if row.trial.score is not None]
    if range_.choices:
        places = {said_of(choice): at for at, choice in enumerate(range_.choices)}
        x = [places[said_of(trial.values[name])] for trial in complete]
        panel.set_xticks(list(places.values()), list(places), fontsize=8)
        panel.set_xlim(-0.5, len(places) - 0.5)
    else:
        x = [trial.values[name] for trial in complete]
        ticks = need("matplotlib.ticker", "tune")
        if range_.log:
            panel.set_xscale("log")
            panel.set_xlim(range_.low * 0.9, range_.high * 1.1)  # all of it, a decade perhaps
            if range_.high >= 10 * range_.low:
                panel.xaxis.set_minor_formatter(ticks.NullFormatter())
        elif range_.whole:
            panel.xaxis.set_major_locator(ticks.MaxNLocator(integer=True))
    y = [trial.score for trial in complete]
    panel.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.7)
    panel.plot(x[:1], y[:1], "o", markersize=9, markerfacecolor="none", markeredgecolor=RED)
    finish(panel, name, score)


def finish(panel: Any, x: str, score: Score) -> None:
    """Labels and the grid."""
    panel.set_xlabel(x)
    panel.set_ylabel(score.title)
    panel.grid(axis="y", alpha=0.3)
    if score.log:
        panel.set_yscale("log")
