import pytest
import torch
from torch.nn import functional as F

from throughtime.ground.errors import InputError
from throughtime.layers import heads


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("chunk", [1, 50 * 7, 10**9])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_chunked_loss_and_its_gradients_equal_the_whole(dtype, chunk, smoothing, monkeypatch):
    monkeypatch.setattr(heads, "LOGITS_AT_ONCE", chunk)
    softmax = heads.Softmax(16, 50).to(dtype)
    h = torch.randn(33, 16, dtype=dtype, requires_grad=True)
    y = torch.randint(50, (33,))
    whole = F.cross_entropy(softmax.logits(h).double(), y, label_smoothing=smoothing)
    parameters = [h, softmax.weight, softmax.bias]
    expected = torch.autograd.grad(3 * whole, parameters)
    loss = softmax(h, y, smoothing)
    given = torch.autograd.grad(3 * loss, parameters)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(loss.double(), whole, rtol=tolerance, atol=0)
    for a, b in zip(given, expected):
        torch.testing.assert_close(a, b, rtol=10 * tolerance, atol=tolerance)


def test_large_logits_do_not_overflow():
    softmax = heads.Softmax(4, 10)
    h = torch.full((3, 4), 1e4, requires_grad=True)
    loss = softmax(h, torch.tensor([0, 1, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(h.grad).all()


def test_nothing_is_kept_where_no_gradient_is_wanted():
    softmax = heads.Softmax(4, 10)
    with torch.no_grad():
        assert softmax(torch.randn(3, 4), torch.tensor([0, 1, 2])).grad_fn is None


def test_bf16_stays_near_float32():
    softmax = heads.Softmax(64, 100)
    h, y = torch.randn(50, 64, requires_grad=True), torch.randint(100, (50,))
    exact = softmax(h, y)
    with torch.autocast("cpu", torch.bfloat16):
        rough = softmax(h, y)
    rough.backward()
    assert rough.dtype == torch.float32
    assert h.grad.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0.01)


def test_nats_of_each_token_average_to_the_loss(monkeypatch):
    monkeypatch.setattr(heads, "LOGITS_AT_ONCE", 300)
    for head in (heads.Softmax(16, 100), heads.AdaptiveSoftmax(16, 100, [10, 40])):
        h, y = torch.randn(33, 16), torch.randint(100, (33,))
        nats = head.nats(h, y)
        assert nats.shape == (33,)
        torch.testing.assert_close(nats.mean(), head(h, y))
        log_p = head.logits(h).log_softmax(1)
        torch.testing.assert_close(-log_p[range(33), y], nats)


@pytest.mark.parametrize("cutoffs", [[40, 10], [10, 200], [5, 5]])
def test_cutoffs_that_do_not_rise_below_the_vocabulary_are_refused(cutoffs):
    with pytest.raises(InputError, match="cutoffs"):
        heads.AdaptiveSoftmax(16, 100, cutoffs)


def test_too_narrow_for_its_clusters_is_refused():
    with pytest.raises(InputError, match="at least 16"):
        heads.AdaptiveSoftmax(15, 100, [10, 40])


def test_a_small_vocabulary_is_told_it_needs_no_adaptive_softmax():
    with pytest.raises(InputError, match="head full"):
        heads.AdaptiveSoftmax(16, 100)


def test_output_layers_act_on_each_step_alone():
    layers = heads.OutputLayers(8, [6, 5], dropout=0.0)
    x = torch.randn(7, 3, 8)
    assert layers.output_size == 5
    torch.testing.assert_close(layers(x)[2], layers(x[2]))
