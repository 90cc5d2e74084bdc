"""Layers of `tt.nn` beside torch's: the same parameters, the same calls, every gradient."""

from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import throughtime as tt

KINDS = {
    "RNN tanh": (tt.nn.RNN, torch.nn.RNN, {}),
    "RNN relu": (tt.nn.RNN, torch.nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (tt.nn.LSTM, torch.nn.LSTM, {}),
    "GRU": (tt.nn.GRU, torch.nn.GRU, {}),
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_backends = pytest.mark.parametrize("backend", ["auto", "reference"])


def pair(kind: str, *sizes: int, backend: str = "auto", dtype=torch.float64, **options):
    """Ours and torch's, with the same parameters, loaded strictly from torch's."""
    our_class, their_class, more = KINDS[kind]
    ours = our_class(*sizes, backend=backend, **more, **options).to(dtype)
    theirs = their_class(*sizes, **more, **options).to(dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def as_tuple(hx: Any) -> tuple:
    return hx if isinstance(hx, tuple) else (hx,)


def assert_equal_layers(ours, theirs, x, hx, dtype) -> None:
    """Outputs, states and every gradient of both, called in the same way."""
    results = []
    for layer in (ours, theirs):
        leaves = list(layer.parameters())
        # A PackedSequence is made of its sequences, so that a gradient reaches each of them.
        inputs = [x] if isinstance(x, Tensor) else list(x)
        inputs = [one.detach().clone().requires_grad_() for one in inputs]
        packed = not isinstance(x, Tensor)
        given_x = pack_sequence(inputs, enforce_sorted=False) if packed else inputs[0]
        given_hx = hx
        if hx is not None:
            parts = [part.detach().clone().requires_grad_() for part in as_tuple(hx)]
            given_hx = tuple(parts) if isinstance(hx, tuple) else parts[0]
            inputs += parts
        y, final = layer(given_x, given_hx)
        assert isinstance(final, tuple) == isinstance(layer, torch.nn.LSTM)
        if packed:
            assert isinstance(y, PackedSequence)
            results.append(list(y[1:]))
            y = y.data
        outs = [y, *as_tuple(final)]
        generator = torch.Generator().manual_seed(7)
        loss = sum((o * torch.randn(o.shape, generator=generator).to(o)).sum() for o in outs)
        gradients = torch.autograd.grad(loss, leaves + inputs)
        results.append([*outs, *gradients])
    if len(results) == 4:  # batch sizes, sorted and unsorted indices
        for mine, right in zip(results.pop(0), results.pop(1)):
            assert (mine is None and right is None) or torch.equal(mine, right)
    assert_all_close(*results, dtype)


def assert_all_close(got: list[Tensor], expected: list[Tensor], dtype) -> None:
    for mine, right in zip(got, expected, strict=True):
        assert mine.shape == right.shape
        assert mine.dtype == right.dtype == dtype
        if right.numel():
            error = (mine - right).detach().abs().max()
            scale = max(1.0, float(right.detach().abs().max()))
            assert float(error) <= TOLERANCE[dtype] * scale


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes, options, the form of the input, and whether a state is given."""
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
    }
    form = draw(st.sampled_from(["batch", "unbatched", "packed", "packed sorted"]))
    T = draw(st.integers(1, 6))
    return {
        "sizes": (draw(st.integers(1, 5)), draw(st.integers(2, 6))),
        "options": options,
        "form": form,
        "lengths": draw(st.lists(st.integers(1, T), min_size=1, max_size=4)),
        "T": T,
        "hx": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**31)),
    }


def inputs_for(drawn: dict[str, Any], theirs: torch.nn.RNNBase, dtype):
    """x in the form drawn (for a PackedSequence: the list of its sequences) and hx."""
    B = len(drawn["lengths"])
    n_x, n = drawn["sizes"]
    form = drawn["form"]
    if form == "batch":
        shape = (B, drawn["T"], n_x) if theirs.batch_first else (drawn["T"], B, n_x)
        x = torch.randn(shape, dtype=dtype)
    elif form == "unbatched":
        x = torch.randn(drawn["T"], n_x, dtype=dtype)
    else:
        lengths = sorted(drawn["lengths"], reverse=True) if "sorted" in form else drawn["lengths"]
        x = [torch.randn(length, n_x, dtype=dtype) for length in lengths]
    if not drawn["hx"]:
        return x, None
    K = theirs.num_layers * (2 if theirs.bidirectional else 1)
    widths = [theirs.proj_size or n] + ([n] if theirs.mode == "LSTM" else [])
    batch = () if form == "unbatched" else (B,)
    hx = tuple(torch.randn(K, *batch, width, dtype=dtype) for width in widths)
    return x, hx if len(hx) > 1 else hx[0]
