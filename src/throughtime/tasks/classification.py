"""Classification: a label for each text or sequence of numbers (many-to-one)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint import RunFolder
from ..config import ClassifierConfig
from ..config.classification import ClassifierScoringOptions, LabellingOptions
from ..data.batches import Ragged
from ..data.files import find_files
from ..data.labelled import Record, format_of
from ..data.labels import Labels
from ..data.limits import check_tokens
from ..data.lines import Inputs
from ..data.splits import also_in
from ..ground import terminal
from ..ground.errors import InputError, one_of
from ..ground.wording import plural
from ..layers.mode import evaluating
from ..metrics.classification import Measured, by_class, measure
from ..models.classifier import Classifier
from .classified import TextSource
from .endings import Ends
from .example_task import Encoded, ExampleTask
from .exported import Exported, mixed, tell_plain
from .numeric import NumberSource
from .origin import Origin
from .streams import NumberStream
from .task import Evaluation, Prediction, Score, aligned, figures

MANY_LABELS, EACH = 20, 5
"""More labels than the first, with fewer examples than the second each on average, are doubted."""

LABELS_SHOWN = 8
"""Labels that the line about the data names."""


@dataclass(frozen=True)
class LabelledSequences(Encoded):
    """N sequences and the ids of their labels; ids from K on are labels unseen in training."""

    sequences: Ragged
    labels: np.ndarray
    names: Sequence[str]
    """Of all those labels."""

    @property
    def lengths(self) -> np.ndarray:
        """[N]."""
        return self.sequences.lengths

    def pad(self, some: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Sequences [T, B, …], lengths [B], labels [B]."""
        return *self.sequences.pad(some), torch.from_numpy(self.labels[some])

    def fingerprint(self) -> str:
        """Of sequences and labels."""
        return f"{self.sequences.fingerprint()}-{Ragged.of([self.labels]).fingerprint()}"


class Classification(ExampleTask):
    """A classifier's data, loss and metrics. `ExampleTask` says what each part is for."""

    unit = "examples"
    kept: ClassVar = {"labels.json": "labels"}
    from_language: ClassVar = ("source.vocabulary", "inputs", "stack")
    evaluation_tokens = 1 << 14
    train: LabelledSequences
    valid: LabelledSequences
    labels: Labels
    known: int
    """Validation examples that training has too."""
    goes_on = True
    """Whether the last layer goes on with labels of the run that this one starts from."""
    weights: Tensor | None = None
    """[K], what examples of each label weigh in training."""

    config: ClassifierConfig
    loss_at_end = "the loss of the label"

    def settle(self) -> None:
        """Where sequences come from, and the score."""
        config = self.config
        source = NumberSource if config.level == "numbers" else TextSource
        self.source = source(config, self.left_out)
        self.score = Score(
            config.score,
            higher_is_better=config.score != "loss",
            percent=config.score == "accuracy",
        )

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> list[Record]:
        """Labelled texts or sequences of numbers."""
        return self.source.read(patterns)

    def read_more(
        self, patterns: list[str], options: ClassifierScoringOptions | None = None
    ) -> list[Record]:
        """The same, with the labels and columns of training known."""
        return self.source.read(patterns, self.labels.names, options)

    def counted(self, examples: LabelledSequences) -> str:
        """Examples, and what they hold."""
        return f"{plural(len(examples), 'example')} ({self.source.describe(examples.sequences)})"

    def doubt(self, examples: list[Record]) -> None:
        """Say so where labels are so many that they may be something else."""
        config, count = self.config, len(examples)
        labels = Labels.of(str(record.label) for record in examples)
        if len(labels) > MANY_LABELS and EACH * len(labels) > count:
            files = [] if config.level == "numbers" else find_files(config.train)
            several = any(format_of(path, config.data.format) == "lines" for path in files)
            terminal.warn(
                f"{len(labels):,} labels in {count:,} examples, as in "
                f"{', '.join(labels.names[:3])}: are they labels?"
                + " If each file is a class: --data.format files."
                * several
            )

    def split(self, examples: list[Record]) -> tuple[list[Record], list[Record]]:
        """A share of each label is held out."""
        return self.source.split(examples)

    def learn(self, train: list[Record]) -> None:
        """The labels, what they weigh, and what the source learns."""
        self.source.learn(train)
        self.labels = Labels.of(str(record.label) for record in train)
        if len(self.labels) < 2:
            raise InputError(
                f"all {len(train):,} training examples have the label {self.labels.names[0]!r}: "
                "there is nothing to tell apart."
            )
        self.weights = self.class_weights([str(record.label) for record in train])

    def begin_from(self, origin: Origin) -> None:
        """A classifier's labels and what it reads, and what these examples have besides."""
        if not origin.is_like(self):
            return super().begin_from(origin)
        if isinstance(self.source, TextSource):
            theirs = origin.forward.task.source.vocabulary
            self.source.vocabulary = origin.extend(self.source.vocabulary, theirs)
        else:
            self.source.restore(origin.forward.folder)
        own = self.labels
        self.labels, self.goes_on = origin.labels_and(own)
        if self.weights is not None:  # labels that these examples have not weigh nothing
            weights = torch.zeros(len(self.labels))
            weights[self.labels.encode(own.names)] = self.weights
            self.weights = weights

    def take_weights(self, origin: Origin, model: Any) -> None:
        """All, but for a last layer of other labels; of a language model what reads."""
        if not origin.is_like(self):
            return super().take_weights(origin, model)
        read = self.source.vocabulary if isinstance(self.source, TextSource) else None
        origin.put_whole(model, read, but=() if self.goes_on else ("output",))

    def go_on(self, folder: RunFolder) -> None:
        """What its source has settled."""
        self.source.go_on(folder)

    def encode(self, examples: list[Record], *, training: bool = False) -> LabelledSequences:
        """Sequences and labels as numbers; what is cut off is said."""
        sequences = self.source.encode(examples)
        most = self.config.data.max_tokens
        check_tokens(sequences.lengths, most, lambda i: examples[i].where)
        given = [str(record.label) for record in examples]
        names = [*self.labels.names, *sorted(set(given) - set(self.labels.names))]
        return LabelledSequences(sequences, Labels(names).encode(given), names)

    def look_over(self, train: list[Record], valid: list[Record]) -> None:
        """Validation examples of no known label, and how many training has too."""
        if (self.valid.labels >= len(self.labels)).all():
            terminal.warn("no validation example has a label that training has.")
        self.known = also_in(train, valid)

    def save(self, folder: RunFolder) -> None:
        """Write the labels and what the source has learned."""
        super().save(folder)
        self.source.save(folder)

    def restore(self, folder: RunFolder) -> None:
        """Read them."""
        self.labels = Labels.load(folder.file("labels.json"))
        self.source.restore(folder)

    # ---- training -----------------------------------------------------------------------------

    def summary(self) -> str:
        """The data in one line."""
        text = (
            f"{len(self.train):,} training examples ({self.source.describe(self.train.sequences)})"
            f", {len(self.valid):,} for validation"
        )
        if self.known:
            text += f" ({self.known / len(self.valid):.1%} of them occur in training too)"
        shown = ", ".join(self.labels.names[:LABELS_SHOWN]) + ", …" * (
            len(self.labels) > LABELS_SHOWN
        )
        text += f", {len(self.labels)} labels ({shown})"
        unseen = int((self.valid.labels >= len(self.labels)).sum())
        if unseen:
            text += f"; {unseen:,} validation examples have labels that training has not"
        return text

    def build_model(self) -> Classifier:
        """The untrained network, on the device."""
        inputs = self.source.build_input()
        model = Classifier(self.cell, inputs, len(self.labels), self.config.model, self.weights)
        self.source.begin(inputs)
        return model.to(self.device)

    def class_weights(self, given: Sequence[str]) -> Tensor | None:
        """[K], of mean 1 over the labels given, or None where all weigh the same."""
        if not self.config.class_weights:
            return None
        counts = np.bincount(self.labels.encode(given), minlength=len(self.labels))
        asked = self.config.weights_by_label()
        for label in asked:
            one_of("label in class_weights", label, self.labels.names)
        weights = np.array([asked.get(name, 1.0) for name in self.labels.names])
        if not asked:
            weights = 1 / counts
        weights *= len(given) / (counts * weights).sum()
        return torch.from_numpy(weights.astype(np.float32))

    def size(self, examples: LabelledSequences, some: np.ndarray) -> float:
        """How many they are, or what class weights make of them."""
        if self.weights is None:
            return len(some)
        return float(self.weights[torch.from_numpy(examples.labels[some])].sum())

    def validate(self, model: Classifier, *, quick: bool) -> dict[str, float]:
        """Accuracy, macro F1, loss and calibration error of the validation examples."""
        found = self.measure(model, self.valid).numbers()
        if not (self.valid.labels < len(self.labels)).any():
            del found["loss"]
        return found

    def describe(self, metrics: dict[str, float]) -> str:
        """Accuracy first."""
        return (
            f"accuracy {metrics['accuracy']:.2%}, macro F1 {metrics['macro_f1']:.4f}, "
            f"{self.validation_loss(metrics)}"
        )

    def steps(self, examples: LabelledSequences) -> np.ndarray:
        """Labels that training has not are passed over."""
        return np.where(examples.labels < len(self.labels), examples.lengths, 0)

    def ends(self, model: Any, examples: LabelledSequences, some: np.ndarray) -> Ends:
        """The label is said at the last step of either direction."""
        x, lengths, truth = self.inputs(examples, some)

        def loss() -> Tensor:
            return F.cross_entropy(model.logits(x, lengths).float(), truth, reduction="sum")

        return Ends({"last": loss, "first": loss}, {"stack": lengths})

    # ---- a finished run -----------------------------------------------------------------------

    def measure(self, model: Classifier, examples: LabelledSequences) -> Measured:
        """Metrics, whatever the batch size and the order."""
        return measure(self.log_probabilities(model, examples), examples.labels)

    def log_probabilities(self, model: Classifier, examples: LabelledSequences) -> np.ndarray:
        """[N, K], in the order of the examples."""
        found = np.empty((len(examples), len(self.labels)))
        with evaluating(model):
            for some, (x, lengths, _) in self.in_batches(examples):
                found[some] = model.log_probabilities(x, lengths).cpu().numpy()
        return found

    def exported(self, model: Classifier) -> Exported:
        """What an exporter writes."""
        outline, labels = model.outline(), self.labels.names
        longest = self.config.data.max_length
        if isinstance(self.source, TextSource):
            tell_plain(self.source.reader)
            source = self.source
            return Exported(
                outline, "label", source.vocabulary, labels, longest=longest,
                calibration=lambda: mixed(source.encode_known(self.raw_to_learn())),
            )  # fmt: skip
        outline = self.source.exported(outline)
        return Exported(
            outline, "label", labels=labels, columns=self.source.columns, longest=longest,
            calibration=lambda: mixed([r.content for r in self.raw_to_learn()]),
        )  # fmt: skip

    def evaluate(
        self,
        model: Classifier,
        data: list[str] | None,
        options: ClassifierScoringOptions | None = None,
    ) -> ClassifierEvaluation:
        """Metrics of labelled examples."""
        examples = self.to_measure(data, options)
        if bool((examples.labels >= len(self.labels)).all()):
            known = ", ".join(self.labels.names[:LABELS_SHOWN])
            terminal.warn(
                f"no label of these examples is one of training's: {examples.names[-1]!r} is none "
                f"of {known}{', …' * (len(self.labels) > LABELS_SHOWN)}. Is it read as training "
                f"was (data.format {self.config.data.format}; --format)? predict needs no labels."
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
        for records in self.source.arriving(inputs, options, names):
            found = np.exp(self.log_probabilities(model, self.encode(records)))
            for record, row in zip(records, found):
                label, probability = names[int(row.argmax())], float(row.max())
                values: dict[str, Any] = {"label": label, "probability": probability}
                values["probabilities"] = dict(zip(names, row.tolist()))
                text = f"{label}\t{probability:.4f}"
                if record.name is not None:
                    values |= {"sequence": record.name, "where": record.where}
                    text += f"\t{' '.join(record.name.split())}"
                yield Prediction(text, values)

    def stream(self, model: Classifier) -> Any:
        """The label so far, after each step."""
        if not isinstance(self.source, NumberSource):
            return super().stream(model)

        def said(pooled: Tensor) -> Prediction:
            p = model.output(model.hidden(pooled)).double().softmax(1)[0].tolist()
            label = names[p.index(max(p))]
            values = {"label": label, "probability": max(p), "probabilities": dict(zip(names, p))}
            return Prediction(f"{label}\t{max(p):.4f}", values)

        names = self.labels.names
        return NumberStream(self.source, model, said, pools=True)


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
