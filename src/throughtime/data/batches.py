"""Ragged batches: examples of about the same length together, every one once an epoch.

Which examples make a batch is a function of (seed, epoch, i) and of the lengths alone, so that a
resumed run sees the same batches. Time-major, as everywhere: [T, B, …] and lengths [B].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..ground.errors import InputError

WIDEN = 1.1
"""Lengths within a tenth of each other share a bucket, in which examples are shuffled."""


class Ragged:
    """N sequences of different lengths, end to end in one array: values [total, …].

    `pad(indices)` gives those sequences as a time-major tensor [T, B, …] and lengths [B]; T is the
    longest of them, at least 1.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray) -> None:
        self.values, self.lengths = values, np.asarray(lengths, np.int64)
        self.starts = np.concatenate([[0], self.lengths.cumsum()])[:-1]

    @classmethod
    def of(cls, sequences: Iterable[Any], dtype: Any = np.int64) -> Ragged:
        """From sequences of numbers, or of rows of numbers."""
        arrays = [np.asarray(s, dtype) for s in sequences]
        some = [a for a in arrays if len(a)]
        values = np.concatenate(some) if some else np.zeros(0, dtype)
        return cls(values, np.array([len(a) for a in arrays], np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        start = self.starts[i]
        return self.values[start : start + self.lengths[i]]

    def pad(self, indices: Sequence[int] | np.ndarray, value: Any = 0) -> tuple[Tensor, Tensor]:
        """Those sequences side by side, `value` after the end of each; and their lengths."""
        chosen = np.asarray(indices, np.int64)
        lengths = self.lengths[chosen]
        T = max(1, int(lengths.max(initial=0)))
        t = np.arange(T)[:, None]
        inside = t < lengths
        padded = np.full((T, len(chosen), *self.values.shape[1:]), value, self.values.dtype)
        padded[inside] = self.values[(self.starts[chosen] + t)[inside]]
        return torch.from_numpy(padded), torch.from_numpy(lengths)

    def fingerprint(self) -> str:
        """SHA-256 of the lengths and the values."""
        digest = hashlib.sha256(self.lengths.tobytes())
        digest.update(np.ascontiguousarray(self.values).reshape(-1).data)
        return digest.hexdigest()


class Share(NamedTuple):
    """This process's part of a batch: examples' numbers, and whether they count.

    A batch with fewer examples than there are processes gives the rest a part that does not count:
    they compute along, with weight 0.
    """

    examples: np.ndarray
    counts: bool


class Batches:
    """Examples in batches, bucketed by length, shuffled anew each epoch.

    Give `batch_size`, the most examples in a batch: an epoch has ⌈N / batch_size⌉ batches whose
    sizes differ by one at most. Or give `batch_tokens`, the budget of a batch: its longest example
    times the number of its examples, padding included. An example longer than the budget is a batch
    by itself. Every epoch has the same number of batches and every example once.

    Examples are ordered by bucket and shuffled within; the cuts between batches depend on the
    lengths alone; the order of the batches is shuffled. With several processes each takes every
    world-th example of a batch.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        seed: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if (batch_size is None) == (batch_tokens is None):
            raise InputError("give batch_size or batch_tokens, one of them.")
        if (batch_size or batch_tokens or 0) < 1:
            raise InputError(
                f"batch_size and batch_tokens must be at least 1; got {batch_size or batch_tokens}."
            )
        lengths = np.asarray(lengths, np.int64)
        if not len(lengths):
            raise InputError("there are no examples to make batches of.")
        self.buckets, ceilings = buckets(lengths)
        self.cuts = (
            cut_evenly(len(lengths), batch_size)
            if batch_size
            else cut_by_budget(np.sort(ceilings), batch_tokens or 0)
        )
        self.seed, self.rank, self.world = seed, rank, world
        self._epoch: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.cuts) + 1

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, each the numbers of its examples."""
        if self._epoch is None or self._epoch[0] != epoch:
            random = np.random.default_rng([self.seed, epoch])
            order = np.lexsort((random.random(len(self.buckets)), self.buckets))
            batches = np.split(order, self.cuts)
            turn = random.random(len(batches)).argsort(kind="stable")
            self._epoch = epoch, [batches[i] for i in turn]
        return self._epoch[1]

    def share(self, epoch: int, i: int) -> Share:
        """This process's part of batch `i` of an epoch."""
        batch = self.epoch(epoch)[i]
        mine = batch[self.rank :: self.world]
        return Share(mine, True) if len(mine) else Share(batch[:1], False)


def buckets(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each example's bucket, rising with its length, and the longest length of that bucket."""
    edges, edge = [], 1
    while edge <= lengths.max():
        edges.append(edge)
        edge = max(edge + 1, int(edge * WIDEN))
    found = np.searchsorted(edges, lengths, side="right")
    longest = np.zeros(len(edges) + 1, np.int64)
    np.maximum.at(longest, found, lengths)
    return found, longest[found]


def cut_evenly(N: int, most: int) -> list[int]:
    """Where to cut N examples into as few parts as can be, about equal, none above `most`."""
    parts = -(-N // most)
    return [N * k // parts for k in range(1, parts)]


def cut_by_budget(costs: np.ndarray, budget: int) -> list[int]:
    """Where to cut examples of rising cost so that a part's largest times its count fits."""
    cuts, count = [], 0
    for i, cost in enumerate(costs.tolist()):
        if count and (count + 1) * cost > budget:
            cuts.append(i)
            count = 0
        count += 1
    return cuts


def by_length(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """All examples once, the shortest first, in batches within a budget: for evaluation.

    The batches depend on the lengths alone, whatever the batch size in training.
    """
    order = np.argsort(lengths, kind="stable")
    yield from np.split(order, cut_by_budget(np.asarray(lengths)[order], batch_tokens))
