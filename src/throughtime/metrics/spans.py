"""Precision, recall and F1 of spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.spans import Span


@dataclass(frozen=True)
class SpanScores:
    """Spans are right where type, beginning and end are.

        precision = right / predicted;  recall = right / true;  F1 = 2 · right / (predicted + true)
        micro: over all spans;  macro: the mean over types that occur, true or predicted

    0 where nothing is to be divided by. Source: Tjong Kim Sang & De Meulder 2003 (conlleval).
    Oracle: seqeval.
    """

    precision: float
    recall: float
    f1: float
    macro_f1: float
    types: list[dict[str, Any]]
    """Of each type: precision, recall, f1, and how many spans there are."""


def measure_spans(
    true: Iterable[Sequence[Span]], predicted: Iterable[Sequence[Span]]
) -> SpanScores:
    """From the true and the predicted spans of each sentence."""
    counts: list[Counter[str]] = [Counter(), Counter(), Counter()]  # right, predicted, true
    for a, b in zip(true, predicted, strict=True):
        for counter, spans in zip(counts, (set(a) & set(b), b, a)):
            counter.update(span.type for span in spans)
    right, found, there = counts
    types = [
        {"type": t, **rates(right[t], found[t], there[t]), "spans": there[t]}
        for t in sorted({*found, *there})
    ]
    return SpanScores(
        **rates(right.total(), found.total(), there.total()),
        macro_f1=sum(t["f1"] for t in types) / len(types) if types else 0.0,
        types=types,
    )


def rates(right: int, predicted: int, true: int) -> dict[str, float]:
    """Precision, recall and F1 of counts."""
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / true if true else 0.0,
        "f1": 2 * right / (predicted + true) if predicted + true else 0.0,
    }
