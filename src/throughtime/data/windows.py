"""Windows of series: what a forecaster reads at each present, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .series import Series


@dataclass(frozen=True)
class Stretch:
    """A part of a series: forecasts of its steps from `start` on, before `stop`, are asked for.

    What a forecast reads may be older than the part.
    """

    series: Series
    start: int
    stop: int


@dataclass(frozen=True)
class Track:
    """A series as a model reads it, float32 [T, …]: past, known of the future, targets scaled."""

    past: np.ndarray
    known: np.ndarray
    targets: np.ndarray
    static: np.ndarray
    center: np.ndarray
    unit: np.ndarray


class Windows:
    """N windows of tracks. Targets of a window are the `horizon` steps from its origin on.

    `pad` gives some of them side by side, each time-major: past [L + H, B, c], whose last H steps
    a model may look at in training alone; known [L + H, B, f]; static [B, s]; unit [B, k]; targets
    [H, B, k], NaN where there is none.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        of: np.ndarray,
        origins: np.ndarray,
        sizes: tuple[int, int],
        reads: int,
    ) -> None:
        """Window i is that of track `of[i]` whose first target is its step `origins[i]`."""
        self.tracks, self.of, self.origins = tracks, of, origins
        self.window, self.horizon = sizes
        self.reads = reads
        starts = np.concatenate([[0], np.cumsum([len(track.past) for track in tracks])])
        self.first = starts[of] + origins if len(of) else np.zeros(0, np.int64)
        self.past = np.concatenate([track.past for track in tracks])
        self.known = np.concatenate([track.known for track in tracks])
        self.targets = np.concatenate([track.targets for track in tracks])
        self.static = np.stack([track.static for track in tracks])
        self.unit = np.stack([track.unit for track in tracks]).astype(np.float32)
        there = (~np.isnan(self.targets)).sum(1)
        self.counted = np.concatenate([[0], there.cumsum()])

    @property
    def lengths(self) -> np.ndarray:
        """Steps that a stack reads [N]."""
        return np.full(len(self.of), self.reads)

    def __len__(self) -> int:
        return len(self.of)

    def pad(self, some: np.ndarray) -> tuple[Tensor, ...]:
        """Those windows."""
        at = self.first[some][None]
        steps = at + np.arange(-self.window, self.horizon)[:, None]
        ahead = at + np.arange(self.horizon)[:, None]
        of = self.of[some]
        parts = (self.past[steps], self.known[steps], self.static[of], self.unit[of],
                 self.targets[ahead])  # fmt: skip
        return tuple(map(torch.from_numpy, parts))

    def size(self, some: np.ndarray) -> int:
        """How many targets they have."""
        first = self.first[some]
        return int((self.counted[first + self.horizon] - self.counted[first]).sum())

    def fingerprint(self) -> str:
        """Of all that is read, and where."""
        digest = hashlib.sha256()
        for part in (self.past, self.known, self.targets, self.static, self.unit, self.first):
            digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


def origins_of(
    stretches: Sequence[Stretch], window: int, horizon: int, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Of each window its stretch and its origin: all whose inputs and targets are there."""
    of, origins = [], []
    for k, stretch in enumerate(stretches):
        first = max(stretch.start, window)
        last = min(stretch.stop, stretch.series.known) - horizon
        some = np.arange(first, last + 1, stride)
        of.append(np.full(len(some), k))
        origins.append(some)
    return np.concatenate(of).astype(np.int64), np.concatenate(origins).astype(np.int64)
