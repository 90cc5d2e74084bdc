"""Frozen stacks: steps over packed weights, all layers in one call, the same bits in any batch."""

import contextlib
import copy
import io
import pickle
import threading

import pytest
import torch

import throughtime as tt
from cases import ALL_CELLS, TwoMemories, assert_close, assert_same
from stacks import make, named
from throughtime.ground.errors import InputError, NonFiniteError, ShapeError
from throughtime.layers.states import each, tensors

STEPS, BATCH = 5, 7
SIZES = {
    "small": (3, [5, 5]),
    "beside vectors": (19, [33, 33, 33]),
    "several threads": (40, [300]),
    "mixed sizes": (6, [30, 17, 17]),
}
KINDS = torch.float32, torch.float64


def stack_of(cell, name="small", dtype=torch.float32, backend="compiled", **options):
    """In evaluation mode, every parameter random."""
    torch.manual_seed(4)
    input_size, sizes = SIZES[name]
    stack = tt.Stack(cell, input_size, sizes, backend=backend, **options).to(dtype).eval()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.uniform_(-0.5, 0.5)
    return stack


def sequence(stack, B=BATCH, T=STEPS):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, stack.input_size, generator=generator)
    return x.to(stack.weights[0].W_x.dtype)


def state_of(stack, B=BATCH):
    """Random, so that no part of it is like another."""
    generator = torch.Generator().manual_seed(2)
    return each(lambda part: torch.randn(part.shape, generator=generator).to(part.dtype),
                stack.initial_state(B))  # fmt: skip


def stepped(stack, x, state=None):
    """One step after the other, with packed weights."""
    ys = []
    with stack.frozen() as frozen:
        assert frozen.why_not is None
        for x_t in x:
            y, state = stack.step(x_t, state)
            ys.append(y)
    return named(torch.stack(ys), state)


def rows(results, first, last):
    """Some of the sequences, the second dimension of all."""
    return {name: part[:, first:last] for name, part in results.items()}


# Steps


@torch.no_grad()
@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("name", ["small", "beside vectors"])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_steps_are_the_bits_of_a_sequence_and_near_the_reference(cell, name, dtype, given):
    stack = stack_of(cell, name, dtype)
    x = sequence(stack)
    state = state_of(stack) if given else None
    ours = stepped(stack, x, state)
    assert_same(ours, named(*stack(x, state)))
    exact = copy.deepcopy(stack).double()
    exact.backend = "reference"
    start = None if state is None else each(torch.Tensor.double, state)
    assert_close(ours, named(*exact(x.double(), start)), dtype)


MIXED = {
    "cells": {"cell": [tt.GRU, tt.LSTM, TwoMemories]},
    "skips": {"cell": tt.LSTM, "skips": True},
    "all": {
        "cell": [tt.PeepholeLSTM("current"), TwoMemories, tt.GRUResetAfter],
        "skips": True,
        "learned_initial_state": True,
    },
}


@torch.no_grad()
@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize("name", ["beside vectors", "mixed sizes"])
@pytest.mark.parametrize("kind", MIXED)
def test_mixed_stacks_skips_and_learned_states(kind, name, given):
    stack = stack_of(name=name, **MIXED[kind])
    x, state = sequence(stack), state_of(stack) if given else None
    assert_same(stepped(stack, x, state), named(*stack(x, state)))


class Beginning(tt.Cell):
    """A first state of its own, a scalar, and a matrix that is made of its parameter."""

    gates = ("h",)
    state = ("a",)
    vectors = ("scale", "start")
    scalars = ("scale",)

    def derived(self, w):
        return super().derived(w)._replace(W_a=w.W_a - w.W_a.T)

    def step(self, w, x, s):
        return self.State(torch.tanh(w.h(s.a, x)) * w.scale)

    def initial_state(self, batch, hidden_size, *, w=None, **to):
        return self.State(w.start.expand(batch, -1))


@torch.no_grad()
def test_a_cell_that_derives_its_weights_and_its_first_state():
    stack = stack_of(Beginning, "mixed sizes")
    x = sequence(stack)
    assert_same(stepped(stack, x), named(*stack(x)))
    with stack.frozen("bf16") as frozen:
        assert "derives its matrices" in frozen.why_not


@torch.no_grad()
@pytest.mark.parametrize("cell", [tt.LSTM, tt.GRU, TwoMemories])
@pytest.mark.parametrize("name", SIZES)
def test_a_row_is_the_same_whatever_is_beside_it_and_for_any_number_of_threads(cell, name):
    stack = stack_of(cell, name)
    x, state = sequence(stack, 40), state_of(stack, 40)
    right = stepped(stack, x, state)
    for threads, first, last in ((1, 0, 1), (3, 5, 6), (2, 3, 20), (3, 0, 40)):
        torch.set_num_threads(threads)
        some = each(lambda part, a=first, b=last: part[:, a:b], state)
        assert_same(stepped(stack, x[:, first:last], some), rows(right, first, last))


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float32", "bf16"])
@pytest.mark.parametrize("name", ["small", "beside vectors"])
def test_what_is_no_number_stays_in_its_row(name, weights):
    stack = stack_of(tt.GRU, name)
    x, state = sequence(stack)[0], state_of(stack)
    with stack.frozen(weights):
        right = named(*stack.run(x[None], state, None, None))
        for part in (*state, x):
            part[..., 3, :] = float("nan")
        ours = named(*stack.run(x[None], state, None, None))
    for first, last in ((0, 3), (4, BATCH)):
        assert_same(rows(ours, first, last), rows(right, first, last))
    assert all(part[:, 3].isnan().all() for part in ours.values())


@torch.no_grad()
def test_many_threads_of_python_step_at_once():
    stack = stack_of(tt.LSTM, "beside vectors")
    batches = [3, 20, 1, 50]
    right = [stepped(stack, sequence(stack, B, 30)) for B in batches]
    found = [None] * len(batches)

    def work(k):
        with torch.no_grad():
            found[k] = stepped(stack, sequence(stack, batches[k], 30))

    with stack.frozen():
        workers = [threading.Thread(target=work, args=(k,)) for k in range(len(batches))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for ours, expected in zip(found, right, strict=True):
        assert_same(ours, expected)


@torch.no_grad()
def test_x_and_states_may_lie_anyhow():
    stack = stack_of(tt.LSTM, "beside vectors")
    x, state = sequence(stack), state_of(stack)
    right = named(*stack(x, state))
    strided = torch.stack([x, x + 1], -1)[..., 0]
    across = each(lambda part: part.transpose(0, 2).contiguous().transpose(0, 2), state)
    assert_same(stepped(stack, strided, across), right)
    negated = torch._neg_view(-x)
    assert negated.is_neg()
    assert_close(stepped(stack, negated, state), right, torch.float32)
    assert_same(stepped(stack, x, tuple(state)), right)


@torch.no_grad()
def test_a_step_leaves_what_it_was_given_and_shares_nothing_with_what_it_gives():
    stack = stack_of(tt.GRU, "beside vectors")
    x, state = sequence(stack)[0], state_of(stack)
    before = [x.clone(), *(part.clone() for part in state)]
    with stack.frozen():
        y, after = stack.step(x, state)
        right = stack.step(y.new_ones(BATCH, stack.input_size), after)[0]
        y.zero_()
        assert torch.equal(right, stack.step(y.new_ones(BATCH, stack.input_size), after)[0])
    assert all(torch.equal(a, b) for a, b in zip(before, [x, *state], strict=True))


@torch.no_grad()
def test_an_empty_batch_steps():
    stack = stack_of(tt.LSTM)
    with stack.frozen():
        y, state = stack.step(torch.zeros(0, stack.input_size))
    assert y.shape == (0, 5)
    assert [part.shape for part in state] == [(2, 0, 5)] * 2


@torch.no_grad()
def test_one_step_without_checks_is_a_step():
    stack = stack_of(tt.LSTM, "beside vectors")
    x, state = sequence(stack), state_of(stack)
    with stack.frozen():
        y, after = stack.run(x[:1], state, None, None)
        right = stack.step(x[0], state)
    assert_same(named(y, after), named(right[0][None], right[1]))


# Weights in bfloat16


def rounded(stack):
    """The stack with matrices that bfloat16 holds."""
    other = copy.deepcopy(stack)
    for w in other.weights:
        for part in (w.W_x, w.W_a):
            part.copy_(part.to(torch.bfloat16))
    return other


@torch.no_grad()
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("cell", [tt.LSTM, tt.GRU, tt.PeepholeLSTM(), TwoMemories], ids=repr)
def test_halves_step_as_weights_that_are_rounded_first(cell, name):
    stack = stack_of(cell, name)
    x, state = sequence(stack), state_of(stack)
    right = named(*rounded(stack)(x, state))
    for threads in (1, 3):
        torch.set_num_threads(threads)
        with stack.frozen("bf16") as frozen:
            assert frozen.why_not is None
            assert_same(named(*stack(x, state)), right)
            ys, after = [], state
            for x_t in x:
                y, after = stack.step(x_t, after)
                ys.append(y)
        assert_same(named(torch.stack(ys), after), right)


@torch.no_grad()
def test_what_rounded_weights_change():
    """A weight of 1/√n at most is off by 2⁻⁹ of itself at most, and so is a sum of n of them."""
    torch.manual_seed(4)
    stack = tt.Stack(tt.LSTM, 40, 300, backend="compiled").eval()  # weights as they begin
    x = sequence(stack, T=40)
    full, _ = stack(x)
    with stack.frozen("bf16"):
        half, _ = stack(x)
    assert 1e-5 < (half - full).abs().max() < 2**-9


@torch.no_grad()
def test_halves_are_of_stacks_in_float32():
    stack = stack_of(tt.LSTM, dtype=torch.float64)
    with pytest.raises(InputError, match=r"for a stack in float32; this one is in torch\.float64"):
        stack.frozen("bf16").__enter__()
    with pytest.raises(InputError, match="unknown weights 'int4'"):
        stack.frozen("int4").__enter__()
    assert stack._frozen is None


# Where steps go layer by layer


class Untold(tt.Cell):
    """No compiled scan runs it."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        return self.State(torch.tanh(w.h(s.a, x)).cumsum(-1))


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cell": Untold, "backend": "auto"}, "the operation cumsum cannot be compiled"),
        ({"cell": [tt.LSTM, Untold], "backend": "auto"}, "the operation cumsum cannot be compiled"),
        ({"cell": tt.LSTM, "backend": "reference"}, "the backend is 'reference'"),
        ({"cell": tt.LSTM, "backend": "native"}, "the backend is 'native'"),
        ({"cell": tt.LSTM, "dtype": torch.bfloat16}, "packed in float32 and float64"),
    ],
)
def test_the_reason_is_told_and_steps_are_those_of_any_stack(options, reason):
    stack = stack_of(**options)
    x = sequence(stack)[0]
    right = named(*stack.step(x))
    with stack.frozen() as frozen:
        assert reason in frozen.why_not
        assert_same(named(*stack.step(x)), right)
    if options.get("dtype") is None:
        right = named(*rounded(stack).step(x))
        with stack.frozen("bf16") as frozen:
            assert reason in frozen.why_not
            assert_same(named(*stack.step(x)), right)


@torch.no_grad()
def test_a_bidirectional_stack_still_has_no_steps():
    stack = stack_of(tt.LSTM, bidirectional=True)
    x = sequence(stack)
    with stack.frozen() as frozen:
        assert "bidirectional" in frozen.why_not
        with pytest.raises(InputError, match="needs the entire sequence: it cannot step"):
            stack.step(x[0])
        stack(x)
        stack.run(x[:1], None, None, None)


@torch.no_grad()
def test_autocast_and_modes_see_torchs_operations():
    from torch.utils.flop_counter import FlopCounterMode

    stack = stack_of(tt.LSTM, backend="reference")
    compiled = stack_of(tt.LSTM)
    x = sequence(stack)[0]
    with stack.frozen(), compiled.frozen():
        with torch.autocast("cpu", torch.bfloat16):
            assert_close(named(*compiled.step(x)), named(*stack.step(x)), torch.bfloat16)
        assert not torch.equal(compiled.step(x)[0], stack.step(x)[0] * 0)
        compiled.backend = "reference"
        with FlopCounterMode(display=False) as counter:
            compiled.step(x)
        assert counter.get_total_flops() > 0


# What is refused


def test_wrong_steps_are_told_as_outside():
    stack = stack_of(tt.LSTM)
    x, state = sequence(stack), state_of(stack)
    with stack.frozen():
        for wrong in (x, x[0, :, :2], x[0, 0]):
            with pytest.raises(ShapeError, match=r"x must be \[B, 3\], one step; got \["):
                stack.step(wrong, state)
        with pytest.raises(ShapeError, match=r"state a must be \[2, 6, 5\]; got \[2, 7, 5\]"):
            stack.step(x[0, 1:], state)
        with pytest.raises(ShapeError, match="has the parts a, c; got 1 without names"):
            stack.step(x[0], state.a)
        with pytest.raises(ShapeError, match="has the parts a, c; got c"):
            stack.step(x[0], tt.GRU.State(state.a))
        with pytest.raises(InputError, match=r"x must be torch.float32, as the weights are"):
            stack.step(x[0].double(), state)
        with pytest.raises(InputError, match="x must be a tensor, got list"):
            stack.step(x[0].tolist(), state)
        with pytest.raises(InputError, match=r"weights and state must be torch\.float32"):
            stack.step(x[0], each(torch.Tensor.double, state))
        for bad in (float("nan"), float("inf")):
            x[0, 2, 1] = bad
            with pytest.raises(NonFiniteError, match=f"sequence 2, feature 1: {bad}"):
                stack.step(x[0], state)
    mixed = stack_of(tt.LSTM, "mixed sizes")
    with mixed.frozen(), pytest.raises(ShapeError, match="the state must be a tuple with one"):
        mixed.step(sequence(mixed)[0], state)


def test_large_numbers_are_not_taken_for_infinite_ones():
    stack = stack_of(tt.LSTM)
    with stack.frozen():
        stack.step(torch.full((2, 3), 3e38))


def test_training_is_refused():
    stack = stack_of(tt.LSTM, dropout=0.5)
    x = sequence(stack)
    with pytest.raises(InputError, match=r"training mode cannot be frozen: call stack.eval\(\)"):
        stack.train().frozen().__enter__()
    with stack.eval().frozen():
        stack.train()
        for call in (lambda: stack.step(x[0]), lambda: stack(x)):
            with pytest.raises(InputError, match="training mode cannot be frozen"):
                call()
    stack(x)


def test_weights_that_change_are_told_of():
    stack = stack_of(tt.LSTM)
    x, state = sequence(stack)[0], state_of(stack)
    y, _ = stack.step(x, state)
    block = stack.frozen()
    block.__enter__()
    stack.step(x, state)
    with torch.no_grad():
        stack.weights[1].W_a.mul_(2)
    assert_close({"y": stack.step(x, state)[0]}, {"y": y.detach()}, torch.float32)
    with pytest.raises(InputError, match=r"a parameter of the stack was changed inside frozen\(\)"):
        block.__exit__(None, None, None)
    assert not torch.allclose(stack.step(x, state)[0], y)
    block = stack.frozen()
    block.__enter__()
    stack.load_state_dict(stack.state_dict())
    error = KeyError()  # what came first is what to see
    assert not block.__exit__(KeyError, error, None)


def test_gradients_are_by_x_and_the_state_alone():
    stack = stack_of(tt.LSTM, dtype=torch.float64)
    x = sequence(stack)[0].requires_grad_()
    state = each(torch.Tensor.requires_grad_, state_of(stack))

    def gradients():
        y, after = stack.step(x, state)
        return torch.autograd.grad(y.sin().sum() + after.c.sum(), [x, *state])

    right = gradients()
    with stack.frozen():
        for ours, expected in zip(gradients(), right, strict=True):
            assert_close({"g": ours}, {"g": expected})
        y, _ = stack.step(x.detach())
        assert not y.requires_grad
        stack.step(x, state)[0].sum().backward()
        stack(x[None], state)[0].sum().backward()
    assert all(p.grad is None for p in stack.parameters())


# Frozen, and no longer


def test_blocks_stand_in_one_another_and_end_in_any_order():
    stack = stack_of(tt.LSTM)
    first, second = stack.frozen(), stack.frozen()
    kept = first.__enter__()
    assert second.__enter__() is kept
    with pytest.raises(InputError, match="frozen already, its weights stored otherwise"):
        stack.frozen("bf16").__enter__()
    first.__exit__(None, None, None)
    assert stack._frozen is kept
    second.__exit__(None, None, None)
    assert stack._frozen is None
    with contextlib.suppress(KeyError), stack.frozen("bf16"):
        raise KeyError
    assert stack._frozen is None


def test_copies_of_a_frozen_stack_are_not_frozen():
    stack = stack_of(tt.LSTM)
    with stack.frozen():
        stack.step(sequence(stack)[0])
        saved = io.BytesIO()
        torch.save(stack, saved)
        for other in (copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
            assert other._frozen is None
            other.train()(sequence(stack))[0].sum().backward()
    assert list(stack.state_dict()) == list(make(tt.LSTM, 2).state_dict())


def test_hooks_run_once():
    stack = stack_of(tt.LSTM)
    calls = []
    stack.weights[0].register_forward_pre_hook(lambda module, given: calls.append(1))
    with stack.frozen():
        state = None
        for x_t in sequence(stack):
            _, state = stack.step(x_t, state)
    assert calls == [1]


@torch.no_grad()
def test_parameters_made_for_inference_can_be_frozen():
    with torch.inference_mode():
        stack = stack_of(tt.LSTM)
        right = named(*stack(sequence(stack)))
        assert_same(stepped(stack, sequence(stack)), right)
    assert len(tensors(stack.initial_state(2))) == 2
