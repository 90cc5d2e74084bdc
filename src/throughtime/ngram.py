"""The n-gram floor: what counting alone achieves on the same text.

Interpolated Witten-Bell: P(w | h) = (c(h w) + d(h) P(w | h')) / (c(h) + d(h)), where d(h) is the
number of different tokens seen after h and h' is h without its first token; below the unigram
stands the uniform distribution. The same recursion holds for a set of tokens, with c(h W) their
counts' sum. Source: Witten & Bell 1991; Chen & Goodman 1999. Oracle: the formula over
dictionaries, one token at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .ground.errors import InputError


def witten_bell_nats(
    train: np.ndarray, valid: np.ndarray, order: int, vocabulary: int
) -> list[float]:
    """Mean nats per token of `valid` under n-gram models of order 1, 2 … `order` of `train`.

    The first order − 1 tokens of `valid` are conditioned on, not scored. Memory: a few times
    8·len(train) bytes an order. Errors: `InputError` if vocabulary ** order does not fit 63 bits.
    """
    model = WittenBell(train, order, vocabulary)
    if len(valid) < order:
        raise InputError(f"both texts must hold at least {order} tokens.")
    levels = model.levels(valid, np.arange(len(valid)))
    return [float(-np.log(p[order - 1 :]).mean()) for p in levels]


class WittenBell:
    """N-gram counts of a text, up to an order, and the probabilities that follow from them."""

    def __init__(self, train: np.ndarray, order: int, vocabulary: int) -> None:
        if order < 1 or order > largest_order(vocabulary):
            raise InputError(
                f"an n-gram of order {order} over {vocabulary:,} tokens does not fit 63 bits; one "
                f"of order {largest_order(vocabulary)} does."
            )
        if len(train) < order:
            raise InputError(f"both texts must hold at least {order} tokens.")
        self.order, self.vocabulary = order, vocabulary
        self.counts = [GramCounts(train, n, vocabulary) for n in range(1, order + 1)]

    def levels(self, ids: np.ndarray, position: np.ndarray) -> Iterator[np.ndarray]:
        """P of each of `ids` given those before it, after the orders 1, 2 … in turn.

        `position` counts from 0 where a sequence begins: a history never reaches across.
        """
        p = np.full(len(ids), 1.0 / self.vocabulary)
        for n, counts in enumerate(self.counts, 1):
            inside = np.flatnonzero(position >= n - 1)
            if len(inside):
                seen = windows(ids, n, self.vocabulary)[inside - (n - 1)]
                p[inside] = counts.refine(p[inside], seen // self.vocabulary, counts.of(seen))
            yield p

    def probabilities(self, ids: np.ndarray, position: np.ndarray) -> np.ndarray:
        """P of each of `ids` under the whole model."""
        *_, p = self.levels(ids, position)
        return p

    def probability_among(
        self, chosen: np.ndarray, ids: np.ndarray, position: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """P that one of the tokens marked in `chosen [V]` comes after each of `ids[ends]`."""
        p = np.full(len(ends), chosen.mean())
        for n, counts in enumerate(self.counts, 1):
            inside = np.flatnonzero(position[ends] >= n - 2)
            if len(inside):
                history = windows(ids, n - 1, self.vocabulary)[ends[inside] - (n - 2)]
                p[inside] = counts.refine(p[inside], history, counts.of_any(chosen, history))
        return p


class GramCounts:
    """How often each run of n tokens occurs, and for each history c(h) and d(h)."""

    def __init__(self, train: np.ndarray, n: int, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.grams, self.counts = np.unique(windows(train, n, vocabulary), return_counts=True)
        self.histories, self.first = np.unique(self.grams // vocabulary, return_index=True)
        self.totals = np.add.reduceat(self.counts, self.first)
        self.different = np.diff(np.append(self.first, len(self.grams)))

    def of(self, grams: np.ndarray) -> np.ndarray:
        """c(h w)."""
        return look_up(self.grams, self.counts, grams)

    def of_any(self, chosen: np.ndarray, history: np.ndarray) -> np.ndarray:
        """c(h W): how often any of the chosen tokens comes after the history."""
        among = self.counts * chosen[self.grams % self.vocabulary]
        return look_up(self.histories, np.add.reduceat(among, self.first), history)

    def refine(self, lower: np.ndarray, history: np.ndarray, count: np.ndarray) -> np.ndarray:
        """P(· | h) from P(· | h') and the count after h; as it was where h was never seen."""
        c_h = look_up(self.histories, self.totals, history)
        d_h = look_up(self.histories, self.different, history)
        return np.where(c_h > 0, (count + d_h * lower) / np.maximum(c_h + d_h, 1), lower)


def largest_order(vocabulary: int) -> int:
    """The longest run of tokens that fits 63 bits."""
    return int(63 / np.log2(max(vocabulary, 2)))


def windows(ids: np.ndarray, n: int, vocabulary: int) -> np.ndarray:
    """Each run of n tokens as one integer, its digits the tokens."""
    keys = np.zeros(len(ids) - n + 1, np.int64)
    for k in range(n):
        keys = keys * vocabulary + ids[k : len(ids) - n + 1 + k]
    return keys


def look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 where it is missing; `keys` are sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
