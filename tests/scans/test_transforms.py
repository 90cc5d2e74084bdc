"""Scans inside torch's transforms: torch.func, many gradients at once, torch.jit.trace."""

import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

import throughtime as tt
from cases import PAIRS, TwoMemories, assert_close, problem

CELLS = [tt.LSTM(), tt.GRUResetAfter(), tt.PeepholeLSTM(), TwoMemories()]
some_cells = pytest.mark.parametrize("cell", CELLS, ids=repr)
T, B, N_X, N = 6, 3, 4, 5
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own


def stack_and_x(cell, **options):
    torch.manual_seed(0)
    return tt.Stack(cell, N_X, N, 2, **options).double(), torch.randn(T, B, N_X).double()


@pytest.mark.parametrize("backend", ["auto", "reference"])
@some_cells
def test_gradients_per_example_are_those_of_each_example_alone(cell, backend):
    stack, x = stack_and_x(cell, backend=backend)

    def loss(parameters, x):
        return functional_call(stack, parameters, (x[:, None],))[0].square().sum()

    parameters = dict(stack.named_parameters())
    found = vmap(grad(loss), in_dims=(None, 1))(parameters, x)
    for b in range(B):
        alone = torch.autograd.grad(stack(x[:, b : b + 1])[0].square().sum(), parameters.values())
        assert_close({k: v[b] for k, v in found.items()}, dict(zip(parameters, alone)))


@some_cells
def test_many_weights_at_once_are_each_of_them(cell):
    stack, x = stack_and_x(cell)
    models = [{k: torch.randn_like(p) / 2 for k, p in stack.named_parameters()} for _ in range(3)]
    together = {k: torch.stack([m[k] for m in models]) for k in models[0]}
    lengths = torch.tensor([6, 0, 3])

    def run(parameters):
        return functional_call(stack, parameters, (x,), {"lengths": lengths})[0]

    found = vmap(run)(together)
    for one, parameters in zip(found, models):
        assert_close({"y": one}, {"y": run(parameters)})


@pytest.mark.parametrize(("cell", "backend"), PAIRS, ids=repr)
def test_many_gradients_at_once_are_each_of_them(cell, backend):
    p = problem(cell, lengths=[5, 0, 3], reset=[(2, 0)])
    leaves = [p.x, *p.w[:3], *p.w.vectors.values(), *p.state]
    for leaf in leaves:
        leaf.requires_grad_()
    y, _ = tt.scan(cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend=backend)
    many = torch.randn(4, *y.shape).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of the speed of its own kernels
        found = torch.autograd.grad(
            y, leaves, many, is_grads_batched=True, retain_graph=True, allow_unused=True
        )
    for k, one in enumerate(many):
        alone = torch.autograd.grad(y, leaves, one, retain_graph=True, allow_unused=True)
        pairs = [(f[k], a) for f, a in zip(found, alone) if a is not None]
        assert_close(*(dict(enumerate(side)) for side in zip(*pairs)))


@pytest.mark.parametrize("vectorize", [False, True])
@some_cells
def test_jacobians_and_hessians(cell, vectorize):
    stack, x = stack_and_x(cell)

    def f(v):
        return stack(v)[0].sum((1, 2))

    right = torch.autograd.functional.jacobian(f, x)
    found = torch.autograd.functional.jacobian(f, x, vectorize=vectorize)
    assert_close({"": found}, {"": right})
    for transform in (jacrev, jacfwd):
        assert_close({"": transform(f)(x)}, {"": right})
    small = x[:2, :1]
    right = torch.autograd.functional.hessian(lambda v: f(v).sum(), small)
    found = torch.autograd.functional.hessian(lambda v: f(v).sum(), small, vectorize=vectorize)
    assert_close({"": found}, {"": right})
    assert_close({"": hessian(lambda v: f(v).sum())(small)}, {"": right})


@some_cells
def test_directional_derivatives(cell):
    stack, x = stack_and_x(cell)
    direction = torch.randn_like(x)
    _, found = jvp(lambda v: stack(v)[0], (x,), (direction,))
    step = 1e-6
    right = (stack(x + step * direction)[0] - stack(x - step * direction)[0]) / (2 * step)
    torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-8)


def test_inside_transforms_backends_tell_their_reason():
    cell, x = tt.LSTM(), torch.randn(T, B, N_X)
    w = cell.weights(N_X, N)
    reasons = []

    def ask(x):
        reasons.extend(tt.why_not(backend, cell, x, w) for backend in ("compiled", "native"))
        return x

    vmap(ask)(x)
    assert all("no rule for torch.func's transforms" in reason for reason in reasons)


# torch.jit.trace


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python")  # in torch's layer
@pytest.mark.parametrize("first", [False, True], ids=["before a call", "after a call"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_faces_are_traced_and_take_other_lengths(kind, first):
    layer, x = getattr(tt.nn, kind)(N_X, N).eval(), torch.randn(T, B, N_X)
    if first:
        layer(x)
    traced = torch.jit.trace(layer, x)
    for other in (x, torch.randn(9, B, N_X)):
        torch.testing.assert_close(traced(other)[0], layer(other)[0])


class Outputs(torch.nn.Module):
    def __init__(self, stack):
        super().__init__()
        self.stack = stack

    def forward(self, x):
        return self.stack(x)[0]


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python")
@some_cells
def test_stacks_are_traced_and_told_where_the_number_of_steps_is_fixed(cell):
    stack, x = stack_and_x(cell)
    for _ in range(2):
        if tt.why_not("native", cell) is None:
            traced = torch.jit.trace(Outputs(stack), x)
            longer = torch.cat([x, x])
            torch.testing.assert_close(traced(longer), stack(longer)[0])
        else:
            with pytest.warns(torch.jit.TracerWarning, match="this loop of 6 steps"):
                traced = torch.jit.trace(Outputs(stack), x)
        torch.testing.assert_close(traced(x), stack(x)[0])
        assert tt.why_not("compiled", cell) is None


def test_a_cell_first_met_while_traced_is_compiled_afterwards():
    script = """
import warnings
warnings.simplefilter("ignore")
import torch, throughtime as tt
stack, x = tt.Stack(tt.GRU, 4, 5).eval(), torch.randn(6, 3, 4)
torch.jit.trace(stack, x, strict=False)
print(tt.why_not("compiled", tt.GRU))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert done.stdout == "None\n"


@pytest.mark.parametrize("backend", ["auto", "compiled", "reference"])
def test_tensors_without_numbers_go_through_as_shapes(backend):
    stack, x = stack_and_x(tt.LSTM(), backend=backend)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    lengths = torch.tensor([6, 0, 3])
    with mode:
        y, state = stack(mode.from_tensor(x), lengths=lengths)
        assert isinstance(y, FakeTensor)
        assert y.shape == (T, B, N)
        assert state.c.shape == (2, B, N)
        y.sum().backward()
    assert torch.isfinite(stack(x, lengths=lengths)[0]).all(), "nothing is left behind"


def test_a_stack_is_made_inside_a_transform():
    x = torch.randn(T, B, N_X, requires_grad=True)

    def loss(x):
        torch.manual_seed(0)
        return tt.Stack(tt.PeepholeLSTM, N_X, N)(x)[0].square().sum()

    (expected,) = torch.autograd.grad(loss(x), x)
    assert_close({"x": grad(loss)(x.detach())}, {"x": expected}, torch.float32)
