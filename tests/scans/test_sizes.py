"""Sizes other than n: states, vectors, inputs and matrices that have their own; looking back."""

import pytest
import torch

import throughtime as tt
from cases import NAMED, assert_close, outcome, problem
from compiling import HALF, Back, Poles, Slow, rounded
from throughtime.ground.errors import InputError, ShapeError
from throughtime.layers.states import tensors
from throughtime.scans import compiled

SOME = [tt.zoo.LSTMP(2), Slow(), Back(), Poles()]
"""What the suite compiles each time; each once, since n = 3 and x = 4 in all of these problems."""
CELLS = [*SOME, tt.zoo.LSTMP(5), Slow(2, 9)]
KINDS = ["one step", "no state", "reset and ragged", "strided"]
OTHERS = ["plain", "batch of one", "odd widths", "width one", "wider than a vector register"]


def agrees(cell, dtype, kinds):
    for kind in kinds:
        p = problem(cell, **NAMED[kind])
        assert tt.why_not("compiled", cell, p.x, p.w) is None
        assert_close(outcome(p, "compiled", dtype), outcome(p), dtype, roundings=200)


@pytest.mark.parametrize("cell", SOME, ids=repr)
def test_compiled_scans_agree_with_the_reference(cell):
    agrees(cell, torch.float64, KINDS)


def test_compiled_scans_in_float32_are_near_the_float64_reference():
    agrees(Slow(), torch.float32, KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_every_problem_agrees_with_the_float64_reference(cell, dtype):
    agrees(cell, dtype, KINDS + OTHERS)


@pytest.mark.parametrize(
    "cell", [SOME[0], *(pytest.param(c, marks=pytest.mark.slow) for c in SOME[1:3])], ids=repr
)
def test_bfloat16_is_near_the_float64_reference(cell, monkeypatch):
    monkeypatch.setattr(compiled.build, "multiplies_halves", lambda: True)
    for kind in ({"n": 21, "n_x": 5, "B": 5}, NAMED["reset and ragged"]):
        p = rounded(problem(cell, **kind))
        assert_close(outcome(p, "compiled", HALF), outcome(p), HALF, 5)


@pytest.mark.parametrize("cell", SOME[:3], ids=repr)
def test_finite_differences_agree_with_every_gradient(cell):
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
    if isinstance(cell, Slow):
        assert torch.autograd.gradgradcheck(scan, leaves)


# Stacks: the next layer sees the first state; streaming; frozen steps

STACKED = [tt.zoo.LSTMP(4), Poles()]
"""Beside these, layers that are wider in another part than the first, compiled anew."""
OTHER = [pytest.param(cell, marks=pytest.mark.slow) for cell in (tt.zoo.LSTMP(9), Back())]


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
@pytest.mark.parametrize("cell", [*STACKED, *OTHER], ids=repr)
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


@torch.no_grad()
def test_a_frozen_step_says_why_it_cannot():
    stack = tt.Stack([tt.RNN, Back], 6, [4, 5], backend="compiled").eval()
    with stack.frozen() as frozen:
        assert "reads x itself, and has a part wider than the layer below: 5" in frozen.why_not
        y, _ = stack.step(torch.randn(2, 6))
        assert y.shape == (2, 5)


def test_lags_begin_with_zeros_anew_at_each_reset_and_can_be_learned():
    cell = Back()
    w = cell.weights(4, 3, dtype=torch.float64)
    x = torch.randn(6, 2, 4).double()
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[3] = True
    y, state = tt.scan(cell, w, x, reset=reset, backend="reference")
    again, _ = tt.scan(cell, w, x[3:], backend="reference")
    assert torch.equal(y[3:], again)
    assert torch.equal(state.x_1, x[5])
    assert torch.equal(state.x_2, x[4])
    assert torch.equal(state.c_2, y[4])
    assert torch.equal(state.c_3, y[3])
    stack = tt.Stack(cell, 4, 3, learned_initial_state=True, backend="reference").double()
    y, _ = stack(x, reset=reset)
    y.sum().backward()
    first = stack.weights[0].first
    assert list(first) == ["c", "x_1", "x_2", "c_2", "c_3"]
    assert [part.shape[0] for part in first.values()] == [3, 4, 4, 3, 3]
    assert all(part.grad.any() for part in first.values())


# Noise


@pytest.mark.parametrize(
    "noise",
    [{"zoneout": 0.3, "recurrent_dropout": 0.2, "variational_dropout": 0.4}, {"zoneout": 0.3}],
    ids=["all", "zoneout"],
)
def test_noise_takes_the_sizes_of_the_parts(noise):
    stack = tt.Stack(tt.zoo.LSTMP(2), 4, 3, backend="reference", **noise).double()
    x, draw = torch.randn(4, 3, 4).double(), stack.draw(7)
    results = []
    for backend in ("reference", "compiled"):
        stack.backend = backend
        results.append(tensors(stack(x, draw=draw)))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    assert not torch.equal(stack(x)[0], results[0][0])  # drawn anew
    stack.eval()
    assert torch.equal(stack(x)[0], stack(x)[0])
    back = tt.Stack(Back, 4, 3, zoneout=0.5, backend="reference")
    assert back.noise.rates(back.cell) == (("c", 0.5),)
    with pytest.raises(InputError, match="zoneout names no state"):
        tt.Stack(Back, 4, 3, zoneout={"c_2": 0.5})


# What is refused


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"sizes": {"q": "few"}}, r"Broken.sizes names no state, vector or input: \['q'\]"),
        ({"sizes": {"h": "few"}}, r"sizes names no state, .*\['h'\]. A gate has n units; a map"),
        ({"sizes": {"a": 3}}, "Broken.sizes must map names to names of sizes"),
        ({"matrices": {"R": ("few",)}}, "Broken.matrices must map names to what they give and"),
        ({"matrices": {"R": ("x", "n")}}, "Broken.matrices must map"),
        ({"matrices": {"h": ("n", "n")}}, "names a gate, a vector, a matrix, an input or a state"),
        ({"lags": {"a": 1}}, r"Broken.lags must map x or a state .*One step back of a state is"),
        ({"lags": {"x": 99}}, "at most 12"),
        ({"lags": {"h": 2}}, "Broken.lags must map"),
        ({"takes": "2"}, "Broken.takes must be a name such as 'projection'"),
    ],
)
def test_a_malformed_declaration_is_named(names, said):
    with pytest.raises(InputError, match=said):
        type("Broken", (tt.Cell,), {"gates": ("h",), "state": ("a",), **names})


def test_a_size_must_be_a_number_of_units_or_a_share():
    assert tt.zoo.LSTMP(0.25).state_sizes(8, 3) == (2, 8)
    for wrong in (0, 1.5, "4", True, None):
        with pytest.raises(
            InputError, match=r"self.projection must be a number of units, at least"
        ):
            tt.zoo.LSTMP(wrong).weights(3, 4)


def test_states_and_matrices_of_a_wrong_size_are_named():
    cell = tt.zoo.LSTMP(2)
    w, x = cell.weights(3, 4), torch.zeros(2, 1, 3)
    with pytest.raises(ShapeError, match=r"state a must be \[1, 2\]; got \[1, 4\]"):
        tt.scan(cell, w, x, (torch.zeros(1, 4), torch.zeros(1, 4)))
    with pytest.raises(ShapeError, match=r"r must be \[2, 4\] for LSTMP.*got \[4, 2\]"):
        tt.scan(cell, w._replace(matrices={"r": w.matrices["r"].T}), x)
    with pytest.raises(ShapeError, match=r"needs a matrix r \[2, 4\]; the weights have none"):
        tt.scan(cell, w._replace(matrices={}), x)

    class Wide(tt.zoo.LSTMP):
        def step(self, w, x, s):
            return super().step(w, x, s)._replace(a=s.c)

    with pytest.raises(ShapeError, match=r"state a must be \[2, 3\], \[batch, projection\]"):
        tt.scan(Wide(3), Wide(3).weights(3, 4), x)
