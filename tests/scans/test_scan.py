"""The laws of `scan`, for every cell and every backend that can run it."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given

import throughtime as tt
from cases import (
    ALL_CELLS,
    NAMED,
    PAIRS,
    WIDE,
    Problem,
    TwoMemories,
    assert_close,
    assert_same,
    drawn,
    modest,
    outcome,
    problem,
)
from throughtime import scans
from throughtime.ground.errors import BackendUnavailable, InputError, NonFiniteError, ShapeError
from throughtime.scans import BACKENDS, compiled, native, reference
from throughtime.scans.compiled import build
from throughtime.scans.contract import Runnable

every_pair = pytest.mark.parametrize(("cell", "backend"), PAIRS, ids=repr)
every_cell = pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


@pytest.fixture
def memory_starts_as_nan():
    """New buffers hold NaN, so that one read before it is written shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# Outputs and every gradient, against the reference in float64


@both_precisions
@pytest.mark.parametrize("kind", NAMED)
@every_pair
@pytest.mark.usefixtures("memory_starts_as_nan")
def test_backends_agree_with_the_float64_reference(cell, backend, kind, dtype):
    p = problem(cell, **NAMED[kind])
    assert_close(outcome(p, backend, dtype), outcome(p), dtype)


@both_precisions
@every_pair
@given(drawn())
@modest
@pytest.mark.usefixtures("memory_starts_as_nan")
def test_backends_agree_with_the_float64_reference_at_any_size(cell, backend, dtype, arguments):
    p = problem(cell, **arguments)
    assert_close(outcome(p, backend, dtype), outcome(p), dtype)


@pytest.mark.parametrize("backend", ["reference", "auto"])
@every_cell
def test_gradients_are_the_differences_of_the_outputs(cell, backend):
    p = problem(cell, T=3, n=2, n_x=2, lengths=[3, 0, 2], reset=[(1, 0), (2, 1), (1, 2)])
    leaves = [p.x, p.w.W_x, p.w.W_a, p.w.b, *p.w.vectors.values(), *p.state]

    def results(x, W_x, W_a, b, *rest):
        vectors = dict(zip(cell.vectors, rest))
        w = tt.Weights(W_x, W_a, b, vectors)
        state = cell.State(*rest[len(vectors) :])
        y, final = tt.scan(cell, w, x, state, lengths=p.lengths, reset=p.reset, backend=backend)
        return (y, *final)

    assert torch.autograd.gradcheck(results, [leaf.requires_grad_() for leaf in leaves])


def test_a_gradient_off_by_a_part_in_a_hundred_thousand_is_noticed():
    right = outcome(problem(tt.GRU()))
    wrong = right | {"d W_a": right["d W_a"] * (1 + 1e-5)}
    for dtype in (torch.float64, torch.float32):
        with pytest.raises(AssertionError, match="d W_a: off by"):
            assert_close(wrong, right, dtype)
    with pytest.raises(AssertionError, match="y: off by nan"):
        assert_close(right | {"y": right["y"] * float("nan")}, right)


# Laws


@every_pair
def test_splitting_a_sequence_and_carrying_the_state_equals_the_whole(cell, backend):
    p = problem(cell, T=7, reset=[(2, 1), (5, 0)])
    whole, final = tt.scan(cell, p.w, p.x, p.state, reset=p.reset, backend=backend)
    for cut in range(8):
        head, state = tt.scan(cell, p.w, p.x[:cut], p.state, reset=p.reset[:cut], backend=backend)
        tail, end = tt.scan(cell, p.w, p.x[cut:], state, reset=p.reset[cut:], backend=backend)
        assert_close({"y": torch.cat([head, tail])}, {"y": whole})
        assert_close(end._asdict(), final._asdict())


@every_pair
def test_a_forgotten_state_does_not_equal_the_whole(cell, backend):
    p = problem(cell, T=6)
    whole, _ = tt.scan(cell, p.w, p.x, p.state, backend=backend)
    tail, _ = tt.scan(cell, p.w, p.x[3:], backend=backend)
    with pytest.raises(AssertionError, match="y: off by"):
        assert_close({"y": tail}, {"y": whole[3:]}, torch.float32)


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("resets", [None, [(1, 0), (4, 0), (3, 1), (2, 3)]])
@every_pair
def test_padding_is_inert(cell, backend, resets, fill):
    p = problem(cell, B=4, lengths=[3, 5, 0, 4], reset=resets)
    clean, filled = p.x.clone(), p.x.clone()
    clean[p.padding], filled[p.padding] = 0, fill
    right = outcome(replace(p, x=clean), backend)
    got = outcome(replace(p, x=filled), backend)
    assert_same(got, right)
    assert torch.equal(got["d x"][p.padding], torch.zeros_like(got["d x"][p.padding]))
    assert bool((got["d x"][~p.padding] != 0).any())
    assert torch.equal(got["y"][p.padding], torch.zeros_like(got["y"][p.padding]))
    for name, part in p.state._asdict().items():
        assert torch.equal(got[f"final {name}"][2], part[2])


@every_pair
def test_a_row_of_a_ragged_batch_equals_its_sequence_alone(cell, backend):
    p = problem(cell, B=4, lengths=[3, 5, 1, 4], reset=[(2, 0), (3, 3)])
    y, final = tt.scan(cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend=backend)
    for b, length in enumerate([3, 5, 1, 4]):
        y_alone, final_alone = tt.scan(
            cell,
            p.w,
            p.x[:length, b : b + 1],
            cell.State(*(part[b : b + 1] for part in p.state)),
            reset=p.reset[:length, b : b + 1],
            backend=backend,
        )
        assert_close({"y": y[:length, b : b + 1]}, {"y": y_alone})
        row = {name: part[b : b + 1] for name, part in final._asdict().items()}
        assert_close(row, final_alone._asdict())


@every_pair
def test_a_reset_equals_two_separate_sequences(cell, backend):
    p = problem(cell, T=6, reset=[(4, 0), (4, 1), (4, 2)])
    y, final = tt.scan(cell, p.w, p.x, p.state, reset=p.reset, backend=backend)
    first, _ = tt.scan(cell, p.w, p.x[:4], p.state, backend=backend)
    second, end = tt.scan(cell, p.w, p.x[4:], backend=backend)
    assert_close({"y": y}, {"y": torch.cat([first, second])})
    assert_close(final._asdict(), end._asdict())


@every_pair
def test_no_gradient_crosses_a_reset(cell, backend):
    p = problem(cell, T=6, reset=[(4, 0)])
    x = p.x.requires_grad_()
    _, final = tt.scan(cell, p.w, x, p.state, reset=p.reset, backend=backend)
    (gradient,) = torch.autograd.grad(final[0].sum(), x)
    assert torch.equal(gradient[:4, 0], torch.zeros(4, 4, dtype=torch.float64))
    assert bool((gradient[4:, 0] != 0).any())
    assert bool((gradient[3, 1:] != 0).any())


@every_pair
def test_a_state_of_nan_does_not_pass_a_reset(cell, backend):
    p = problem(cell, reset=[(0, 0), (0, 1), (0, 2)])
    spoilt = cell.State(*(torch.full_like(part, float("nan")) for part in p.state))
    clean = outcome(replace(p, state=None, reset=None), backend)
    got = outcome(replace(p, state=spoilt), backend)
    for name in cell.state:
        initial = got.pop(f"d initial {name}")
        assert torch.equal(initial, torch.zeros_like(initial))
    assert_close(got, clean)


# Threads. The products of `native` and `reference` belong to torch's libraries, which split large
# ones by the number of threads and so round them otherwise. oneDNN, behind `native`, does so with
# small ones too on some processors; MKL keeps the bits where it is asked to (MKL_CBWR), on Intel's.


@pytest.mark.parametrize(
    "kind", [{}, {"lengths": [40, 7, 0, 25] * 4, "reset": [(9, 0), (9, 1), (20, 3)]}]
)
@both_precisions
@every_pair
def test_the_number_of_threads_does_not_change_a_bit_of_small_products(
    cell, backend, dtype, kind, threads_restored
):
    p = problem(cell, T=40, B=16, n=48, n_x=40, **kind)
    torch.set_num_threads(1)
    one = outcome(p, backend, dtype)
    torch.set_num_threads(2)
    two = outcome(p, backend, dtype)
    if backend == "native":
        assert_close(two, one, dtype)
    else:
        assert_same(two, one)


@both_precisions
@every_pair
def test_the_number_of_threads_changes_large_products_by_rounding_only(
    cell, backend, dtype, threads_restored
):
    p = problem(cell, **WIDE)
    torch.set_num_threads(1)
    one = outcome(p, backend, dtype)
    torch.set_num_threads(2)
    two = outcome(p, backend, dtype)
    assert_close(two, one, dtype)
    assert_same(outcome(p, backend, dtype), two)


@pytest.mark.skipif(
    not torch.backends.mkl.is_available()
    or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512")
    or "Intel" not in build.processor(),
    reason="MKL_CBWR=AVX2,STRICT is MKL's, for Intel's processors with AVX2",
)
def test_the_number_of_threads_changes_no_bit_where_mkl_is_asked_for_strict_results():
    script = """
import torch
from cases import PAIRS, WIDE, outcome, problem
for cell, backend in PAIRS:
    for dtype in (torch.float64, torch.float32):
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(outcome(problem(cell, **WIDE), backend, dtype))
        for name, right in results[0].items():
            if not torch.equal(results[1][name], right):
                print(cell, backend, dtype, name)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"MKL_CBWR": "AVX2,STRICT", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@every_pair
def test_inputs_are_left_as_they_were(cell, backend):
    p = problem(cell, lengths=[3, 0, 5], reset=[(1, 0)])
    parts = [p.x, *p.w[:3], *p.w.vectors.values(), *p.state, p.lengths, p.reset]
    before = [part.clone() for part in parts]
    tt.scan(cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend=backend)
    assert all(torch.equal(part, old) for part, old in zip(parts, before))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
@every_pair
def test_lengths_of_other_integer_kinds_mean_the_same(cell, backend, dtype):
    p = problem(cell, lengths=[3, 0, 5])
    other = replace(p, lengths=p.lengths.to(dtype))
    assert_same(outcome(other, backend), outcome(p, backend))


@every_pair
def test_an_empty_batch_is_scanned_to_nothing(cell, backend):
    p = problem(cell, B=0)
    y, final = tt.scan(cell, p.w, p.x, p.state, backend=backend)
    assert y.shape == (5, 0, 3)
    assert all(part.shape == (0, 3) for part in final)


# A user's own cell


def test_a_users_own_cell_scans_and_stacks():
    torch.manual_seed(0)
    stack = tt.Stack(TwoMemories, 4, 3, 2, bidirectional=True).double()
    y, state = stack(torch.randn(5, 2, 4).double(), lengths=torch.tensor([5, 2]))
    assert y.shape == (5, 2, 6)
    assert state._fields == ("quick", "slow")
    assert state.slow.shape == (4, 2, 3)
    gradients = torch.autograd.grad(y.sum(), list(stack.parameters()))
    assert all(bool((g != 0).any()) for g in gradients)


# Backends


def test_a_class_means_a_cell_with_its_default_options():
    p = problem(tt.LSTM())
    y, _ = tt.scan(tt.LSTM, p.w, p.x, p.state)
    right, _ = tt.scan(tt.LSTM("tanh"), p.w, p.x, p.state)
    assert torch.equal(y, right)


@pytest.mark.parametrize("cell", [c for c in ALL_CELLS if (c, "native") not in PAIRS], ids=repr)
def test_a_backend_asked_for_by_name_raises_its_reason(cell):
    p = problem(cell)
    reason = tt.why_not("native", cell, p.x, p.w)
    assert "torch has no kernel for" in reason
    assert repr(cell) in reason
    with pytest.raises(BackendUnavailable, match="'native' cannot run this scan: torch has no"):
        tt.scan(cell, p.w, p.x, backend="native")
    assert_close(outcome(p, "auto"), outcome(p))


def test_native_runs_the_cells_that_torch_has_and_no_other():
    native = {cell for cell, backend in PAIRS if backend == "native"}
    assert native == {tt.RNN(), tt.RNN("relu"), tt.GRUResetAfter(), tt.LSTM()}


@every_cell
def test_the_reference_runs_every_cell(cell):
    assert tt.why_not("reference", cell) is None
    assert tt.why_not("reference", type(cell)) is None


def test_auto_takes_the_cheapest_backend_that_can_run(monkeypatch):
    p = problem(tt.LSTM())
    asked = []
    for cheapest in BACKENDS:
        ways = {
            name: Fake(name, 1.0 if name == cheapest else 2.0, asked) for name in (*BACKENDS, "new")
        }
        ways["barred"] = Fake("barred", 0.5, asked, reason="it is barred.")
        monkeypatch.setattr(scans, "BACKENDS", ways)
        tt.scan(tt.LSTM, p.w, p.x)
        assert asked.pop() == cheapest
        assert not asked
    assert tt.why_not("barred", tt.LSTM) == "it is barred."
    with pytest.raises(BackendUnavailable, match=r"'barred' cannot run this scan: it is barred\."):
        tt.scan(tt.LSTM, p.w, p.x, backend="barred")
    tt.scan(tt.LSTM, p.w, p.x, backend="new")
    assert asked == ["new"]


@pytest.mark.parametrize(
    ("cell", "T", "n", "dtype", "taken"),
    [
        (tt.LSTM(), 8, 3, torch.float32, compiled),
        (tt.LSTM(), 8, 3, torch.bfloat16, compiled),
        (tt.LSTM(), 1, 3, torch.float32, compiled),
        (tt.LSTM(), 1, 3, torch.bfloat16, compiled),
        (tt.LSTM(), 1, 512, torch.float32, compiled),
        (tt.LSTM(), 1, 512, torch.bfloat16, native),  # with gradients: oneDNN's products
        (tt.GRU(), 1, 512, torch.bfloat16, compiled),  # torch has none
    ],
)
def test_auto_takes_torchs_cells_for_a_wide_step_in_bfloat16(cell, T, n, dtype, taken):
    w = cell.weights(4, n, dtype=dtype)
    w.W_a.requires_grad_()
    p = scans.Problem(cell, w, torch.zeros(T, 32, 4, dtype=dtype))
    assert tt.why_not("compiled", cell, p.x, w) is None
    assert scans.choose("auto", p).run is taken.run


class Fake:
    """A backend made for a test: whoever writes one needs `prepare` and one line."""

    TORCHS = False

    def __init__(self, name, cost, asked, reason=None):
        self.name, self.cost, self.asked, self.reason = name, cost, asked, reason

    def prepare(self, problem):
        return self.reason or Runnable(self.run, lambda problem: self.cost)

    def run(self, problem):
        self.asked.append(self.name)
        return reference.run(problem)


# What scan refuses


def refused(p: Problem, error: type[Exception], said: str, **changes) -> None:
    p = replace(p, **{k: v for k, v in changes.items() if k != "backend"})
    for backend in [changes["backend"]] if "backend" in changes else ["auto", "reference"]:
        with pytest.raises(error, match=said):
            tt.scan(p.cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend=backend)


def test_x_of_other_dimensions_is_refused():
    p = problem(tt.LSTM())
    refused(p, ShapeError, r"x must be \[T, B, n_x\], three dimensions; got \[5, 4\]", x=p.x[:, 0])
    refused(p, ShapeError, r"got \[1, 5, 3, 4\]", x=p.x[None])


def test_x_of_another_width_is_refused():
    p = problem(tt.LSTM())
    said = r"W_x must be \[12, 3\] for LSTM\(output='tanh'\).*width 3; got \[12, 4\]"
    refused(p, ShapeError, said, x=p.x[..., :3])


def test_weights_of_another_shape_are_refused():
    p = problem(tt.LSTM())
    W_x, W_a, b, *_ = p.w
    refused(p, ShapeError, r"W_x must be \[12, 4\].*got \[11, 4\]", w=p.w._replace(W_x=W_x[1:]))
    refused(p, ShapeError, r"W_x must be \[8, 4\]", w=p.w._replace(W_a=W_a[:, 1:]))
    refused(p, ShapeError, r"W_a must be \[12, 3\].*got \[9, 3\]", w=p.w._replace(W_a=W_a[3:]))
    refused(p, ShapeError, r"b must be \[12\].*got \[24\]", w=p.w._replace(b=torch.cat([b, b])))
    refused(p, ShapeError, "LSTM", w=problem(tt.GRU()).w)


def test_a_missing_or_misshapen_vector_is_refused():
    p = problem(tt.PeepholeLSTM())
    vectors = dict(p.w.vectors)
    p_f = vectors.pop("p_f")
    said = r"PeepholeLSTM.* needs the vector p_f \[3\]; the weights have none"
    refused(p, ShapeError, said, w=p.w._replace(vectors=vectors))
    said = r"p_f must be \[3\].*got \[2\]"
    refused(p, ShapeError, said, w=p.w._replace(vectors=vectors | {"p_f": p_f[1:]}))


def test_a_state_of_other_parts_names_or_shapes_is_refused():
    p = problem(tt.LSTM())
    a, c = p.state
    refused(p, ShapeError, "parts a, c; got 1 without names", state=a)
    refused(p, ShapeError, "parts a, c; got 1 without names", state=(a,))
    refused(p, ShapeError, "parts a, c; got 3 without names", state=(a, c, c))
    refused(p, ShapeError, "parts a, c; got c", state=tt.GRU.State(c))
    refused(p, ShapeError, r"state a must be \[3, 3\]; got \[1, 3, 3\]", state=(a[None], c))
    refused(p, ShapeError, r"state c must be \[3, 3\]; got \[2, 3\]", state=(a, c[1:]))
    refused(problem(tt.RNN()), ShapeError, "the parts a; got c", state=tt.GRU.State(c))


def test_a_state_may_be_a_plain_tuple_or_one_tensor():
    p = problem(tt.LSTM())
    assert torch.equal(tt.scan(tt.LSTM, p.w, p.x, tuple(p.state))[0], outcome(p, "auto")["y"])
    p = problem(tt.GRU())
    assert torch.equal(tt.scan(tt.GRU, p.w, p.x, p.state.c)[0], outcome(p, "auto")["y"])


def test_lengths_that_do_not_fit_are_refused():
    p = problem(tt.LSTM())
    said = r"lengths must be integers of shape \[3\]"
    refused(p, ShapeError, said, lengths=torch.tensor([1, 2]))
    refused(p, ShapeError, said, lengths=torch.tensor([1.0, 2.0, 3.0]))
    refused(p, ShapeError, said, lengths=torch.tensor([True, True, False]))
    refused(p, ShapeError, "between 0 and T = 5; got 1 to 6", lengths=torch.tensor([1, 6, 2]))
    refused(p, ShapeError, "between 0 and T = 5; got -1 to 2", lengths=torch.tensor([1, -1, 2]))


def test_a_reset_that_does_not_fit_is_refused():
    p = problem(tt.LSTM())
    said = r"reset must be boolean \[5, 3\]; got torch.bool \[3, 5\]"
    refused(p, ShapeError, said, reset=torch.zeros(3, 5, dtype=torch.bool))
    refused(p, ShapeError, r"got torch.int64 \[5, 3\]", reset=torch.zeros(5, 3, dtype=torch.int64))
    refused(p, ShapeError, r"got torch.bool \[5\]", reset=torch.zeros(5, dtype=torch.bool))


def test_an_unknown_backend_names_the_nearest():
    p = problem(tt.LSTM())
    said = "unknown backend 'nativ'. Did you mean 'native'?.* Known: auto,"
    refused(p, InputError, said, backend="nativ")
    with pytest.raises(InputError, match=r"unknown backend 'refrence'. Did you mean 'reference'"):
        tt.why_not("refrence", tt.LSTM)


def test_what_is_no_cell_is_refused():
    p = problem(tt.LSTM())
    with pytest.raises(InputError, match=r"unknown cell 'LSTM'.* Known: rnn, simple-gru"):
        tt.scan("LSTM", p.w, p.x)
    for wrong in (7, torch.nn.LSTM, None):
        with pytest.raises(InputError, match=r"cell must be a tt.Cell such as tt.LSTM.*got"):
            tt.scan(wrong, p.w, p.x)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_data_that_is_not_finite_is_refused_with_its_place(value):
    p = problem(tt.LSTM(), lengths=[3, 5, 4])
    p.x[2, 1, 3] = p.x[4, 1, 0] = value
    said = f"2 values that are NaN or infinite.* t = 2, sequence 1, feature 3: {value}"
    refused(p, NonFiniteError, said)


def test_infinities_that_cancel_are_refused_all_the_same():
    p = problem(tt.RNN())
    p.x[0, 0, 0], p.x[0, 0, 1] = float("inf"), -float("inf")
    refused(p, NonFiniteError, "2 values")


def test_finite_data_whose_sum_overflows_is_accepted():
    p = problem(tt.RNN())
    x = torch.full((5, 3, 4), 3e38)
    w = tt.Weights(*(part.float() for part in p.w[:3]), {})
    y, _ = tt.scan(tt.RNN(), w, x)
    assert bool(y.isfinite().all())


def test_data_that_is_not_finite_is_accepted_in_the_padding():
    p = problem(tt.LSTM(), lengths=[3, 5, 4])
    p.x[3, 0] = p.x[4, 2] = float("nan")
    y, _ = tt.scan(tt.LSTM, p.w, p.x, p.state, lengths=p.lengths)
    assert bool(y.isfinite().all())


def test_another_dtype_or_no_tensor_at_all_is_named():
    stack = tt.Stack(tt.GRU, 3, 4)
    w = tt.GRU().weights(3, 4)
    with pytest.raises(InputError, match=r"torch.float32, as the weights are; got torch.float64"):
        stack(torch.zeros(2, 1, 3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"got torch.int64"):
        tt.scan(tt.GRU, w, torch.zeros(2, 1, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="must be a tensor, got list"):
        stack.step([[1.0, 2.0, 3.0]])
