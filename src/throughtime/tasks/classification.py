"""Classification: a label for each text or sequence of numbers (many-to-one)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cells.names import find_cell, source_file
from ..checkpoint import RunFolder
from ..config import ClassifierConfig
from ..config.classification import LabellingOptions
from ..data.batches import Batches, Ragged, by_length
from ..data.labelled import Record, format_of
from ..data.labels import Labels
from ..data.lines import Inputs
from ..data.splits import also_in, hold_out
from ..data.text import find_files
from ..ground import terminal
from ..ground.errors import InputError, one_of
from ..ground.machine import Processes
from ..metrics.classification import Measured, by_class, measure
from ..models.classifier import Classifier
from .classified import Numbers, Texts
from .task import Evaluation, Loss, Prediction, Score, Task, aligned, batches_of, figures

EVALUATION_TOKENS = 1 << 14
"""Tokens looked at together when nothing is learned, padding included."""

MANY, EACH = 20, 5
"""More labels than the first, with fewer examples than the second each on average, are doubted."""

SHOWN = 8
"""Labels that the line about the data names."""


@dataclass(frozen=True)
class Examples:
    """N sequences and the ids of their labels; ids from K on are labels unseen in training."""

    sequences: Ragged
    labels: np.ndarray
    names: Sequence[str]
    """Of all those labels."""

    def __len__(self) -> int:
        return len(self.labels)


class Classification(Task):
    """A classifier's data, loss and metrics. `Task` says what each part is for."""

    unit = "examples"
    train: Examples
    valid: Examples
    batches: Batches
    known: int
    """Validation examples that training has too."""

    def __init__(
        self,
        config: ClassifierConfig,
        source: Texts | Numbers,
        labels: Labels,
        device: torch.device | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.config, self.source, self.labels = config, source, labels
        self.cell = find_cell(config.cell, folder.path if folder else None)
        self.device = device or torch.device("cpu")
        self.score = Score(
            config.score,
            higher_is_better=config.score != "loss",
            percent=config.score == "accuracy",
        )

    # ---- training -----------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls,
        config: ClassifierConfig,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
    ) -> Classification:
        """The task with its data: vocabulary and labels are those of the training examples."""
        processes = processes or Processes()
        kind = Numbers if config.level == "numbers" else Texts
        train = kind.read(config, config.train)
        labels = Labels.of(str(record.label) for record in train)
        warn_of_many(config, labels, len(train))
        if config.valid:
            source = kind.of(config, train)
            valid = source.read_more(config.valid, labels.names)
        else:
            train, valid = split(config, train)
            source = kind.of(config, train)
            labels = Labels.of(str(record.label) for record in train)
        if labels.ids.keys().isdisjoint(str(record.label) for record in valid):
            terminal.warn("no validation example has a label that training has.")
        if len(labels) < 2:
            raise InputError(
                f"all {len(train):,} training examples have the label {labels.names[0]!r}: there "
                "is nothing to tell apart."
            )
        task = cls(config, source, labels, device, resumed)
        task.train, task.valid = task.encode(train), task.encode(valid)
        task.known = also_in(train, valid)
        task.batches = batches_of(task.train.sequences.lengths, config, processes)
        return task

    @classmethod
    def load(
        cls, config: ClassifierConfig, folder: RunFolder, device: torch.device
    ) -> Classification:
        """The task of a run, without its data."""
        kind = Numbers if config.level == "numbers" else Texts
        labels = Labels.load(folder.file("labels.json"))
        return cls(config, kind.load(config, folder), labels, device, folder)

    def save(self, folder: RunFolder) -> None:
        """Write the vocabulary, the labels, and the source of a cell of the user's own."""
        folder.keep(source_file(self.config.cell, folder.path))
        self.source.save(folder)
        folder.save_text(folder.file("labels.json"), self.labels.to_json())

    def encode(self, records: list[Record]) -> Examples:
        """Sequences and labels as numbers; what is cut off is said."""
        sequences = self.source.encode(records)
        given = [str(record.label) for record in records]
        names = [*self.labels.names, *sorted(set(given) - set(self.labels.names))]
        return Examples(sequences, Labels(names).encode(given), names)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the examples."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of the training and validation data."""
        parts = [self.train.sequences, Ragged.of([self.train.labels]), self.valid.sequences]
        parts.append(Ragged.of([self.valid.labels]))
        return "-".join(part.fingerprint() for part in parts)

    def summary(self) -> str:
        """The data in one line."""
        text = (
            f"{len(self.train):,} training examples ({self.source.describe(self.train.sequences)})"
            f", {len(self.valid):,} for validation"
        )
        if self.known:
            text += f" ({self.known / len(self.valid):.1%} of them occur in training too)"
        shown = ", ".join(self.labels.names[:SHOWN]) + ", …" * (len(self.labels) > SHOWN)
        text += f", {len(self.labels)} labels ({shown})"
        unseen = int((self.valid.labels >= len(self.labels)).sum())
        if unseen:
            text += f"; {unseen:,} validation examples have labels that training has not"
        return text

    def build_model(self) -> Classifier:
        """The untrained network, on the device."""
        inputs = self.source.build_input()
        weights = self.class_weights() if hasattr(self, "train") else None
        model = Classifier(self.cell, inputs, len(self.labels), self.config.model, weights)
        if isinstance(self.source, Texts):
            self.source.begin(inputs)
        return model.to(self.device)

    def class_weights(self) -> Tensor | None:
        """[K], of mean 1 over the training examples, or None where all weigh the same."""
        if not self.config.class_weights:
            return None
        counts = np.bincount(self.train.labels, minlength=len(self.labels))
        given = self.config.weights_by_label()
        for label in given:
            one_of("label in class_weights", label, self.labels.names)
        weights = np.array([given.get(name, 1.0) for name in self.labels.names])
        if not given:
            weights = 1 / counts
        weights *= len(self.train) / (counts * weights).sum()
        return torch.from_numpy(weights.astype(np.float32))

    def batch(self, epoch: int, i: int) -> tuple[Tensor, Tensor, Tensor, bool]:
        """Sequences [T, B, …], lengths [B], labels [B], and whether they count."""
        share = self.batches.share(epoch, i)
        x, lengths = self.train.sequences.pad(share.examples)
        labels = torch.from_numpy(self.train.labels[share.examples])
        on = self.device
        return x.to(on), lengths.to(on), labels.to(on), share.counts

    def loss(self, model: Any, batch: tuple[Tensor, Tensor, Tensor, bool], carry: Any) -> Loss:
        """Mean nats over the examples, or the mean that class weights make of them."""
        x, lengths, labels, counts = batch
        weights = getattr(model, "module", model).class_weights
        size = len(labels) if weights is None else float(weights[labels].sum())
        return Loss(model(x, lengths, labels), size if counts else 0)

    def validate(self, model: Classifier, *, quick: bool) -> dict[str, float]:
        """Accuracy, macro F1, loss and calibration error of the validation examples."""
        return self.measure(model, self.valid).numbers()

    def describe(self, metrics: dict[str, float]) -> str:
        """Accuracy first."""
        return (
            f"accuracy {metrics['accuracy']:.2%}, macro F1 {metrics['macro_f1']:.4f}, "
            f"loss {metrics['loss']:.4f}"
        )

    # ---- a finished run -----------------------------------------------------------------------

    def to_measure(self, data: list[str] | None) -> Examples:
        """The examples of files; None: the run's own for validation."""
        config = self.config
        if data is not None or config.valid:
            return self.encode(self.source.read_more(data or config.valid, self.labels.names))
        return self.encode(split(config, self.source.read(config, config.train))[1])

    def measure(self, model: Classifier, examples: Examples) -> Measured:
        """Metrics, whatever the batch size and the order."""
        return measure(self.log_probabilities(model, examples.sequences), examples.labels)

    @torch.inference_mode()
    def log_probabilities(self, model: Classifier, sequences: Ragged) -> np.ndarray:
        """[N, K], in the order of the sequences."""
        training = model.training
        model.eval()
        found = np.empty((len(sequences), len(self.labels)))
        for some in by_length(sequences.lengths, EVALUATION_TOKENS):
            x, lengths = sequences.pad(some)
            logs = model.log_probabilities(x.to(self.device), lengths.to(self.device))
            found[some] = logs.cpu().numpy()
        model.train(training)
        return found

    def evaluate(
        self, model: Classifier, data: list[str] | None, options: None = None
    ) -> ClassifierEvaluation:
        """Metrics of labelled examples."""
        examples = self.to_measure(data)
        if bool((examples.labels >= len(self.labels)).all()):
            known = ", ".join(self.labels.names[:SHOWN])
            terminal.warn(
                f"no label of these examples is one of training's: {examples.names[-1]!r} is none "
                f"of {known}{', …' * (len(self.labels) > SHOWN)}. Is it read as training was "
                f"(data.format {self.config.data.format})? predict needs no labels."
            )
        found = self.measure(model, examples)
        return ClassifierEvaluation(
            **found.numbers(),
            examples=len(examples),
            unseen_labels=int((examples.labels >= len(self.labels)).sum()),
            classes=by_class(found.confusion, examples.names),
            labels=self.labels.names,
            confusion=found.confusion.tolist(),
        )

    def predict(
        self, model: Classifier, inputs: Inputs, options: LabellingOptions
    ) -> Iterator[Prediction]:
        """The most probable label of each text or sequence, and the probabilities of all."""
        names = self.labels.names
        for records in self.source.arriving(inputs, options):
            found = np.exp(self.log_probabilities(model, self.source.encode(records)))
            for record, row in zip(records, found):
                label, probability = names[int(row.argmax())], float(row.max())
                values: dict[str, Any] = {"label": label, "probability": probability}
                values["probabilities"] = dict(zip(names, row.tolist()))
                text = f"{label}\t{probability:.4f}"
                if record.name is not None:
                    values |= {"sequence": record.name, "where": record.where}
                    text += f"\t{' '.join(record.name.split())}"
                yield Prediction(text, values)


def warn_of_many(config: ClassifierConfig, labels: Labels, count: int) -> None:
    """Say so where labels are so many that they may be something else."""
    if len(labels) > MANY and EACH * len(labels) > count:
        files = [] if config.level == "numbers" else find_files(config.train)
        several = any(format_of(path, config.data.format) == "lines" for path in files)
        terminal.warn(
            f"{len(labels):,} labels in {count:,} examples, as in {', '.join(labels.names[:3])}: "
            "are they labels?" + " If each file is a class: --data.format files." * several
        )


def split(config: ClassifierConfig, records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Training and validation records, where no validation file is given."""
    data = config.data
    return hold_out(records, data.holdout, data.split_seed, equal_together=data.equal_together)


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation):
    """What `evaluate` found. Labels never seen in training are counted, as wrong.

    `confusion[i][k]` counts examples of class i (those of `classes`) for which label k was
    predicted (those of `labels`).
    """

    accuracy: float
    macro_f1: float
    loss: float
    calibration_error: float
    examples: int
    unseen_labels: int
    classes: list[dict[str, Any]]
    labels: list[str]
    confusion: list[list[int]]

    def report(self) -> str:
        """The figures, each class, and the confusion matrix: a row for each true label."""
        parts = [figures({k: v for k, v in vars(self).items() if k != "classes"})]
        heads = ["label", "precision", "recall", "F1", "examples"]
        shown = [
            [c["label"], *(f"{c[k]:.4f}" for k in ("precision", "recall", "f1")), c["examples"]]
            for c in self.classes
        ]
        parts.append(aligned([heads, *shown]))
        rows = [[c["label"], *row] for c, row in zip(self.classes, self.confusion)]
        parts.append(aligned([["true \\ predicted", *self.labels], *rows]))
        return "\n\n".join(parts)
