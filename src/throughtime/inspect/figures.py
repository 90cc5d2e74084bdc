"""What was found as matplotlib figures, for notebooks and for the report.

Each figure is made of a few named colours (`INK`, `SERIES` …), which the report exchanges for those
of the reader's light or dark page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..ground.extras import need
from ..ground.wording import plural
from .gates import BINS, SATURATED, Gates, of_units
from .gradients import GradientsThroughTime
from .health import Health
from .influence import Influence, mean_within
from .positions import Band, ContextErrors

INK, MUTED, GRID, ALARM = "#1b1f24", "#6b7280", "#e2e5ea", "#c81e1e"
SERIES = ("#1f6feb", "#d9730d", "#0f8a7e", "#a636b5", "#7a5c00", "#47586b")
BAND = 0.16
"""How opaque a band is."""
WIDTH = 8.6
"""Inches, with 100 px each: as wide as the report's text."""
LEAST_DRAWN = 1e-15
"""Shares below this are not drawn."""


def new_figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure and its axes [rows, columns], in the report's style."""
    need("matplotlib", "inspect")
    figures = need("matplotlib.figure", "inspect")
    canvases = need("matplotlib.backends.backend_agg", "inspect")
    figure = figures.Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    canvases.FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        plain(one)
    return figure, axes


def plain(axes: Any) -> None:
    """Quiet axes: a light grid, no box."""
    axes.patch.set_alpha(0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, which="both")
    axes.xaxis.label.set(color=INK, size=10)
    axes.yaxis.label.set(color=INK, size=10)
    axes.title.set(color=INK, size=10.5)


def logarithmic(axis: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, …."""
    ticker = need("matplotlib.ticker", "inspect")
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda x, _: f"{x:,g}")
    axis.set_minor_locator(ticker.NullLocator())


def headline(axes: Any, text: str) -> None:
    """A title above the axes, to the left."""
    axes.set_title(text, loc="left", color=INK, size=10.5, parse_math=False)


def key(axes: Any, **options: Any) -> None:
    """The legend."""
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, **options)


def gradients_figure(
    found: GradientsThroughTime, untrained: GradientsThroughTime | None = None
) -> Any:
    """Median and band of ‖∂L<T>/∂s<t>‖ by lag, as a share of lag 0: a panel for each part."""
    parts = list(found.norms)
    figure, axes = new_figure(3.6 if len(parts) == 1 else 3.5, 1, len(parts), sharey=True)
    for panel, part in zip(axes[0], parts):
        panel.set_yscale("log")
        for row, name in found.rows(part):
            colour = SERIES[row % len(SERIES)]
            draw_lags(panel, found, part, row, colour, name)
            if untrained is not None:
                median = drawn(untrained.shares(part, row))
                style = {"color": colour, "linewidth": 1.2, "linestyle": (0, (2, 2))}
                panel.plot(median, label=f"{name}, untrained", **style)
        panel.axhline(0.01, color=MUTED, linewidth=1, linestyle=(0, (5, 3)))
        late = late_horizon(found, part)  # the label keeps off the curves
        panel.annotate(
            "1% of lag 0", (0 if late else 1, 0.01), xycoords=("axes fraction", "data"),
            color=MUTED, size=9, xytext=(3 if late else -2, 3), textcoords="offset points",
            ha="left" if late else "right",
        )  # fmt: skip
        panel.set_xlabel("lag T − t: steps before the loss")
        headline(panel, f"∂L<T>/∂{part}<t>")
        panel.set_xlim(0, max(found.lags, 1))
    lowest = min(float(line.min()) for line in shown_medians(found))
    axes[0, 0].set_ylim(max(LEAST_DRAWN, min(lowest / 3, 0.004)), None)  # 1% is always in sight
    if lowest > 1e-3:
        logarithmic(axes[0, 0].yaxis)
    axes[0, 0].set_ylabel("gradient norm, lag 0 = 1")
    lines: dict[str, Any] = {}  # by name, since no panel need have all layers
    for panel in axes[0]:
        handles, names = panel.get_legend_handles_labels()
        lines |= dict(zip(names, handles))
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=min(4, len(lines)),
        frameon=False, fontsize=9, labelcolor=INK,
    )  # fmt: skip
    return figure


def shown_medians(found: GradientsThroughTime) -> list[np.ndarray]:
    """The positive numbers of every curve."""
    curves = []
    for part in found.norms:
        for row, _ in found.rows(part):
            median = drawn(found.shares(part, row))
            if (positive := median[median > 0]).size:
                curves.append(positive)
    return curves or [np.ones(1)]


def drawn(shares: Tensor) -> np.ndarray:
    """What a logarithmic axis can show: NaN for zero and for what is not known."""
    return np.where((shares > 0) & shares.isfinite(), shares.numpy(), np.nan)


def draw_lags(
    panel: Any, found: GradientsThroughTime, part: str, row: int, colour: str, name: str
) -> None:
    """One layer's line, band and horizon."""
    first, shares = found.first(part, row), drawn(found.shares(part, row))
    known = np.isfinite(first.numpy())
    low, high = (drawn(edge / first)[known] for edge in found.band(part, row))
    lags = np.arange(len(shares))
    panel.fill_between(
        lags[known], np.fmax(low, LEAST_DRAWN), np.fmax(high, LEAST_DRAWN), color=colour,
        linewidth=0, alpha=BAND if len(found.layers) == 1 else BAND / 2,
    )  # fmt: skip
    panel.plot(lags, shares, color=colour, linewidth=2, label=name)
    if (horizon := found.horizon(part, row)) is not None:
        at = float(shares[horizon])
        panel.plot([horizon], [at], "o", color=colour, markersize=6, clip_on=False)
        left = horizon > 0.7 * found.lags
        panel.annotate(
            plural(horizon, "step"), (horizon, at), color=colour, size=10, weight="bold",
            xytext=(-6 if left else 6, (-14 if left else 5) + 12 * row),
            textcoords="offset points", ha="right" if left else "left",
        )  # fmt: skip


def late_horizon(found: GradientsThroughTime, part: str) -> bool:
    """Whether a curve of the part passes 1% in the right half, where labels stand otherwise."""
    horizons = [found.horizon(part, row) for row, _ in found.rows(part)]
    return any(k is not None and k > found.lags / 2 for k in horizons)


def gates_figure(found: Gates) -> Any:
    """Each gate's distribution in each layer, with the shares closed and open."""
    names, rows = list(found.gates), len(found.layers)
    figure, axes = new_figure(0.5 + 1.45 * rows, rows, max(len(names), 1), sharex=True, sharey=True)
    edges = np.arange(BINS) / BINS
    for column, name in enumerate(names):
        gate = found.gates[name]
        for row, layer in enumerate(found.layers):
            panel = axes[row, column]
            shares = gate.histogram[row].numpy()
            dark = (edges < SATURATED - 1e-9) | (edges >= 1 - SATURATED - 1e-9)
            there = row in dict(found.rows(name))
            for inside, alpha in ((dark, 1.0), (~dark, 0.45)) if there else ():
                panel.bar(edges[inside], shares[inside], 0.92 / BINS, align="edge",
                          color=SERIES[column % len(SERIES)], alpha=alpha, linewidth=0)  # fmt: skip
            closed, opened = float(gate.closed[row].nanmean()), float(gate.open[row].nanmean())
            for x, text, side in ((0.0, closed, "left"), (1.0, opened, "right")) if there else ():
                panel.text(x, 0.97, f"{text:.0%}", ha=side, va="top", size=9, color=INK,
                           transform=panel.transAxes)  # fmt: skip
            panel.set_xlim(0, 1)
            panel.grid(visible=False)
            panel.set_yticks([])
            panel.spines["left"].set_visible(False)
            panel.set_xticks([0, 0.5, 1], ["0", "½", "1"])
            if row == 0:
                headline(panel, f"Γ_{name}")
            if column == 0:
                panel.set_ylabel(layer)
    top = axes[0, 0].get_ylim()[1]
    axes[0, 0].set_ylim(0, top * 1.18)
    return figure


def saturation_figure(found: Gates) -> Any:
    """Each unit as a dot: how often its gate is closed against how often it is open."""
    names = list(found.gates)
    figure, axes = new_figure(3.7, 1, max(len(names), 1), sharex=True, sharey=True)
    for panel, name in zip(axes[0], names):
        gate = found.gates[name]
        panel.plot([0, 1], [1, 0], color=MUTED, linewidth=0.8)
        for row, layer in found.rows(name):
            panel.scatter(
                gate.closed[row].numpy(), gate.open[row].numpy(), s=12, alpha=0.55, linewidths=0,
                color=SERIES[row % len(SERIES)], label=layer,
            )  # fmt: skip
        headline(panel, f"Γ_{name}")
        panel.set_xlabel(f"share of steps below {SATURATED}")
        panel.set_aspect("equal")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes[0, 0].set_ylabel(f"share of steps above {1 - SATURATED:g}")
    key(axes[0, -1], loc="upper right", handletextpad=0.2)
    return figure


def memory_figure(found: Gates) -> Any:
    """The share of a layer's units whose time constant is at least so long."""
    part = found.memory
    assert part is not None
    figure, axes = new_figure(3.2)
    panel = axes[0, 0]
    for row, layer in found.rows(part):
        tau = of_units(found.time_constants(part)[row]).clamp(0.1, 1e6)
        tau = tau.sort(descending=True).values.numpy()
        share = np.arange(1, len(tau) + 1) / len(tau)
        panel.step(tau, share, where="pre", color=SERIES[row % len(SERIES)], linewidth=2,
                   label=layer)  # fmt: skip
    logarithmic(panel.xaxis)
    panel.set_xlabel(f"time constant τ of {part}, in steps: the memory falls to 1/e")
    panel.set_ylabel("share of units that keep\nat least so long")
    panel.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    panel.set_ylim(0, 1.02)
    key(panel, loc="upper right")
    return figure


def influence_figure(several: Sequence[Influence], per: str = "token") -> Any:
    """The share of what moved each prediction that lies within so many tokens; the mean in bold."""
    figure, axes = new_figure(3.0)
    panel = axes[0, 0]
    for one in several:
        panel.plot(np.arange(1, len(one.within) + 1), one.within, color=SERIES[0], alpha=0.35,
                   linewidth=1)  # fmt: skip
    mean = mean_within(several)
    panel.plot(np.arange(1, len(mean) + 1), mean, color=SERIES[0], linewidth=2.5, label="mean")
    key(panel, loc="lower right")
    logarithmic(panel.xaxis)
    panel.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    panel.set_ylim(0, 1.02)
    panel.set_xlabel(f"{per}s before the prediction")
    panel.set_ylabel("share of all influence\nfrom these and nearer ones")
    return figure


def context_figure(found: ContextErrors, per: str = "token") -> Any:
    """Loss by how many tokens were read before, with the interval of its difference to the last."""
    figure, axes = new_figure(3.2)
    panel = axes[0, 0]
    loss, half = np.array(found.loss), np.nan_to_num(found.interval)
    panel.fill_between(found.contexts, loss - half, loss + half, color=SERIES[0], alpha=BAND,
                       linewidth=0)  # fmt: skip
    panel.plot(found.contexts, loss, "-o", color=SERIES[0], linewidth=2, markersize=4)
    panel.axhline(loss[-1], color=MUTED, linewidth=1, linestyle=(0, (5, 3)))
    logarithmic(panel.xaxis)
    panel.set_xlabel(f"{per}s of context")
    panel.set_ylabel(f"loss, nats per {per}")
    return figure


def frequency_figure(found: Sequence[Band], labels: Sequence[str], per: str = "token") -> Any:
    """The mean loss of each band of ranks, and its shares of the text and of all loss."""
    figure, axes = new_figure(0.9 + 0.36 * len(found), 1, 2, sharey=True)
    y = np.arange(len(found))
    loss = [band.loss for band in found]
    half = np.nan_to_num([band.interval for band in found])
    left, right = axes[0]
    left.barh(y, loss, 0.62, color=SERIES[0], linewidth=0)
    left.errorbar(loss, y, xerr=half, fmt="none", ecolor=INK, elinewidth=1)
    for at, value, wide in zip(y, loss, half):
        left.annotate(f"{value:.2f}", (value + wide, at), xytext=(4, 0), va="center", size=9,
                      textcoords="offset points", color=INK)  # fmt: skip
    left.set_xlim(0, max(v + w for v, w in zip(loss, half)) * 1.15)
    left.set_yticks(y, labels, parse_math=False)
    left.invert_yaxis()
    headline(left, f"nats per {per}")
    right.barh(y - 0.17, [band.share for band in found], 0.3, color=SERIES[2], linewidth=0,
               label="of the text")  # fmt: skip
    right.barh(y + 0.17, [band.share_of_loss for band in found], 0.3, color=SERIES[1],
               linewidth=0, label="of all loss")  # fmt: skip
    right.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    headline(right, "share of the text and of all loss")
    key(right, loc="lower right")
    for panel in (left, right):
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
    return figure


def health_figure(found: Health, unit: str = "nats") -> Any:
    """Loss, gradient norm, share clipped and learning rate by step, moments of trouble marked."""
    looks = bool(found.inside)
    figure, axes = new_figure(
        6.4 + 1.2 * looks, 4 + looks, 1, sharex=True, height_ratios=[2.2, 1.4, 1, 1] + [1.2] * looks
    )
    loss, norm, clipped, rate = axes[:4, 0]
    steps = [line["step"] for line in found.train]

    def column(name: str) -> np.ndarray:
        return np.array([float(line.get(name, math.nan)) for line in found.train])

    dots = {"marker": "o", "markersize": 3.5} if len(steps) < 30 else {}
    loss.plot(steps, column("loss"), color=SERIES[0], linewidth=1.6, label="training", **dots)
    valid = [(line["step"], line["loss"]) for line in found.valid if "loss" in line]
    if valid:
        loss.plot(*zip(*valid), "-o", color=SERIES[1], linewidth=1.6, markersize=3.5,
                  label="validation")  # fmt: skip
    loss.set_ylabel("loss")
    norm.plot(steps, column("norm"), color=SERIES[2], linewidth=1.2, **dots)
    norm.set_ylabel("gradient\nnorm")
    if (column("norm") > 0).any():
        norm.set_yscale("log")
    clipped.fill_between(steps, column("clipped_here"), color=SERIES[3], alpha=0.6, linewidth=0,
                         step="pre")  # fmt: skip
    clipped.set_ylim(0, 1)
    clipped.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    clipped.set_ylabel("clipped")
    rate.plot(steps, column("lr"), color=SERIES[5], linewidth=1.6, **dots)
    rate.set_ylabel("learning\nrate")
    if looks:
        horizons(axes[4, 0], found.inside)
    axes[-1, 0].set_xlabel("step")
    for k, trouble in enumerate(found.troubles[:MARKED]):
        for panel in axes[:, 0]:
            panel.axvline(trouble.step, color=ALARM, linewidth=1, linestyle=(0, (3, 2)))
        loss.annotate(
            f"{k + 1}", (trouble.step, 1), xycoords=("data", "axes fraction"), color=ALARM, size=9,
            weight="bold", xytext=(0, 2), textcoords="offset points", ha="center", va="bottom",
        )  # fmt: skip
    key(loss, loc="upper right")
    figure.align_ylabels()
    return figure


def horizons(panel: Any, inside: list[dict[str, Any]]) -> None:
    """Each stack's horizon by step; an arrow up where it is beyond the lags measured."""
    names = [name for name in inside[-1] if isinstance(inside[-1][name], dict)]
    for k, name in enumerate(names):
        looks = [(line["step"], line[name]) for line in inside if name in line]
        steps = [step for step, _ in looks]
        reach = [look["lags"] if look["horizon"] is None else look["horizon"] for _, look in looks]
        color = SERIES[k % len(SERIES)]
        panel.plot(steps, reach, color=color, linewidth=1.6, label=name)
        for marker, beyond in (("o", False), ("^", True)):
            some = [i for i, (_, look) in enumerate(looks) if (look["horizon"] is None) == beyond]
            panel.plot([steps[i] for i in some], [reach[i] for i in some], marker, color=color,
                       markersize=7 if beyond else 3.5)  # fmt: skip
    panel.margins(y=0.15)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("horizon,\nsteps")
    if len(names) > 1:
        key(panel, loc="upper left")


MARKED = 20
"""Moments of trouble that are drawn; all of them are listed."""
