"""A first state that is learned: where it is used, where its gradients go, where it has none."""

import copy

import pytest
import torch

import throughtime as tt
from cases import ALL_CELLS, assert_close
from stacks import LENGTHS, RESET, B, N, data, make, named
from throughtime.config import ClassifierModelConfig, from_dict
from throughtime.layers.inputs import NumberInput
from throughtime.models.classifier import Classifier


def learned(stack):
    return [part for w in stack.weights for part in w.first.values()]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_it_is_the_state_where_none_is_given(cell, bidirectional):
    stack = make(cell, 2, bidirectional=bidirectional, learned_initial_state=True)
    x, _ = data(stack)
    start = stack.initial_state(B)
    for part in start:
        assert part.shape == (2 * stack.directions, B, N)
    y, final = stack(x, lengths=LENGTHS, reset=RESET)
    right = stack(x, start, lengths=LENGTHS, reset=RESET)
    assert_close(named(y, final), named(*right))
    for k, w in enumerate(stack.weights):
        for name, part in start._asdict().items():
            assert torch.equal(part[k], w.first[name].expand(B, -1))


@pytest.mark.parametrize("cell", [tt.LSTM, tt.GRU])
def test_it_is_zero_at_first_and_the_weights_are_those_of_a_stack_without(cell):
    stacks = []
    for on in (False, True):
        torch.manual_seed(0)
        stacks.append(tt.Stack(cell, 3, N, 2, bidirectional=True, learned_initial_state=on))
    without, with_it = (s.state_dict() for s in stacks)
    more = with_it.keys() - without.keys()
    assert {f"weights.{k}.first.{part}" for k in range(4) for part in cell.state} == more
    assert all(not with_it[name].any() for name in more)
    assert all(torch.equal(with_it[name], part) for name, part in without.items())
    assert tt.Stack(cell, 3, N, 2, bidirectional=True).load_state_dict(without).missing_keys == []


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_its_gradient_is_that_of_differences(backend):
    stack = make(tt.LSTM, 2, bidirectional=True, learned_initial_state=True, backend=backend)
    x, _ = data(stack)

    def loss():
        y, final = stack(x, lengths=LENGTHS, reset=RESET)
        return (y * y.detach().numel()).sin().sum() + sum(part.square().sum() for part in final)

    parts = learned(stack)
    found = torch.autograd.grad(loss(), parts)
    step = 1e-6
    for part, gradient in zip(parts, found):
        for i in range(N):
            sides = []
            for sign in (1, -1):
                with torch.no_grad():
                    part[i] += sign * step
                    sides.append(float(loss()))
                    part[i] -= sign * step
            assert abs((sides[0] - sides[1]) / (2 * step) - float(gradient[i])) < 1e-4


def test_a_reset_that_goes_to_zero_instead_is_noticed():
    stack = make(tt.GRU, 1, learned_initial_state=True)
    x, state = data(stack)
    y, _ = stack(x, state, reset=RESET)
    with torch.no_grad():
        for part in learned(stack):
            part.zero_()
    wrong, _ = stack(x, state, reset=RESET)
    assert bool((y - wrong).abs().amax(-1)[RESET].min() > 1e-3)


def test_it_goes_with_steps_copies_and_export():
    stack = make(tt.LSTM, 2, learned_initial_state=True)
    x, _ = data(stack)
    whole, final = stack(x)
    state, ys = None, []
    for x_t in x:
        y, state = copy.deepcopy(stack).step(x_t, state)
        ys.append(y)
    assert_close(named(torch.stack(ys), state), named(whole, final))
    exported = torch.export.export(stack, (x,)).module()
    assert_close(named(*exported(x)), named(whole, final))


def test_models_draw_no_first_state_where_they_draw_all_weights():
    config = from_dict(
        ClassifierModelConfig,
        {"hidden_size": 4, "init_range": 0.5, "learned_initial_state": True},
    )
    model = Classifier(tt.LSTM, NumberInput(3), 2, config)
    assert len(learned(model.stack)) == 4
    assert all(not part.any() for part in learned(model.stack))
    assert all(bool(w.W_a.any()) for w in model.stack.weights)
