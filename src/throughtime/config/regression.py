"""Settings of regression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..ground.errors import SettingError
from .classification import ClassifierModelConfig
from .numbers import StepsConfig, check_split
from .run import BATCHES, ExampleLoopConfig, OptimConfig, RunConfig
from .settings import WIDEST, data_files, limited
from .text import HoldoutConfig, LinesConfig


@dataclass
class RegressionDataConfig(StepsConfig, HoldoutConfig, LinesConfig):
    """How tables become sequences of numbers, with numbers to find for each.

    Args:
        target: The columns of the numbers to find, the same in each row of a sequence.
        scaling: How targets are brought to one scale, inside the run: standard, by training's mean
            and deviation; none.
        max_length: Read no more than so many steps of a sequence.
        equal_together: Hold out equal examples together, so that none is known from training.
    """

    target: list[str] = field(default_factory=lambda: ["target"])
    scaling: Literal["standard", "none"] = "standard"
    max_length: int | None = limited(None, 1)
    equal_together: bool = False


@dataclass
class RegressionModelConfig(ClassifierModelConfig):
    """The network: stack of cells, pooling over time, output layers, one linear map.

    Args:
        loss: Squared error, absolute error, huber (squared up to 1), or of quantiles.
        quantiles: Which ones are learned by the loss of quantiles.
    """

    loss: Literal["mse", "mae", "huber", "quantiles"] = "mse"
    quantiles: list[float] = limited([0.1, 0.5, 0.9], 0.0001, 0.9999)

    def check(self) -> None:
        """Quantiles rise, and there are no words."""
        super().check()
        if not self.quantiles or sorted(set(self.quantiles)) != self.quantiles:
            raise SettingError("model.quantiles must rise.", "model.quantiles")
        if self.affixes:
            raise SettingError("model.affixes are those of words.", "model.affixes")


@dataclass
class EstimatingOptions:
    """How numbers are found.

    Args:
        batch_size: Most sequences looked at together; it changes no result.
    """

    batch_size: int = limited(64, 1, WIDEST)


@dataclass
class RegressionConfig(RunConfig):
    """Train a regression: numbers for each sequence of numbers.

    Args:
        train: Tables of sequences with targets, globs or directories: CSV, Parquet, NumPy .npz.
        valid: Validation files; default: a tenth of the training examples.
        score: What decides which weights are the best.
        data: How tables become sequences.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    score: Literal["loss", "scaled_mse", "scaled_mae"] = "loss"
    data: RegressionDataConfig = field(default_factory=RegressionDataConfig)
    model: RegressionModelConfig = field(default_factory=RegressionModelConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.002))
    loop: ExampleLoopConfig = field(default_factory=ExampleLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = (*RunConfig.fixed, *BATCHES, "score")
    predict_options: ClassVar[type | None] = EstimatingOptions

    def check(self) -> None:
        """There is something to find."""
        super().check()
        check_split(self.data)
        if not self.data.target:
            raise SettingError("data.target names no column.", "data.target")
