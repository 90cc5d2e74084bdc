"""Each cell against NumPy equations written apart from it, and what `tt.Cell` refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import sigmoid, tanh

import oracles
import throughtime as tt
from cases import ALL_CELLS, NAMED, ORACLES, Problem, by_oracle, drawn, modest, problem
from throughtime.ground.errors import InputError


def assert_matches_oracle(p: Problem, like: tt.Cell | None = None) -> None:
    """The reference scan of p against the oracle of its cell (or of the cell `like`)."""
    y, final = tt.scan(
        p.cell, p.w, p.x, p.state, lengths=p.lengths, reset=p.reset, backend="reference"
    )
    right_y, right_final = by_oracle(replace(p, cell=like or p.cell))
    np.testing.assert_allclose(y.numpy(), right_y, rtol=0, atol=1e-12, strict=True)
    assert final._fields == tuple(right_final)
    for name, right in right_final.items():
        np.testing.assert_allclose(
            getattr(final, name).numpy(), right, rtol=0, atol=1e-12, strict=True
        )


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_each_cell_is_its_equations(cell, kind):
    assert_matches_oracle(problem(cell, **NAMED[kind]))


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@given(drawn())
@modest
def test_each_cell_is_its_equations_at_any_size(cell, arguments):
    assert_matches_oracle(problem(cell, **arguments))


def test_every_public_cell_and_option_has_an_oracle():
    options = {tt.RNN: ("tanh", "relu"), tt.LSTM: ("tanh", "identity")}
    options |= {tt.PeepholeLSTM: ("previous", "current")}
    options |= {tt.LayerNormLSTM: (0.1,), tt.LayerNormGRU: (0.1,)}
    public = {value for name in tt.__all__ if isinstance(value := getattr(tt, name), type)}
    cells = {c for c in public if issubclass(c, tt.Cell) and c is not tt.Cell}
    assert len(cells) == 8
    for cell in cells:
        for arguments in [(o,) for o in options[cell]] if cell in options else [()]:
            assert cell(*arguments) in ORACLES


def test_weights_pair_each_gate_with_its_own_rows():
    w = tt.LSTM().weights(2, 3, dtype=torch.float64)
    bound = tt.LSTM().bind(w)
    v, x = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    for g, gate in enumerate(tt.LSTM.gates):
        rows = slice(3 * g, 3 * g + 3)
        W = torch.cat([w.W_a[rows], w.W_x[rows]], 1)
        right = torch.cat([v, x], 1) @ W.T + w.b[rows]
        torch.testing.assert_close(getattr(bound, gate)(v, x), right, rtol=0, atol=1e-14)


# Memory


@pytest.mark.parametrize(
    ("cell", "biases"),
    [
        (tt.SimpleGRU(), {"u": -1e4}),
        (tt.GRU(), {"u": -1e4}),
        (tt.GRUResetAfter(), {"z": 1e4}),
        (tt.LSTM(), {"u": -1e4, "f": 1e4}),
        (tt.LSTM("identity"), {"u": -1e4, "f": 1e4}),
        (tt.PeepholeLSTM(), {"u": -1e4, "f": 1e4}),
        (tt.LayerNormLSTM(), {"u": -1e4, "f": 1e4}),
        (tt.LayerNormGRU(), {"u": -1e4}),
    ],
    ids=repr,
)
def test_a_closed_update_gate_keeps_the_memory_and_its_gradient(cell, biases):
    p = problem(cell, T=100)
    for gate, value in biases.items():
        start = cell.gates.index(gate) * 3
        p.w.b[start : start + 3] = value
    state = cell.State(*(part.requires_grad_() for part in p.state))
    _, final = tt.scan(cell, p.w, p.x, state, backend="reference")
    assert torch.equal(final.c, state.c)
    (gradient,) = torch.autograd.grad(final.c.sum(), [state.c])
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_an_open_update_gate_forgets_the_memory():
    p = problem(tt.SimpleGRU(), T=1)
    p.w.b[3:] = 1e4
    p.w.W_a[:3] = 0
    _, final = tt.scan(tt.SimpleGRU(), p.w, p.x, p.state, backend="reference")
    _, without = tt.scan(tt.SimpleGRU(), p.w, p.x, backend="reference")
    assert torch.equal(final.c, without.c)


# Mutants: a wrong cell must be noticed


class UpdateAndResetSwapped(tt.GRU):
    def step(self, w, x, s):
        w.u, w.r = w.r, w.u
        try:
            return super().step(w, x, s)
        finally:
            w.u, w.r = w.r, w.u


class ForgetAndUpdateSwapped(tt.LSTM):
    def step(self, w, x, s):
        w.u, w.f = w.f, w.u
        try:
            return super().step(w, x, s)
        finally:
            w.u, w.f = w.f, w.u


class OutputAndCandidateSwapped(tt.LSTM):
    gates = ("u", "f", "o", "c")


class ResetAfterTheProduct(tt.GRU):
    def step(self, w, x, s):
        gate_r, gate_u = sigmoid(w.r(s.c, x)), sigmoid(w.u(s.c, x))
        c_tilde = tanh(w.c.input(x) + gate_r * w.c.recurrent(s.c))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class ResetBeforeTheProduct(tt.GRUResetAfter):
    def step(self, w, x, s):
        gate_r, gate_z = sigmoid(w.r(s.c, x)), sigmoid(w.z(s.c, x))
        c_tilde = tanh(w.c(gate_r * s.c, x) + gate_r * w.d_c)
        return self.State(c=(1 - gate_z) * c_tilde + gate_z * s.c)


class UpdateKeepsTheOld(tt.SimpleGRU):
    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.c, x))
        return self.State(c=(1 - gate_u) * tanh(w.c(s.c, x)) + gate_u * s.c)


class ForgetsTheBias(tt.RNN):
    def step(self, w, x, s):
        return self.State(a=tanh(w.a.recurrent(s.a) + w.a.input(x) - w.a.b))


class StatesSwapped(tt.LSTM):
    def step(self, w, x, s):
        return self.State(*reversed(super().step(w, x, s)))


@pytest.mark.parametrize(
    ("mutant", "original"),
    [
        (UpdateAndResetSwapped(), tt.GRU()),
        (ResetAfterTheProduct(), tt.GRU()),
        (ResetBeforeTheProduct(), tt.GRUResetAfter()),
        (UpdateKeepsTheOld(), tt.SimpleGRU()),
        (ForgetsTheBias(), tt.RNN()),
        (tt.RNN("relu"), tt.RNN()),
        (ForgetAndUpdateSwapped(), tt.LSTM()),
        (StatesSwapped(), tt.LSTM()),
        (tt.LSTM("identity"), tt.LSTM()),
        (tt.PeepholeLSTM("current"), tt.PeepholeLSTM("previous")),
    ],
    ids=repr,
)
def test_a_wrong_cell_does_not_pass_for_the_right_one(mutant, original):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_matches_oracle(problem(mutant), like=original)


def test_gates_stacked_in_another_order_do_not_pass():
    p = problem(tt.LSTM())
    y, _ = tt.scan(OutputAndCandidateSwapped(), p.w, p.x, backend="reference")
    right, _ = by_oracle(replace(p, state=None))
    assert np.abs(y.numpy() - right).max() > 1e-3


def test_gates_of_the_cells_that_torch_has_stand_in_its_order():
    assert tt.LSTM.gates == ("u", "f", "c", "o")
    assert tt.GRUResetAfter.gates == ("r", "z", "c")


# What a cell is


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"gates": ["u"], "state": ("a",)}, r"gates must be a tuple of names.*got \['u'\]"),
        ({"gates": "u", "state": ("a",)}, "gates must be a tuple of names.*got 'u'"),
        ({"gates": ("u", 3), "state": ("a",)}, "gates must be a tuple of names"),
        ({"gates": ("u v",), "state": ("a",)}, "gates must be a tuple of names.*'u v'"),
        ({"gates": ("lambda",), "state": ("a",)}, "gates must be a tuple of names.*'lambda'"),
        ({"gates": ("u",), "state": ("_a",)}, "state must be a tuple of names.*'_a'"),
        ({"gates": ("u",), "state": ("class",)}, "state must be a tuple of names.*'class'"),
        ({"gates": ("u",), "state": ("a",), "vectors": "p"}, "vectors must be a tuple of names"),
        ({"state": ("a",)}, "must name at least one gate and one state"),
        ({"gates": ("u",)}, "must name at least one gate and one state"),
        ({"gates": ("u", "u"), "state": ("a",)}, "an input or a state twice"),
        ({"gates": ("u",), "state": ("a", "a")}, "an input or a state twice"),
        ({"gates": ("u",), "state": ("a",), "vectors": ("u",)}, "input or a state twice"),
        (
            {"gates": ("u",), "state": ("a",), "initial_bias": {"f": 1.0}},
            r"Broken.initial_bias names no gate: \['f'\]",
        ),
    ],
)
def test_a_malformed_declaration_is_refused_when_the_class_is_made(declared, said):
    with pytest.raises(InputError, match=said):
        type("Broken", (tt.Cell,), declared)


def test_a_state_may_have_the_name_of_a_gate():
    class Same(tt.Cell):
        gates = ("a",)
        state = ("a",)

    assert Same.State._fields == ("a",)


def test_a_cell_without_equations_says_so():
    class Empty(tt.Cell):
        gates = ("a",)
        state = ("a",)

    with pytest.raises(NotImplementedError, match="Empty does not define step"):
        tt.scan(Empty, Empty().weights(2, 3), torch.zeros(1, 1, 2))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tt.RNN("tahn"), "unknown nonlinearity 'tahn'. Did you mean 'tanh'"),
        (lambda: tt.LSTM("identty"), "unknown output 'identty'. Did you mean 'identity'"),
        (lambda: tt.PeepholeLSTM("now"), "unknown output_gate_sees 'now'.* Known: previous, curr"),
    ],
)
def test_an_unknown_option_names_the_known_ones(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_cells_are_equal_when_their_class_and_options_are():
    assert tt.LSTM() == tt.LSTM("tanh") != tt.LSTM("identity")
    assert tt.GRU() != tt.SimpleGRU()
    assert tt.GRU() != "GRU"
    assert hash(tt.LSTM()) == hash(tt.LSTM("tanh"))
    assert len({*ALL_CELLS, tt.RNN(), tt.LSTM(), tt.GRU()}) == len(ALL_CELLS)


@pytest.mark.parametrize("cell", ALL_CELLS[:-1], ids=repr)
def test_the_repr_makes_the_same_cell_again(cell):
    assert eval(f"tt.{cell!r}") == cell


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_new_weights_have_the_documented_shapes_and_bounds(cell):
    torch.manual_seed(0)
    G, n, n_x = len(cell.gates), 16, 5
    w = cell.weights(n_x, n, dtype=torch.float64)
    assert w.W_x.shape == (G * n, n_x)
    assert w.W_a.shape == (G * n, n)
    assert w.b.shape == (G * n,)
    assert tuple(w.vectors) == cell.vectors
    assert all(v.shape == (n,) for v in w.vectors.values())
    drawn = [v for name, v in w.vectors.items() if name not in cell.initial]
    for name, v in w.vectors.items():
        assert name not in cell.initial or torch.equal(v, torch.full_like(v, cell.initial[name]))
    for part in (w.W_x, w.W_a, *drawn):
        assert part.dtype == torch.float64
        assert part.requires_grad
        assert 0.15 < float(part.detach().abs().max()) <= 0.25  # uniform in ±1/√16
    assert w.b.requires_grad
    for gate, b in zip(cell.gates, w.b.chunk(G)):
        assert torch.equal(b, torch.full_like(b, 1.0 if gate == "f" else 0.0))


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_the_initial_state_is_zero_and_named(cell):
    state = cell.initial_state(2, 3, dtype=torch.float64)
    assert state._fields == cell.state
    assert all(torch.equal(part, torch.zeros(2, 3, dtype=torch.float64)) for part in state)


def test_the_oracles_logistic_function_holds_at_both_ends():
    np.testing.assert_allclose(oracles.sigma(np.array([-1e4, 0.0, 1e4])), [0, 0.5, 1], atol=0)
