import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from throughtime.errors import InputError
from throughtime.ngram import witten_bell_nats


def by_dictionaries(train, valid, order, most, V):
    """The same formula, one token at a time."""
    counts = defaultdict(Counter)
    for n in range(order):
        for i in range(n, len(train)):
            counts[tuple(train[i - n : i])][train[i]] += 1

    def p(w, h):
        lower = p(w, h[1:]) if h else 1 / V
        seen = counts.get(tuple(h))
        if not seen:
            return lower
        return (seen[w] + len(seen) * lower) / (seen.total() + len(seen))

    scored = range(most - 1, len(valid))
    return -sum(math.log(p(valid[i], valid[i - order + 1 : i])) for i in scored) / len(scored)


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
