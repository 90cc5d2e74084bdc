"""Ragged batches: every example once an epoch, within the budget, the same again after a resume."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from throughtime.data.batches import Batches, Ragged, by_length
from throughtime.ground.errors import InputError

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=80).map(np.array)
SIZES = st.one_of(
    st.integers(1, 40).map(lambda n: {"batch_size": n}),
    st.integers(1, 200).map(lambda n: {"batch_tokens": n}),
)


@given(LENGTHS, SIZES, st.integers(0, 5), st.integers(0, 3))
def test_every_epoch_has_every_example_once_in_as_many_batches(lengths, size, seed, epoch):
    batches = Batches(lengths, **size, seed=seed)
    found = batches.epoch(epoch)
    assert len(found) == len(batches)
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))
    again = Batches(lengths, **size, seed=seed)
    again.epoch(epoch + 1)  # what was asked before changes nothing
    assert all(np.array_equal(a, b) for a, b in zip(found, again.epoch(epoch)))


@given(LENGTHS, SIZES, st.integers(0, 3))
def test_no_batch_exceeds_its_size_or_budget_but_one_long_example(lengths, size, epoch):
    for batch in Batches(lengths, **size).epoch(epoch):
        assert 0 < len(batch) <= size.get("batch_size", 10**9)
        if "batch_tokens" in size and len(batch) > 1:
            assert len(batch) * lengths[batch].max() <= size["batch_tokens"]


@given(LENGTHS, st.integers(1, 40))
def test_batches_of_so_many_examples_differ_by_one_at_most(lengths, size):
    sizes = {len(batch) for batch in Batches(lengths, batch_size=size).epoch(0)}
    assert max(sizes) - min(sizes) <= 1
    assert len(Batches(lengths, batch_size=size)) == -(-len(lengths) // size)


@given(LENGTHS, SIZES, st.integers(1, 4))
def test_processes_share_a_batch_without_overlap(lengths, size, world):
    whole = Batches(lengths, **size)
    parts = [Batches(lengths, **size, rank=r, world=world) for r in range(world)]
    for i in range(len(whole)):
        shares = [part.share(0, i) for part in parts]
        counted = [share.examples for share in shares if share.counts]
        assert sorted(np.concatenate(counted)) == sorted(whole.share(0, i).examples)
        assert all(len(share.examples) for share in shares)


def test_batches_hold_examples_of_about_one_length_and_change_from_epoch_to_epoch():
    lengths = np.random.default_rng(0).integers(1, 100, 2000)
    batches = Batches(lengths, batch_size=20)
    padded = sum(lengths[b].max() * len(b) for b in batches.epoch(0))
    assert padded < 1.1 * lengths.sum()
    first, second = ({frozenset(b.tolist()) for b in batches.epoch(e)} for e in (0, 1))
    assert len(first & second) < 10
    longest = [lengths[b].max() for b in batches.epoch(0)]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.3
    assert not np.array_equal(Batches(lengths, batch_size=20, seed=2).epoch(0)[0],
                              batches.epoch(0)[0])  # fmt: skip


@pytest.mark.parametrize("size", [{}, {"batch_size": 1, "batch_tokens": 1}, {"batch_size": 0}])
def test_a_size_is_asked_for(size):
    with pytest.raises(InputError, match="batch_size"):
        Batches(np.array([1]), **size)
    with pytest.raises(InputError, match="no examples"):
        Batches(np.array([]), batch_size=1)


@given(LENGTHS, st.integers(1, 200))
def test_evaluation_sees_every_example_once_within_its_budget(lengths, budget):
    found = list(by_length(lengths, budget))
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget


@given(LENGTHS, st.data())
def test_padded_sequences_are_the_sequences(lengths, data):
    sequences = [np.arange(n) + 100 * i for i, n in enumerate(lengths)]
    ragged = Ragged.of(sequences)
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9))
    padded, found = ragged.pad(chosen, -7)
    assert padded.shape == (max(1, lengths[chosen].max()), len(chosen))
    for column, i in enumerate(chosen):
        assert found[column] == lengths[i]
        assert padded[: lengths[i], column].tolist() == sequences[i].tolist() == ragged[i].tolist()
        assert (padded[lengths[i] :, column] == -7).all()


def test_rows_of_numbers_are_padded_too():
    rows = [np.random.rand(t, 3).astype("float32") for t in (2, 0, 5)]
    padded, lengths = Ragged.of(rows, np.float32).pad([2, 0])
    assert padded.shape == (5, 2, 3)
    assert padded.dtype == torch.float32
    assert lengths.tolist() == [5, 2]
    assert padded[:2, 1].numpy().tolist() == rows[0].tolist()
    assert not padded[2:, 1].any()


def test_a_fingerprint_tells_data_apart():
    a, b = Ragged.of([[1, 2], [3]]), Ragged.of([[1], [2, 3]])
    assert a.fingerprint() == Ragged.of([[1, 2], [3]]).fingerprint() != b.fingerprint()
