"""How weights begin: as a cell declares it, as a stack is told, as a word of the command line."""

import math

import pytest
import torch

import throughtime as tt
from cases import ALL_CELLS
from throughtime.ground.errors import InputError, SettingError

N_X, N = 5, 400


def weights(cell, **stack):
    """Of one layer, in float64, by gate: W_a, W_x, b; and the vectors."""
    torch.manual_seed(0)
    built = tt.Stack(cell, N_X, N, **stack).weights[0]()
    G = len(built.b) // N
    gates = zip(*(part.detach().double().chunk(G) for part in (built.W_a, built.W_x, built.b)))
    names = tt.Stack(cell, 1, 1).cell.gates
    return dict(zip(names, gates, strict=True)), built.vectors


def is_orthogonal(W):
    return torch.allclose(W @ W.T, torch.eye(len(W)).double(), atol=1e-4)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_orthogonal_is_every_recurrent_matrix_and_nothing_else(cell):
    plain, _ = weights(cell)
    found, _ = weights(cell, initial="orthogonal")
    for name, (W_a, W_x, b) in found.items():
        assert is_orthogonal(W_a)
        assert not is_orthogonal(plain[name][0])
        assert torch.equal(W_x, plain[name][1])
        assert torch.equal(b, plain[name][2])


KEEPS = {
    tt.LSTM: ("f", "u"), tt.PeepholeLSTM: ("f", "u"), tt.SimpleGRU: (None, "u"),
    tt.GRU: (None, "u"), tt.GRUResetAfter: ("z", None),
}  # fmt: skip


@pytest.mark.parametrize("cell", KEEPS)
def test_chrono_spreads_what_is_kept_evenly_from_one_step_to_the_longest(cell):
    T = 101
    plain, _ = weights(cell)
    found, _ = weights(cell, initial=f"chrono:{T}")
    keeps, takes = KEEPS[cell]
    b = found[keeps][2] if keeps else -found[takes][2]
    u = b.exp()
    assert float(u.min()) >= 1
    assert float(u.max()) <= T - 1
    evenly = torch.linspace(1, T - 1, N).double()
    assert float((u.sort().values - evenly).abs().max()) < 0.12 * T  # Kolmogorov: 1.36 / √N at 5 %
    if keeps and takes:
        assert torch.equal(found[takes][2], -b)
    for name in found.keys() - {keeps, takes}:
        assert torch.equal(found[name][2], plain[name][2])
    for name, (W_a, W_x, _) in found.items():
        assert torch.equal(W_a, plain[name][0])
        assert torch.equal(W_x, plain[name][1])


def test_a_gate_that_begins_with_chrono_keeps_for_as_long():
    """Γ = σ(log u) keeps u / (1 + u) a step: a time constant of about u."""
    found, _ = weights(tt.LSTM, initial="chrono:1000")
    b = found["f"][2]
    tau = -1 / torch.sigmoid(b).log()
    assert torch.allclose(tau, b.exp(), atol=0.51)


class Declared(tt.Cell):
    """Every way to begin."""

    gates = ("a", "b", "c")
    state = ("s",)
    vectors = ("p", "q")
    initial = {  # noqa: RUF012  as a user writes it
        "a": {"recurrent": "orthogonal", "input": "zeros", "bias": 1.5},
        "b": {"recurrent": "identity", "input": 0.25, "bias": "-chrono:50"},
        "c": {"bias": "chrono:50"},
        "p": -2.0,
        "q": "zeros",
    }

    def step(self, w, x, s):
        return self.State(s=w.a(s.s, x) + w.b(s.s, x) + w.c(w.p * w.q * s.s, x))


def test_a_cell_declares_it_gate_by_gate():
    found, vectors = weights(Declared)
    W_a, W_x, b = found["a"]
    assert is_orthogonal(W_a)
    assert not W_x.any()
    assert bool((b == 1.5).all())
    W_a, W_x, b = found["b"]
    assert torch.equal(W_a, torch.eye(N).double())
    assert bool((W_x == 0.25).all())
    W_a, W_x, c = found["c"]
    assert torch.equal(b, -c)
    assert float(c.min()) >= 0
    for W in (W_a, W_x):
        assert 0.95 < float(W.abs().max()) * math.sqrt(N) <= 1
    assert bool((vectors["p"] == -2).all())
    assert not vectors["q"].any()


def test_what_a_stack_says_counts_before_the_cell_and_the_last_before_the_first():
    cell = Declared()
    found, vectors = weights(
        cell, initial=[{"a": {"bias": 3.0}, "p": 1.0}, "orthogonal", {"a": {"bias": "zeros"}}]
    )
    assert not found["a"][2].any()
    assert is_orthogonal(found["c"][0])
    assert bool((found["b"][1] == 0.25).all())
    assert bool((vectors["p"] == 1).all())


def test_the_forget_gates_bias_is_one_and_a_subclass_has_it_otherwise():
    class Longer(tt.LSTM):
        initial_bias = {"f": 2.0}  # noqa: RUF012  as a user writes it

    class Longest(tt.LSTM):
        initial = {"f": {"bias": 3.0}}  # noqa: RUF012

    for cell, bias in ((tt.LSTM, 1.0), (tt.PeepholeLSTM, 1.0), (Longer, 2.0), (Longest, 3.0)):
        found, _ = weights(cell)
        assert bool((found["f"][2] == bias).all())
        assert not found["o"][2].any()


def test_words_of_the_command_line_mean_the_same():
    found, _ = weights(tt.LSTM, initial=["f.bias=2", "o.recurrent=orthogonal", "u.input=zeros"])
    assert bool((found["f"][2] == 2).all())
    assert is_orthogonal(found["o"][0])
    assert not found["u"][1].any()
    _, vectors = weights(tt.PeepholeLSTM, initial="p_o=0.5")
    assert bool((vectors["p_o"] == 0.5).all())


@pytest.mark.parametrize(
    ("cell", "initial", "said"),
    [
        (tt.LSTM, "orthognal", "must be orthogonal, chrono:T .* got 'orthognal'"),
        (tt.LSTM, "chrono:2", "chrono:T with T of at least 3.* got 'chrono:2'"),
        (tt.LSTM, "-chrono:20", "got '-chrono:20'"),
        (tt.RNN, "chrono:20", r"RNN.* names no gates whose biases chrono:20 could set"),
        (tt.GRU, "f.bias=1", "initial names no gate or vector: 'f'"),
        (tt.GRU, {"u": {"biass": 1.0}}, r"initial\['u'\] must be a mapping of recurrent, input, b"),
        (tt.GRU, {"u": 1.0}, r"initial\['u'\] must be a mapping"),
        (tt.GRU, "u.bias=orthogonal", r"zeros, uniform, chrono.* for a bias; got 'orthogonal'"),
        (tt.GRU, "u.input=chrono:9", r"identity, orthogonal for a matrix; got 'chrono:9'"),
        (tt.GRU, "u.input=nan", r"initial\['u'\]\['input'\] must be a number, .* got nan"),
        (tt.PeepholeLSTM, "p_o=identity", "zeros, uniform for a vector; got 'identity'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(cell, initial, said):
    with pytest.raises(InputError, match=said) as raised:
        tt.Stack(cell, 2, 3, initial=initial)
    assert "\n" not in str(raised.value)


def test_a_cell_that_declares_what_cannot_be_is_refused_when_the_class_is_made():
    for initial, said in (
        ({"f": {"bias": 1.0}}, "Broken.initial names no gate or vector: 'f'"),
        ({"u": {"bias": "ones"}}, r"Broken.initial\['u'\]\['bias'\] must be a number"),
        (1.0, "Broken.initial must be a mapping"),
    ):
        with pytest.raises(InputError, match=said):
            type("Broken", (tt.Cell,), {"gates": ("u",), "state": ("a",), "initial": initial})
    with pytest.raises(InputError, match=r"Broken.chrono names no gate: \['f'\]"):
        type("Broken", (tt.Cell,), {"gates": ("u",), "state": ("a",), "chrono": {"f": 1}})


def test_a_range_for_all_weights_and_a_way_of_their_own_contradict_each_other():
    config = tt.ClassifierConfig(out="x", train=["y"])
    config.model.initial, config.model.init_range = ["orthogonal"], 0.1
    with pytest.raises(SettingError, match="init_range draws all weights"):
        config.model.check()


def test_shapes_are_known_without_numbers_and_half_precision_begins_alike():
    with torch.device("meta"):
        stack = tt.Stack(tt.LSTM, 3, 4, initial=["orthogonal", "chrono:9"])
    assert stack.weights[0].W_a.shape == (16, 4)
    w = tt.LSTM().weights(3, 8, initial=[{"c": {"recurrent": "orthogonal"}}], dtype=torch.bfloat16)
    W = w.W_a[16:24].detach().double()
    assert torch.allclose(W @ W.T, torch.eye(8).double(), atol=0.05)
