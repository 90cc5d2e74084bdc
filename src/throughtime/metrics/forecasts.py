"""How far forecasts are off: squared and absolute errors, quantiles, and what needs no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.windows import Windows

RIDGE = (1.0, 100.0, 10_000.0)
"""Penalties that the linear forecast chooses among, by the last tenth of training's windows."""
MOST_WINDOWS = 50_000
"""Of more windows, evenly chosen ones are enough for a linear map."""
LITTLE = 1e-5
"""Moves that are none, in deviations of what they are made of."""
FEWEST = 50
"""Targets that are needed to say how far a band is off."""
AT_ONCE = 512
"""Windows looked at together."""


@dataclass
class Errors:
    """Sums of errors over the targets that are there, each in several units, in float64."""

    count: int = 0
    squared: float = 0.0
    absolute: float = 0.0
    scaled_squared: float = 0.0
    scaled_absolute: float = 0.0
    against_naive: float = 0.0
    naive_count: int = 0
    by_step: Any = 0.0
    count_by_step: Any = 0

    def add(
        self, point: np.ndarray, targets: np.ndarray, unit: np.ndarray, about: dict[str, Any]
    ) -> None:
        """Forecasts and targets [H, B, k], scaled; unit, deviation and naive of `about`, [B, k].

        Naive: training's mean absolute error of the value one season before, 0 for none.
        """
        there = ~np.isnan(targets)
        off = np.where(there, point.astype(np.float64) - targets, 0.0) * unit
        scaled = off / about["deviation"]
        self.count += int(there.sum())
        self.squared += float((off**2).sum())
        self.absolute += float(np.abs(off).sum())
        self.scaled_squared += float((scaled**2).sum())
        self.scaled_absolute += float(np.abs(scaled).sum())
        known = there & (about["naive"] > 0)
        of = np.where(about["naive"] > 0, about["naive"], 1.0)
        self.against_naive += float((np.abs(off) / of)[known].sum())
        self.naive_count += int(known.sum())
        self.by_step = self.by_step + (scaled**2).sum((1, 2))
        self.count_by_step = self.count_by_step + there.sum((1, 2))

    def figures(self) -> dict[str, float]:
        """Mean errors: in the units of the data, and in deviations of each series in training."""
        n = max(self.count, 1)
        return {
            "mse": self.squared / n,
            "mae": self.absolute / n,
            "scaled_mse": self.scaled_squared / n,
            "scaled_mae": self.scaled_absolute / n,
            "mase": self.against_naive / self.naive_count if self.naive_count else float("nan"),
        }

    def steps(self) -> list[float]:
        """The scaled squared error of each step ahead."""
        return (self.by_step / np.maximum(self.count_by_step, 1)).tolist()


@dataclass
class Bands:
    """How often targets lie below quantiles, and what that costs (pinball), in deviations."""

    quantiles: list[float]
    below: Any = 0
    inside: int = 0
    count: int = 0
    pinball: Any = field(default=0.0)

    def add(
        self, found: np.ndarray, targets: np.ndarray, unit: np.ndarray, deviation: np.ndarray
    ) -> None:
        """Quantiles [H, B, k, Q], targets [H, B, k], scaled; unit and deviation [B, k]."""
        there = ~np.isnan(targets)
        y = np.where(there, targets, 0.0)[..., None]
        q = np.array(self.quantiles)
        off = (y - found) * (unit / deviation)[..., None]
        self.pinball = self.pinball + (np.maximum(q * off, (q - 1) * off) * there[..., None]).sum(
            (0, 1, 2)
        )
        under = (y <= found) & there[..., None]
        self.below = self.below + under.sum((0, 1, 2))
        within = (y[..., 0] >= found[..., 0]) & (y[..., 0] <= found[..., -1]) & there
        self.inside += int(within.sum())
        self.count += int(there.sum())

    def figures(self) -> dict[str, float]:
        """The share between the lowest and the highest quantile, and the mean pinball loss."""
        n = max(self.count, 1)
        return {
            "coverage": self.inside / n,
            "quantile_loss": float(np.mean(self.pinball) / n),
        }

    def table(self) -> list[dict[str, float]]:
        """Of each quantile the share of targets below."""
        n = max(self.count, 1)
        return [
            {"quantile": q, "below": float(below) / n}
            for q, below in zip(self.quantiles, np.atleast_1d(self.below))
        ]


class Conformal:
    """How far quantiles must be moved apart for a band to hold its share of targets.

        e = max(ŷ_low − y, y − ŷ_high);  δ = the quantile (1 + 1/n) (high − low) of all n e

    for each pair of quantiles low = 1 − high, each step ahead and each target: with ŷ_low − δ and
    ŷ_high + δ that share of the n targets lies between. δ may be negative. Source: Romano,
    Patterson & Candès 2019, arXiv:1905.03222. Its promise, for data to come, is for those that are
    like these; of a series through time that is hoped for.
    """

    def __init__(self, quantiles: list[float]) -> None:
        q = quantiles
        self.pairs = [
            (i, k)
            for i in range(len(q))
            for k in range(i + 1, len(q))
            if abs(q[i] + q[k] - 1) < 1e-6
        ]
        self.shares = [q[k] - q[i] for i, k in self.pairs]
        self.outside: list[np.ndarray] = []

    def add(self, found: np.ndarray, targets: np.ndarray, scale: np.ndarray) -> None:
        """Quantiles [H, B, k, Q], targets [H, B, k], and what a window is divided by [B, k]."""
        off = [np.maximum(found[..., i] - targets, targets - found[..., k]) for i, k in self.pairs]
        self.outside.append(np.stack(off, -1) / scale[..., None])

    def moves(self, count: int) -> np.ndarray | None:
        """What is to be added to each of `count` quantiles [H, k, Q], in units of `scale`; zero
        where fewer than `FEWEST` targets tell, None where that is everywhere."""
        if not self.outside or not self.pairs:
            return None
        every = np.concatenate(self.outside, 1)
        H, _, k, _ = every.shape
        moves = np.zeros((H, k, count))
        n = (~np.isnan(every)).sum(1)
        for at, ((low, high), share) in enumerate(zip(self.pairs, self.shares)):
            for h, target in zip(*np.nonzero(n[..., at] >= FEWEST)):
                values = every[h, :, target, at]
                level = min(1.0, share * (1 + 1 / n[h, target, at]))
                delta = np.nanquantile(values, level, method="higher")
                if abs(delta) <= LITTLE * np.nanstd(values):  # it holds its share already
                    continue
                moves[h, target, low] -= delta
                moves[h, target, high] += delta
        return moves if moves.any() else None


@dataclass(frozen=True)
class Baselines:
    """Forecasts without a network: the last value, the value a season before, a linear map.

    ridge:  ŷ'<L+h> = Σ_t V[h, t] y'<t>,  y' = y − y<L>, one V for all series and targets
    """

    season: int
    ridge: np.ndarray | None

    def of(self, windows: Windows, some: np.ndarray) -> dict[str, np.ndarray]:
        """Of some windows [H, B, k], scaled."""
        L, H, k = windows.window, windows.horizon, windows.targets.shape[1]
        first = windows.first[some][None]
        last = windows.past[first - 1, :k][0].astype(np.float64)
        ahead = np.arange(H)[:, None]
        back = first + ahead - self.season * (1 + ahead // self.season)
        before = windows.past[np.maximum(back, 0), :k].astype(np.float64)
        reach = windows.origins[some][None] + (back - first) >= 0
        found = {"last value": np.broadcast_to(last, (H, *last.shape))}
        if self.season > 1:
            found["seasonal naive"] = np.where(reach[..., None], before, last)
        if self.ridge is not None:
            window = windows.past[first + np.arange(-L, 0)[:, None], :k] - last
            found["ridge"] = np.einsum("ht,tbk->hbk", self.ridge, window) + last
        return found


def fit_ridge(windows: Windows) -> np.ndarray | None:
    """V [H, L] by ridge regression, in float64; None where there is nothing to fit it on.

    The penalty is chosen by the last tenth of the windows.
    """
    k = windows.targets.shape[1]
    H = windows.horizon
    chosen = np.arange(len(windows))
    if len(chosen) > MOST_WINDOWS:
        chosen = chosen[:: -(-len(chosen) // MOST_WINDOWS)]
    border = max(1, len(chosen) - max(1, len(chosen) // 10))
    parts = [sums(windows, some, k) for some in (chosen[:border], chosen[border:])]
    (XX, XY, _), (XX_last, XY_last, YY_last) = parts
    if not np.trace(XX):
        return None
    best, penalty = np.inf, RIDGE[0]
    for one in RIDGE:
        V = np.linalg.solve(XX + one * np.eye(len(XX)), XY)
        cost = YY_last - 2 * (V * XY_last).sum() + np.einsum("th,ts,sh->", V, XX_last, V)
        if cost < best:
            best, penalty = cost, one
    V = np.linalg.solve(XX + XX_last + penalty * np.eye(len(XX)), XY + XY_last)
    return V.T.reshape(H, -1)


def sums(windows: Windows, some: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, float]:
    """XᵀX, XᵀY and ΣY² of windows whose targets are all there."""
    L, H = windows.window, windows.horizon
    XX, XY, YY = np.zeros((L, L)), np.zeros((L, H)), 0.0
    for start in range(0, len(some), AT_ONCE):
        first = windows.first[some[start : start + AT_ONCE]][None]
        x = windows.past[first + np.arange(-L, 0)[:, None], :k].astype(np.float64)
        y = windows.targets[first + np.arange(H)[:, None]].astype(np.float64)
        x, y = x - x[-1], y - x[-1]
        flat_x, flat_y = x.reshape(L, -1).T, y.reshape(H, -1).T
        whole = ~np.isnan(flat_y).any(1)
        flat_x, flat_y = flat_x[whole], flat_y[whole]
        XX += flat_x.T @ flat_x
        XY += flat_x.T @ flat_y
        YY += float((flat_y**2).sum())
    return XX, XY, YY
