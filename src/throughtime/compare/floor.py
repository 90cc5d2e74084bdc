"""What counting alone achieves on the same text: the n-gram floor as a row of the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..metrics.likelihood import scores
from ..ngram import windows, witten_bell_nats

HIGHEST = 5
"""Order beyond which no n-gram model is tried."""


def ngram(task: Any) -> dict[str, Any]:
    """The best Witten-Bell model of order 1 to 5 (as many as 63 bits hold), on a prepared task.

    `loss` and its units are over all validation tokens but the first few, which are conditioned on;
    `parameters` counts the different n-grams of every order that must be kept; `nats` are those of
    each order.
    """
    train, valid = (np.asarray(part.ids, np.int64) for part in (task.train, task.valid))
    V = len(task.vocabulary)
    order = max(1, min(HIGHEST, int(63 // np.log2(max(V, 2))), len(train), len(valid)))
    nats = witten_bell_nats(train, valid, order, V)
    best = int(np.argmin(nats)) + 1
    kept = sum(len(np.unique(windows(train, n, V))) for n in range(1, best + 1))
    counts = task.valid.counts
    metrics = scores(nats[best - 1], counts.tokens, counts.characters)
    return {"order": best, "metrics": metrics, "parameters": kept, "nats": nats}
