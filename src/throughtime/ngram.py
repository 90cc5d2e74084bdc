"""The n-gram floor: what counting alone achieves on the same split.

Interpolated Witten-Bell: P(w | h) = (c(h w) + d(h) P(w | h')) / (c(h) + d(h)), where d(h) is the
number of different tokens seen after h and h' is h without its first token; below the unigram
stands the uniform distribution. Source: Witten & Bell 1991; Chen & Goodman 1999.
"""

from __future__ import annotations

import numpy as np

from .errors import InputError


def witten_bell_nats(
    train: np.ndarray, valid: np.ndarray, order: int, vocabulary: int
) -> list[float]:
    """Mean nats per token of `valid` under n-gram models of order 1, 2 … `order` of `train`.

    The first order − 1 tokens of `valid` are conditioned on, not scored. Memory: a few times
    8·len(train) bytes. Errors: `InputError` if vocabulary ** order does not fit 63 bits.
    """
    if order < 1 or order * np.log2(max(vocabulary, 2)) > 63:
        raise InputError(
            f"an n-gram of order {order} over {vocabulary} tokens does not fit 63 bits."
        )
    if len(valid) < order or len(train) < order:
        raise InputError(f"both texts must hold at least {order} tokens.")
    probability = np.full(len(valid) - order + 1, 1.0 / vocabulary)
    nats = []
    for n in range(1, order + 1):
        grams, counts = np.unique(windows(train, n, vocabulary), return_counts=True)
        histories, first = np.unique(grams // vocabulary, return_index=True)
        ends = np.append(first[1:], len(grams))
        cumulative = np.concatenate([[0], np.cumsum(counts)])
        total = cumulative[ends] - cumulative[first]
        different = ends - first
        seen = windows(valid, n, vocabulary)[order - n :]
        c_hw = look_up(grams, counts, seen)
        c_h = look_up(histories, total, seen // vocabulary)
        d_h = look_up(histories, different, seen // vocabulary)
        known = c_h > 0
        probability[known] = (c_hw + d_h * probability)[known] / (c_h + d_h)[known]
        nats.append(float(-np.log(probability).mean()))
    return nats


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
