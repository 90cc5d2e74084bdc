"""Chance by counters: the same bits everywhere, the right shares, nothing that repeats."""

import numpy as np
import pytest
import torch

from throughtime.ground import chance


def made(seed=1, places=(0,), sequences=(0,), steps=range(2000), n=300, rates=0.5):
    """[P, T, B, n]."""
    rates = torch.tensor(rates, dtype=torch.float64).expand(len(places))
    return chance.truths(
        chance.seed_of(seed),
        *(torch.tensor(list(part), dtype=torch.int64) for part in (places, sequences)),
        torch.as_tensor(np.asarray(steps).reshape(len(steps), np.asarray(steps)[:1].size or 1)),
        *(n, rates),
    )


def oracle(seed, place, sequence, step, unit, rate):
    """One truth, in Python's own integers."""

    def mixed(word):
        word %= 2**32
        for _ in range(2):
            word = ((word >> 16) ^ word) * 0x45D9F3B % 2**32
        return (word >> 16) ^ word

    first = mixed(mixed(mixed(seed % 2**32 + place) + sequence) + unit * 0x9E3779B9)
    second = mixed(mixed((seed >> 32) % 2**32 + place) + step)
    word = (first + second) % 2**32
    word = ((word >> 16) ^ word) * 0x45D9F3B % 2**32
    word = ((word >> 16) ^ word) * 0x45D9F3B % 2**32
    return word ^ 2**31 < round(rate * 2**32)


def test_bits_are_those_of_the_hash_in_plain_integers():
    seed, places, sequences, steps = 2**63 - 12345, (3, 9), (5, -(2**40), 2**31), (0, 7, 2**32 - 1)
    got = made(seed, places, sequences, steps, 40, (0.3, 0.8))
    assert got.shape == (2, 3, 3, 40)
    for p, t, b, i in np.ndindex(*got.shape):
        right = oracle(seed, places[p], sequences[b], steps[t], i, (0.3, 0.8)[p])
        assert bool(got[p, t, b, i]) == right


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.5, 0.73, 0.95])
def test_a_share_of_the_rate_is_true_in_every_row_and_column(rate):
    found = made(3, rates=rate)[0, :, 0].double()
    deviation = (rate * (1 - rate)) ** 0.5
    assert abs(float(found.mean()) - rate) <= 4 * deviation / found.numel() ** 0.5
    for dim, count in enumerate(found.shape):
        worst = float((found.mean(dim) - rate).abs().max())
        assert worst <= 6 * deviation / count**0.5


@pytest.mark.parametrize(
    "other",
    [
        {"steps": range(1, 2001)},
        {"steps": range(2**16, 2**16 + 2000)},
        {"sequences": (1,)},
        {"sequences": (2**16,)},
        {"sequences": (1,), "steps": range(1, 2001)},
        {"places": (1,)},
        {"places": (64,)},
        {"places": (1,), "sequences": (-1,)},
        {"seed": 2},
        {"seed": 1 + 2**32},
    ],
    ids=str,
)
def test_places_that_differ_in_a_little_are_independent(other):
    assert_independent(made()[0, :, 0], made(**other)[0, :, 0])


@pytest.mark.parametrize("apart", [1, 2, 3, 16, 64, 256])
def test_units_and_sequences_are_independent(apart):
    found = made(n=600)[0, :, 0]
    assert_independent(found[:, apart:], found[:, :-apart])
    found = made(sequences=range(600), n=1)[0, ..., 0]
    assert_independent(found[:, apart:], found[:, :-apart])


def assert_independent(a, b):
    a, b = (part.double() * 2 - 1 for part in (a, b))
    assert abs(float((a * b).mean())) <= 4 / a.numel() ** 0.5
    assert float((a * b).mean(0).abs().max()) <= 5 / len(a) ** 0.5
    assert float((a * b).mean(1).abs().max()) <= 5 / a.shape[1] ** 0.5


def test_triples_of_neighbours_are_independent():
    a, b, c = (made(n=302)[0, :, 0, k : 300 + k].double() * 2 - 1 for k in range(3))
    for product in (a[1:] * a[:-1] * b[1:] * b[:-1], a * b * c):
        assert abs(float(product.mean())) <= 4 / product.numel() ** 0.5


def test_no_row_comes_twice():
    found = made(places=(0, 1), sequences=range(50), steps=range(500), n=64).flatten(0, 2)
    assert len({row.tobytes() for row in np.packbits(found.numpy(), axis=1)}) == 50_000


def test_a_part_is_what_it_is_in_the_whole():
    options = {"seed": 9, "places": (4, 5), "rates": (0.4, 0.2)}
    whole = made(sequences=range(7), steps=range(300), n=600, **options)  # several pieces
    part = made(sequences=(5, 2), steps=range(40, 90), n=33, **options)
    assert torch.equal(part, whole[:, 40:90][:, :, [5, 2]][..., :33])


def test_sequences_may_have_steps_of_their_own():
    steps = np.array([[0, 0], [0, 1], [2, 1]])
    found = made(sequences=(3, 4), steps=steps, n=50)
    for b in (0, 1):
        own = made(sequences=(3 + b,), steps=steps[:, b], n=50)
        assert torch.equal(found[:, :, b], own[:, :, 0])


def test_seeds_come_from_torchs_generator():
    torch.manual_seed(4)
    first, second = chance.new_seed(), chance.new_seed()
    torch.manual_seed(4)
    assert torch.equal(chance.new_seed(), first)
    assert not torch.equal(second, first)
    assert int(torch.stack([chance.new_seed() for _ in range(99)]).max()) > 2**31


def test_no_steps_no_sequences_no_units():
    assert made(steps=np.zeros((0, 1), int)).shape == (1, 0, 1, 300)
    assert made(sequences=np.zeros(0, int)).shape == (1, 2000, 0, 300)
    assert made(n=0).shape == (1, 2000, 1, 0)
