"""Cells with noise: their equations against NumPy, gradients, backends."""

import numpy as np
import pytest
import torch

import oracles
import throughtime as tt
from cases import NAMED, ORACLES, assert_close, assert_same, in_numpy, outcome, problem
from throughtime.cells.noisy import Expected, Noisy
from throughtime.ground.errors import InputError

PLAIN = [cell for cell in ORACLES if not cell.inputs]


def noisy(cell: tt.Cell) -> Noisy:
    """All the noise there is."""
    return Noisy(cell, cell.state, bool(cell.candidate), True)


NOISY = [
    noisy(tt.LSTM()),
    noisy(tt.GRU()),
    noisy(tt.PeepholeLSTM("current")),
    noisy(tt.RNN()),
    Noisy(tt.LSTM(), ("c",)),
    Noisy(tt.GRUResetAfter(), (), True, False),
    Noisy(tt.zoo.MGU(), (), False, True),
]
every_noisy = pytest.mark.parametrize("cell", NOISY, ids=repr)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", NAMED)
@every_noisy
def test_noisy_cells_agree_with_the_float64_reference(cell, kind, dtype):
    p = problem(cell, **NAMED[kind])
    assert_close(outcome(p, "compiled", dtype), outcome(p), dtype)


@pytest.mark.parametrize("cell", PLAIN, ids=repr)
def test_zoneout_and_masked_operands_are_the_papers_equations(cell):
    """A mask on what W_ga takes is one on its columns; zoneout mixes what a step makes."""
    T, B, n = 4, 3, 5
    p = problem(cell, T=T, B=B, n=n)
    generator = np.random.default_rng(0)
    keeps = {part: generator.random((T, B, n)) < 0.3 for part in cell.state}
    operand, scale = generator.random((1, B, n)) < 0.6, 1.6
    given = {f"zoneout.{part}": torch.tensor(keep) for part, keep in keeps.items()}
    given["operand.kept"] = torch.tensor(operand)
    given["operand.scale"] = torch.full((1, 1, 1), scale, dtype=torch.float64)
    y, final = tt.scan(Noisy(cell, cell.state, False, True), p.w, p.x, p.state, inputs=given)
    plain = in_numpy(cell, p.w)
    for b in range(B):
        columns = np.concatenate([operand[0, b] * scale, np.ones(p.x.shape[-1])])
        parameters = plain._replace(W={gate: W * columns for gate, W in plain.W.items()})
        state = {part: value[b].numpy() for part, value in p.state._asdict().items()}
        for t in range(T):
            new = ORACLES[cell](parameters, p.x[t, b].numpy(), state)
            state = {part: np.where(keeps[part][t, b], state[part], new[part]) for part in state}
            np.testing.assert_allclose(y[t, b].numpy(), state[cell.state[0]], atol=1e-13)
        for part, value in state.items():
            np.testing.assert_allclose(getattr(final, part)[b].numpy(), value, atol=1e-13)


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_recurrent_dropout_acts_on_the_candidate(backend):
    T, B, n = 4, 2, 5
    p = problem(tt.LSTM(), T=T, B=B, n=n)
    kept, scale = np.random.default_rng(0).random((T, B, n)) < 0.6, 1 / 0.6
    given = {
        "candidate.kept": torch.tensor(kept),
        "candidate.scale": p.x.new_full((1, 1, 1), scale),
    }
    cell = Noisy(tt.LSTM(), (), True)
    y, final = tt.scan(cell, p.w, p.x, p.state, inputs=given, backend=backend)
    q = in_numpy(tt.LSTM(), p.w)
    for b in range(B):
        a, c = (part[b].numpy() for part in p.state)
        for t in range(T):
            z = {g: oracles.affine(q, g, a, p.x[t, b].numpy()) for g in q.W}
            gate_u, gate_f, gate_o = (oracles.sigma(z[g]) for g in "ufo")
            c = gate_u * (kept[t, b] * np.tanh(z["c"]) * scale) + gate_f * c
            a = gate_o * np.tanh(c)
            np.testing.assert_allclose(y[t, b].numpy(), a, atol=1e-13)
        np.testing.assert_allclose(final.c[b].numpy(), c, atol=1e-13)


@pytest.mark.parametrize("backend", ["reference", "compiled"])
@pytest.mark.parametrize("cell", [noisy(tt.LSTM()), noisy(tt.GRU())], ids=repr)
def test_gradients_are_the_differences_of_the_outputs(cell, backend):
    p = problem(cell, T=3, n=2, n_x=2, lengths=[3, 0, 2], reset=[(1, 0), (2, 1), (1, 2)])
    inputs = {name: part > 0 if "scale" not in name else part for name, part in p.inputs.items()}
    leaves = [p.x, *p.w[:3], *p.state]

    def results(x, W_x, W_a, b, *state):
        w, start = tt.Weights(W_x, W_a, b, {}), cell.State(*state)
        more = {"lengths": p.lengths, "reset": p.reset, "inputs": inputs, "backend": backend}
        y, final = tt.scan(cell, w, x, start, **more)
        return (y, *final)

    assert torch.autograd.gradcheck(results, [leaf.requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("cell", [tt.LSTM(), tt.GRU()], ids=repr)
def test_the_expectation_mixes_the_old_state_and_the_new(cell):
    p = problem(cell)
    rates = {part: 0.1 + 0.3 * k for k, part in enumerate(cell.state)}
    for backend in ("reference", "compiled"):
        expected = Expected(cell, tuple(rates.items()))
        _, new = tt.scan(cell, p.w, p.x[:1], p.state, backend=backend)
        _, got = tt.scan(expected, p.w, p.x[:1], p.state, backend=backend)
        for part, p_old in rates.items():
            right = p_old * getattr(p.state, part) + (1 - p_old) * getattr(new, part)
            assert_close({part: getattr(got, part)}, {part: right})


def test_one_program_serves_every_rate_and_plain_equations_are_as_they_were():
    from throughtime.scans.compiled import programs

    class Bare(tt.Cell):
        gates, state = ("c", "u"), ("c",)

        def step(self, w, x, s):
            gate_u = torch.sigmoid(w.u(s.c, x))
            return self.State(c=gate_u * torch.tanh(w.c(s.c, x)) + (1 - gate_u) * s.c)

    class Marked(Bare):
        candidate = "c_tilde"

        def step(self, w, x, s):
            gate_u = torch.sigmoid(w.u(s.c, x))
            return self.State(c=gate_u * w.c_tilde(torch.tanh(w.c(s.c, x))) + (1 - gate_u) * s.c)

    assert programs.find(Marked()) == programs.find(Bare())


class Forgetful(tt.LSTM):
    """It names its candidate as its base does, and does not pass it through."""

    def step(self, w, x, s):
        c = torch.sigmoid(w.f(s.a, x)) * s.c + torch.tanh(w.c(s.a, x))
        return self.State(a=torch.sigmoid(w.o(s.a, x)) * w.u(s.a, x) * c, c=c)


def test_a_candidate_that_step_does_not_pass_through_is_told():
    p = problem(Forgetful())
    tt.scan(Forgetful(), p.w, p.x)
    cell = Noisy(Forgetful(), (), True)
    given = {"candidate.kept": p.x.new_ones(1, 1, 1), "candidate.scale": p.x.new_ones(1, 1, 1)}
    with pytest.raises(InputError, match=r"Forgetful.step must pass its candidate through w.c_til"):
        tt.scan(cell, p.w, p.x, inputs=given)


@pytest.mark.parametrize("name", ["2c", 3, "_c"])
def test_a_candidate_has_a_name(name):
    with pytest.raises(InputError, match="candidate must be a name such as 'c_tilde', got"):
        type("Bad", (tt.Cell,), {"gates": ("c",), "state": ("c",), "candidate": name})


def test_noise_keeps_the_cells_own_first_state_and_derived_weights():
    class Begins(tt.SimpleGRU):
        vectors = scalars = ("k",)

        def step(self, w, x, s):
            gate_u = torch.sigmoid(w.u(w.k * s.c, x))
            c_tilde = w.c_tilde(torch.tanh(w.c(s.c, x)))
            return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)

        def initial_state(self, batch, hidden_size, *, w=None, **to):
            return self.State(c=w.k.expand(batch, hidden_size))

    p = problem(noisy(Begins()), state=False, reset=[(2, 1), (3, 0)])
    assert_close(outcome(p, "compiled"), outcome(p))
    same = Noisy(Begins())
    assert_same(outcome(problem(same, state=False)), outcome(problem(Begins(), state=False)))


def test_what_noisy_cells_are_called():
    assert repr(noisy(tt.GRU())) == "GRU() with zoneout, recurrent dropout, variational dropout"
    assert repr(Expected(tt.GRU(), (("c", 0.1),))) == "GRU() with zoneout c=0.1"
    reason = tt.why_not("native", Noisy(tt.GRUResetAfter(), ("c",)))
    assert "torch has no kernel for GRUResetAfter() with zoneout" in reason
