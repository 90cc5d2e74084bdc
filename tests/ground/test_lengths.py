"""Ragged batches: masks, reversal and checks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import modest
from throughtime.ground import lengths as ragged
from throughtime.ground.errors import ShapeError

CPU = torch.device("cpu")


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """x [T, B, …] of distinct numbers, and lengths [B]."""
    T, B = draw(st.integers(0, 6)), draw(st.integers(0, 4))
    shape = (T, B, *draw(st.lists(st.integers(1, 3), max_size=2)))
    lengths = draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    return x, torch.tensor(lengths, dtype=torch.int64)


@given(batches())
@modest
def test_reversing_ragged_sequences_twice_is_the_identity(batch):
    x, lengths = batch
    assert torch.equal(ragged.reverse(ragged.reverse(x, lengths), lengths), x)
    assert torch.equal(ragged.reverse(ragged.reverse(x, None), None), x)


@given(batches())
@modest
def test_reversing_turns_each_sequence_within_its_length_and_leaves_its_padding(batch):
    x, lengths = batch
    turned = ragged.reverse(x, lengths)
    for b, length in enumerate(lengths.tolist()):
        assert turned[:length, b].tolist() == x[:length, b].tolist()[::-1]
        assert torch.equal(turned[length:, b], x[length:, b])


@given(batches())
@modest
def test_reversing_full_sequences_is_reversing_time(batch):
    x, lengths = batch
    full = torch.full_like(lengths, x.shape[0])
    assert torch.equal(ragged.reverse(x, full), ragged.reverse(x, None))
    assert torch.equal(ragged.reverse(x, None), x.flip(0))


def test_reversing_has_the_reversed_gradient():
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([4, 0, 3])
    upstream = torch.randn(4, 3, 2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(ragged.reverse(x, lengths), x, upstream)
    assert torch.equal(gradient, ragged.reverse(upstream, lengths))


@given(batches())
@modest
def test_the_mask_is_true_before_each_length(batch):
    x, lengths = batch
    T, B = x.shape[:2]
    mask = ragged.mask(lengths, T)
    assert mask.dtype == torch.bool
    assert mask.shape == (T, B)
    assert [[t < int(lengths[b]) for b in range(B)] for t in range(T)] == mask.tolist()


@given(batches(), st.sampled_from([float("nan"), float("inf"), 1e30]))
@modest
def test_zero_padding_removes_whatever_stood_in_the_padding(batch, fill):
    x, lengths = batch
    mask = ragged.mask(lengths, x.shape[0])
    filled = x.clone()
    filled[~mask] = fill
    cleaned = ragged.zero_padding(filled, lengths)
    assert torch.equal(cleaned[mask], x[mask])
    assert torch.equal(cleaned[~mask], torch.zeros_like(x[~mask]))


def test_zero_padding_passes_no_gradient_into_the_padding():
    x = torch.full((3, 2, 2), float("nan"), requires_grad=True)
    lengths = torch.tensor([1, 3])
    (gradient,) = torch.autograd.grad(ragged.zero_padding(x, lengths).sum(), x)
    assert torch.equal(gradient, ragged.mask(lengths, 3)[..., None].expand(3, 2, 2).float())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_lengths_of_any_integer_kind_become_int64(dtype):
    checked = ragged.check(torch.tensor([3, 0, 2], dtype=dtype), 3, 3, CPU)
    assert checked.dtype == torch.int64
    assert checked.tolist() == [3, 0, 2]


def test_lengths_may_be_a_list():
    assert torch.equal(ragged.check([1, 2], 2, 2, CPU), torch.tensor([1, 2]))


def test_lengths_of_an_empty_batch_are_accepted():
    assert ragged.check(torch.zeros(0, dtype=torch.int64), 4, 0, CPU).shape == (0,)


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        (torch.tensor([1.0, 2.0]), r"integers of shape \[2\].*got torch.float32 \[2\]"),
        (torch.tensor([True, False]), "got torch.bool"),
        (torch.tensor([1, 2, 3]), r"shape \[2\].*got torch.int64 \[3\]"),
        (torch.tensor([[1, 2]]), r"got torch.int64 \[1, 2\]"),
        (torch.tensor(2), r"got torch.int64 \[\]"),
        (torch.tensor([0, 4]), "between 0 and T = 3; got 0 to 4"),
        (torch.tensor([-1, 2]), "between 0 and T = 3; got -1 to 2"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, said):
    with pytest.raises(ShapeError, match=said):
        ragged.check(lengths, 3, 2, CPU)
