"""Settings of classifiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..ground.errors import SettingError
from .numbers import StepsConfig, check_split
from .run import BATCHES, ExampleLoopConfig, OptimConfig, RunConfig
from .settings import WIDEST, data_files, limited
from .text import HoldoutConfig, LinesConfig, ReaderModelConfig, TextConfig, VectorsConfig
from .values import shown


@dataclass
class ClassifierDataConfig(StepsConfig, TextConfig, HoldoutConfig, LinesConfig, VectorsConfig):
    """How files become labelled examples.

    Args:
        format: lines (a label, a space or tab, a text), tsv, csv, jsonl, or files (a file for each
            class, named after it; a text a line); auto: by the file's name, else lines.
        text: Column of the text: a name in the header or a key, or a number from 1.
        label: Column of the label.
        header: Whether TSV and CSV begin with the columns' names; default: unless text and label
            are both told by numbers.
        encoding: Encoding of the text.
        holdout: Share of each label's training examples, drawn by split_seed, held out when no
            validation file is given.
        equal_together: Hold out equal examples together, so that none is known from training.
        max_length: Read no more than so many tokens or steps of a sequence.
        vectors: With level word, file of pretrained word vectors in the text format of word2vec or
            GloVe: where the embedding starts from.
    """

    format: Literal["auto", "lines", "tsv", "csv", "jsonl", "files"] = "auto"
    text: str = "text"
    label: str = "label"
    header: bool | None = None
    encoding: str = "utf-8"
    equal_together: bool = False
    max_length: int | None = limited(None, 1)

    @property
    def has_header(self) -> bool:
        """Whether there is one, said or implied."""
        told_by_number = self.text.isdecimal() and self.label.isdecimal()
        return not told_by_number if self.header is None else self.header


@dataclass
class ClassifierModelConfig(ReaderModelConfig):
    """The network: embedding, stack of cells, pooling over time, output layers, softmax.

    Args:
        dropout: On the input, between layers and on what is pooled.
        affixes: With level word, add to a word's embedding those of its beginnings and endings of
            up to so many characters, which it shares with other words; 0 for none.
        affixes_of_unknown: Words that the vocabulary lacks have affixes too; runs of before have
            none.
        pooling: What stands for a sequence: the last state of each direction at its true end, the
            mean or the maximum over time, or a weighted mean whose weights are learned.
        output_layers: Widths of ordinary layers (relu) between pooling and softmax.
        output_dropout: Instead of dropout, on what is pooled and in the output layers.
    """

    hidden_size: int | list[int] = limited(128, 1, WIDEST)
    affixes: int = limited(0, 0, 8)
    affixes_of_unknown: bool = True
    pooling: Literal["last", "mean", "max", "attention"] = "max"
    dropout: float = limited(0.3, 0, 0.999)


@dataclass
class ColumnOptions:
    """Which columns of texts are read, where they are others than in training.

    Args:
        text: Column of the text: a name in the header or a key, or a number from 1; default: as in
            training.
        label: Column of the label; default: as in training.
        header: Whether TSV and CSV begin with the columns' names; auto: as in training.
    """

    text: str | None = None
    label: str | None = None
    header: Literal["auto", "yes", "no"] = "auto"

    def changes(self) -> dict[str, Any]:
        """What is said here, as settings of the data."""
        found = {"text": self.text, "label": self.label}
        found = {name: value for name, value in found.items() if value is not None}
        return found if self.header == "auto" else found | {"header": self.header == "yes"}


@dataclass
class ClassifierScoringOptions(ColumnOptions):
    """How the files of --data are read.

    Args:
        format: lines, tsv, csv, jsonl or files, as --data.format of training; auto: as in training.
    """

    format: Literal["auto", "lines", "tsv", "csv", "jsonl", "files"] = "auto"

    def changes(self) -> dict[str, Any]:
        """The format too."""
        found = super().changes()
        return found if self.format == "auto" else found | {"format": self.format}


@dataclass
class LabellingOptions(ColumnOptions):
    """How labels are predicted.

    Args:
        format: text (a text each), lines (a label, a space or tab, a text), or tsv, csv, jsonl;
            auto: of files as in training, where lines must then begin with labels of training; of
            what comes in, text.
        batch_size: Most examples looked at together; it changes no result.
    """

    format: Literal["auto", "text", "lines", "tsv", "csv", "jsonl"] = "auto"
    batch_size: int = limited(64, 1, WIDEST)


@dataclass
class ClassifierConfig(RunConfig):
    """Train a classifier: a label for each text or for each sequence of numbers.

    Args:
        train: Files of labelled examples, globs or directories; .gz is read as it is.
        valid: Validation files; default: a tenth of the training examples.
        level: What a token is; numbers: sequences of numbers, CSV or Parquet with a row a step, or
            NumPy .npz.
        score: What decides which weights are the best.
        class_weights: balanced, or LABEL=WEIGHT for some labels: what errors on a label cost; the
            others weigh 1.
        data: How files become labelled examples.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    level: Literal["word", "char", "byte", "subword", "numbers"] = "word"
    score: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    class_weights: list[str] = field(default_factory=list)
    data: ClassifierDataConfig = field(default_factory=ClassifierDataConfig)
    model: ClassifierModelConfig = field(default_factory=ClassifierModelConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.002))
    loop: ExampleLoopConfig = field(default_factory=ExampleLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = ("level", *RunConfig.fixed, *BATCHES, "score")
    evaluate_options: ClassVar[type | None] = ClassifierScoringOptions
    predict_options: ClassVar[type | None] = LabellingOptions

    def check(self) -> None:
        """Settings go with the level, and class weights can be read."""
        super().check()
        for name, given, what, level in (
            ("data.vectors", self.data.vectors is not None, "those of words", "word"),
            *(
                (f"data.{name}", True, "columns of numbers", "numbers")
                for name in self.data.of_steps()
            ),
            ("model.affixes", self.model.affixes, "those of words", "word"),
        ):
            if given and self.level != level:
                raise SettingError(
                    f"{name} are {what}: not with level {self.level}.", name, "level"
                )
        check_split(self.data)
        self.weights_by_label()

    def weights_by_label(self) -> dict[str, float]:
        """What `class_weights` says; empty for none and for balanced."""
        if self.class_weights in ([], ["balanced"]):
            return {}
        found = {}
        for said in self.class_weights:
            label, _, weight = said.rpartition("=")
            try:
                found[label] = float(weight)
            except ValueError:
                found[label] = -1.0
            if not label or not 0 < found[label] < float("inf"):
                raise SettingError(
                    f"class_weights must be balanced, or LABEL=WEIGHT with a positive weight; got "
                    f"{shown(said)}.",
                    "class_weights",
                )
        return found
