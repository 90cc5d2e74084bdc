"""Stacks whose layers differ in cell or size: as if one stack of one layer stood on another."""

import copy
import io
import pickle

import pytest
import torch

import throughtime as tt
from cases import TwoMemories, assert_close, language_model, log_probabilities
from stacks import LENGTHS, N_X, RESET, B, T, with_gradients
from throughtime.decoding import beam_search, reorder
from throughtime.ground.errors import InputError, ShapeError
from throughtime.layers.states import each, like, tensors

KINDS = {
    "sizes": (tt.LSTM, [5, 3, 4]),
    "cells": ([tt.GRU, tt.LSTM, TwoMemories], 4),
    "both": ([tt.PeepholeLSTM("current"), tt.RNN(), tt.GRUResetAfter()], [3, 5, 2]),
    "some": ([tt.GRU, tt.GRU, tt.LSTM], [4, 4, 4]),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, **options):
    torch.manual_seed(3)
    cell, sizes = KINDS[kind]
    stack = tt.Stack(cell, N_X, sizes, **options).double()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.uniform_(-0.7, 0.7)
    return stack


def data(stack):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    D = stack.directions
    return normal(T, B, N_X), tuple(
        cell.State(*(normal(D, B, n) for _ in cell.state))
        for cell, n in zip(stack.cells, stack.hidden_sizes)
    )


def by_layers(stack, x, state, lengths=None, reset=None):
    """The same from stacks of one layer, with the same weights."""
    finals, D = [], stack.directions
    for k, (cell, n) in enumerate(zip(stack.cells, stack.hidden_sizes)):
        options = {"bidirectional": D == 2, "backend": "reference"}
        learned = bool(stack.weights[0].first)
        layer = tt.Stack(cell, x.shape[-1], n, 1, learned_initial_state=learned, **options)
        layer.weights = stack.weights[k * D : k * D + D]
        own = None if state is None else state[k]
        y, final = layer(x, own, lengths=lengths, reset=reset)
        x = y + x if stack.skips and k and y.shape == x.shape else y
        finals.append(final)
    return x, tuple(finals)


@pytest.mark.parametrize("given", [False, True], ids=["", "state given"])
@pytest.mark.parametrize(
    ("lengths", "reset"), [(None, None), (LENGTHS, None), (None, RESET), (LENGTHS, RESET)]
)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("learned", [False, True], ids=["", "learned"])
@every_kind
def test_it_is_its_layers_one_on_another(kind, learned, bidirectional, lengths, reset, given):
    stack = make(kind, bidirectional=bidirectional, learned_initial_state=learned)
    x, state = data(stack)
    leaves = [x, *tensors(state)] if given else [x]
    for leaf in leaves:
        leaf.requires_grad_()
    y, final = stack(x, state if given else None, lengths=lengths, reset=reset)
    assert y.shape == (T, B, stack.hidden_sizes[-1] * stack.directions)
    right = by_layers(stack, x, state if given else None, lengths, reset)
    assert_close(with_gradients(stack, y, final, *leaves), with_gradients(stack, *right, *leaves))


@every_kind
def test_the_state_is_a_tuple_with_one_for_each_layer(kind):
    stack = make(kind, bidirectional=True)
    _, final = stack(data(stack)[0])
    for state in (final, stack.initial_state(B)):
        assert type(state) is tuple
        for cell, n, one in zip(stack.cells, stack.hidden_sizes, state, strict=True):
            assert type(one) is cell.State
            assert all(part.shape == (2, B, n) for part in one)


def test_beam_search_carries_the_states_of_its_hypotheses():
    """Each score is that of the tokens read at once."""
    model = language_model([tt.GRU, tt.LSTM])
    with torch.no_grad():
        found = beam_search(model, [2, 5], 5, 4)
    assert len(found) == 4
    for tokens, score in found:
        read = torch.tensor([2, 5, *tokens])
        each_one = [log_probabilities(model, read[: k + 2])[t] for k, t in enumerate(tokens)]
        assert abs(float(sum(each_one)) - score) < 1e-9


def test_one_cell_and_one_size_given_as_lists_are_a_stack_as_ever():
    torch.manual_seed(0)
    plain = tt.Stack(tt.GRU, N_X, 5, 2)
    torch.manual_seed(0)
    lists = tt.Stack([tt.GRU, tt.GRU()], N_X, [5, 5])
    assert lists.num_layers == 2
    assert lists.hidden_size == 5
    assert lists.cell == tt.GRU()
    x = torch.randn(T, B, N_X)
    for (y, state), (right, same) in [(lists(x), plain(x))]:
        assert torch.equal(y, right)
        assert type(state) is tt.GRU.State
        assert torch.equal(state.c, same.c)


@every_kind
def test_step_by_step_equals_the_whole_and_so_do_pieces(kind):
    stack = make(kind, skips=kind in ("cells", "some"))
    x, state = data(stack)
    whole, final = stack(x, state)
    carried, ys = state, []
    for x_t in x:
        y, carried = stack.step(x_t, carried)
        ys.append(y)
    assert_close(
        with_gradients(stack, torch.stack(ys), carried), with_gradients(stack, whole, final)
    )
    head, between = stack(x[:2], state)
    tail, end = stack(x[2:], between)
    assert_close(
        with_gradients(stack, torch.cat([head, tail]), end), with_gradients(stack, whole, final)
    )
    assert torch.equal(stack.step(x[0])[0], stack(x[:1])[0][0])


def test_skips_are_added_where_widths_agree():
    stack = tt.Stack(tt.GRU, N_X, [4, 4, 3], skips=True, bidirectional=True).double()
    x = torch.randn(T, B, N_X).double()
    y, final = stack(x)
    right = by_layers(stack, x, None)
    assert_close(with_gradients(stack, y, final), with_gradients(stack, *right))
    stack.skips = False
    assert float((stack(x)[0] - y).detach().abs().max()) > 1e-3
    with pytest.raises(InputError, match=r"no neighbours of hidden_size \[4, 3\] are"):
        tt.Stack(tt.GRU, N_X, [4, 3], skips=True)


def test_dropout_acts_between_layers_of_any_size():
    stack = make("both", dropout=0.5, locked_dropout=True, weight_drop=0.3).train()
    x, _ = data(stack)
    first, second = stack(x)[0], stack(x)[0]
    assert not torch.equal(first, second)
    stack.eval()
    assert torch.equal(stack(x)[0], stack(x)[0])


@every_kind
def test_copies_pickles_and_graphs(kind):
    stack = make(kind)
    x, state = data(stack)
    y, final = stack(x, state)
    for other in (copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        assert torch.equal(other(x, state)[0], y)
    again = copy.deepcopy(each(torch.Tensor.detach, final))
    assert all(map(torch.equal, tensors(again), tensors(final)))
    buffer = io.BytesIO()
    torch.save(each(torch.Tensor.detach, final), buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)
    assert [type(one) for one in loaded] == [cell.State for cell in stack.cells]
    assert all(map(torch.equal, tensors(loaded), tensors(final)))
    exported = torch.export.export(stack, (x, state)).module()
    assert_close(with_gradients(stack, *exported(x, state)), with_gradients(stack, y, final))


@every_kind
def test_a_state_is_taken_apart_and_put_together_again(kind):
    for bidirectional in (False, True):
        stack = make(kind, bidirectional=bidirectional)
        _, state = data(stack)
        layout = stack.layout
        for made in (
            layout.together(layout.apart(state)),
            layout.of_layers(layout.by_layer(state)),
            like(stack.initial_state(1), tensors(state)),
        ):
            assert type(made) is tuple
            assert all(map(torch.equal, tensors(made), tensors(state)))
        rows = torch.tensor([2, 0, 2])
        for part, old in zip(tensors(reorder(state, rows)), tensors(state), strict=True):
            assert torch.equal(part, old[:, rows])
    with pytest.raises(ValueError, match="2 parts of a state that has"):
        like(state, tensors(state)[:2])


@pytest.mark.parametrize(
    ("cell", "size", "layers", "said"),
    [
        (tt.GRU, [4, 3], 3, "num_layers is 3, hidden_size has 2"),
        ([tt.GRU, tt.LSTM], [4, 3, 2], None, "hidden_size has 3, cell has 2"),
        ([tt.GRU, tt.LSTM], 4, 1, "num_layers is 1, cell has 2"),
        (tt.GRU, [4, 0], None, "hidden_size must be at least 1, got 0"),
        (tt.GRU, [], None, "num_layers must be at least 1, got 0"),
        ([tt.GRU, 7], 4, None, "cell must be a tt.Cell .* got 7"),
        ([tt.GRU, "lstn"], 4, None, "unknown cell 'lstn'. Did you mean 'lstm'"),
    ],
)
def test_contradictions_are_told_in_one_line(cell, size, layers, said):
    with pytest.raises(InputError, match=said) as raised:
        tt.Stack(cell, N_X, size, layers)
    assert "\n" not in str(raised.value)


def test_a_state_of_another_layout_is_refused():
    stack = make("both")
    x, state = data(stack)
    for wrong, said in (
        (state[:2], "a tuple with one state for each of 3 layers.* got 2 states"),
        (state[0], "got PeepholeLSTMState"),
        ((state[0], state[1], state[0]), "of layer 3 has the parts c; got a, c"),
        ((state[0], tt.RNN.State(state[2].c), state[2]), r"a of layer 2 must be \[1, 4, 5\]"),
    ):
        with pytest.raises(ShapeError, match=said):
            stack(x, wrong)
    with pytest.raises(InputError, match=r"different cells: look at stack\.cells"):
        _ = stack.cell
    assert stack.hidden_size == (3, 5, 2)
    assert "[PeepholeLSTM" in repr(stack)
