"""Hooks on weights: as on torch.nn.LSTM, with every backend, and at every call."""

import copy

import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import throughtime as tt
from cases import assert_close
from throughtime.scans import BACKENDS

every_backend = pytest.mark.parametrize("backend", ["auto", *BACKENDS])
N_X, N = 4, 5


class Half(torch.nn.Module):
    def forward(self, W):
        return W / 2


def count_call(module, given):
    module.seen = getattr(module, "seen", 0) + 1


def settled(module):
    """Its power iteration goes on at every read in training, and torch's layer reads it often."""
    module.parametrizations.eval()
    return module


WAYS = {
    "spectral norm": lambda m, name: spectral_norm(m, name),
    "weight norm": lambda m, name: weight_norm(m, name),
    "pruning": lambda m, name: prune.l1_unstructured(m, name, 0.5),
    "spectral parametrization": lambda m, name: settled(parametrizations.spectral_norm(m, name)),
    "weight parametrization": lambda m, name: parametrizations.weight_norm(m, name),
    "orthogonal": lambda m, name: parametrizations.orthogonal(m, name),
    "own": lambda m, name: parametrize.register_parametrization(m, name, Half()),
}


def pair(backend):
    """A stack and torch's layer of the same weights, whose second bias is fixed at zero."""
    torch.manual_seed(0)
    stack = tt.Stack(tt.LSTM, N_X, N, backend=backend)
    theirs = torch.nn.LSTM(N_X, N)
    with torch.no_grad():
        w = stack.weights[0]
        theirs.weight_ih_l0.copy_(w.W_x)
        theirs.weight_hh_l0.copy_(w.W_a)
        theirs.bias_ih_l0.copy_(w.b)
        theirs.bias_hh_l0.zero_()
    theirs.bias_hh_l0.requires_grad_(False)
    return stack, theirs


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's older norms
@every_backend
@pytest.mark.parametrize("way", WAYS)
def test_a_hooked_weight_is_trained_as_in_torchs_layer(way, backend):
    stack, theirs = pair(backend)
    for module, name in ((stack.weights[0], "W_a"), (theirs, "weight_hh_l0")):
        torch.manual_seed(1)  # spectral norms begin at a random vector
        WAYS[way](module, name)
    x = torch.randn(6, 3, N_X)
    sides = [(stack, stack.weights[0], "W_a"), (theirs, theirs, "weight_hh_l0")]
    optimizers = [torch.optim.SGD(side.parameters(), 0.3) for side, *_ in sides]
    before = copy.deepcopy(stack.state_dict())
    for _ in range(3):
        results = []
        for (side, module, name), optimizer in zip(sides, optimizers):
            optimizer.zero_grad()
            y, _ = side(x)
            (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
            gradients = {
                k.replace(name, "W"): p.grad for k, p in module.named_parameters() if name in k
            }
            assert gradients
            results.append({"y": y, "W": getattr(module, name), **gradients})
            optimizer.step()
        assert_close(*results, torch.float32, roundings=200)
    moved = [k for k, v in stack.state_dict().items() if not torch.equal(v, before[k])]
    assert any("W_a" in name for name in moved)


@every_backend
def test_hooks_before_and_after_a_cells_weights_run_once_a_call(backend):
    stack, _ = pair(backend)
    stack.weights[0].register_forward_pre_hook(count_call)
    double = stack.weights[0].register_forward_hook(lambda module, given, w: w._replace(b=w.b * 2))
    x = torch.randn(6, 3, N_X)
    y, _ = stack(x)
    stack.run(x, stack.initial_state(3), None, None)
    stack.step(x[0])
    assert stack.weights[0].seen == 3
    double.remove()
    assert not torch.equal(stack(x)[0], y)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@every_backend
@pytest.mark.parametrize("way", ["pruning", "own"])
def test_vectors_have_hooks_too(way, backend):
    if backend == "native":
        pytest.skip("torch's GRU has one vector; its hooks run before the backend is chosen")
    stack = tt.Stack(tt.PeepholeLSTM, N_X, N, backend=backend)
    plain = copy.deepcopy(stack)
    WAYS[way](stack.weights[0].vectors, "p_f")
    with torch.no_grad():
        plain.weights[0].vectors["p_f"].copy_(stack.weights[0].vectors["p_f"])
    x = torch.randn(6, 3, N_X)
    for _ in range(2):
        y, _ = stack(x)
        assert_close({"y": y}, {"y": plain(x)[0]}, torch.float32)
        y.sum().backward()
    assert stack.weights[0].vectors["p_f"].shape == (N,)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@every_backend
@pytest.mark.parametrize("way", WAYS)
def test_a_face_takes_hooked_weights_as_torchs_layer_does(way, backend):
    torch.manual_seed(0)
    ours, theirs = tt.nn.LSTM(N_X, N, backend=backend), torch.nn.LSTM(N_X, N)
    theirs.load_state_dict(ours.state_dict())
    for module in (ours, theirs):
        torch.manual_seed(1)
        WAYS[way](module, "weight_hh_l0")
    x = torch.randn(6, 3, N_X)
    for _ in range(2):
        results = []
        for module in (ours, theirs):
            module.zero_grad()
            y, _ = module(x)
            (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
            results.append({"y": y, **{k: p.grad for k, p in module.named_parameters()}})
        assert_close(*results, torch.float32, roundings=200)
