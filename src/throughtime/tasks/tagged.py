"""The tags of a tagger: classes by themselves, or spans in the scheme that the model learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config.tagging import TaggerDataConfig
from ..data.batches import Ragged
from ..data.conll import Sentence
from ..data.labels import Labels
from ..data.spans import (
    TAG,
    UNTYPED,
    Span,
    legal,
    parts,
    read_spans,
    scheme_of,
    spans_of,
    tag_names,
    tags_of,
)
from ..ground.errors import InputError
from ..ground.wording import plural
from ..metrics.classification import by_class
from ..metrics.spans import SpanScores, measure_spans
from .task import Evaluation, aligned, figures


@dataclass(frozen=True)
class Truth:
    """What is known of sentences: their tags, in the scheme of the data, and the spans."""

    tags: list[list[str]]
    spans: list[list[Span]]
    repaired: int
    """Tags that were not as the scheme writes them."""


@dataclass(frozen=True)
class Tagged:
    """Figures of N sentences. `unseen_tags` counts words whose tag training has not."""

    accuracy: float
    spans: SpanScores | None
    unseen_tags: int
    tags: list[dict[str, Any]]
    """Of each tag: precision, recall, f1, and how many words have it."""


class Tags:
    """Tags as numbers. `scheme` is that of the data, `learned` that of the model, if of spans."""

    def __init__(self, labels: Labels, scheme: str, learned: str) -> None:
        self.labels, self.scheme, self.learned = labels, scheme, learned
        self.of_spans = scheme != "none"

    @classmethod
    def of(cls, config: TaggerDataConfig, train: Sequence[Sentence]) -> Tags:
        """Those of the training sentences; a scheme of auto is settled in the configuration."""
        if config.scheme == "auto":
            config.scheme = scheme_of(s.tags for s in train) or "none"  # type: ignore[assignment]
        tags = cls(Labels([]), config.scheme, config.spans_as)
        truth = tags.read(train, tags.scheme)
        if tags.of_spans:
            types = {span.type for spans in truth.spans for span in spans}
            tags.labels = Labels(tag_names(types, config.spans_as))
        else:
            tags.labels = Labels.of(tag for sentence in truth.tags for tag in sentence)
        return tags

    @classmethod
    def load(cls, path: Path, scheme: str, learned: str) -> Tags:
        """Those of a run; `InputError` names the file where a label is no tag of its spans."""
        tags = cls(Labels.load(path), scheme, learned)
        odd = [name for name in tags.labels.names if not TAG.fullmatch(name)]
        if tags.of_spans and odd:
            raise InputError(f"{path}: damaged: {odd[0][:40]!r} is no tag of a span.")
        return tags

    def scheme_in(self, sentences: Iterable[Sentence]) -> str:
        """The scheme that sentences are in; that of training where theirs does not show."""
        if not self.of_spans:
            return self.scheme
        return scheme_of((s.tags for s in sentences), self.scheme) or self.scheme

    def read(self, sentences: Sequence[Sentence], scheme: str) -> Truth:
        """Tags as they stand; of spans, repaired, and in the scheme of training."""
        if not self.of_spans:
            return Truth([s.tags for s in sentences], [[] for _ in sentences], 0)
        tags, found, repaired = [], [], 0
        for sentence in sentences:
            spans, count = read_spans(sentence.tags, sentence.places, scheme)
            tags.append(tags_of(spans, len(sentence.words), self.scheme))
            found.append(spans)
            repaired += count
        return Truth(tags, found, repaired)

    def encode(self, truth: Truth) -> Ragged:
        """Ids of the tags that the model learns, UNSEEN for others."""
        if not self.of_spans:
            return Ragged.of(map(self.labels.encode, truth.tags))
        pairs = zip(truth.tags, truth.spans)
        return Ragged.of(
            self.labels.encode(tags_of(spans, len(tags), self.learned)) for tags, spans in pairs
        )

    def rewritten(self, tags: Sequence[str], scheme: str) -> list[str]:
        """Tags of training's scheme in another one."""
        return tags_of(spans_of(tags), len(tags), scheme) if self.of_spans else list(tags)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tags of one sentence, in the scheme of the data."""
        tags = [self.labels.names[i] for i in ids]
        return self.rewritten(tags, self.scheme)

    def legal(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """What a CRF lets follow one another."""
        if not self.of_spans:
            return None
        start, transitions, end = map(torch.from_numpy, legal(self.labels.names, self.learned))
        return start, transitions, end

    def unseen(self, truth: Truth) -> int:
        """Words whose tag, or whose span's type, training has not."""
        known = (
            {parts(name)[1] for name in self.labels.names}
            if self.of_spans
            else set(self.labels.names)
        )
        given = (tag for tags in truth.tags for tag in tags)
        return sum((parts(tag)[1] if self.of_spans else tag) not in known for tag in given)

    def measure(self, truth: Truth, predicted: Sequence[Sequence[str]]) -> Tagged:
        """Accuracy, spans, and each tag."""
        true = [tag for tags in truth.tags for tag in tags]
        found = [tag for tags in predicted for tag in tags]
        names = sorted({*true, *found})
        confusion = np.zeros((len(names), len(names)), np.int64)
        labels = Labels(names)
        np.add.at(confusion, (labels.encode(true), labels.encode(found)), 1)
        each = [
            {"tag": tag.pop("label"), **tag, "words": tag.pop("examples")}
            for tag in by_class(confusion, names)
        ]
        return Tagged(
            accuracy=float(confusion.trace() / len(true)) if true else float("nan"),
            spans=measure_spans(truth.spans, map(spans_of, predicted)) if self.of_spans else None,
            unseen_tags=self.unseen(truth),
            tags=each,
        )

    def describe(self) -> str:
        """What there is to learn, and by which figure it is judged."""
        if not self.of_spans:
            return f"{len(self.labels)} tags, each a class by itself: accuracy"
        types = {parts(name)[1] for name in self.labels.names} - {""}
        of = "without a type" if types == {UNTYPED} else f"of {plural(len(types), 'type')}"
        return f"spans {of} in {self.scheme}, learned as {self.learned}: F1 of whole spans"


def numbers(found: Tagged, loss: float | None) -> dict[str, float]:
    """The plain figures."""
    values = {"accuracy": found.accuracy}
    if loss is not None:
        values["loss"] = loss
    if (spans := found.spans) is not None:
        values |= {
            "precision": spans.precision,
            "recall": spans.recall,
            "f1": spans.f1,
            "macro_f1": spans.macro_f1,
        }
    return values


@dataclass(frozen=True)
class TaggerEvaluation(Evaluation):
    """What `evaluate` found. Tags never seen in training are counted, as wrong.

    Of spans there are precision, recall and F1 over all (micro), `macro_f1` and the `types`, each
    with its own; `tags` has those of each tag, by words.
    """

    accuracy: float
    loss: float
    sentences: int
    words: int
    unseen_tags: int
    repaired_tags: int
    tags: list[dict[str, Any]]
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    macro_f1: float | None = None
    types: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What there is: tags by themselves have no spans."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def report(self) -> str:
        """The figures, then each type of span or each tag."""
        name, rows, count = "tag", self.tags, "words"
        if self.types is not None:
            name, rows, count = "type", self.types, "spans"
        shown = [
            [r[name], *(f"{r[k]:.4f}" for k in ("precision", "recall", "f1")), r[count]]
            for r in rows
        ]
        table = aligned([[name, "precision", "recall", "F1", count], *shown])
        return f"{figures(self.to_dict())}\n\n{table}"
