"""What forecasts are off by: windows with their units, and what `evaluate` finds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.windows import Windows
from ..metrics.forecasts import Bands, Errors
from .exported import mixed
from .task import Evaluation, aligned, figures


class ScaledWindows(Windows):
    """Windows, and of each track what its errors are measured by [S, k]."""

    about: dict[str, np.ndarray]

    def errors_by(self, some: np.ndarray) -> dict[str, np.ndarray]:
        """Deviation and naive error [B, k]."""
        return {name: values[self.of[some]] for name, values in self.about.items()}

    def one_by_one(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What is read of each window, and known of its steps and those to come, in mixed order."""
        for i in mixed(range(len(self))):
            past, known, *_ = self.pad(np.array([i]))
            yield past[: self.window, 0].numpy(), known[:, 0].numpy()


@dataclass
class Found:
    """What `measure` found."""

    errors: Errors
    bands: Bands
    baselines: dict[str, Errors]
    loss: float = math.nan

    @property
    def metrics(self) -> dict[str, float]:
        """The plain figures."""
        values = {"loss": self.loss, **self.errors.figures()}
        return values | (self.bands.figures() if self.bands.count else {})


@dataclass(frozen=True)
class ForecastEvaluation(Evaluation):
    """What `evaluate` found, over every window: the origin of the forecast rolls on.

    Scaled errors are in deviations of each series in training; mase in its mean absolute difference
    over a season. `coverage` is the share of targets between the lowest and the highest quantile;
    `by_step` the scaled squared error of each step ahead; `baselines` has forecasts without a
    network over the same windows.
    """

    loss: float
    mse: float
    mae: float
    scaled_mse: float
    scaled_mae: float
    mase: float
    coverage: float | None
    quantile_loss: float | None
    windows: int
    series: int
    horizon: int
    season: int
    quantiles: list[dict[str, float]] | None
    by_step: list[float]
    baselines: list[dict[str, Any]]

    def report(self) -> str:
        """The figures; the network beside forecasts without one; quantiles."""
        parts = [figures({k: v for k, v in vars(self).items() if v is not None})]
        names = ("scaled_mse", "scaled_mae", "mse", "mae", "mase")
        rows = [{"name": "this run", **vars(self)}, *self.baselines]
        shown = [[row["name"], *(f"{row[n]:.4f}" for n in names)] for row in rows]
        parts.append(aligned([["forecast", *(n.replace("_", " ") for n in names)], *shown]))
        if self.quantiles:
            cells = [[f"{q['quantile']:g}", f"{q['below']:.1%}"] for q in self.quantiles]
            parts.append(aligned([["quantile", "below"], *cells]))
        return "\n\n".join(parts)
