"""Parallel streams over a corpus, read in windows: what truncated BPTT trains on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..ground.errors import InputError
from .stored import Ids


class Streams:
    """A corpus of N tokens as B streams of L = N // B tokens, in windows of T.

    Stream b holds tokens b·L to (b+1)·L. Every token is a target once; its input is the token
    before it, <bos> for the first of a stream. The last window may be shorter. `dropped` counts
    the N % B tokens at the end that fill no whole row. With several processes, each takes its own
    share of the streams: rows rank·B/world to (rank+1)·B/world.
    """

    def __init__(
        self,
        ids: Ids,
        batch_size: int,
        window: int,
        first: int,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1 or window < 0:
            raise InputError(
                f"loop.batch_size must be at least 1 and loop.window at least 0; got {batch_size} "
                f"and {window}."
            )
        if batch_size % world:
            raise InputError(
                f"loop.batch_size {batch_size} must be a multiple of the {world} processes."
            )
        self.length = len(ids) // batch_size
        self.window = window or self.length
        if self.length < self.window or self.length == 0:
            raise InputError(
                f"the text has {len(ids)} tokens: too short for {batch_size} streams with a window "
                f"of {max(self.window, 1)} ({batch_size * max(self.window, 1)} tokens). Give more "
                "text, or lower loop.batch_size or loop.window."
            )
        self.dropped = len(ids) % batch_size
        share = batch_size // world
        self.ids = ids
        self.begins = [self.length * b for b in range(rank * share, (rank + 1) * share)]
        self.batch_size = share
        self.first = first

    def __len__(self) -> int:
        return -(-self.length // self.window)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [T, B] of window i."""
        start, end = i * self.window, min((i + 1) * self.window, self.length)
        rows = np.full((self.batch_size, end - start + 1), self.first, np.int64)
        inside = max(start - 1, 0)
        for row, begin in zip(rows, self.begins):
            row[inside - start + 1 :] = self.ids[begin + inside : begin + end]
        both = torch.from_numpy(np.ascontiguousarray(rows.T))
        return both[:-1], both[1:]
