"""Settings of classifiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .run import ExampleLoopConfig, RunConfig, StackConfig
from .settings import limited
from .text import LEVELS, TextConfig


@dataclass
class ClassifierDataConfig(TextConfig):
    """How lines become labelled examples.

    Args:
        holdout: Share of the training examples, drawn by data.split_seed, held out when no
            validation file is given.
        split_seed: Seed of that draw, apart from the seed of training.
    """

    holdout: float = limited(0.1, 0.0001, 0.9999)
    split_seed: int = limited(0, 0)


@dataclass
class ClassifierModelConfig(StackConfig):
    """The network: embedding, stack of cells in both directions, pooling over time, softmax.

    Args:
        bidirectional: Read in both directions.
        embedding_size: Width of the token embedding.
        pooling: What stands for a sequence: the last state of each direction at its true end, the
            mean or the maximum over time, or a weighted mean whose weights are learned.
    """

    hidden_size: int = limited(128, 1)
    bidirectional: bool = True
    embedding_size: int = limited(128, 1)
    pooling: Literal["last", "mean", "max", "attention"] = "last"


@dataclass
class PredictOptions:
    """How predictions are made.

    Args:
        batch_size: Most examples looked at together; it changes no result.
    """

    batch_size: int = limited(64, 1)


@dataclass
class ClassifierConfig(RunConfig):
    """Train a classifier: a label for each text.

    Args:
        train: Files of lines, a label and a text each; globs or directories; .gz is read as it is.
        valid: Validation files; default: a tenth of the training examples.
        level: What a token is.
        score: What decides which weights are the best.
        data: How lines become labelled examples.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = field(default_factory=list)
    valid: list[str] = field(default_factory=list)
    level: LEVELS = "word"
    score: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    data: ClassifierDataConfig = field(default_factory=ClassifierDataConfig)
    model: ClassifierModelConfig = field(default_factory=ClassifierModelConfig)
    loop: ExampleLoopConfig = field(default_factory=ExampleLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = (
        *("level", "cell", "model", "optim.name"),  # the checkpoint's tensors depend on them
        *("train", "valid", "data", "seed", "loop.batch_size", "loop.batch_tokens"),  # the batches
        "score",  # what best was said of
    )
    predict_options: ClassVar[type | None] = PredictOptions
