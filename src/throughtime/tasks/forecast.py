"""Forecasts: the next steps of series of numbers, one or many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..checkpoint import RunFolder
from ..config.forecast import ForecastConfig, ForecastOptions, ForecastScoringOptions
from ..data.limits import check_tokens
from ..data.lines import Inputs
from ..data.series import Series, SeriesColumns, apart, read_arriving, read_series
from ..data.stamps import said, stamp
from ..data.windows import Stretch, origins_of
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.wording import plural
from ..layers.mode import evaluating
from ..metrics.forecasts import Bands, Baselines, Errors, fit_ridge
from ..models.forecaster import Forecaster, Sizes
from ..models.outlook import Outlook, losses
from .example_task import ExampleTask
from .exported import Exported
from .forecast_bands import calibrate
from .forecast_figure import Drawn, draw, refuse_figure
from .forecast_found import ForecastEvaluation, Found, ScaledWindows
from .forecast_stream import ForecastStream
from .scaled import Learned, SeriesScale, named, when
from .task import Prediction, Score

QUICK = 2_000
"""Windows that are looked at during training, where there are more."""
SERIES_AT_ONCE = 64
"""Series that are forecast together."""
LARGEST_RIDGE = 1 << 20
"""Numbers of the linear baseline beyond which it is left out."""


class Forecast(ExampleTask):
    """A forecaster's data, loss and metrics. `ExampleTask` says what each part is for."""

    unit = "windows"
    kept: ClassVar = {"series.json": "learned"}
    evaluation_tokens = 1 << 16
    train: ScaledWindows
    valid: ScaledWindows
    learned: Learned
    config: ForecastConfig
    loss_at_end = "the loss of the whole horizon"

    def settle(self) -> None:
        """The score."""
        names = {"loss": "", "scaled_mse": "squared error", "scaled_mae": "absolute error"}
        self.score = Score(self.config.score, name=names[self.config.score])

    # ---- data ---------------------------------------------------------------------------------

    @cached_property
    def columns(self) -> SeriesColumns:
        """How tables are read: as the settings say, and what training has found."""
        data = self.config.data
        until = stamp(data.until) if data.until else None
        found = SeriesColumns(
            list(data.target), data.series, data.time, data.observed, data.known, data.static,
            data.frequency, data.irregular, data.missing, until, data.max_bytes, self.left_out,
        )  # fmt: skip
        if hasattr(self, "learned"):
            kept = self.learned.columns
            found.target, found.time = list(kept["target"]), kept["time"]
            found.step, found.is_date = self.learned.step, None
        return found

    def series(self, found: list[Series]) -> list[Series]:
        """Series as they are learned: of several targets all together, or each by itself."""
        lengths = np.array([len(one) for one in found])
        check_tokens(lengths, self.config.data.max_tokens, lambda i: found[i].where)
        return apart(found, self.columns.target) if self.config.data.apart else found

    def read(self, patterns: list[str]) -> list[Stretch]:
        """Whole series."""
        found = self.series(read_series(patterns, self.columns))
        return [Stretch(one, 0, one.known) for one in found]

    def borders(self, series: Series) -> tuple[int, int]:
        """Where validation and test begin."""
        data, T = self.config.data, series.known
        test = T - round(T * data.test)
        if data.test_from:
            test = min(series.at(self.stamp(data.test_from)), T)
        valid = test - round(T * data.holdout)
        if data.valid_from:
            valid = series.at(self.stamp(data.valid_from))
        return max(0, min(valid, test)), test

    def stamp(self, text: str) -> Any:
        """A stamp of a setting, of the kind that the series have."""
        found = stamp(text)
        if isinstance(found, np.datetime64) != bool(self.columns.is_date):
            kind = "dates" if self.columns.is_date else "numbers"
            raise InputError(f"{text!r}: the stamps of these series are {kind}.")
        return found

    def split(self, examples: list[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
        """By time: the end of each series is held out, and of that the test part."""
        train, valid = [], []
        for stretch in examples:
            first, test = self.borders(stretch.series)
            train.append(replace(stretch, stop=first))
            valid.append(replace(stretch, start=first, stop=test))
        return train, valid

    def part(self, examples: list[Stretch], name: str) -> list[Stretch]:
        """One of valid and test, or all."""
        if name == "valid":
            return self.split(examples)[1]
        if name == "test":
            return [replace(s, start=self.borders(s.series)[1]) for s in examples]
        return examples

    def doubt(self, examples: list[Stretch]) -> None:
        """Gaps are told."""
        gaps = [s.series for s in examples if s.series.gaps]
        if gaps:
            count = sum(one.gaps for one in gaps)
            terminal.warn(
                f"{plural(count, 'step')} of {sum(len(s.series) for s in examples):,} missing, in "
                f"{named([one.name for one in gaps])}: data.missing {self.config.data.missing}."
            )

    def learn(self, train: list[Stretch]) -> None:
        """Scales, names, the calendar and a linear map, of the training part alone."""
        short = [s for s in train if s.stop - s.start < self.config.window + self.config.horizon]
        if len(short) == len(train):
            s = max(short, key=lambda s: s.stop - s.start)
            raise InputError(
                f"{s.series.where}: the longest series, {s.series.name}, has "
                f"{plural(s.stop - s.start, 'step')} to train on from {when(s)} on: fewer than "
                f"window and horizon, {self.config.window} + {self.config.horizon}. Give a smaller "
                "--window or --horizon."
            )
        if short:
            names = [f"{s.series.name} from {when(s)}" for s in short]
            terminal.warn(
                f"{len(short):,} of {len(train):,} series are too short to train on (window and "
                f"horizon: {self.config.window + self.config.horizon} steps): {named(names)}."
            )
        self.learned = Learned.of(self.config.data, self.columns, train)
        if self.config.window * self.config.horizon <= LARGEST_RIDGE:
            self.learned.ridge = fit_ridge(self.encode(train))

    def encode(
        self, examples: list[Stretch], *, training: bool = False, stride: int = 1
    ) -> ScaledWindows:
        """All windows of the stretches."""
        if not examples:
            raise InputError("no series.")
        tracks, scales = [], []
        for stretch in examples:
            until = max(stretch.start, self.config.window)
            track, scale = self.learned.track(stretch.series, self.config.data, until)
            tracks.append(track)
            scales.append(scale)
        of, origins = origins_of(examples, self.config.window, self.config.horizon, stride)
        if not len(of) and not training:
            s = max(examples, key=lambda s: s.stop - s.start)
            raise InputError(
                f"{s.series.where}: series {s.series.name}: {plural(s.stop - s.start, 'step')} "
                f"from {when(s) if s.stop > s.start else 'its end'} on hold no window of "
                f"{self.config.window} steps and {self.config.horizon} to forecast. A larger "
                "--data.holdout holds out more."
            )
        return self.windows(tracks, scales, of, origins)

    def windows(
        self, tracks: list[Any], scales: list[SeriesScale], of: np.ndarray, origins: np.ndarray
    ) -> ScaledWindows:
        """Windows of tracks."""
        sizes = self.config.window, self.config.horizon
        reads = self.config.model.reads or self.config.window
        found = ScaledWindows(tracks, of, origins, sizes, reads)
        found.about = {k: np.stack([vars(s)[k] for s in scales]) for k in ("deviation", "naive")}
        return found

    def restore(self, folder: RunFolder) -> None:
        """Read what was learned."""
        config = self.config
        path = folder.file("series.json")
        self.learned = Learned.load(path, config.data, config.window, config.horizon)

    def counted(self, examples: ScaledWindows) -> str:
        """Windows and series."""
        several = len(examples.tracks) > 1
        of = f"{len(examples.tracks):,} series" if several else "a series"
        return f"{plural(len(examples), 'window')} of {of}"

    # ---- training -----------------------------------------------------------------------------

    def summary(self) -> str:
        """The data in one line."""
        learned, targets = self.learned, self.learned.columns["target"]
        what = f"{len(targets)} columns ({named(targets)})" if len(targets) > 1 else targets[0]
        series = len(self.train.tracks)
        text = (
            f"{f'{series:,} series' if series > 1 else 'a series'} of {what}, a step is "
            f"{learned.step}; {len(self.train):,} training windows of {self.config.window} steps, "
            f"{len(self.valid):,} for validation, {self.config.horizon} ahead"
        )
        return text + (f"; calendar: {', '.join(learned.calendar)}" if learned.calendar else "")

    def build_model(self) -> Forecaster:
        """The untrained network, on the device."""
        learned, config = self.learned, self.config
        k = learned.targets
        marks = k if config.data.missing == "mask" else 0
        sizes = Sizes(
            config.window, config.horizon, k, k + marks + len(config.data.observed),
            len(config.data.known) + 2 * len(learned.calendar), len(learned.static.mean),
            tuple(len(names) for names in learned.names.values()),
        )  # fmt: skip
        return Forecaster(self.cell, sizes, config.model).to(self.device)

    def size(self, examples: ScaledWindows, some: np.ndarray) -> float:
        """How many targets are there."""
        return examples.size(some)

    def validate(self, model: Forecaster, *, quick: bool) -> dict[str, float]:
        """Loss and errors of the windows whose targets lie in the validation part."""
        every = -(-len(self.valid) // QUICK) if quick else 1
        return self.measure(model, self.valid, every).metrics

    def finish(self, model: Forecaster) -> bool:
        """Bands that hold their share of the validation targets."""
        return calibrate(self, model)

    def describe(self, metrics: dict[str, float]) -> str:
        """Errors in deviations, and how much the band holds."""
        text = (
            f"{self.validation_loss(metrics)}, scaled MSE {metrics['scaled_mse']:.4f}, MAE "
            f"{metrics['scaled_mae']:.4f}"
        )
        if "coverage" in metrics:
            text += f", {metrics['coverage']:.1%} {self.band()}"
        return text

    def band(self) -> str:
        """Between which quantiles."""
        q = self.config.model.quantiles
        return f"between {q[0]:g} and {q[-1]:g}"

    # ---- a finished run -----------------------------------------------------------------------

    def measure(
        self, model: Forecaster, windows: ScaledWindows, every: int = 1, samples: int = 100,
        beside: Baselines | None = None,
    ) -> Found:  # fmt: skip
        """Metrics of every so many windows, whatever the batch size and the order."""
        found = Found(Errors(), Bands(self.config.model.quantiles), {})
        nats, count = 0.0, 0
        chosen = np.arange(0, len(windows), every)
        with evaluating(model):
            for some, inputs in self.in_batches(windows, chosen):
                past, known, static, unit, targets = inputs
                made = model.made(past, known, static)
                nats += float(losses(model.config, made, targets, unit).double().sum())
                count += int((~targets.isnan()).sum())
                if model.config.decoding == "direct":
                    outlook = Outlook.of(model.config, made, unit, samples, 0)
                else:
                    outlook = model.outlook(past, known, static, unit, samples=samples)
                self.compare(found, outlook, windows, some, beside)
        found.loss = nats / count if count else math.nan
        return found

    def compare(
        self, found: Found, outlook: Outlook, windows: ScaledWindows, some: np.ndarray,
        beside: Baselines | None,
    ) -> None:  # fmt: skip
        """Add what a batch of forecasts is off by."""
        targets = windows.targets[windows.first[some][None] + np.arange(windows.horizon)[:, None]]
        unit, about = windows.unit[windows.of[some]].astype(np.float64), windows.errors_by(some)
        found.errors.add(outlook.point.cpu().numpy(), targets, unit, about)
        if outlook.quantiles is not None:
            quantiles = outlook.quantiles.cpu().numpy()
            found.bands.add(quantiles, targets, unit, about["deviation"])
        for name, point in (beside.of(windows, some) if beside else {}).items():
            errors = found.baselines.setdefault(name, Errors())
            errors.add(point, targets, unit, about)

    def raw_to_measure(
        self, data: list[str] | None, options: ForecastScoringOptions | None = None
    ) -> list[Stretch]:
        """A part of files; of the run's own where there are none."""
        self.left_out.clear()
        name = options.part if options else "auto"
        own = data is None
        if name == "auto":
            name = "all" if not own or self.config.valid else "valid"
        patterns = data or (self.config.valid if name == "all" else self.config.train)
        return self.part(self.read(patterns or self.config.train), name)

    def evaluate(
        self, model: Forecaster, data: list[str] | None, options: ForecastScoringOptions
    ) -> ForecastEvaluation:
        """Errors of every forecast in a part, beside those of forecasts without a network."""
        stretches = self.raw_to_measure(data, options)
        windows = self.encode(stretches, stride=options.stride)
        self.tell_read(data, windows)
        strange = [s.series.name for s in stretches if s.series.name not in self.learned.scales]
        if strange:
            terminal.warn(
                f"{len(strange):,} series that training has not, scaled by their first steps: "
                f"{named(strange)}."
            )
        beside = Baselines(self.learned.season, self.learned.ridge)
        found = self.measure(model, windows, samples=options.samples, beside=beside)
        banded = found.bands.count > 0
        return ForecastEvaluation(
            **{"coverage": None, "quantile_loss": None, **found.metrics},
            windows=len(windows),
            series=len(windows.tracks),
            horizon=self.config.horizon,
            season=self.learned.season,
            quantiles=found.bands.table() if banded else None,
            by_step=found.errors.steps(),
            baselines=[{"name": n, **e.figures()} for n, e in found.baselines.items()],
        )

    def predict(
        self, model: Forecaster, inputs: Inputs, options: ForecastOptions
    ) -> Iterator[Prediction]:
        """What comes after the last step of each series, with its stamps."""
        config = self.config
        horizon = options.horizon or config.horizon
        if horizon > config.horizon and config.model.decoding == "direct":
            raise InputError(
                f"this run forecasts {config.horizon} steps at once, not {horizon}; train with "
                f"--horizon {horizon}, or with --model.decoding step."
            )
        if options.figure:
            refuse_figure(options.figure)
        found = self.series(read_arriving(inputs, self.columns, config.data.max_bytes))
        figure: list[Drawn] = []
        for start in range(0, len(found), SERIES_AT_ONCE):
            for one in self.forecast(
                model, found[start : start + SERIES_AT_ONCE], horizon, options
            ):
                figure.append(one)
                yield one.prediction(config.model.quantiles, options.paths)
        if options.figure:
            draw(options.figure, figure, self.band(), config.model.quantiles)

    def forecast(
        self, model: Forecaster, series: list[Series], horizon: int, options: ForecastOptions
    ) -> Iterator[Drawn]:
        """The forecast of each target of some series."""
        tracks, scales = [], []
        ahead = max(horizon, self.config.horizon)
        for one in series:
            if one.known < self.config.window:
                raise InputError(
                    f"{one.where}: series {one.name} has {plural(one.known, 'step')} up to "
                    f"{self.last(one)}: fewer than the window of {self.config.window}."
                )
            track, scale = self.learned.track(one, self.config.data, one.known, ahead)
            tracks.append(track)
            scales.append(scale)
        origins = np.array([one.known for one in series])
        windows = self.windows(tracks, scales, np.arange(len(series)), origins)
        windows.horizon = ahead
        with evaluating(model):
            past, known, static, unit, _ = self.inputs(windows, np.arange(len(series)))
            found = model.outlook(
                past, known, static, unit,
                samples=options.samples, seed=options.seed, horizon=horizon,
            )  # fmt: skip
        names = self.learned.columns["target"]
        for b, (one, scale) in enumerate(zip(series, scales)):
            for k in range(self.learned.targets):
                yield Drawn.of(one, found, scale, (b, k), horizon,
                               "" if self.config.data.apart else names[k])  # fmt: skip

    def exported(self, model: Forecaster) -> Exported:
        """What an exporter writes."""
        found = self.learned.exported(model.outline(), self.config.data)
        return replace(found, calibration=lambda: self.encode(self.raw_to_learn()).one_by_one())

    def stream(self, model: Forecaster) -> ForecastStream:
        """The next values, after each step from the first whole window on."""
        return ForecastStream(self, model)

    def last(self, series: Series) -> str:
        """The stamp of the last step of a series."""
        return said(series.stamps(series.known - 1, series.known)[0]) if series.known else "its end"
