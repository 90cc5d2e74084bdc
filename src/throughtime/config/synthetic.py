"""Settings of the long-range problems, which make their own sequences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..ground.errors import SettingError
from .durations import Every
from .run import LoopConfig, OptimConfig, RunConfig, StackConfig
from .settings import WIDEST, limited, spelled


@dataclass
class SyntheticModelConfig(StackConfig):
    """The network: stack of cells, one linear output.

    Args:
        hidden_size: Width n of each layer; several are one for each layer.
        dropout: Between layers.
    """

    hidden_size: int | list[int] = limited(128, 1, WIDEST)


@dataclass
class SyntheticLoopConfig(LoopConfig):
    """The training loop over sequences that are drawn as they are needed.

    Args:
        batch_size: Sequences in a batch, over all processes.
    """

    eval_every: str = spelled("100", Every.parse)
    batch_size: int = limited(20, 1, WIDEST)


@dataclass
class SyntheticEvaluationOptions:
    """What a model of a long-range problem is tested on.

    Args:
        length: Length T of the test sequences; default that of training.
        sequences: How many, none of them seen in training or validation.
    """

    length: int | None = limited(None, 1, 10**9)
    sequences: int = limited(10_000, 1)


@dataclass
class SyntheticConfig(RunConfig):
    """Train on a long-range problem.

    Args:
        length: Length T, over which something must be remembered.
        sequences: Sequences in an epoch; they are drawn anew in every epoch.
        held_out: Sequences for validation, the same whatever the seed.
        model: The network.
        loop: The training loop.
    """

    length: int = limited(100, 1, 10**9)
    sequences: int = limited(10_000, 1)
    held_out: int = limited(1_000, 1)
    model: SyntheticModelConfig = field(default_factory=SyntheticModelConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.002, schedule="constant"))
    loop: SyntheticLoopConfig = field(default_factory=SyntheticLoopConfig)

    shortest: ClassVar[int] = 1
    compared_by: ClassVar[tuple[str, ...]] = ("lengths",)
    fixed: ClassVar[tuple[str, ...]] = (
        *("cell", "model", "optim.name", "length"),  # the checkpoint's tensors, and the problem
        *("sequences", "held_out", "seed", "loop.batch_size"),  # the batches
    )
    files: ClassVar[str] = ""
    evaluate_options: ClassVar[type | None] = SyntheticEvaluationOptions

    def check(self) -> None:
        """The problem exists at that length."""
        super().check()
        self.check_length(self.length)

    def check_length(self, length: int) -> None:
        """Raise `InputError` where a length is too short for the problem."""
        if length < self.shortest:
            raise SettingError(
                f"length must be at least {self.shortest} here, got {length}.", "length"
            )

    def chance(self) -> float:
        """The score of the best model without memory."""
        raise NotImplementedError


@dataclass
class AddingConfig(SyntheticConfig):
    """Train on the adding problem: the sum of the two numbers that are marked among T."""

    shortest: ClassVar[int] = 2

    def chance(self) -> float:
        """The mean squared error of always predicting 1."""
        return 1 / 6


@dataclass
class CopyingConfig(SyntheticConfig):
    """Train on copy memory: ten symbols, to be said again after T steps."""

    def chance(self) -> float:
        """Nats a step of knowing when, but not what, to say."""
        return 10 * math.log(8) / (self.length + 20)


@dataclass
class TemporalOrderConfig(SyntheticConfig):
    """Train on temporal order: in which order two or three symbols came, far apart among T others.

    Args:
        relevant: Two symbols (experiment 6a of Hochreiter & Schmidhuber 1997), or three (6b).
    """

    relevant: Literal[2, 3] = 2

    shortest: ClassVar[int] = 10
    fixed: ClassVar[tuple[str, ...]] = (*SyntheticConfig.fixed, "relevant")

    def chance(self) -> float:
        """The share right by guessing."""
        return 0.5**self.relevant
