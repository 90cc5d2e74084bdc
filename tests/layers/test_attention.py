import numpy as np
import pytest
import torch

from throughtime.layers import attention as attentions
from throughtime.layers.attention import Attention


def by_hand(attention, s, h):
    """One state [n], one source [T, n_h]: the context and the weights, in NumPy."""
    K = attention.keys.weight.detach().numpy()
    if attention.kind == "multiplicative":
        e = np.array([s @ K @ row for row in h])
    else:
        b = attention.keys.bias.detach().numpy()
        Q, v = attention.queries.weight.detach().numpy(), attention.v.detach().numpy()
        e = np.array([v @ np.tanh(Q @ s + K @ row + b) for row in h])
    if not len(h):
        return np.zeros(h.shape[1]), e
    weights = np.exp(e - e.max())
    weights /= weights.sum()
    return weights @ h, weights


@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
@pytest.mark.parametrize("largest", [1, 10**9])
def test_it_is_the_equations_sentence_by_sentence(kind, largest, monkeypatch):
    monkeypatch.setattr(attentions, "SCORES_AT_ONCE", largest)
    attention = Attention(kind, 3, 5).double()
    lengths = torch.tensor([4, 0, 2, 1])
    h = torch.randn(4, 4, 5, dtype=torch.float64)
    s = torch.randn(6, 4, 3, dtype=torch.float64)
    h[2:, 2] = h[1:, 3] = h[:, 1] = torch.nan  # padding
    context, weights = attention(s, attention.memory(h, lengths))
    for i, length in enumerate(lengths):
        for t in range(6):
            c, a = by_hand(attention, s[t, i].numpy(), h[:length, i].numpy())
            np.testing.assert_allclose(context[t, i].detach(), c, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(weights[t, i, :length].detach(), a, rtol=1e-12)
            assert not weights[t, i, length:].any()


@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
def test_gradients_are_right_in_any_pieces_and_nothing_flows_from_padding(kind, monkeypatch):
    attention = Attention(kind, 3, 5).double()
    lengths = torch.tensor([3, 0])
    h = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    s = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for largest in (10**9, 1):
        monkeypatch.setattr(attentions, "SCORES_AT_ONCE", largest)
        context, weights = attention(s, attention.memory(h, lengths))
        total = (context**2).sum() + (weights**3).sum()
        found.append(torch.autograd.grad(total, [s, h, *attention.parameters()]))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        assert torch.isfinite(a).all()
    assert not found[0][1][:, 1].any()
    assert torch.autograd.gradcheck(
        lambda s, h: attention(s, attention.memory(h, lengths))[0], (s, h)
    )
