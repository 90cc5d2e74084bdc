"""The compiled backend beyond the laws of `scan`: gradients, layouts, threads."""

import threading
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import throughtime as tt
from cases import (
    TwoMemories,
    assert_close,
    assert_same,
    laid_out,
    normal,
    outcome,
    problem,
)
from compiling import LARGE
from throughtime.scans.compiled import build, programs

CELLS = [tt.GRU(), tt.LSTM(), tt.PeepholeLSTM("current"), TwoMemories()]
"""One, two and three stages; several states, values, vectors; a stage before all products."""
some_cells = pytest.mark.parametrize("cell", CELLS, ids=repr)
both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
RAGGED = {"lengths": [5, 0, 3], "reset": [(1, 0), (2, 2), (4, 2)]}


# Gradients


@some_cells
def test_first_and_second_derivatives_are_the_differences_of_the_outputs(cell):
    p = problem(cell, T=3, n=2, n_x=2, lengths=[3, 0, 2], reset=[(1, 0), (2, 1), (1, 2)])
    leaves = [p.x, p.w.W_x, p.w.W_a, p.w.b, *p.w.vectors.values(), *p.state]

    def results(x, W_x, W_a, b, *rest):
        vectors = dict(zip(cell.vectors, rest))
        w, state = tt.Weights(W_x, W_a, b, vectors), cell.State(*rest[len(vectors) :])
        y, final = tt.scan(cell, w, x, state, lengths=p.lengths, reset=p.reset, backend="compiled")
        return (y, *final)

    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(results, leaves, nondet_tol=0)
    assert torch.autograd.gradgradcheck(results, leaves)


@some_cells
def test_a_penalty_on_the_gradient_has_the_gradient_of_the_reference(cell):
    def penalised(backend):
        p = problem(cell, **RAGGED)
        leaves = [p.x, *p.w[:3], *p.w.vectors.values(), *p.state]
        for leaf in leaves:
            leaf.requires_grad_()
        y, _ = tt.scan(cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend=backend)
        (dx,) = torch.autograd.grad(y.square().sum(), p.x, create_graph=True)
        loss = y.sum() + dx.square().sum()
        return dict(enumerate(torch.autograd.grad(loss, leaves)))

    assert_close(penalised("compiled"), penalised("reference"))


@some_cells
def test_only_the_gradients_asked_for_are_made_and_they_are_right(cell):
    p = problem(cell, **RAGGED)
    named = {"x": p.x, "W_x": p.w.W_x, "W_a": p.w.W_a, "b": p.w.b, **p.w.vectors}
    named |= {f"initial {name}": part for name, part in p.state._asdict().items()}
    right = outcome(p, "compiled")
    for asked in [["x"], ["W_a"], ["W_x", "b"], [f"initial {cell.state[-1]}"], list(named)[:4]]:
        for name, leaf in named.items():
            leaf.requires_grad_(name in asked)
        y, final = tt.scan(
            cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend="compiled"
        )
        generator = torch.Generator().manual_seed(99)
        loss = sum((r * normal(generator, *r.shape)).sum() for r in (y, *final))
        loss.backward(retain_graph=True)
        first = {name: named[name].grad.clone() for name in asked}
        assert_same(first, {name: right[f"d {name}"] for name in asked})
        assert all(leaf.grad is None for name, leaf in named.items() if name not in asked)
        loss.backward()  # once more, onto the first
        assert_same({n: named[n].grad for n in asked}, {n: 2 * g for n, g in first.items()})
        for leaf in named.values():
            leaf.grad = None


def test_the_final_state_alone_and_one_of_its_parts_alone_have_gradients():
    cell = tt.LSTM()
    for pick in (lambda y, s: s.c, lambda y, s: s.a, lambda y, s: y[2:]):
        found = []
        for backend in ("compiled", "reference"):
            p = problem(cell, **RAGGED)
            leaves = [leaf.requires_grad_() for leaf in (p.x, *p.w[:3], *p.state)]
            result = tt.scan(
                cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend=backend
            )
            found.append(dict(enumerate(torch.autograd.grad(pick(*result).sum(), leaves))))
        assert_close(*found)


@some_cells
def test_without_gradients_nothing_is_kept(cell):
    p = problem(cell, T=50, B=4, n=40)
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks
    with hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y, _ = tt.scan(cell, p.w, p.x, backend="compiled")
        assert y.grad_fn is None
        assert not kept
        p.w.W_x.requires_grad_()
        with torch.no_grad():
            none, _ = tt.scan(cell, p.w, p.x, backend="compiled")
        assert none.grad_fn is None
        assert not kept
        y, _ = tt.scan(cell, p.w, p.x, backend="compiled")
        assert y.grad_fn is not None
        assert kept
    assert torch.equal(none, y)
    made = []
    for grad in (False, True):
        with torch.set_grad_enabled(grad), Watched() as watched:
            tt.scan(cell, p.w, p.x, backend="compiled")
        made.append(watched.results)
    states = len(cell.state)
    assert made[0] == [1 + states]  # y and the final state; no z, no state of each step
    assert made[1] > [1 + states]


class Watched(TorchDispatchMode):
    """How many tensors each compiled scan makes."""

    def __init__(self):
        super().__init__()
        self.results = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.throughtime.scan.default:
            self.results.append(len(made))
        return made


def test_inference_mode_gives_the_same():
    p = problem(tt.LSTM(), **RAGGED)
    with torch.inference_mode():
        y, state = tt.scan(tt.LSTM, p.w, p.x[:2], p.state, backend="compiled")
        more, _ = tt.scan(tt.LSTM, p.w, p.x[2:], state, backend="compiled")
    right, _ = tt.scan(tt.LSTM, p.w, p.x, p.state, backend="compiled")
    assert_close({"": torch.cat([y, more])}, {"": right})


# Layouts and sizes


@both_precisions
@some_cells
def test_any_layout_of_x_weights_and_dy_gives_the_same_bits(cell, dtype):
    p = problem(cell, T=4, B=5, n_x=6, n=7)
    y_weights = normal(torch.Generator().manual_seed(3), 4, 5, 7).to(dtype)

    def found(x_of, dy_of, p=p, layout="contiguous"):
        leaves = [part.detach().to(dtype).requires_grad_() for part in (p.x, *p.w[:3])]
        x, *rest = leaves
        rest = [laid_out(part, layout) for part in rest]
        vectors = {name: v.to(dtype) for name, v in p.w.vectors.items()}
        state = cell.State(*(laid_out(part.to(dtype), layout) for part in p.state))
        y, _ = tt.scan(cell, tt.Weights(*rest, vectors), x_of(x), state, backend="compiled")
        return dict(enumerate([y, *torch.autograd.grad(y, leaves, dy_of(y_weights))]))

    def spread(tensor):
        return torch.stack([tensor, torch.full_like(tensor, 7)], -1)[..., 0]

    def turned(*order):
        back = [order.index(i) for i in range(3)]
        return lambda tensor: tensor.permute(order).contiguous().permute(back)

    right = found(lambda t: t, lambda t: t)
    for way in (spread, *(turned(*o) for o in ((1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0)))):
        assert_same(found(way, lambda t: t), right)
        assert_same(found(lambda t: t, way), right)
        assert_same(found(way, way, layout="transposed"), right)
        assert_same(found(way, way, layout="strided"), right)
    for size in ((1, 5, 6), (4, 1, 6), (1, 1, 6), (4, 5, 1)):
        few = replace(p, x=p.x[: size[0], : size[1], : size[2]].expand(4, 5, 6).contiguous())
        cut = tuple(slice(0, 1) if s == 1 else slice(None) for s in size)
        y, _ = tt.scan(cell, few.w, few.x[cut].expand(4, 5, 6), few.state, backend="compiled")
        z, _ = tt.scan(cell, few.w, few.x, few.state, backend="compiled")
        assert torch.equal(y, z)
    assert_same(
        found(lambda t: t, lambda t: t[:1, :1, :1].expand(4, 5, 7)),
        found(lambda t: t, lambda t: t[:1, :1, :1].expand(4, 5, 7).contiguous()),
    )


@both_precisions
@some_cells
@pytest.mark.parametrize(
    "sizes",
    [{"n": 1}, {"B": 0}, {"T": 0}, {"n_x": 1}, {"n_x": 0}, {"T": 0, "B": 0}, {"n": 1, "n_x": 1}],
    ids=str,
)
def test_the_smallest_sizes(cell, sizes, dtype):
    p = problem(cell, **sizes)
    assert_close(outcome(p, "compiled", dtype), outcome(p), dtype)


# Threads


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@both_precisions
@some_cells
def test_any_number_of_threads_gives_the_same_bits(cell, dtype, threads_restored):
    p = problem(cell, **LARGE)
    one = outcome(p, "compiled", dtype)
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        for _ in range(3):  # a race shows in some runs only
            assert_same(outcome(p, "compiled", dtype), one)


@some_cells
def test_in_a_crowd_small_steps_are_made_alone_with_the_same_bits(cell, threads_restored):
    p = problem(cell, T=9, B=2, n=40, n_x=3)
    one = outcome(p, "compiled", torch.float32)  # forward and backward
    library = build.load(cell.ask(programs.find), "float32", repr(cell))
    torch.set_num_threads(2)
    library.expect_crowd(5)
    assert_same(outcome(p, "compiled", torch.float32), one)
    assert library.expect_crowd(5) == 3
    library.expect_crowd(0)


@both_precisions
def test_sequences_left_alone_and_odd_vectors_have_the_same_bits(dtype, threads_restored):
    """A tile of one row by one vector must sum as all others do."""
    lengths = torch.randint(0, 71, (21,), generator=torch.Generator().manual_seed(4)).tolist()
    for n in (33, 40):
        p = problem(TwoMemories(), T=70, B=21, n=n, n_x=n, lengths=lengths)
        one = outcome(p, "compiled", dtype)
        for threads in (2, 3):
            torch.set_num_threads(threads)
            assert_same(outcome(p, "compiled", dtype), one)
        torch.set_num_threads(1)


def test_every_thread_treats_denormal_numbers_as_the_caller_does(threads_restored):
    p = problem(tt.RNN("relu"), T=8, B=12, n=100, n_x=40)
    small = 1e-38 / 40  # what goes on is less than the least normal number, 1.2e-38
    p = replace(p, x=p.x * small, state=tt.RNN.State(p.state.a * small))
    p = replace(p, w=p.w._replace(b=p.w.b * 0))
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        y = outcome(p, "compiled", torch.float32)["y"]
        least = torch.finfo(torch.float32).tiny
        assert bool(((y > 0) & (y < least)).any(0).all(0).any())
        torch.set_flush_denormal(True)
        y = outcome(p, "compiled", torch.float32)["y"]
        torch.set_flush_denormal(False)
        assert not bool(((y > 0) & (y < least)).any())
    p = problem(tt.GRU(), **LARGE)
    torch.set_flush_denormal(True)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(outcome(p, "compiled", torch.float32))
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


def test_scans_in_several_python_threads_at_once(threads_restored):
    torch.set_num_threads(2)
    p = problem(TwoMemories(), **LARGE)
    right = outcome(p, "compiled", torch.float32)
    found = []

    def run():
        torch.set_num_threads(2)
        found.extend(outcome(p, "compiled", torch.float32) for _ in range(3))

    running = [threading.Thread(target=run) for _ in range(3)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(found) == 9
    for one in found:
        assert_same(one, right)


def test_gradients_that_are_views_which_negate():
    """By y and by every final state: as the same numbers in memory."""
    p = problem(tt.LSTM())
    w = tt.Weights(*(part.detach().requires_grad_() for part in p.w[:3]), {})
    x = p.x.detach().requires_grad_()
    y, final = tt.scan(p.cell, w, x, backend="compiled")
    given = [torch.randn_like(part) for part in (y, *final)]
    found = [
        torch.autograd.grad((y, *final), (x, *w[:3]), gradients, retain_graph=True)
        for gradients in (given, [torch._neg_view(-one) for one in given])
    ]
    for plain, negated in zip(*found, strict=True):
        assert torch.equal(plain, negated)
