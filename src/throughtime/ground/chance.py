"""Chance that depends on where it is used and on nothing else: truths from a hash of counters.

The same numbers give the same truths on any device, in any batch, with any number of threads, and
when they are computed again. What is many is hashed in integers of 32 bits, whose sums and products
wrap on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

WORD = 2**32 - 1
SPREAD = 0x45D9F3B  # of 27 bits: times a word it stays below 2^59
GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: neighbours far apart
HALF = 2**31
AT_ONCE = 2**18
"""Truths made at a time, so that what is between stays in the cache."""


def new_seed() -> Tensor:
    """Two words [2] drawn from torch's generator of the CPU."""
    return torch.randint(2**32, (2,))


def seed_of(number: int) -> Tensor:
    """The seed that a number stands for."""
    return torch.tensor([number & WORD, number >> 32 & WORD])


def truths(
    seed: Tensor, places: Tensor, sequences: Tensor, steps: Tensor, n: int, rates: Tensor
) -> Tensor:
    """Booleans [P, T, B, n], each true with its place's rate, a function of where it is.

    `seed` [2], `places` [P], `sequences` [B] and `steps` [T, B] or [T, 1] hold integers, of which
    the lowest 32 bits count; `rates` [P]. Truths that differ in one of them are independent.
    """
    units = torch.arange(n, device=seed.device) * GOLDEN
    first = mixed(mixed(seed[0] + places & WORD)[:, None] + sequences & WORD)  # [P, B]
    first = mixed(first[..., None] + units & WORD)[:, None]  # [P, 1, B, n]
    second = mixed(mixed(seed[1] + places & WORD)[:, None, None] + steps & WORD)[..., None]
    limits = (rates * 2.0**32).round().long().clamp(max=WORD)[:, None, None, None] - HALF
    T, B = len(steps), len(sequences)
    many = T if torch.compiler.is_compiling() else max(1, AT_ONCE // max(len(places) * B * n, 1))
    one, two, below = wrapped(first), wrapped(second), limits.int()
    made = [hashed(one + part) < below for part in two.split(max(many, 1), 1)]
    return torch.cat(made, 1) if len(made) > 1 else made[0]


def shares(seed: int, sequences: Tensor, steps: Tensor) -> Tensor:
    """Numbers [B, T] in [0, 1), float64 of 53 bits: functions of the seed, of a sequence's number
    [B] and of a step [T] and of nothing else."""
    low, high = seed_of(seed).tolist()
    first = mixed(torch.tensor(high ^ GOLDEN) + low & WORD)
    words = []
    for _ in range(2):
        first = mixed(first + GOLDEN & WORD)
        of_sequences = mixed(mixed(first + sequences & WORD) + GOLDEN & WORD)
        words.append(mixed(of_sequences[:, None] + steps & WORD))
    return (words[0] * 2**21 + (words[1] >> 11)).double() / 2.0**53


def mixed(word: Tensor) -> Tensor:
    """One word for each word, in which every bit depends on all of its bits."""
    for _ in range(2):
        word = ((word >> 16) ^ word) * SPREAD & WORD
    return (word >> 16) ^ word


def wrapped(word: Tensor) -> Tensor:
    """Words as integers of 32 bits, the upper half of them negative."""
    return ((word ^ HALF) - HALF).int()


def hashed(word: Tensor) -> Tensor:
    """The same as `mixed` for integers of 32 bits, where the upper bits alone count."""
    for _ in range(2):
        word = (word >> 16).bitwise_and_(0xFFFF).bitwise_xor_(word).mul_(SPREAD)
    return word
