"""Compiled scans in bfloat16: where the processor multiplies pairs of it, and where it does not.

Where it has tiles: test_tiles.py.
"""

import pytest
import torch
from torch import sigmoid, tanh

import throughtime as tt
from cases import NAMED, TwoMemories, assert_close, assert_same, outcome, problem
from compiling import HALF, LARGE, forget, rounded
from throughtime.ground.errors import InputError
from throughtime.scans import compiled


class Crossed(tt.Cell):
    """Products take the second state, which is no output: it is rounded for them alone."""

    gates = ("u", "c")
    state = ("a", "m")

    def step(self, w, x, s):
        m = 0.5 * s.m + tanh(w.c(s.m, x))
        return self.State(a=sigmoid(w.u(s.a, x)) * m, m=m)


CELLS = [tt.GRU(), tt.LSTM(), tt.GRUResetAfter(), TwoMemories(), Crossed()]
some_cells = pytest.mark.parametrize("cell", CELLS, ids=repr)


@pytest.fixture(autouse=True, params=[True, False], ids=["pairs", "in float32"])
def pairs(request, monkeypatch):
    """Whether the library for bfloat16 runs; it is right, if slow, on every processor."""
    monkeypatch.setattr(compiled.build, "multiplies_halves", lambda: request.param)
    monkeypatch.setattr(compiled.build, "tiles", lambda: "none")
    forget()
    yield request.param
    forget()


@some_cells
@pytest.mark.parametrize("name", NAMED)
def test_it_stays_near_the_float64_reference(cell, name):
    p = rounded(problem(cell, **NAMED[name]))
    assert_close(outcome(p, "compiled", HALF), outcome(p), HALF, roundings=3)


def test_most_of_the_error_is_the_rounding_of_results(pairs):
    p = rounded(problem(tt.LSTM(), T=40, B=8, n=64, n_x=64))
    got, right = outcome(p, "compiled", HALF), outcome(p)
    for name in ("y", "final c", "d x", "d W_a"):
        error = (got[name].double() - right[name]).norm() / right[name].norm()
        assert error < 0.005, name  # rounding alone: 2^-9 / √3 = 0.0011


def test_small_changes_of_a_state_add_up():
    """Each step adds less than half a rounding of bfloat16: kept in that, it would stand still."""

    class Adds(tt.Cell):
        gates = ("g",)
        state = ("c",)

        def step(self, w, x, s):
            return self.State(c=s.c + w.g.input(x))

    T, n = 400, 3
    w = tt.Weights(
        torch.eye(n, dtype=HALF) / 1024,
        torch.zeros(n, n, dtype=HALF),
        torch.zeros(n, dtype=HALF),
        {},
    )
    ones = torch.ones(T, 1, n, dtype=HALF)
    y, final = tt.scan(Adds, w, ones, Adds.State(ones[0].float()), backend="compiled")
    assert final.c.dtype == torch.float32  # as the state that was given
    torch.testing.assert_close(final.c, torch.full((1, n), 1 + T / 1024))
    assert torch.equal(y[-1], final.c.to(HALF))


@some_cells
def test_any_number_of_threads_and_no_gradient_give_the_same_bits(cell):
    p = rounded(problem(cell, **LARGE))
    one = outcome(p, "compiled", HALF)
    try:
        for threads in (2, 3):
            torch.set_num_threads(threads)
            assert_same(outcome(p, "compiled", HALF), one)
            w = tt.Weights(
                *(v.to(HALF) for v in p.w[:3]), {k: v.to(HALF) for k, v in p.w.vectors.items()}
            )
            state = cell.State(*(part.to(HALF) for part in p.state))
            y, final = tt.scan(
                cell, w, p.x.to(HALF), state, lengths=p.lengths, reset=p.reset, backend="compiled"
            )
            assert torch.equal(y, one["y"])
            assert torch.equal(final[-1], one[f"final {cell.state[-1]}"])
    finally:
        torch.set_num_threads(1)


def test_a_width_that_leaves_half_a_pair_reads_nothing_beyond_x():
    p = rounded(problem(tt.LSTM(), n=5, n_x=7))
    right = outcome(p, "compiled", HALF)
    wide = torch.full((*p.x.shape[:2], 8), torch.nan, dtype=HALF)
    wide[..., :7] = p.x
    w = tt.Weights(*(v.to(HALF) for v in p.w[:3]), {})
    state = tt.LSTM.State(*(part.to(HALF) for part in p.state))
    y, _ = tt.scan(tt.LSTM, w, wide[..., :7], state, backend="compiled")
    assert torch.equal(y, right["y"])


@some_cells
def test_second_derivatives_go_through_the_reference(cell):
    p = rounded(problem(cell))
    w = tt.Weights(*(v.to(HALF) for v in p.w[:3]), {k: v.to(HALF) for k, v in p.w.vectors.items()})
    x = p.x.to(HALF).requires_grad_()
    y, _ = tt.scan(cell, w, x, backend="compiled")
    (dx,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
    (twice,) = torch.autograd.grad(dx.float().sum(), x)
    assert twice.dtype == HALF
    assert bool(twice.isfinite().all())
    assert bool(twice.any())


@some_cells
def test_autocast_rounds_products_and_keeps_bias_and_state(cell):
    p = problem(cell, T=6, B=4, n=17, n_x=9)

    def found(autocast, dtype):
        parts = (p.x, *p.w[:3], *p.w.vectors.values(), *p.state)
        x, W_x, W_a, b, *rest = (part.detach().to(dtype).requires_grad_() for part in parts)
        V = len(cell.vectors)
        w = tt.Weights(W_x, W_a, b, dict(zip(cell.vectors, rest)))
        with torch.autocast("cpu", HALF, enabled=autocast):
            y, final = tt.scan(cell, w, x, cell.State(*rest[V:]), backend="compiled")
        gradients = torch.autograd.grad(y.float().sum(), (x, W_x, W_a, b), allow_unused=True)
        return y, final, gradients

    y, final, gradients = found(True, torch.float32)
    right, right_final, right_gradients = found(False, torch.float64)
    assert y.dtype == HALF
    assert {part.dtype for part in final} == {torch.float32}
    assert {g.dtype for g in gradients} == {torch.float32}
    named = dict(enumerate((y, *final, *gradients)))
    assert_close(named, dict(enumerate((right, *right_final, *right_gradients))), HALF, roundings=3)


@pytest.mark.parametrize("backend", ["auto", "compiled"])
@pytest.mark.parametrize("autocast", [False, True])
def test_torch_compile_takes_it_whole(backend, autocast, monkeypatch):
    monkeypatch.undo()  # it must follow the real question to the processor
    stack = tt.Stack(tt.GRU, 5, 6, backend=backend)
    x = torch.randn(4, 2, 5)
    if not autocast:
        stack, x = stack.to(HALF), x.to(HALF)
    torch._dynamo.reset()
    whole = torch.compile(stack, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", HALF, enabled=autocast):
        for one, other in zip(whole(x)[0], stack(x)[0]):
            assert torch.equal(one, other)


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("backend", ["auto", "native", "reference"])
@pytest.mark.parametrize("cell", [tt.LSTM(), tt.GRUResetAfter(), tt.RNN()], ids=repr)
def test_a_state_in_float32_is_taken_and_given_back(cell, backend, T):
    w, x = cell.weights(3, 4, dtype=HALF), torch.randn(T, 2, 3).to(HALF)
    start = cell.State(*(torch.randn(2, 4) for _ in cell.state))
    y, final = tt.scan(cell, w, x, start, backend=backend)
    assert y.dtype == HALF
    assert {part.dtype for part in final} == {torch.float32}


@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("cell", [tt.LSTM(), tt.GRUResetAfter(), tt.RNN()], ids=repr)
def test_autocast_gives_the_same_dtypes_for_one_step_and_for_many(cell, T):
    w, x = cell.weights(3, 4), torch.randn(T, 2, 3)
    with torch.autocast("cpu", HALF):
        y, final = tt.scan(cell, w, x)
    assert y.dtype == HALF
    assert {part.dtype for part in final} == {torch.float32}


def test_other_dtypes_are_refused_on_every_processor():
    w, x = tt.GRU().weights(3, 4), torch.randn(2, 1, 3)
    half = tt.Weights(*(part.to(HALF) for part in w[:3]), {})
    for weights, given in (
        (w._replace(W_a=w.W_a.double()), x),
        (w._replace(b=w.b.double()), x),
        (half._replace(b=w.b.double()), x.to(HALF)),
        (half._replace(W_a=w.W_a), x.to(HALF)),
    ):
        with pytest.raises(InputError, match="as x is; one is"):
            tt.scan(tt.GRU, weights, given, backend="compiled")


def test_native_says_where_it_has_no_lstm_in_autocast():
    w, x = tt.LSTM().weights(3, 4), torch.randn(5, 2, 3)
    with torch.autocast("cpu", HALF):
        reason = tt.why_not("native", tt.LSTM(), x, w)
        if reason is None:
            assert tt.scan(tt.LSTM, w, x, backend="native")[0].dtype == HALF
        else:
            assert "oneDNN has no bfloat16 LSTM for this processor" in reason
        for T in (1, 5):
            assert tt.scan(tt.LSTM, w, x[:T])[0].dtype == HALF
