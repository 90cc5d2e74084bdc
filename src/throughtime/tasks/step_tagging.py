"""Tagging of numbers: a label for each step of a sequence (many-to-many, T_x = T_y)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint import RunFolder
from ..config.tagging import TaggerConfig, TaggerScoringOptions, TaggingOptions
from ..data.batches import Ragged
from ..data.labelled import Record
from ..data.labels import UNSEEN, Labels
from ..data.limits import check_tokens
from ..data.lines import Inputs
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.wording import plural
from ..layers.mode import evaluating
from ..metrics.classification import Measured, by_class, measure
from ..models.step_tagger import Steps, StepTagger
from .endings import Ends
from .example_task import Encoded, ExampleTask, at
from .exported import Exported, mixed
from .numeric import NumberSource
from .origin import Origin
from .streams import NumberStream, Stream
from .task import Evaluation, Prediction, Score, aligned, figures

SEQUENCES_AT_ONCE = 64
"""Most sequences that are looked at together when labels are predicted."""


@dataclass(frozen=True)
class TaggedSteps(Encoded):
    """N sequences of numbers and the ids of their steps' labels, UNSEEN for others."""

    steps: Ragged
    tags: Ragged
    given: Sequence[str]
    """The labels of all steps, as they are in the data."""

    @property
    def lengths(self) -> np.ndarray:
        """[N]."""
        return self.steps.lengths

    def pad(self, some: np.ndarray) -> tuple[Steps, Tensor]:
        """Steps, tags [T, B]."""
        return Steps(*self.steps.pad(some)), self.tags.pad(some, UNSEEN)[0]

    def fingerprint(self) -> str:
        """Of numbers and labels."""
        return f"{self.steps.fingerprint()}-{self.tags.fingerprint()}"


class StepTagging(ExampleTask):
    """A tagger's data, loss and metrics over numbers. `ExampleTask` says what each part is for."""

    unit = "steps"
    kept: ClassVar = {"labels.json": "labels"}
    goes_on = True
    """Whether the last layer goes on with labels of the run that this one starts from."""
    evaluation_tokens = 1 << 14
    train: TaggedSteps
    valid: TaggedSteps
    labels: Labels
    config: TaggerConfig

    def settle(self) -> None:
        """Where sequences come from, and the score."""
        config = self.config
        column = "label" if config.data.tag == "auto" else config.data.tag
        self.source = NumberSource(config, self.left_out, label=column, each_step=True)
        metric = "accuracy" if config.score == "auto" else config.score
        higher = metric != "loss"
        self.score = Score(metric, higher_is_better=higher, percent=metric == "accuracy")

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> list[Record]:
        """Sequences whose steps have labels."""
        return self.source.read(patterns)

    def read_more(
        self, patterns: list[str], options: TaggerScoringOptions | None = None
    ) -> list[Record]:
        """The same, with the columns of training."""
        refuse(options)
        return self.read(patterns)

    def counted(self, examples: TaggedSteps) -> str:
        """Sequences and steps."""
        return f"{plural(len(examples), 'sequence')} ({self.source.describe(examples.steps)})"

    def split(self, examples: list[Record]) -> tuple[list[Record], list[Record]]:
        """A share of the sequences is held out; of one sequence, its end."""
        if len(examples) == 1:
            (one,) = examples
            border = round(len(one.content) * (1 - self.config.data.holdout))
            if not 0 < border < len(one.content):
                raise InputError(f"{one.where}: too short to hold out its end. Give --valid.")
            parts = one.content[:border], one.content[border:]
            return [one._replace(content=parts[0])], [one._replace(content=parts[1])]
        return self.source.split(examples)

    def begin_from(self, origin: Origin) -> None:
        """A tagger's columns, and its labels and what these steps have besides."""
        own = self.labels
        super().begin_from(origin)
        self.labels, self.goes_on = origin.labels_and(own)

    def take_weights(self, origin: Origin, model: Any) -> None:
        """All, but for a last layer of other labels."""
        origin.put_whole(model, None, but=() if self.goes_on else ("output", "crf"))

    def go_on(self, folder: RunFolder) -> None:
        """What its source has settled."""
        self.source.go_on(folder)

    def learn(self, train: list[Record]) -> None:
        """Labels, columns, mean and deviation."""
        self.source.learn(train)
        self.labels = Labels.of(
            label for record in train for label in set(self.source.step_labels(record))
        )
        if len(self.labels) < 2:
            raise InputError(
                f"all steps of {' '.join(self.config.train)} have the label "
                f"{self.labels.names[0]!r}: there is nothing to tell apart."
            )

    def encode(self, examples: list[Record], *, training: bool = False) -> TaggedSteps:
        """Numbers, and the ids of labels."""
        steps = self.source.encode(examples)
        most = self.config.data.max_tokens
        check_tokens(steps.lengths, most, lambda i: examples[i].where)
        given: list[str] = []
        for record in examples:
            if self.source.says_steps(record.content):
                given += self.source.step_labels(record)
        ids = self.labels.encode(given) if given else np.full(int(steps.lengths.sum()), UNSEEN)
        return TaggedSteps(steps, Ragged(ids, steps.lengths), given)

    def look_over(self, train: list[Record], valid: list[Record]) -> None:
        """Validation steps without a label that is known."""
        if not (self.valid.tags.values != UNSEEN).any():
            terminal.warn("no step of the validation data has a label that training has.")

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
        names = ", ".join(self.labels.names[:8]) + ", …" * (len(self.labels) > 8)
        return (
            f"{len(self.train):,} training sequences ({self.source.describe(self.train.steps)}), "
            f"{len(self.valid):,} for validation, {len(self.labels)} labels of steps ({names})"
        )

    def build_model(self) -> StepTagger:
        """The untrained network, on the device."""
        inputs = self.source.build_input()
        return StepTagger(self.cell, inputs, len(self.labels), self.config.model).to(self.device)

    def validate(self, model: StepTagger, *, quick: bool) -> dict[str, float]:
        """Accuracy, macro F1 and loss of the validation steps."""
        found, loss = self.measure(model, self.valid)
        values = {"accuracy": found.accuracy, "macro_f1": found.macro_f1}
        return values if math.isnan(loss) else {**values, "loss": loss}

    def describe(self, metrics: dict[str, float]) -> str:
        """Accuracy first."""
        return (
            f"accuracy {metrics['accuracy']:.2%}, macro F1 {metrics['macro_f1']:.4f}, "
            f"{self.validation_loss(metrics)}"
        )

    def looked_into(self) -> dict[str, str]:
        """The loss of a sequence's last label, backward of the first; a CRF's is of all."""
        of = "the loss of the last label (backward: of the first)"
        if self.config.model.head == "crf":
            of = "the loss of all labels together, which a CRF does not split"
        return {"stack": of}

    def ends(self, model: Any, examples: TaggedSteps, some: np.ndarray) -> Ends:
        """At the last step, and at the first."""
        steps, tags = self.inputs(examples, some)

        def of(which: Tensor) -> Tensor:
            scores, truth = at(which, model.scores(steps)).float(), at(which, tags)
            return F.cross_entropy(scores, truth, ignore_index=UNSEEN, reduction="sum")

        def whole() -> Tensor:
            return model.nats(steps, tags).sum()

        losses: dict[str, Any] = {"last": whole, "first": whole}
        if model.crf is None:
            last, first = (steps.lengths - 1).clamp(min=0), steps.lengths * 0
            losses = {"last": lambda: of(last), "first": lambda: of(first)}
        return Ends(losses, {"stack": steps.lengths})

    # ---- a finished run -----------------------------------------------------------------------

    def found(
        self, model: StepTagger, examples: TaggedSteps
    ) -> tuple[list[np.ndarray], list[np.ndarray], float]:
        """Of each sequence the ids of its steps' labels, their log-probabilities [T, K], and the
        mean nats of what is known."""
        ids: list[np.ndarray] = [np.zeros(0, np.int64)] * len(examples)
        sure: list[np.ndarray] = [np.zeros((0, len(self.labels)))] * len(examples)
        nats, count = 0.0, 0
        with evaluating(model):
            for some, (steps, tags) in self.in_batches(examples):
                scores = model.scores(steps)
                best = model.decode(scores, steps.lengths).cpu().numpy()
                logs = scores.double().log_softmax(-1).cpu().numpy()
                nats += float(model.nats_of(scores, steps.lengths, tags).double().sum())
                count += model.costing(tags, steps.lengths)
                for column, i in enumerate(some.tolist()):
                    length = examples.lengths[i]
                    ids[i], sure[i] = best[:length, column], logs[:length, column]
        return ids, sure, nats / count if count else math.nan

    def measure(self, model: StepTagger, examples: TaggedSteps) -> tuple[Measured, float]:
        """Metrics over all steps, and the mean loss."""
        ids, _, loss = self.found(model, examples)
        names = [*self.labels.names, *sorted(set(examples.given) - set(self.labels.names))]
        chosen = np.concatenate([*ids, np.zeros(0, np.int64)])
        certain = np.full((len(chosen), len(self.labels)), -np.inf)
        certain[np.arange(len(chosen)), chosen] = 0.0
        return measure(certain, Labels(names).encode(examples.given)), loss

    def evaluate(
        self,
        model: StepTagger,
        data: list[str] | None,
        options: TaggerScoringOptions | None = None,
    ) -> StepTaggerEvaluation:
        """Metrics of labelled steps."""
        refuse(options)
        examples = self.to_measure(data)
        found, loss = self.measure(model, examples)
        known = set(self.labels.names)
        names = [*self.labels.names, *sorted(set(examples.given) - known)]
        return StepTaggerEvaluation(
            found.accuracy, found.macro_f1, loss, len(examples), len(examples.given),
            sum(label not in known for label in examples.given),
            by_class(found.confusion, names), self.labels.names, found.confusion.tolist(),
        )  # fmt: skip

    def predict(
        self, model: StepTagger, inputs: Inputs, options: TaggingOptions
    ) -> Iterator[Prediction]:
        """The label of each step, a line each; a sequence as soon as it has ended."""
        refuse(options)
        for records in self.source.arriving(inputs, AtOnce()):
            found = self.encode(records)
            ids, sure, _ = self.found(model, found)
            for record, own, logs in zip(records, ids, sure):
                labels = [self.labels.names[i] for i in own.tolist()]
                p = np.exp(logs[np.arange(len(own)), own]).tolist()
                name = " ".join((record.name or "").split())
                rows = [f"{label}\t{q:.4f}\t{name}" for label, q in zip(labels, p)]
                values: dict[str, Any] = {"labels": labels, "probabilities": p}
                if record.name is not None:
                    values |= {"sequence": record.name, "where": record.where}
                yield Prediction("\n".join(rows), values)

    def exported(self, model: StepTagger) -> Exported:
        """What an exporter writes."""
        outline = self.source.exported(model.outline())
        size = self.source.size
        return Exported(
            outline, "tag", labels=self.labels.names, columns=self.source.columns,
            calibration=lambda: mixed([r.content[:, :size] for r in self.raw_to_learn()]),
        )  # fmt: skip

    def stream(self, model: StepTagger) -> Stream:
        """The label of each step."""
        if model.crf is not None:
            raise InputError(
                "this run's CRF looks at the whole sequence: train with --model.head softmax to "
                "answer step by step."
            )

        def said(y: Tensor) -> Prediction:
            p = model.of_outputs(y[None])[0].double().softmax(1)[0].tolist()
            label = names[p.index(max(p))]
            values = {"label": label, "probability": max(p), "probabilities": dict(zip(names, p))}
            return Prediction(f"{label}\t{max(p):.4f}", values)

        names = self.labels.names
        return NumberStream(self.source, model, said, pools=False)


class AtOnce:
    """How many sequences are taken together."""

    batch_size = SEQUENCES_AT_ONCE


def refuse(options: Any) -> None:
    """`InputError` for what says how sentences are read."""
    default = vars(type(options)()) if options else {}
    for name, value in default.items():
        if getattr(options, name) != value:
            raise InputError(
                f"--{name} is how sentences are read; sequences of numbers are read as in training."
            )


@dataclass(frozen=True)
class StepTaggerEvaluation(Evaluation):
    """What `evaluate` found over all steps. Labels never seen in training are counted, as wrong.

    `confusion[i][k]` counts steps of class i for which label k was predicted.
    """

    accuracy: float
    macro_f1: float
    loss: float
    sequences: int
    steps: int
    unseen_labels: int
    classes: list[dict[str, Any]]
    labels: list[str]
    confusion: list[list[int]]

    def report(self) -> str:
        """The figures, each class, and the confusion matrix."""
        heads = ["label", "precision", "recall", "F1", "steps"]
        shown = [
            [c["label"], *(f"{c[k]:.4f}" for k in ("precision", "recall", "f1")), c["examples"]]
            for c in self.classes
        ]
        rows = [[c["label"], *row] for c, row in zip(self.classes, self.confusion)]
        return "\n\n".join(
            [
                figures(self.to_dict()),
                aligned([heads, *shown]),
                aligned([["true \\ predicted", *self.labels], *rows]),
            ]
        )
