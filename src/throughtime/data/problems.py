"""Long-range problems with published results, drawn at random: adding, copying, temporal order.

Each has the numbers that a model needs (`inputs`, `outputs`) and `draw`, which makes sequences from
a random generator alone. Time-major, as everywhere: x [T, B, 2] numbers or [T, B] symbols.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RECALLED = 10
"""Symbols to copy."""

SYMBOLS = 8
"""Different symbols that may have to be copied."""

BLANK_SYMBOL, DELIMITER = SYMBOLS, SYMBOLS + 1

FIRST, LAST, X, Y = 4, 5, 6, 7
"""Symbols of temporal order besides 0 to 3, which say nothing."""

EARLIEST = {2: (0.1, 0.5), 3: (0.1, 0.33, 0.66)}
"""Where relevant symbols stand at the earliest, as shares of T; a tenth later at most."""


class DrawnSequences(NamedTuple):
    """x [T, B, …], lengths [B] (None: all of length T), targets [B] or [T, B]."""

    x: np.ndarray
    lengths: np.ndarray | None
    targets: np.ndarray


class Adding:
    """Adding: of T numbers, each with a mark of 0 or 1, add the two that are marked.

        x<t> = [u<t>, m<t>], u uniform in [0, 1), m = 1 once in each half;  y<T> = Σ m<t> u<t>

    Predicting 1 always has a mean squared error of 2 · 1/12 = 1/6.
    Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form of Arjovsky et al. 2016:
    numbers from [0, 1), T as given.
    """

    inputs, outputs = 2, 1

    def __init__(self, length: int) -> None:
        self.length = length

    def draw(self, random: np.random.Generator, count: int) -> DrawnSequences:
        """So many sequences."""
        T, half = self.length, self.length // 2
        x = np.zeros((T, count, 2), np.float32)
        x[:, :, 0] = random.random((T, count), np.float32)
        marked = np.stack([random.integers(0, half, count), random.integers(half, T, count)])
        every = np.arange(count)
        x[marked, every, 1] = 1
        return DrawnSequences(x, None, x[marked, every, 0].sum(0))


class Copying:
    """Copy memory: ten symbols, T − 1 blanks, a delimiter, ten blanks; then say the ten symbols.

        x = s<1> … s<10>  blank × (T − 1)  delimiter  blank × 10
        y = blank × (T + 10)  s<1> … s<10>,   s of 8 symbols, each as probable

    Without memory the best is blanks, then each symbol with 1/8: 10 ln 8 / (T + 20) nats a step.
    Source: Arjovsky et al. 2016, after Hochreiter & Schmidhuber 1997. Symbols 0 to 7, blank 8,
    delimiter 9.
    """

    inputs, outputs = SYMBOLS + 2, SYMBOLS + 1

    def __init__(self, length: int) -> None:
        self.length = length

    def draw(self, random: np.random.Generator, count: int) -> DrawnSequences:
        """So many sequences, of T + 20 steps."""
        steps = self.length + 2 * RECALLED
        symbols = random.integers(0, SYMBOLS, (RECALLED, count))
        x = np.full((steps, count), BLANK_SYMBOL, np.int64)
        targets = x.copy()
        x[:RECALLED] = targets[-RECALLED:] = symbols
        x[RECALLED + self.length - 1] = DELIMITER
        return DrawnSequences(x, None, targets)


class TemporalOrder:
    """Temporal order: in which order did the symbols X and Y come, far apart, among others?

    A sequence begins with E and ends with B; of the rest all are random among a, b, c, d but two
    (or three), each X or Y: the first between 0.1 T and 0.2 T, the second between 0.5 T and 0.6 T
    (of three: from 0.1 T, 0.33 T and 0.66 T). Its length is random between T and 1.1 T. The class,
    one of 4 (or 8), is the order: XX, XY, YX, YY.
    Source: Hochreiter & Schmidhuber 1997, experiments 6a (two) and 6b (three), there T = 100.
    """

    inputs = 8

    def __init__(self, length: int, relevant: int = 2) -> None:
        self.length, self.relevant = length, relevant
        self.outputs = 2**relevant

    def draw(self, random: np.random.Generator, count: int) -> DrawnSequences:
        """So many sequences."""
        T, every = self.length, np.arange(count)
        lengths = random.integers(T, T + T // 10 + 1, count)
        x = random.integers(0, 4, (int(lengths.max()), count))
        x[0] = FIRST
        x[lengths - 1, every] = LAST
        classes = np.zeros(count, np.int64)
        for place in EARLIEST[self.relevant]:
            is_y = random.integers(0, 2, count)
            first = int(place * T)
            x[random.integers(first, first + T // 10 + 1, count), every] = X + is_y
            classes = 2 * classes + is_y
        return DrawnSequences(x, lengths, classes)
