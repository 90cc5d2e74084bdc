"""Accuracy, F1, confusion matrix and calibration of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CALIBRATION_BINS = 15
"""Bins of confidence in the calibration error."""


@dataclass(frozen=True)
class Measured:
    """Figures of N examples over K labels; labels never seen in training are classes of their own.

        accuracy = share of right labels
        F1 of a class = 2 · right / (predicted + true);  macro F1 = mean over classes that occur,
        among the true labels or among the predicted ones
        calibration error = Σ_bins share · |accuracy − mean probability of the predicted label|
        loss = mean nats of the true labels that training has seen

    Source: Guo et al. 2017 (calibration error, 15 bins of equal width). Oracle: counting by hand.
    """

    accuracy: float
    macro_f1: float
    loss: float
    calibration_error: float
    confusion: np.ndarray
    """[true, predicted], K or more rows: those after the K labels are of unseen ones."""

    def numbers(self) -> dict[str, float]:
        """The plain figures."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
        }


def measure(logs: np.ndarray, true: np.ndarray) -> Measured:
    """From log-probabilities [N, K] and true label ids [N]; ids from K on are unseen labels."""
    N, K = logs.shape
    predicted = logs.argmax(1)
    confusion = np.zeros((max(K, int(true.max(initial=0)) + 1), K), np.int64)
    np.add.at(confusion, (true, predicted), 1)
    right = confusion[:K].diagonal()
    f1 = class_f1(confusion)
    seen = true < K
    confidence = np.exp(logs.max(1, initial=-np.inf))
    return Measured(
        accuracy=float(right.sum() / N) if N else float("nan"),
        macro_f1=float(np.nanmean(f1)) if N else float("nan"),
        loss=float(-logs[seen, true[seen]].mean()) if seen.any() else float("nan"),
        calibration_error=calibration_error(confidence, predicted == true),
        confusion=confusion,
    )


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class; NaN for one that is neither true nor predicted anywhere."""
    rows, K = confusion.shape
    right, occurs = np.zeros(rows), confusion.sum(1).astype(float)
    right[:K] = confusion[:K].diagonal()
    occurs[:K] += confusion.sum(0)
    return np.where(occurs > 0, 2 * right / np.maximum(occurs, 1), np.nan)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """How far confidence and accuracy lie apart, over bins of equal width.

    NaN where there is nothing to measure, or a model whose weights are no numbers.
    """
    if not len(confidence) or not np.isfinite(confidence).all():
        return float("nan")
    bins = np.clip((confidence * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, right.astype(float) - confidence, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def by_class(confusion: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of examples of each class."""
    K = confusion.shape[1]
    predicted = np.concatenate([confusion.sum(0), np.zeros(len(confusion) - K, np.int64)])
    found = []
    for i, (name, f1) in enumerate(zip(names, class_f1(confusion))):
        right, true = int(confusion[i, i]) if i < K else 0, int(confusion[i].sum())
        found.append(
            {
                "label": name,
                "precision": right / int(predicted[i]) if predicted[i] else 0.0,
                "recall": right / true if true else 0.0,
                "f1": 0.0 if np.isnan(f1) else float(f1),
                "examples": true,
            }
        )
    return found
