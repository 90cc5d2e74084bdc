"""What a forecaster learns of series before training: scales, names, the calendar, a linear map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config.forecast import CALENDAR, ForecastDataConfig
from ..data.clock import MICROSECONDS, Step
from ..data.limits import LARGEST, parse_json
from ..data.numbers import Scale
from ..data.series import Series, SeriesColumns
from ..data.stamps import said
from ..data.windows import Stretch, Track
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.whole import read_text
from ..layers.outline import Outline
from .exported import Exported
from .numeric import before

NAMED = 3
"""Of more series, so many are named."""
PERIODS = {"hour": 1, "weekday": 7, "year": 365.25}
"""Days after which each part of a calendar repeats itself."""


@dataclass(frozen=True)
class SeriesScale:
    """Of a series in training, each [k]: what is taken off and divided by; deviation; the mean
    absolute difference over a season, 0 for none."""

    center: np.ndarray
    unit: np.ndarray
    deviation: np.ndarray
    naive: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, scaling: str, season: int) -> SeriesScale:
        """Of values [T, k] in float64."""
        k = values.shape[1]
        standard = Scale.of([values], k)
        center, unit = np.zeros(k), np.ones(k)
        if scaling == "standard":
            center, unit = standard.mean, standard.deviation
        elif scaling == "mean" and len(values):
            there = ~np.isnan(values)
            unit = np.nansum(np.abs(values), 0) / np.maximum(there.sum(0), 1)
            unit = np.where(unit > 0, unit, 1.0)
        off = np.abs(values[season:] - values[:-season]) if len(values) > season else values[:0]
        count = np.maximum((~np.isnan(off)).sum(0), 1)
        return cls(center, unit, standard.deviation, np.nansum(off, 0) / count)

    def to_lists(self) -> dict[str, list[float]]:
        """As they are kept in a run."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_lists(cls, values: dict[str, list[float]], size: int) -> SeriesScale:
        """The same again; `ValueError` where they cannot be used."""
        found = cls(**{k: np.array(v, np.float64) for k, v in values.items()})
        for name, part in vars(found).items():
            if part.shape != (size,) or not np.isfinite(part).all():
                raise ValueError(f"{name} of a series must be {size} numbers")
        if not ((found.unit > 0).all() and (found.deviation > 0).all()):
            raise ValueError("units and deviations must be positive")
        return found


@dataclass
class Learned:
    """What is learned of the training part alone, and kept in series.json."""

    columns: dict[str, Any]
    step: Step
    is_date: bool
    season: int
    calendar: list[str]
    scales: dict[str, SeriesScale]
    others: Scale
    names: dict[str, list[str]] = field(default_factory=dict)
    """Of each static column of names."""
    static: Scale = field(default_factory=lambda: Scale(np.zeros(0), np.ones(0)))
    ridge: np.ndarray | None = None

    @classmethod
    def of(
        cls, data: ForecastDataConfig, columns: SeriesColumns, train: Sequence[Stretch]
    ) -> Learned:
        """Of the training stretches."""
        step = columns.step or Step("number", 1.0)
        season = data.season or step.season
        k = 1 if data.apart else len(columns.target)
        scales, constant = {}, []
        for stretch in train:
            values = stretch.series.values[stretch.start : stretch.stop, :k]
            scale = SeriesScale.of(values, data.scaling, season)
            scales[stretch.series.name] = scale
            same = np.nanmax(values, 0, initial=-np.inf) == np.nanmin(values, 0, initial=np.inf)
            constant += [f"{stretch.series.name} from {when(stretch)}"] * bool(same.any())
        if constant:
            terminal.warn(
                f"constant in training, so that there is nothing to learn of them: "
                f"{named(constant)}."
            )
        others = [s.series.values[s.start : s.stop, k:] for s in train]
        kept = {
            "target": columns.target, "observed": data.observed, "known": data.known,
            "static": data.static, "series": columns.series, "time": columns.time,
        }  # fmt: skip
        found = cls(
            kept, step, bool(columns.is_date), season,
            calendar_of(data.calendar, bool(columns.is_date), step, train), scales,
            Scale.of(others, others[0].shape[1]),
        )  # fmt: skip
        found.learn_static([stretch.series for stretch in train])
        return found

    def learn_static(self, series: Sequence[Series]) -> None:
        """Static columns are numbers where all are; else names."""
        rows = []
        for k, name in enumerate(self.columns["static"]):
            cells = [one.static[k] for one in series]
            try:
                rows.append([float(cell) for cell in cells])
            except ValueError:
                self.names[name] = sorted(set(cells))
        if rows:
            self.static = Scale.of([np.array(rows).T])

    @property
    def targets(self) -> int:
        """How many targets a series has."""
        return next(iter(self.scales.values())).center.shape[0]

    def scale(self, series: Series, scaling: str, until: int) -> SeriesScale:
        """That of training; of a series that training has not, of its first values."""
        if (found := self.scales.get(series.name)) is not None:
            return found
        return SeriesScale.of(series.values[:until, : self.targets], scaling, self.season)

    def track(
        self, series: Series, data: ForecastDataConfig, until: int, ahead: int = 0
    ) -> tuple[Track, SeriesScale]:
        """A series as the model reads it, and `ahead` steps that are yet to come."""
        k, scale = self.targets, self.scale(series, data.scaling, until)
        T = series.known + ahead
        values = np.full((T, series.values.shape[1]), np.nan)
        values[: min(T, len(series))] = series.values[:T]
        values[series.known :, :k] = np.nan
        y = (values[:, :k] - scale.center) / scale.unit
        if (np.abs(y) > LARGEST).any():
            t = int(np.argwhere(np.abs(y) > LARGEST)[0][0])
            raise InputError(
                f"{series.where}: series {series.name}: {values[t, :k].tolist()} at "
                f"{said(series.stamps(t, t + 1)[0])} is too far from training's mean."
            )
        others = (values[:, k:] - self.others.mean) / self.others.deviation
        observed = len(data.observed)
        known = others[:, observed:]
        if np.isnan(known[series.known :]).any():
            t = series.known + int(np.isnan(known[series.known :]).any(1).argmax())
            raise InputError(
                f"{series.where}: series {series.name}: no {', '.join(data.known)} at "
                f"{said(series.step.stamps(series.first, np.array([t]))[0])}: give rows of the "
                "future with what is known of it, and empty targets."
            )
        gone = np.isnan(y)
        parts = [filled(y, data.missing)]
        if data.missing == "mask":
            parts.append(~gone)
        parts.append(filled(others[:, :observed], data.missing))
        future = np.concatenate(
            [
                filled(known, data.missing),
                self.dates(series.step.stamps(series.first, np.arange(T))),
            ],
            1,
        )
        track = Track(
            np.concatenate(parts, 1).astype(np.float32), future.astype(np.float32),
            y.astype(np.float32), self.static_of(series), scale.center, scale.unit,
        )  # fmt: skip
        return track, scale

    def static_of(self, series: Series) -> np.ndarray:
        """What is said of a series as a whole: numbers, then the numbers of names."""
        numbers, names = [], []
        for name, cell in zip(self.columns["static"], series.static):
            if name in self.names:
                known = self.names[name]
                names.append(1 + known.index(cell) if cell in known else 0)
                continue
            try:
                numbers.append(float(cell))
            except ValueError:
                raise InputError(
                    f"{series.where}: series {series.name}: column {name!r}: expected a number, "
                    f"as in training, got {cell[:40]!r}."
                ) from None
        scaled = (np.array(numbers) - self.static.mean) / self.static.deviation
        return np.concatenate([np.nan_to_num(scaled), names]).astype(np.float32)

    def dates(self, stamps: np.ndarray) -> np.ndarray:
        """Sine and cosine of each part of the calendar [T, 2 c]."""
        if not self.calendar:
            return np.zeros((len(stamps), 0))
        days = stamps.astype("int64") / MICROSECONDS["d"]
        turns = [2 * np.pi * days / PERIODS[name] for name in self.calendar]
        return np.stack([f(turn) for turn in turns for f in (np.sin, np.cos)], 1)

    def exported(self, outline: Outline, data: ForecastDataConfig) -> Exported:
        """What an exporter is told of a model of these series."""
        assert outline.window is not None
        if data.missing != "error":
            raise InputError(f"a forecast with data.missing {data.missing} is not exported yet.")
        if self.calendar and self.step.kind != "time":
            raise InputError(f"the calendar of steps of {self.step} is not exported yet.")
        targets = tuple(self.columns["target"])
        return Exported(
            outline, "forecast", labels=targets[: self.targets],
            columns=(*targets[: self.targets], *data.observed, *data.known),
            quantiles=outline.window.quantiles,
            series={name: (one.center, one.unit) for name, one in self.scales.items()},
            others=(self.others.mean, self.others.deviation),
            calendar=[PERIODS[name] for name in self.calendar],
            step=self.step.length / MICROSECONDS["d"],
        )  # fmt: skip

    def to_json(self) -> str:
        """The text of series.json."""
        return json.dumps(
            {
                "columns": self.columns,
                "step": vars(self.step),
                "dates": self.is_date,
                "season": self.season,
                "calendar": self.calendar,
                "scales": {name: scale.to_lists() for name, scale in self.scales.items()},
                "others": {k: v.tolist() for k, v in vars(self.others).items()},
                "names": self.names,
                "static": {k: v.tolist() for k, v in vars(self.static).items()},
                "ridge": None if self.ridge is None else np.float32(self.ridge).tolist(),
            },
            ensure_ascii=False,
        )

    @classmethod
    def load(cls, path: Path, data: ForecastDataConfig, window: int, horizon: int) -> Learned:
        """Read series.json; `InputError` where it cannot be used."""
        text = read_text(path)
        try:
            said = parse_json(text)
            columns = said["columns"]
            targets = [str(name) for name in columns["target"]]
            k = 1 if data.apart else len(targets)
            others, static = said["others"], said["static"]
            names = {str(n): [str(cell) for cell in v] for n, v in said["names"].items()}
            numbers = len(data.static) - len(names)
            ridge = None if said["ridge"] is None else np.array(said["ridge"], np.float64)
            if ridge is not None and ridge.shape != (horizon, window):
                raise ValueError("ridge of another window")
            step = Step(str(said["step"]["kind"]), float(said["step"]["length"]))
            if step.kind not in ("time", "months", "number") or not step.length > 0:
                raise ValueError("a step that is none")
            if not set(said["calendar"]) <= set(CALENDAR) or not targets:
                raise ValueError("a calendar that is none")
            width = len(data.observed) + len(data.known)
            return cls(
                columns, step, bool(said["dates"]), int(said["season"]), list(said["calendar"]),
                {str(n): SeriesScale.from_lists(s, k) for n, s in said["scales"].items()},
                Scale.from_lists(others["mean"], others["deviation"], width), names,
                Scale.from_lists(static["mean"], static["deviation"], numbers), ridge,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error}.") from error


def filled(x: np.ndarray, missing: str) -> np.ndarray:
    """Numbers where some are missing: the one before, or 0, which is the mean."""
    gone = np.isnan(x)
    if not gone.any():
        return x
    return np.where(gone, 0.0, x) if missing == "mean" else before(x, gone)


def when(stretch: Stretch) -> str:
    """Where a stretch begins."""
    return said(stretch.series.stamps(stretch.start, stretch.start + 1)[0])


def named(names: Sequence[str]) -> str:
    """Some of many."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def calendar_of(
    asked: Sequence[str], dates: bool, step: Step, train: Sequence[Stretch]
) -> list[str]:
    """Which parts of a calendar a model is told: those asked for, or that repeat in training."""
    asked = [name for name in asked if name != "none"]
    if "auto" not in asked:
        if asked and not dates:
            raise InputError("data.calendar is of dates, and these stamps are none.")
        return asked
    if not dates:
        return []
    days = step.length * (30.4 if step.kind == "months" else 1 / MICROSECONDS["d"])
    longest = days * max(stretch.stop - stretch.start for stretch in train)
    return [n for n in CALENDAR if days < PERIODS[n] / 1.5 and longest >= 2 * PERIODS[n]]
