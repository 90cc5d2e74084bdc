"""Figures of a classifier against counting by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from throughtime.metrics.classification import by_class, calibration_error, measure


@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 2), st.integers(0, 10**6))
def test_figures_are_those_counted_by_hand(N, K, unseen, seed):
    random = np.random.default_rng(seed)
    logs = np.log(random.dirichlet(np.ones(K), N))
    true = random.integers(0, K + unseen, N)
    found = measure(logs, true)
    predicted = [max(range(K), key=lambda k: row[k]) for row in logs]
    pairs = list(zip(true.tolist(), predicted))
    assert found.accuracy == pytest.approx(sum(t == p for t, p in pairs) / N)
    f1 = []
    for k in range(K + unseen):
        right = sum(t == p == k for t, p in pairs)
        either = sum(t == k for t, _ in pairs) + sum(p == k for _, p in pairs)
        if either:
            f1.append(2 * right / either)
    assert found.macro_f1 == pytest.approx(sum(f1) / len(f1))
    nats = [-row[t] for row, t in zip(logs, true) if t < K]
    assert found.loss == pytest.approx(sum(nats) / len(nats) if nats else np.nan, nan_ok=True)
    bins = [[] for _ in range(15)]
    for row, (t, p) in zip(logs, pairs):
        confidence = float(np.exp(row.max()))
        bins[min(int(confidence * 15), 14)].append((t == p, confidence))
    gaps = [abs(sum(r for r, _ in b) - sum(c for _, c in b)) for b in bins]
    assert found.calibration_error == pytest.approx(sum(gaps) / N)
    assert found.confusion.sum() == N
    for t, p in pairs:
        assert found.confusion[t, p] == pairs.count((t, p))


def test_a_class_that_no_label_of_training_names_has_no_right_answer():
    logs = np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = measure(logs, np.array([0, 1, 2]))
    classes = by_class(found.confusion, ["a", "b", "new"])
    assert [c["recall"] for c in classes] == [1, 1, 0]
    assert classes[0]["precision"] == 0.5
    assert classes[2]["examples"] == 1


def test_probabilities_that_are_no_numbers_have_no_calibration():
    with np.errstate(all="raise"):
        assert math.isnan(calibration_error(np.array([0.5, np.nan]), np.array([True, False])))
