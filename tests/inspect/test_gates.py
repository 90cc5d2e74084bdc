"""Gates found in any cell's equations; what a step keeps, by the equations written out."""

import pytest
import torch
from torch import sigmoid

import throughtime as tt
from cases import ALL_CELLS, TwoMemories, normal, random_weights
from throughtime.config import ModelConfig
from throughtime.inspect.equations import look
from throughtime.inspect.gates import gates_through_time, of_units, summary, watch_gates
from throughtime.inspect.units import longest_units
from throughtime.inspect.watch import watching
from throughtime.models.language import LanguageModel

B, n = 4, 6


def one_step(cell):
    generator = torch.Generator().manual_seed(2)
    bound = cell.bind(cell.derived(random_weights(cell, 3, n, generator)))
    x = normal(generator, B, 3)
    s = cell.State(*(normal(generator, B, n) for _ in cell.state))
    return bound, x, s, look(cell, bound, x, s)


def normalised(cell, w, half, v, gates):
    """A half of each gate, by torch's layer_norm over all of their units."""
    whole = torch.cat([getattr(getattr(w, gate), half)(v) for gate in gates], -1)
    parts = torch.nn.functional.layer_norm(whole, whole.shape[-1:], eps=cell.eps).chunk(
        len(gates), -1
    )
    alpha = "x" if half == "input" else "a"
    return {g: getattr(w, f"alpha_{alpha}{g}") * part for g, part in zip(gates, parts)}


def layer_norm_gates(cell, w, x, s, names, together):
    """The gates `names` of a layer-normalised cell."""
    of_x = normalised(cell, w, "input", x, together)
    of_state = normalised(cell, w, "recurrent", s[0], together)
    return {g: sigmoid(of_x[g] + of_state[g] + getattr(w, f"beta_{g}")) for g in names}


def expected(cell, w, x, s):
    """Gates and shares kept, each cell's by hand."""
    if isinstance(cell, tt.LayerNormLSTM):
        gates = layer_norm_gates(cell, w, x, s, "ufo", "ufco")
        return gates, {"a": 0, "c": gates["f"]}
    if isinstance(cell, tt.LayerNormGRU):
        gates = layer_norm_gates(cell, w, x, s, "ur", "ur")
        return gates, {"c": 1 - gates["u"]}
    if isinstance(cell, tt.RNN):
        return {}, {"a": 0}
    if isinstance(cell, TwoMemories):
        slow = w.keep * s.slow + torch.tanh(w.h.input(x))
        return {"m": sigmoid(w.m(slow, x))}, {"quick": 0, "slow": w.keep}
    if isinstance(cell, tt.GRUResetAfter):
        z = sigmoid(w.z(s.c, x))
        return {"r": sigmoid(w.r(s.c, x)), "z": z}, {"c": z}
    if isinstance(cell, (tt.SimpleGRU, tt.GRU)):
        u = sigmoid(w.u(s.c, x))
        reset = {"r": sigmoid(w.r(s.c, x))} if isinstance(cell, tt.GRU) else {}
        return {"u": u, **reset}, {"c": 1 - u}
    p = {g: getattr(w, f"p_{g}", 0.0) for g in "ufo"}
    u, f = (sigmoid(getattr(w, g)(s.a, x) + p[g] * s.c) for g in "uf")
    c = u * torch.tanh(w.c(s.a, x)) + f * s.c
    sees = getattr(cell, "output_gate_sees", "previous")
    o = sigmoid(w.o(s.a, x) + p["o"] * (c if sees == "current" else s.c))
    return {"u": u, "f": f, "o": o}, {"a": 0, "c": f}


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_gates_and_shares_kept_are_those_of_the_equations(cell):
    w, x, s, found = one_step(cell)
    right_gates, right_kept = expected(cell, w, x, s)
    assert set(found.gates) == set(right_gates)
    for name, gate in right_gates.items():
        torch.testing.assert_close(found.gates[name], gate)
    assert set(found.kept) == set(right_kept)
    for name, share in right_kept.items():
        torch.testing.assert_close(
            found.kept[name], torch.as_tensor(share).expand(B, n) + 0 * x[:1, :1]
        )
    for new, old in zip(found.after, cell.step(w, x, s)):
        assert torch.equal(new, old)


def test_ways_to_write_a_gate():
    class Written(tt.Cell):
        gates = ("a", "b", "c", "d")
        state = ("m",)

        def step(self, w, x, s):
            first = torch.special.expit(2 * w.a(s.m, x) - 1)
            second = (w.b.input(x) + s.m).sigmoid()
            both = torch.nn.functional.sigmoid(w.c(s.m, x) * w.d(s.m, x))
            none = sigmoid(s.m)  # of the memory, not of an affine map: no gate
            return self.State(m=first * s.m + second * both + 0 * none.detach())

    _, _, _, found = one_step(Written())
    assert set(found.gates) == {"a", "b", "c+d"}
    torch.testing.assert_close(found.kept["m"], found.gates["a"])


def language_model(cell):
    config = ModelConfig(hidden_size=n, embedding_size=4, num_layers=2)
    return LanguageModel(cell, 11, config).double().eval()


def test_a_model_s_gates_are_those_of_its_steps():
    """Γ_f set by its bias alone: kept and time constants are known beforehand."""
    model = language_model(tt.LSTM)
    with torch.no_grad():
        for layer, bias in enumerate((2.0, -3.0)):
            weights = model.stack.weights[layer]
            weights.W_x.zero_(), weights.W_a.zero_(), weights.b.zero_()
            weights.b[n : 2 * n] = bias
    found = gates_through_time(model, (torch.randint(11, (5, 3)), torch.randint(11, (5, 3))))
    kept = sigmoid(torch.tensor([2.0, -3.0]).double())
    assert found.memory == "c"
    assert set(found.kept) == {"c"}
    assert found.steps == 15
    torch.testing.assert_close(found.kept["c"], kept[:, None].expand(2, n))
    torch.testing.assert_close(found.time_constants("c")[:, 0], -1 / kept.log())
    assert found.gates["f"].histogram[0].argmax() == int(float(kept[0]) * 20)
    assert found.gates["f"].open.tolist() == [[0.0] * n, [0.0] * n]
    assert found.gates["f"].closed.tolist() == [[0.0] * n, [1.0] * n]
    assert found.gates["u"].histogram[0, 10] == 1
    assert list(found.gates) == ["u", "f", "o"]


def test_layers_of_several_cells_and_sizes_have_rows_where_they_have_the_gate():
    """Each row is that of the layer alone, over the inputs that the layer below gave it."""
    config = ModelConfig(hidden_size=[5, 3, 4], embedding_size=4)
    cells = (tt.GRU(), tt.LSTM(), TwoMemories())
    model = LanguageModel(cells, 11, config).double().eval()
    tokens = torch.randint(11, (6, 3))
    seen = watch_gates(model, tokens)
    found = summary(seen)
    assert list(found.gates) == ["u", "r", "f", "o", "m"]
    have = {"u": [0, 1], "r": [0], "f": [1], "o": [1], "m": [2], "c": [0, 1], "slow": [2]}
    for name, rows in have.items():
        assert [row for row, _ in found.rows(name)] == rows
    x = model.embedding(tokens).detach()
    for k, cell in enumerate(cells):
        n = config.hidden_size[k]
        alone = tt.Stack(cell, x.shape[-1], n).double().eval()
        alone.weights = model.stack.weights[k : k + 1]
        with torch.no_grad(), watching(alone, gates=True) as watched:
            x, _ = alone(x)
        right = summary(watched[""])
        for name, gate in right.gates.items():
            torch.testing.assert_close(found.gates[name].histogram[k], gate.histogram[0])
            torch.testing.assert_close(of_units(found.gates[name].closed[k]), gate.closed[0])
            torch.testing.assert_close(of_units(found.gates[name].open[k]), gate.open[0])
        for part, kept in right.kept.items():
            torch.testing.assert_close(of_units(found.kept[part][k]), kept[0])
            tau = of_units(found.time_constants(part)[k])
            torch.testing.assert_close(tau, right.time_constants(part)[0])
    units = longest_units(seen, found, tokens, count=6)
    widths = [len(of_units(row)) for row in found.kept[found.memory]]
    assert units
    assert all(unit.unit < widths[unit.layer] for unit in units)
    states = [torch.stack([getattr(s, found.memory) for s in seen.states[u.layer]]) for u in units]
    assert all(torch.equal(u.values, s[:, u.column, u.unit]) for u, s in zip(units, states))


def test_a_basic_rnn_has_neither_gates_nor_a_direct_path():
    found = gates_through_time(
        language_model(tt.RNN), (torch.randint(11, (5, 3)), torch.randint(11, (5, 3)))
    )
    assert (found.gates, found.kept, found.memory) == ({}, {}, None)


def test_zoneout_keeps_its_share_of_the_memory():
    stack = tt.Stack(tt.LSTM, 3, n, zoneout={"c": 0.4}, recurrent_dropout=0.5).double().eval()
    x, cells = torch.randn(5, 3, 3).double(), stack.evaluated_cells
    right, _ = stack(x)
    with torch.no_grad(), watching(stack, gates=True) as watched:
        y, _ = stack(x)
    torch.testing.assert_close(y, right)
    for step in watched[""].steps[0]:
        torch.testing.assert_close(step.kept["c"], 0.4 + 0.6 * step.gates["f"])
        assert not step.kept["a"].any()
    assert stack.evaluated_cells is cells


def test_padding_does_not_count():
    stack = tt.Stack(tt.GRU, 3, n, bidirectional=True).double()
    x, lengths = torch.randn(5, 3, 3).double(), torch.tensor([5, 2, 0])
    found = []
    for padding in (0.0, 100.0):
        x[2:, 1], x[:, 2] = padding, padding
        with torch.no_grad(), watching(stack, gates=True) as watched:
            stack(x, lengths=lengths)
        found.append(summary(watched[""], lengths))
    assert found[0].steps == 7
    assert found[0].layers == ("layer 1, forward", "layer 1, backward")
    for name, gate in found[0].gates.items():
        torch.testing.assert_close(gate.closed, found[1].gates[name].closed)
        torch.testing.assert_close(gate.histogram, found[1].gates[name].histogram)
    torch.testing.assert_close(found[0].kept, found[1].kept)


def test_all_kept_is_an_infinite_time_constant():
    class Sum(tt.Cell):
        gates = ("c",)
        state = ("c",)

        def step(self, w, x, s):
            return self.State(c=s.c + w.c.input(x))

    found = gates_through_time(
        language_model(Sum), (torch.randint(11, (5, 3)), torch.randint(11, (5, 3)))
    )
    assert found.time_constants("c").isinf().all()
