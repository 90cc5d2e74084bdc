"""What the compiled backend refuses, with its reason, while `auto` goes on with another."""

import pytest
import torch
import torch.nn.functional as F
from torch import tanh

import throughtime as tt
from cases import assert_close, outcome, problem
from throughtime.ground.errors import BackendUnavailable


class Simple(tt.Cell):
    """h = f(z), with f an attribute."""

    gates = ("h",)
    state = ("a",)

    def __init__(self, function):
        self.function = function

    def step(self, w, x, s):
        return self.State(self.function(w.h(s.a, x)))


def branch(z):
    return tanh(z) if z.sum() > 0 else z


@torch.no_grad()
def closed(z):
    return z.clone()


class Straight(torch.autograd.Function):
    """A derivative of its own, which a trace of the numbers does not see."""

    @staticmethod
    def forward(z):
        return torch.sign(z)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


TABLE = torch.tensor([[0.1, 0.2, 0.3]])
PARAMETER = torch.nn.Parameter(torch.tensor(0.5))
REFUSED = {
    "the operation mean cannot": lambda z: z - z.mean(0),
    "sum.* reduces something else than the last dimension": lambda z: z - z.sum(0),
    "amax.* reduces something else": lambda z: z - z.amax((0, 1), keepdim=True),
    "the operation (prod|max) cannot": lambda z: z - z.max(-1, keepdim=True).values,
    "depend on the sizes or": lambda z: z - z.sum(-1, keepdim=True) / z.shape[-1],
    "the operation cumsum cannot": lambda z: torch.cumsum(z, -1),
    "the operation .*softmax cannot": lambda z: torch.softmax(z, 0),
    "the operation .*mm cannot|the operation (t|permute|transpose)": lambda z: z @ z.T @ z,
    "the operation (slice|cat)": lambda z: torch.cat([z[:, 1:], z[:, :1]], 1),
    "the operation roll cannot|the operation": lambda z: torch.roll(z, 1, -1),
    "the operation (native_dropout|bernoulli|rand|empty)": lambda z: F.dropout(z, 0.5, True),
    "the operation round cannot": lambda z: torch.round(z),
    "a tensor that is not a parameter": lambda z: z[:, :1] * TABLE[:, :1] + TABLE.sum() * z,
    "a parameter that the cell does not name": lambda z: z * PARAMETER,
    "data-dependent control flow|out of a tracing tensor": branch,
    "out of a tracing tensor": lambda z: z * float(z.abs().max()),
    "switch gradients": closed,
    "have no derivative": lambda z: z.detach() + z,
    "cannot be traced|is not a parameter": Straight.apply,
    "depend on the sizes": lambda z: z / z.shape[-1] ** 0.5,
    "depend on the sizes|one sequence": lambda z: torch.sin(z) if len(z) == 1 else torch.cos(z),
    "depend on the sizes|a large width": lambda z: z if z.shape[1] > 1000 else torch.cos(z),
    "sizes or the dtype": lambda z: z + torch.finfo(z.dtype).eps,
    "convert numbers from torch.float32 to torch.int32": lambda z: (9 * z).int() * z,
    "convert numbers from torch.float32 to torch.float16": lambda z: z.half().to(z.dtype),
    "its equations fail: .*ZeroDivisionError": lambda z: z * (1 / 0),
}


@pytest.mark.parametrize("said", REFUSED)
def test_equations_that_cannot_be_compiled_are_refused_with_the_reason(said):
    cell = Simple(REFUSED[said])
    p = problem(tt.RNN())
    reason = tt.why_not("compiled", cell, p.x, p.w)
    assert reason is not None
    with pytest.raises(BackendUnavailable, match=f"'compiled' cannot run this scan: .*({said})"):
        tt.scan(cell, p.w, p.x, backend="compiled")
    if not any(word in said for word in ("fail", "dropout")):  # they fail, or are random
        by_auto, _ = tt.scan(cell, p.w, p.x)
        assert torch.equal(by_auto, tt.scan(cell, p.w, p.x, backend="reference")[0])


class Wide(tt.Cell):
    """More vectors than a compiled scan has room for."""

    gates = ("h",)
    state = ("a",)
    vectors = tuple(f"v{i}" for i in range(17))

    def step(self, w, x, s):
        return self.State(tanh(w.h(s.a, x) + sum(getattr(w, v) for v in self.vectors)))


class Long(tt.Cell):
    """A product of a product of a product …: seventeen operands."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        a = s.a
        for _ in range(17):
            a = tanh(w.h(a, x))
        return self.State(a)


@pytest.mark.parametrize("cell", [Wide(), Long()], ids=repr)
def test_cells_too_large_are_refused(cell):
    assert "it is too large" in tt.why_not("compiled", cell)
    p = problem(cell)
    assert_close(outcome(p, "auto"), outcome(p))


class ReadsX(tt.Cell):
    """x itself, which may be of width one."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        return self.State(tanh(w.h(s.a, x)) + x)


def test_an_x_read_directly_must_be_as_wide_as_the_state():
    same, narrow = problem(ReadsX(), n=5, n_x=5), problem(ReadsX(), n=5, n_x=1)
    assert tt.why_not("compiled", ReadsX(), same.x.float(), ReadsX().weights(5, 5)) is None
    said = "reads x itself, which must then be as wide as the state: 5; it is 1"
    with pytest.raises(BackendUnavailable, match=said):
        outcome(narrow, "compiled")
    assert_close(outcome(narrow, "auto"), outcome(narrow))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, for duals
def test_other_kinds_devices_and_transforms_are_refused_with_the_reason():
    cell = tt.SimpleGRU()
    w, x = cell.weights(3, 4), torch.zeros(2, 1, 3)
    reason = tt.why_not("compiled", cell, x.half(), cell.weights(3, 4, dtype=torch.float16))
    assert reason == "compiled scans on cpu are for float32, float64, bfloat16; x is torch.float16."
    reason = tt.why_not("compiled", cell, x.bfloat16(), w)
    assert reason == "x is torch.bfloat16, W_x torch.float32."
    reason = tt.why_not("compiled", cell, x.to("meta"), cell.weights(3, 4, device="meta"))
    assert reason == "compiled scans run on the CPU and on CUDA; x is on meta."
    assert tt.scan(cell, cell.weights(3, 4, device="meta"), x.to("meta"))[0].shape == (2, 1, 4)
    with torch.autocast("cpu", torch.float16):
        assert "x is torch.float16" in tt.why_not("compiled", cell, x, w)
    weight = w.W_a.detach()
    found = torch.func.grad(lambda W_a: tt.scan(cell, w._replace(W_a=W_a), x)[0].sum())(weight)
    y, _ = tt.scan(cell, w, x)
    assert_close({"": found}, {"": torch.autograd.grad(y.sum(), w.W_a)[0]}, torch.float32)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        y, _ = tt.scan(cell, w, dual)
        assert torch.autograd.forward_ad.unpack_dual(y).tangent is not None
