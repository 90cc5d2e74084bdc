import math

import numpy as np
import pytest

from oracles import witten_bell
from throughtime.ground.errors import InputError
from throughtime.ngram import WittenBell, witten_bell_nats


def by_dictionaries(train, valid, order, most, V):
    p = witten_bell(train, order, V)
    scored = range(most - 1, len(valid))
    return -sum(math.log(p(valid[i], valid[:i])) for i in scored) / len(scored)


@pytest.mark.parametrize("most", [1, 5])
def test_it_is_the_formula_token_by_token(most):
    rng = np.random.default_rng(most)
    train, valid = rng.integers(0, 5, 400) ** 2 % 7, rng.integers(0, 9, 60)
    expected = [
        by_dictionaries(train.tolist(), valid.tolist(), order, most, 10)
        for order in range(1, most + 1)
    ]
    assert witten_bell_nats(train, valid, most, 10) == pytest.approx(expected, rel=1e-12)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="63 bits"):
        witten_bell_nats(np.arange(9), np.arange(9), 5, 50_000)
    with pytest.raises(InputError, match="at least 3"):
        witten_bell_nats(np.arange(9), np.arange(2), 3, 10)


def test_sequences_begin_anew_and_sets_of_tokens_are_sums():
    rng = np.random.default_rng(3)
    train = rng.integers(0, 6, 300) ** 2 % 7
    sequences = [rng.integers(0, 9, n) for n in (1, 2, 5, 3, 9)]
    ids = np.concatenate(sequences)
    position = np.concatenate([np.arange(len(s)) for s in sequences])
    model, p = WittenBell(train, 4, 10), witten_bell(train.tolist(), 4, 10)
    expected = [p(s[t], s[:t].tolist()) for s in sequences for t in range(len(s))]
    assert model.probabilities(ids, position) == pytest.approx(expected, rel=1e-12)
    chosen = np.arange(10) % 3 == 1
    ends = np.cumsum([len(s) for s in sequences]) - 1
    after = model.probability_among(chosen, ids, position, ends)
    summed = [sum(p(w, s.tolist()) for w in range(10) if chosen[w]) for s in sequences]
    assert after == pytest.approx(summed, rel=1e-12)
    everything = model.probability_among(np.ones(10, bool), ids, position, ends)
    assert everything == pytest.approx(1, rel=1e-12)
