"""Settings of forecasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..ground.errors import SettingError
from .numbers import MISSING
from .run import BATCHES, ExampleLoopConfig, OptimConfig, RunConfig, StackConfig
from .settings import SEEDS, WIDEST, data_files, limited, one_path
from .text import LinesConfig

LONGEST_WINDOW = 1 << 16
"""The most steps that are read or forecast."""


@dataclass
class ForecastDataConfig(LinesConfig):
    """How tables become series.

    Args:
        series: Column that tells series apart, in a long table; without it a file is one series.
        time: Column of stamps, dates or numbers; auto: the first that is called time, date,
            datetime, timestamp, stamp or ds; none: rows follow one another in equal steps.
        target: Columns to forecast; default: all numbers that no other setting names.
        apart: Each target column is a series by itself, of one model, instead of all together.
        observed: Further columns of numbers, known up to the present.
        known: Columns of numbers that are known of the future too.
        static: Columns that say something of a series as a whole: numbers or names.
        frequency: The step between stamps: 15min, 1h, 1d, 1w, 1mo, or a number; auto: the one that
            occurs most.
        irregular: Stamps that are off the step, and several in one: error, or the mean of a step.
        missing: What becomes of values that are missing, and of gaps: error; mask, the value
            before, and a mark that it is missing; forward, the value before; mean. None of them is
            ever learned or measured as if it were there.
        calendar: What a model knows of stamps that are dates: hour, weekday, year; auto: those that
            repeat themselves in training; none.
        scaling: What each series is divided by, after its mean is taken off (standard: deviation),
            or not (mean: mean of the absolute values); none.
        season: Steps after which a series repeats itself, for the seasonal naive forecast; default:
            a day of hours, a week of days, a year of weeks or months.
        holdout: Share of each series, at its end, held out for validation where no file is given.
        test: Share of each series after that, which training never reads: evaluate --part test.
        valid_from: Stamp at which validation begins, instead of holdout.
        test_from: Stamp at which the test part begins, instead of test.
        until: Stamp from which on nothing is read.
        max_bytes: Most bytes of a line; a longer one is an error that names it.
        max_tokens: Most steps of a series; a longer one is an error that names it.
    """

    series: str | None = None
    time: str = "auto"
    target: list[str] = field(default_factory=list)
    apart: bool = False
    observed: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    static: list[str] = field(default_factory=list)
    frequency: str = "auto"
    irregular: Literal["error", "mean"] = "error"
    missing: MISSING = "error"
    calendar: list[str] = field(default_factory=lambda: ["auto"])
    scaling: Literal["standard", "mean", "none"] = "standard"
    season: int | None = limited(None, 1, LONGEST_WINDOW)
    holdout: float = limited(0.1, 0, 0.999)
    test: float = limited(0.0, 0, 0.999)
    valid_from: str | None = None
    test_from: str | None = None
    until: str | None = None

    def check(self) -> None:
        """Parts and names of the calendar can be."""
        for name in self.calendar:
            if name not in (*CALENDAR, "auto", "none"):
                raise SettingError(
                    f"data.calendar must be auto, none or some of {', '.join(CALENDAR)}; got "
                    f"{name[:40]!r}.",
                    "data.calendar",
                )
        if self.holdout + self.test >= 1:
            raise SettingError(
                "data.holdout and data.test leave nothing to learn from.",
                *("data.holdout", "data.test"),
            )


CALENDAR = ("hour", "weekday", "year")
"""What of a date repeats itself."""


@dataclass
class ForecastModelConfig(StackConfig):
    """The network: the window → stack of cells → the horizon, beside a linear map of the window.

    Args:
        hidden_size: Width n of each layer; several are one for each layer.
        dropout: On the input, between layers and before the head.
        decoding: direct, the whole horizon from the last state; or step, one step after the other,
            each from the one before.
        output: point; quantiles; student-t or negative-binomial (counts), whose parameters are
            learned, and paths drawn.
        loss: Of points: squared error, absolute error, or huber, squared up to 1.
        quantiles: Which ones are learned, or drawn from paths.
        calibrate: Of quantiles, when training ends: move each pair so that the share of validation
            targets between them is as it should be.
        anchor: What is taken off each window, and added to its forecast: the last value, the mean,
            or nothing.
        scale: What each window is divided by, and its forecast multiplied with: nothing, or the
            window's own deviation.
        linear: With direct decoding, add a linear map of the window, one for all targets.
        reads: Latest steps of the window that the stack reads; default: all.
        output_layers: Widths of ordinary layers (relu) before the head.
        input_dropout: Instead of dropout, on the input.
        output_dropout: Instead of dropout, before the head and in the output layers.
    """

    hidden_size: int | list[int] = limited(64, 1, WIDEST)
    dropout: float = limited(0.2, 0, 0.999)
    decoding: Literal["direct", "step"] = "direct"
    output: Literal["point", "quantiles", "student-t", "negative-binomial"] = "point"
    loss: Literal["mse", "mae", "huber"] = "mse"
    quantiles: list[float] = limited([0.1, 0.25, 0.5, 0.75, 0.9], 0.0001, 0.9999)
    calibrate: bool = True
    anchor: Literal["last", "mean", "none"] = "last"
    scale: Literal["none", "window"] = "none"
    linear: bool = True
    reads: int | None = limited(None, 1, LONGEST_WINDOW)
    output_layers: list[int] = limited([], 1, WIDEST)
    input_dropout: float | None = limited(0.0, 0, 0.999)
    output_dropout: float | None = limited(None, 0, 0.999)

    def check(self) -> None:
        """Quantiles rise; counts are not moved."""
        super().check()
        if not self.quantiles or sorted(set(self.quantiles)) != self.quantiles:
            raise SettingError("model.quantiles must rise.", "model.quantiles")


@dataclass
class ForecastScoringOptions:
    """What is measured: every window of a part, each forecast from its own present.

    Args:
        part: valid, test (--data.test of training) or all; auto: valid, and all of --data.
        stride: Steps between the forecasts that are measured.
        samples: Paths drawn for each, where the output is a distribution.
    """

    part: Literal["auto", "valid", "test", "all"] = "auto"
    stride: int = limited(1, 1, LONGEST_WINDOW)
    samples: int = limited(100, 2, 10_000)


@dataclass
class ForecastOptions:
    """How series are forecast, after their last step.

    Args:
        horizon: Steps ahead; default: as in training; more with step decoding alone.
        samples: Paths drawn, where the output is a distribution.
        paths: With --json, so many of the paths too.
        seed: Seed of the paths.
        figure: A new file for a figure of the forecasts: .svg, .png or .pdf.
    """

    horizon: int | None = limited(None, 1, LONGEST_WINDOW)
    samples: int = limited(200, 2, 10_000)
    paths: int = limited(0, 0, 10_000)
    seed: int = limited(0, 0, SEEDS)
    figure: str | None = one_path("written")


@dataclass
class ForecastConfig(RunConfig):
    """Train a forecaster: the next steps of series of numbers, one or many.

    Args:
        train: Tables of series, globs or directories: CSV, Parquet, NumPy .npz; .gz is read as it
            is.
        valid: Validation files; default: the end of each series.
        window: Steps that are read.
        horizon: Steps that are forecast.
        score: What decides which weights are the best.
        data: How tables become series.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    window: int = limited(96, 1, LONGEST_WINDOW)
    horizon: int = limited(24, 1, LONGEST_WINDOW)
    score: Literal["loss", "scaled_mse", "scaled_mae"] = "loss"
    data: ForecastDataConfig = field(default_factory=ForecastDataConfig)
    model: ForecastModelConfig = field(default_factory=ForecastModelConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.002))
    loop: ExampleLoopConfig = field(default_factory=ExampleLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = (
        *(*RunConfig.fixed, *BATCHES, "score"), "window", "horizon",
    )  # fmt: skip
    evaluate_options: ClassVar[type | None] = ForecastScoringOptions
    predict_options: ClassVar[type | None] = ForecastOptions

    def check(self) -> None:
        """Data, decoding and output go together."""
        super().check()
        data, model = self.data, self.model
        data.check()
        if model.output == "negative-binomial":
            if data.scaling == "standard":
                raise SettingError(
                    "model.output negative-binomial is of counts, which have no mean taken off: "
                    "data.scaling mean or none.",
                    *("model.output", "data.scaling"),
                )
            if model.anchor != "none" or model.scale != "none":
                raise SettingError(
                    "model.output negative-binomial is of counts, from which nothing is taken off: "
                    "model.anchor none, model.scale none.",
                    *("model.output", "model.anchor"),
                )
        if model.decoding == "step" and data.observed:
            raise SettingError(
                "model.decoding step needs every input of the next step: data.observed is not "
                "known of it. Give those columns as targets, or decode directly.",
                *("model.decoding", "data.observed"),
            )
        if model.decoding == "step" and model.output == "quantiles":
            raise SettingError(
                "model.decoding step goes on from one value: model.output point, student-t or "
                "negative-binomial, whose paths have quantiles.",
                *("model.decoding", "model.output"),
            )
        if model.reads and model.reads > self.window:
            raise SettingError(
                f"model.reads is {model.reads}, and the window has {self.window} steps.",
                *("model.reads", "window"),
            )
