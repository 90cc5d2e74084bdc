"""`tt.nn` against torch.nn, with the same parameters: nothing but the import may change."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import throughtime as tt
from cases import modest
from faces import (
    KINDS,
    as_tuple,
    assert_all_close,
    assert_equal_layers,
    both_backends,
    every_kind,
    inputs_for,
    layers,
    pair,
)
from oracles import lstm_with_projection
from throughtime.ground.errors import InputError, ShapeError


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@both_backends
@every_kind
@given(layers())
@settings(modest, max_examples=25)
def test_layers_equal_torchs_with_every_gradient(kind, backend, dtype, drawn):
    torch.manual_seed(drawn["seed"])
    ours, theirs = pair(kind, *drawn["sizes"], backend=backend, dtype=dtype, **drawn["options"])
    assert_equal_layers(ours, theirs, *inputs_for(drawn, theirs, dtype), dtype)


@pytest.mark.parametrize("backend", ["auto", "native", "reference"])
@given(layers())
@modest
def test_projections_equal_torchs_with_every_gradient(backend, drawn):
    torch.manual_seed(drawn["seed"])
    ours, theirs = pair("LSTM", *drawn["sizes"], backend=backend, proj_size=1, **drawn["options"])
    assert_equal_layers(ours, theirs, *inputs_for(drawn, theirs, torch.float64), torch.float64)


@both_backends
@every_kind
def test_odd_widths_and_longer_sequences_equal_torchs(kind, backend):
    torch.manual_seed(0)
    ours, theirs = pair(kind, 33, 40, 2, backend=backend, bidirectional=True)
    x = torch.randn(25, 7, 33).double()
    assert_equal_layers(ours, theirs, x, None, torch.float64)
    assert_equal_layers(ours, theirs, x.transpose(0, 1)[:, ::2], None, torch.float64)


def test_a_wrong_gate_order_is_noticed():
    torch.manual_seed(0)
    ours, theirs = pair("LSTM", 3, 4, backend="reference")
    with torch.no_grad():
        i, f, g, o = ours.weight_hh_l0.chunk(4)
        ours.weight_hh_l0.copy_(torch.cat([f, i, g, o]))
    with pytest.raises(AssertionError):
        assert_equal_layers(ours, theirs, torch.randn(3, 2, 3).double(), None, torch.float64)


def test_projection_equals_the_numpy_equations():
    torch.manual_seed(0)
    n_x, n, p = 3, 5, 2
    layer = tt.nn.LSTM(n_x, n, proj_size=p).double()
    x, h, c = torch.randn(6, 1, n_x), torch.randn(1, 1, p), torch.randn(1, 1, n)
    y, (h_n, c_n) = layer(x.double(), (h.double(), c.double()))
    W_ih, W_hh, b_ih, b_hh, W_hr = (w.detach().numpy() for w in layer.parameters())
    right = lstm_with_projection(
        *(v.double().numpy() for v in (x[:, 0], h[0, 0], c[0, 0])), W_ih, W_hh, b_ih + b_hh, W_hr
    )
    for mine, theirs in zip((y[:, 0], h_n[0, 0], c_n[0, 0]), right):
        np.testing.assert_allclose(mine.detach().numpy(), theirs, rtol=0, atol=1e-12)


# Parameters


@pytest.mark.parametrize("bias", [True, False])
@every_kind
def test_state_dicts_load_strictly_both_ways(kind, bias):
    ours, theirs = pair(kind, 3, 4, 2, bidirectional=True, bias=bias)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.nn.init.ones_(ours.weight_hh_l0)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name])


@every_kind
def test_the_same_seed_gives_torchs_initial_values(kind):
    our_class, their_class, options = KINDS[kind]
    torch.manual_seed(4)
    ours = our_class(3, 4, 2, **options).state_dict()
    torch.manual_seed(4)
    theirs = their_class(3, 4, 2, **options).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@every_kind
def test_each_layer_is_torchs_with_its_defaults(kind):
    ours, theirs = pair(kind, 3, 4)
    assert isinstance(ours, type(theirs))
    for name in ("num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.backend == "auto"


# lengths=


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("hx", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize(
    "lengths", [[3, 0, 5, 2], [0, 0, 0, 0], [5, 5, 5, 5], [1, 4, 4, 0]], ids=str
)
@pytest.mark.parametrize(
    ("kind", "backend", "proj_size"),
    [("LSTM", "auto", 3), *((kind, b, 0) for kind in KINDS for b in ("auto", "reference"))],
)
def test_lengths_mean_each_sequence_alone(kind, backend, proj_size, lengths, hx, batch_first):
    torch.manual_seed(0)
    options = {"bidirectional": True, "batch_first": batch_first, "backend": backend}
    if proj_size:
        options["proj_size"] = proj_size
    ours, theirs = pair(kind, 3, 4, 2, **options)
    x = torch.randn(5, 4, 3).double()
    padding = torch.arange(5)[:, None] >= torch.tensor(lengths)
    x[padding] = float("nan")
    widths = [ours.proj_size or 4] + ([4] if ours.mode == "LSTM" else [])
    state = tuple(torch.randn(4, 4, width).double() for width in widths) if hx else None
    x.requires_grad_()
    y, final = ours(
        x.transpose(0, 1) if batch_first else x,
        state if state is None or len(state) > 1 else state[0],
        lengths=torch.tensor(lengths, dtype=torch.int32),
    )
    y = y.transpose(0, 1) if batch_first else y
    assert y.shape == (5, 4, 2 * widths[0])
    assert torch.equal(y[padding], torch.zeros_like(y[padding]))
    for b, length in enumerate(lengths):
        before = None if state is None else tuple(part[:, b : b + 1] for part in state)
        if length:
            alone = x.detach()[:length, b : b + 1].clone().requires_grad_()
            out, end = theirs(
                alone.transpose(0, 1) if batch_first else alone,
                before if before is None or len(before) > 1 else before[0],
            )
            out = out.transpose(0, 1) if batch_first else out
            (right,) = torch.autograd.grad(out.sum(), alone)
            (got,) = torch.autograd.grad(y[:, b].sum(), x, retain_graph=True)
            expected = torch.zeros(5, 4, 3).double()
            expected[:length, b] = right[:, 0]
            assert_all_close([got], [expected], torch.float64)
            assert_all_close([y[:length, b]], [out[:, 0]], torch.float64)
            end = as_tuple(end)
        else:
            end = before or tuple(torch.zeros(4, 1, width).double() for width in widths)
        for part, right in zip(as_tuple(final), end, strict=True):
            assert_all_close([part[:, b : b + 1]], [right], torch.float64)


@both_backends
@every_kind
def test_lengths_equal_a_packed_sequence(kind, backend):
    torch.manual_seed(0)
    ours, theirs = pair(kind, 3, 4, 2, backend=backend)
    sequences = [torch.randn(length, 3).double() for length in (2, 5, 3)]
    packed, right_end = theirs(pack_sequence(sequences, enforce_sorted=False))
    right, lengths = pad_packed_sequence(packed)
    y, end = ours(torch.nn.utils.rnn.pad_sequence(sequences), lengths=lengths)
    assert_all_close([y, *as_tuple(end)], [right, *as_tuple(right_end)], torch.float64)


# Dropout


@both_backends
@every_kind
def test_dropout_acts_between_layers_in_training_only(kind, backend):
    torch.manual_seed(0)
    ours, theirs = pair(kind, 3, 4, 2, backend=backend, dropout=0.5)
    x = torch.randn(5, 2, 3).double()
    ours.eval(), theirs.eval()
    assert_equal_layers(ours, theirs, x, None, torch.float64)
    ours.train()
    one, other = ours(x)[0], ours(x)[0]
    assert not torch.equal(one, other)
    ours.dropout = 0.0
    theirs.dropout = 0.0
    theirs.train()
    assert_equal_layers(ours, theirs, x, None, torch.float64)


@both_backends
def test_dropout_zeroes_the_asked_part_of_what_the_next_layer_sees(backend):
    torch.manual_seed(0)
    ours, _ = pair("RNN relu", 50, 50, 2, backend=backend, dropout=0.25, bias=False)
    with torch.no_grad():
        for k in range(2):
            getattr(ours, f"weight_ih_l{k}").copy_(torch.eye(50))
            getattr(ours, f"weight_hh_l{k}").zero_()
    y, _ = ours(torch.ones(20, 10, 50).double())
    assert set(y.unique().tolist()) == {0, 1 / 0.75}
    assert abs(float((y == 0).double().mean()) - 0.25) < 0.02


@every_kind
def test_dropout_has_torchs_masks(kind):
    torch.manual_seed(0)
    ours, theirs = pair(kind, 3, 4, 3, dropout=0.4)
    x = torch.randn(5, 2, 3).double()
    torch.manual_seed(1)
    y, _ = ours(x)
    torch.manual_seed(1)
    right, _ = theirs(x)
    torch.testing.assert_close(y, right, rtol=0, atol=1e-12)


def test_dropout_with_one_layer_warns_as_torch_does():
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        tt.nn.GRU(3, 4, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tt.nn.GRU(3, 4, 2, dropout=0.5)


# What a layer refuses


def test_an_unknown_backend_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown backend 'referense'. Did you mean 'reference'"):
        tt.nn.LSTM(3, 4, backend="referense")


def test_projections_are_compiled_and_not_left_to_torch(monkeypatch):
    monkeypatch.setattr(torch.nn.LSTM, "forward", None)
    y, (h, c) = tt.nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True)(torch.randn(5, 2, 3))
    assert (y.shape[-1], h.shape[-1], c.shape[-1]) == (4, 2, 4)


@both_backends
def test_lengths_beside_a_packed_sequence_are_refused(backend):
    packed = pack_sequence([torch.randn(3, 3)])
    with pytest.raises(InputError, match="holds its own lengths; leave out lengths="):
        tt.nn.LSTM(3, 4, backend=backend)(packed, lengths=torch.tensor([3]))


@both_backends
def test_lengths_need_a_batch(backend):
    for x in (torch.randn(5, 3), torch.randn(1, 5, 2, 3)):
        with pytest.raises(InputError, match="lengths need a batch"):
            tt.nn.LSTM(3, 4, backend=backend)(x, lengths=torch.tensor([3, 5]))


@pytest.mark.parametrize("batch_first", [False, True])
@both_backends
def test_lengths_that_do_not_fit_are_refused(backend, batch_first):
    layer = tt.nn.GRU(3, 4, backend=backend, batch_first=batch_first)
    x = torch.randn(2, 5, 3) if batch_first else torch.randn(5, 2, 3)
    for lengths, said in [
        ([1, 6], "between 0 and T = 5; got 1 to 6"),
        ([-1, 3], "between 0 and T = 5; got -1 to 3"),
        ([1, 2, 3], r"shape \[2\].* got torch.int64 \[3\]"),
        ([1.0, 2.0], r"integers of shape \[2\].* got torch.float32"),
    ]:
        with pytest.raises(ShapeError, match=said):
            layer(x, lengths=torch.tensor(lengths))


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3])], ids=["", "lengths"])
@both_backends
@every_kind
def test_a_state_of_another_shape_raises_torchs_error(kind, backend, lengths):
    ours, _ = pair(kind, 3, 4, 2, backend=backend)
    x = torch.randn(5, 2, 3).double()
    for shape in [(1, 2, 4), (2, 3, 4), (2, 2, 5), (2, 4)]:
        part = torch.zeros(shape).double()
        with pytest.raises(RuntimeError):
            ours(x, (part, part) if kind == "LSTM" else part, lengths=lengths)


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3])], ids=["", "lengths"])
@both_backends
@every_kind
def test_input_of_another_width_raises_torchs_error(kind, backend, lengths):
    ours, _ = pair(kind, 3, 4, backend=backend)
    said = r"input.size\(-1\) must be equal to input_size. Expected 3, got 2"
    with pytest.raises(RuntimeError, match=said):
        ours(torch.randn(5, 2, 2).double(), lengths=lengths)


@both_backends
def test_input_of_other_dimensions_raises_torchs_error(backend):
    for shape in [(3,), (1, 5, 2, 3)]:
        with pytest.raises(ValueError, match=r"Expected input to be 2D or 3D, got .D instead"):
            tt.nn.LSTM(3, 4, backend=backend)(torch.randn(shape))


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3])], ids=["", "lengths"])
def test_a_state_of_too_few_or_too_many_parts_is_refused(lengths):
    layer = tt.nn.LSTM(3, 4, backend="reference")
    part = torch.zeros(1, 2, 4)
    for wrong in (part, (part,), (part, part, part)):
        with pytest.raises(InputError, match=r"hx must be \(h_0, c_0\); got"):
            layer(torch.randn(5, 2, 3), wrong, lengths=lengths)
    with pytest.raises(InputError, match="hx must be h_0; got 2"):
        tt.nn.GRU(3, 4, backend="reference")(torch.randn(5, 2, 3), (part, part))
