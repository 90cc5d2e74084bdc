"""Forecasts as they are written and drawn: stamps, values, bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.series import Series
from ..data.stamps import said_all
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.extras import need
from ..ground.output import new_path, refuse_existing
from ..models.outlook import Outlook
from .scaled import SeriesScale
from .task import Prediction

PANELS, HISTORY = 12, 5
"""Most forecasts of a figure, and so many horizons of what was before."""
KINDS = (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class Drawn:
    """A forecast in the units of its series: stamps [H], point [H], quantiles [H, Q], paths [S, H],
    and what was before."""

    series: str
    where: str
    target: str
    stamps: np.ndarray
    point: np.ndarray
    quantiles: np.ndarray | None
    paths: np.ndarray | None
    before: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(
        cls, series: Series, found: Outlook, scale: SeriesScale, at: tuple[int, int], horizon: int,
        target: str,
    ) -> Drawn:  # fmt: skip
        """Of a batch of forecasts, that of window and target `at`."""
        b, k = at
        center, unit = scale.center[k], scale.unit[k]
        H = min(horizon, len(found.point))

        def back(part: Any) -> np.ndarray:
            return part[:H].double().cpu().numpy() * unit + center

        quantiles = None if found.quantiles is None else back(found.quantiles[:, b, k])
        paths = None if found.paths is None else back(found.paths[:, b, :, k]).T
        first = max(0, series.known - HISTORY * H)
        return cls(
            series.name, series.where, target, series.step.stamps(
                series.first, np.arange(series.known, series.known + H)
            ),
            back(found.point[:, b, k]), quantiles, paths,
            (series.stamps(first, series.known), series.values[first : series.known, k]),
        )  # fmt: skip

    def prediction(self, quantiles: Sequence[float], paths: int) -> Prediction:
        """A row for each step: series, target where there are several, stamp, value, quantiles."""
        stamps = said_all(self.stamps)
        values: dict[str, Any] = {"series": self.series}
        if self.target:
            values["target"] = self.target
        values |= {"where": self.where, "times": stamps, "forecast": self.point.tolist()}
        head = "\t".join(" ".join(n.split()) for n in (self.series, self.target) if n)
        columns = [self.point]
        if self.quantiles is not None:
            columns += list(self.quantiles.T)
            values["quantiles"] = {
                f"{q:g}": row.tolist() for q, row in zip(quantiles, self.quantiles.T)
            }
        if paths and self.paths is not None:
            values["paths"] = self.paths[:paths].tolist()
        rows = [
            "\t".join([head, stamp, *(f"{value:.6g}" for value in row)])
            for stamp, row in zip(stamps, zip(*columns))
        ]
        return Prediction("\n".join(rows), values)


def refuse_figure(path: str) -> Path:
    """The path of a new figure; `InputError` where it is of no kind that can be drawn."""
    if Path(path).suffix not in KINDS:
        raise InputError(f"{path}: a figure is {', '.join(KINDS)}.")
    need("matplotlib", "forecast")
    return refuse_existing(path)


def draw(path: str, drawn: Sequence[Drawn], band: str, quantiles: Sequence[float]) -> None:
    """Each forecast after what was before, with its band."""
    figures = need("matplotlib.figure", "forecast")
    shown = drawn[:PANELS]
    if len(drawn) > PANELS:
        terminal.warn(f"{path}: {PANELS} of {len(drawn):,} forecasts are drawn.")
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    size = (6.0 * columns, 2.6 * rows)
    figure = figures.Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, one in zip(panels, shown):
        panel.plot(*one.before, color="#000000", lw=1, label="before")
        last = one.before[0][-1:], one.before[1][-1:]
        stamps = np.concatenate([last[0], one.stamps])
        panel.plot(stamps, np.concatenate([last[1], one.point]), color="#d55e00", label="forecast")
        if one.quantiles is not None:
            for k in range(len(quantiles) // 2):
                low, high = one.quantiles[:, k], one.quantiles[:, -1 - k]
                panel.fill_between(
                    one.stamps, low, high, color="#d55e00", alpha=0.2, lw=0,
                    label=band if k == 0 else None,
                )  # fmt: skip
        panel.set_title(" ".join(filter(None, (one.series, one.target))), fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=7)
        panel.grid(axis="y", alpha=0.3)
        for label in panel.get_xticklabels():
            label.set_rotation(20)
    for panel in list(panels):
        panel.set_visible(False)
    figure.axes[0].legend(fontsize=7, frameon=False)
    with new_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=130)
