"""Pooling against each sequence by itself, in NumPy."""

import numpy as np
import pytest
import torch

import throughtime as tt
from throughtime.ground.errors import InputError
from throughtime.layers.pooling import POOLINGS, Pooling

LENGTHS = torch.tensor([5, 1, 0, 3])


def oracle(pooling, y, final):
    """One sequence y [T_x, n] and its final states."""
    if not len(y):
        return np.zeros(y.shape[1])
    if pooling.kind == "last":
        return final
    if pooling.kind == "mean":
        return y.mean(0)
    if pooling.kind == "max":
        return y.max(0)
    W, b = (p.detach().numpy() for p in pooling.keys.parameters())
    scores = np.tanh(y @ W.T + b) @ pooling.query.weight.detach().numpy()[0]
    weights = np.exp(scores - scores.max())
    return weights / weights.sum() @ y


@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_is_that_of_each_sequence_and_padding_is_inert(kind):
    stack = tt.Stack(tt.GRU, 3, 4, 2, bidirectional=True).double()
    pooling = Pooling(kind, 8).double()
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    y, state = stack(x, lengths=LENGTHS)
    y = y.detach().requires_grad_()
    found = pooling(y, state.c[-2:], LENGTHS)
    for i, T in enumerate(LENGTHS.tolist()):
        last = [y[T - 1, i, :4], y[0, i, 4:]] if T else [y[0, i] * 0]
        expected = oracle(pooling, y[:T, i].detach().numpy(), torch.cat(last).detach().numpy())
        np.testing.assert_allclose(found[i].detach(), expected, atol=1e-12)
    if kind != "last":
        found.sum().backward()
        assert torch.isfinite(y.grad).all()
        assert not y.grad[3:, 3].any()
        assert y.grad[:3, 3].any()


def test_an_unknown_pooling_names_the_nearest():
    with pytest.raises(InputError, match="'mean'"):
        Pooling("maen", 4)
