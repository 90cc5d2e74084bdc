"""Classification: a label for each text (many-to-one)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cell_names import find_cell, source_file
from ..checkpoint import RunFolder
from ..config import ClassifierConfig
from ..config.classification import PredictOptions
from ..data.batches import Batches, Ragged, by_length
from ..data.labels import Labels
from ..data.lines import Inputs, read_lines
from ..data.text import find_files
from ..data.vocabulary import PAD, UNK, Vocabulary
from ..errors import InputError
from ..machine import Processes
from ..models.classifier import Classifier
from .task import Evaluation, Loss, Prediction, Score, Task

EVALUATION_TOKENS = 1 << 14
"""Tokens looked at together when nothing is learned, padding included."""


@dataclass(frozen=True)
class Examples:
    """Tokens and label ids of N texts; a label never seen in training is UNSEEN."""

    tokens: Ragged
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation):
    """What `evaluate` found. Labels never seen in training are counted, as wrong."""

    accuracy: float
    macro_f1: float
    loss: float
    examples: int
    unseen_labels: int


class Classification(Task):
    """A classifier's data, loss and metrics. `Task` says what each part is for."""

    unit = "examples"
    train: Examples
    valid: Examples
    batches: Batches

    def __init__(
        self,
        config: ClassifierConfig,
        vocabulary: Vocabulary,
        labels: Labels,
        device: torch.device | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.config, self.vocabulary, self.labels = config, vocabulary, labels
        self.cell = find_cell(config.cell, folder.path if folder else None)
        self.device = device or torch.device("cpu")
        self.score = Score(config.score, higher_is_better=config.score != "loss")

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
        if not config.train:
            raise InputError("no training examples. Give --train FILE ….")
        train, valid = labelled_texts(config)
        vocabulary = Vocabulary.of_texts(
            (text for _, text in train),
            config.level,
            size=config.data.vocab_size,
            min_count=config.data.min_count,
            lowercase=config.data.lowercase,
            words=config.data.words,
        )
        labels = Labels.of(label for label, _ in train)
        if len(labels) < 2:
            raise InputError(
                f"all {len(train):,} training examples have the label {labels.names[0]!r}: there "
                "is nothing to tell apart."
            )
        task = cls(config, vocabulary, labels, device, resumed)
        task.train, task.valid = task.encode(train), task.encode(valid)
        loop = config.loop
        task.batches = Batches(
            task.train.tokens.lengths,
            batch_size=None if loop.batch_tokens else loop.batch_size,
            batch_tokens=loop.batch_tokens,
            seed=config.seed,
            rank=processes.rank,
            world=processes.world,
        )
        return task

    @classmethod
    def load(
        cls, config: ClassifierConfig, folder: RunFolder, device: torch.device
    ) -> Classification:
        """The task of a run, without its data."""
        vocabulary = Vocabulary.load(folder.tokenizer, config.level)
        return cls(config, vocabulary, Labels.load(folder.file("labels.json")), device, folder)

    def save(self, folder: RunFolder) -> None:
        """Write the vocabulary, the labels, and the source of a cell of the user's own."""
        folder.keep(source_file(self.config.cell, folder.path))
        folder.save_text(folder.tokenizer, self.vocabulary.to_json())
        folder.save_text(folder.file("labels.json"), self.labels.to_json())

    def encode(self, examples: list[tuple[str, str]]) -> Examples:
        """Labels and texts as ids."""
        tokens = Ragged.of(self.vocabulary.encode(text) for _, text in examples)
        return Examples(tokens, self.labels.encode(label for label, _ in examples))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the examples."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of the training and validation data."""
        parts = (self.train, self.valid)
        return "-".join(p.tokens.fingerprint() + Ragged.of([p.labels]).fingerprint() for p in parts)

    def summary(self) -> str:
        """The data in one line."""
        tokens = self.train.tokens.values
        return (
            f"{len(self.train):,} training examples ({len(tokens):,} tokens), "
            f"{len(self.valid):,} for validation, {len(self.labels)} labels, vocabulary "
            f"{len(self.vocabulary):,}, {(tokens == UNK).mean():.2%} <unk>"
        )

    def build_model(self) -> Classifier:
        """The untrained network, on the device."""
        model = Classifier(self.cell, len(self.vocabulary), len(self.labels), self.config.model)
        return model.to(self.device)

    def batch(self, epoch: int, i: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """Tokens [T, B], lengths [B], labels [B], and how many examples count."""
        share = self.batches.share(epoch, i)
        tokens, lengths = self.train.tokens.pad(share.examples, PAD)
        labels = torch.from_numpy(self.train.labels[share.examples])
        on = self.device
        count = len(labels) if share.counts else 0
        return tokens.to(on), lengths.to(on), labels.to(on), count

    def loss(self, model: Any, batch: tuple[Tensor, Tensor, Tensor, int], carry: Any) -> Loss:
        """Mean nats over the examples."""
        *inputs, count = batch
        return Loss(model(*inputs), count)

    @torch.inference_mode()
    def log_probabilities(self, model: Classifier, tokens: Ragged) -> np.ndarray:
        """[N, K], in the order of the examples."""
        training = model.training
        model.eval()
        found = np.empty((len(tokens), len(self.labels)))
        for some in by_length(tokens.lengths, EVALUATION_TOKENS):
            x, lengths = tokens.pad(some, PAD)
            logs = model.log_probabilities(x.to(self.device), lengths.to(self.device))
            found[some] = logs.cpu().numpy()
        model.train(training)
        return found

    def validate(self, model: Classifier, *, quick: bool) -> dict[str, float]:
        """Loss, accuracy and macro F1 of the validation examples."""
        return measure(self.log_probabilities(model, self.valid.tokens), self.valid.labels)

    def describe(self, metrics: dict[str, float]) -> str:
        """Accuracy first."""
        return (
            f"accuracy {metrics['accuracy']:.2%}, macro F1 {metrics['macro_f1']:.4f}, "
            f"loss {metrics['loss']:.4f}"
        )

    def evaluate(
        self, model: Classifier, data: list[str] | None, options: None = None
    ) -> ClassifierEvaluation:
        """Accuracy, macro F1 and loss of labelled examples."""
        examples = labelled_texts(self.config)[1] if data is None else read_examples(data)
        encoded = self.encode(examples)
        found = measure(self.log_probabilities(model, encoded.tokens), encoded.labels)
        return ClassifierEvaluation(
            **found, examples=len(encoded), unseen_labels=int((encoded.labels < 0).sum())
        )

    def predict(
        self, model: Classifier, inputs: Inputs, options: PredictOptions
    ) -> Iterator[Prediction]:
        """The most probable label of each line, and the probabilities of all."""
        for lines in inputs.chunks(options.batch_size):
            tokens = Ragged.of(self.vocabulary.encode(line.text) for line in lines)
            for row in np.exp(self.log_probabilities(model, tokens)):
                label = self.labels.names[int(row.argmax())]
                probabilities = dict(zip(self.labels.names, row.tolist()))
                yield Prediction(label, {"label": label, "probabilities": probabilities})


def measure(logs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Loss, accuracy and macro F1 from log-probabilities [N, K] and label ids [N].

    An unseen label is wrong whatever is predicted; the loss is over the others.
    """
    seen, best = labels >= 0, logs.argmax(1)
    K = logs.shape[1]
    confusion = np.zeros((K, K), np.int64)
    np.add.at(confusion, (labels[seen], best[seen]), 1)
    right = confusion.diagonal()
    occurring = np.bincount(labels[seen], minlength=K), np.bincount(best, minlength=K)
    both = sum(occurring)
    f1 = np.where(both > 0, 2 * right / np.maximum(both, 1), 0.0)
    return {
        "loss": float(-logs[seen, labels[seen]].mean()) if seen.any() else float("nan"),
        "accuracy": float(right.sum() / max(len(labels), 1)),
        "macro_f1": float(f1[occurring[0] > 0].mean()) if seen.any() else 0.0,
    }


def labelled_texts(
    config: ClassifierConfig,
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Training and validation examples; the latter drawn from the former where none are given."""
    train = read_examples(config.train)
    if config.valid:
        return train, read_examples(config.valid)
    order = np.random.default_rng(config.data.split_seed).random(len(train)).argsort()
    held = round(len(train) * config.data.holdout)
    if not 0 < held < len(train):
        raise InputError(
            f"{len(train)} examples are too few to hold out {config.data.holdout:.0%} of them. "
            "Give --valid."
        )
    return [train[i] for i in sorted(order[held:])], [train[i] for i in sorted(order[:held])]


def read_examples(patterns: list[str]) -> list[tuple[str, str]]:
    """Label and text of each line: the label ends at the first space or tab."""
    examples = []
    for path in find_files(patterns):
        for line in read_lines(path):
            label, *rest = line.text.split(None, 1)[:2] or [""]
            if not label:
                raise InputError(f"{line.where}: expected a label and a text, got an empty line.")
            examples.append((label, rest[0] if rest else ""))
    if not examples:
        raise InputError(f"{' '.join(patterns)}: no examples: expected lines of label and text.")
    return examples
