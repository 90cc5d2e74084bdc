"""Sizes other than n: states, vectors, inputs and matrices that have their own; looking back."""

import pytest
import torch
import torch.nn.functional as F
from torch import sigmoid, tanh

import throughtime as tt
from cases import NAMED, assert_close, outcome, problem
from compiling import HALF, LARGE, rounded
from throughtime.ground.errors import CellError, InputError, ShapeError
from throughtime.layers.states import tensors
from throughtime.scans import compiled


class Slow(tt.Cell):
    """A slow state wider than n, its own bias and its own mask; gates of low rank; a reduction."""

    gates = ("h",)
    state = ("h", "slow")
    vectors = ("b_s", "rate")
    inputs = ("m",)
    sizes = {"slow": "wide", "b_s": "wide", "m": "wide"}
    matrices = {
        "S": ("wide", "x"), "D": ("rank", "wide"), "L": ("rank", "n"), "U": ("n", "rank"),
    }  # fmt: skip

    def __init__(self, wide=7, rank=2):
        self.wide, self.rank = wide, rank

    def step(self, w, x, s):
        made = F.layer_norm(w.S(x) + w.b_s, (s.slow.shape[-1],), eps=0.1)
        slow = w.m * s.slow + (1 - w.m) * torch.log(1.5 + tanh(made))
        low = tanh(w.D(slow) + w.L(s.h)) / (1 + slow.abs().mean(-1, keepdim=True))
        gate = sigmoid(w.U(low) * w.rate)
        return self.State(h=gate * tanh(w.h(s.h, x)) + (1 - gate) * s.h, slow=slow)


class Back(tt.Cell):
    """Looks back at x and at a state, further than one step."""

    gates = ("c", "u")
    state = ("c",)
    lags = {"x": 2, "c": 3}
    matrices = {"V": ("n", "x")}

    def step(self, w, x, s):
        gate = sigmoid(w.u(s.c_2, x))
        return self.State(c=gate * tanh(w.c(s.c_3, x) + w.V(s.x_1) - w.V(s.x_2)) + 0.3 * s.c)


class Poles(tt.Cell):
    """Equations with no finite value or derivative at zero, where padding would be."""

    gates = ("h",)
    state = ("a", "c")
    sizes = {"a": "few"}
    matrices = {"r": ("few", "n")}
    vectors = ("p",)

    few = 2

    def step(self, w, x, s):
        z = w.h(s.a, x)
        c = tanh(torch.log(z.abs()) + w.p / w.p.abs())
        return self.State(a=tanh(w.r(c)) / (0.2 + w.r(c).abs().sqrt()), c=c)


CELLS = [tt.zoo.LSTMP(2), tt.zoo.LSTMP(5), Slow(), Slow(2, 9), Back(), Poles()]
KINDS = ["plain", "one step", "no state", "reset and ragged", "odd widths", "strided", "width one"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_compiled_scans_agree_with_the_float64_reference(cell, dtype):
    for kind in KINDS:
        p = problem(cell, **NAMED[kind])
        assert tt.why_not("compiled", cell, p.x, p.w) is None
        assert_close(outcome(p, "compiled", dtype), outcome(p), dtype, roundings=200)


@pytest.mark.parametrize("cell", CELLS[::2], ids=repr)
def test_bfloat16_is_near_the_float64_reference(cell, monkeypatch):
    monkeypatch.setattr(compiled.build, "multiplies_halves", lambda: True)
    for kind in ({"n": 21, "n_x": 5, "B": 5}, NAMED["reset and ragged"]):
        p = rounded(problem(cell, **kind))
        assert_close(outcome(p, "compiled", HALF), outcome(p), HALF, 5)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_finite_differences_agree_with_every_gradient(cell):
    if isinstance(cell, Poles):
        pytest.skip("its derivatives are too large for finite differences")
    p = problem(cell, T=4, B=2, lengths=[4, 2], reset=[(2, 0)], seed=3)
    parts = [p.w.vectors, p.w.matrices, p.state._asdict()]
    parts.append({name: part for name, part in p.inputs.items() if part.is_floating_point()})
    leaves = [p.x, *p.w[:3], *(leaf for part in parts for leaf in part.values())]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]

    def scan(x, W_x, W_a, b, *rest):
        rest = iter(rest)
        vectors, matrices, state, inputs = ({name: next(rest) for name in part} for part in parts)
        w = tt.Weights(W_x, W_a, b, vectors, matrices=matrices)
        more = {"lengths": p.lengths, "reset": p.reset, "inputs": p.inputs | inputs}
        y, final = tt.scan(cell, w, x, cell.State(**state), backend="compiled", **more)
        return y, *final

    assert torch.autograd.gradcheck(scan, leaves)
    if cell == CELLS[2]:
        assert torch.autograd.gradgradcheck(scan, leaves)


# Stacks: the next layer sees the first state; streaming; frozen steps

STACKED = [tt.zoo.LSTMP(4), tt.zoo.LSTMP(9), Back(), Poles()]


def stack_of(cell, **options):
    torch.manual_seed(2)
    stack = tt.Stack(cell, 6, [7, 7, 5], backend="compiled", **options).double().eval()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.uniform_(-0.6, 0.6)
    return stack


def test_a_layer_sees_the_first_state_of_the_one_below():
    stack = tt.Stack(tt.zoo.LSTMP(4), 6, 7, 3, bidirectional=True)
    assert stack.output_size == 8
    assert [tuple(w.W_x.shape) for w in stack.weights] == [(28, 6)] * 2 + [(28, 8)] * 4
    y, state = stack(torch.randn(5, 2, 6))
    assert y.shape == (5, 2, 8)
    assert [tuple(part.shape) for part in state] == [(6, 2, 4), (6, 2, 7)]
    mixed = tt.Stack(Back, 6, 7, 2)  # x is of another width in the second layer
    _, state = mixed(torch.randn(5, 2, 6))
    assert [tuple(one.x_1.shape) for one in state] == [(1, 2, 6), (1, 2, 7)]


@torch.no_grad()
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("cell", STACKED, ids=repr)
def test_steps_are_a_sequence_in_parts(cell, skips):
    stack = stack_of(cell, skips=skips)
    x = torch.randn(6, 3, 6).double()
    right, final = stack(x)
    for frozen in (False, True):
        state, ys = None, []
        with stack.frozen() if frozen else torch.no_grad() as steps:
            assert not frozen or steps.why_not is None
            for x_t in x:
                y, state = stack.step(x_t, state)
                ys.append(y)
        torch.testing.assert_close(torch.stack(ys), right, rtol=0, atol=1e-12)
        torch.testing.assert_close(tensors(state), tensors(final), rtol=0, atol=1e-12)
