"""Gradients through time against autograd by each state alone, over a loop of the equations."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import throughtime as tt
from cases import ALL_CELLS, TwoMemories
from throughtime.config import ModelConfig
from throughtime.inspect import gradients_through_time, language_windows, watching
from throughtime.inspect.gradients import GradientsThroughTime
from throughtime.layers.states import each
from throughtime.models.language import LanguageModel

V, T, B, n = 11, 7, 3, 5


def language_model(cell, layers=2, **settings):
    settings = {"hidden_size": n, "num_layers": layers, **settings}
    config = ModelConfig(embedding_size=4, **settings)
    torch.manual_seed(1)
    model = LanguageModel(cell, V, config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.8, 0.8)
    return model.eval()


def some_batch():
    return torch.randint(V, (T, B)), torch.randint(V, (T, B))


class _Same(tt.Cell):
    """Hands a part of its state on as it is."""

    gates = ("a",)
    state = ("a", "fixed")

    def step(self, w, x, s):
        return self.State(a=torch.tanh(w.a(s.a, x) + s.fixed), fixed=s.fixed)


def brute_force(model, tokens, targets, start, layer, t, part):
    """‖∂L<T>/∂s<t>‖ of each column, one state and one column at a time.

    A loop over time and layers; the state in question is the tensor that `step` returns, and it
    goes everywhere that the equations send it.
    """
    stack = model.stack
    cells = stack.cells
    bound = [cell.bind(cell.derived(w.forward())) for cell, w in zip(cells, stack.weights)]
    norms = []
    for b in range(tokens.shape[1]):
        states = [
            cell.State(*(p[b : b + 1] for p in one))
            for cell, one in zip(cells, stack.layout.apart(start))
        ]
        wanted = None
        for now in range(len(tokens)):
            y = model.embedding(tokens[now, b : b + 1])
            for k, w in enumerate(bound):
                x, y = y, None
                states[k] = cells[k].step(w, x, states[k])
                if isinstance(cells[k], _Same):
                    states[k] = states[k]._replace(fixed=states[k].fixed * 1)
                if (now, k) == (t, layer):
                    wanted = getattr(states[k], part)
                y = states[k][0] + (x if stack.skips and k > 0 else 0)
        h = model.to_embedding(model.output(y))
        loss = F.cross_entropy(model.head.logits(h), targets[-1, b : b + 1])
        (grad,) = torch.autograd.grad(loss, [wanted], allow_unused=True)
        norms.append(0.0 if grad is None else float(grad.norm()))
    return norms


@pytest.mark.parametrize("cell", [*ALL_CELLS, _Same()], ids=repr)
@pytest.mark.parametrize("carried", [False, True], ids=["from zero", "carried state"])
def test_norms_are_those_of_autograd_by_each_state_alone(cell, carried):
    model = language_model(cell, skips=carried)
    tokens, targets = some_batch()
    start = model.initial_state(B)
    if carried:
        start = type(start)(*(torch.randn_like(part) for part in start))
    found = gradients_through_time(model, (tokens, targets), state=start if carried else None)
    start = type(start)(*(part.clone().requires_grad_() for part in start))
    assert set(found.norms) == set(cell.state)
    for part, norms in found.norms.items():
        assert norms.shape == (2, T, B)
        for layer in range(2):
            for lag in (0, 1, T - 1):
                right = brute_force(model, tokens, targets, start, layer, T - 1 - lag, part)
                np.testing.assert_allclose(norms[layer, lag], right, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("carried", [False, True], ids=["from zero", "carried state"])
def test_layers_of_several_cells_and_sizes_have_rows_where_they_have_the_part(carried):
    model = language_model([tt.GRU(), tt.LSTM(), TwoMemories()], None, hidden_size=[5, 3, 4])
    tokens, targets = some_batch()
    start = model.initial_state(B)
    if carried:
        start = each(torch.randn_like, start)
    found = gradients_through_time(model, (tokens, targets), state=start if carried else None)
    rows = {part: [row for row, _ in found.rows(part)] for part in found.norms}
    assert rows == {"c": [0, 1], "a": [1], "quick": [2], "slow": [2]}
    start = each(lambda part: part.clone().requires_grad_(), start)
    for part, norms in found.norms.items():
        assert norms.shape == (3, T, B)
        for layer in range(3):
            if layer not in rows[part]:
                assert norms[layer].isnan().all()
                continue
            for lag in (0, 1, T - 1):
                right = brute_force(model, tokens, targets, start, layer, T - 1 - lag, part)
                np.testing.assert_allclose(norms[layer, lag], right, rtol=1e-8, atol=1e-12)
    part, layer, _ = found.longest(0.5)
    assert layer in rows[part]
    assert found.lags == T - 1


def test_the_state_in_question_is_the_whole_of_what_the_future_sees():
    """dL = Σ over parts and layers of ∂L/∂s · ds: a small push of one a<t> moves L as foretold."""
    model = language_model(tt.LSTM)
    tokens, targets = some_batch()

    def last_loss():
        h, _ = model.hidden(tokens, model.initial_state(B))
        return F.cross_entropy(model.head.logits(h[-1]), targets[-1], reduction="sum")

    with watching(model) as watched:
        loss = last_loss()
        (grad,) = torch.autograd.grad(loss, watched["stack"].states[0][2].a)
    direction = grad / grad.norm(dim=1, keepdim=True)

    class Pushed(tt.LSTM):
        at = 0

        def step(self, w, x, s):
            after = super().step(w, x, s)
            Pushed.at += 1  # layer 1 comes first: its third step
            return after._replace(a=after.a + 1e-6 * direction) if Pushed.at == 3 else after

    model.stack.evaluated_cells, model.stack.backend = (Pushed(),) * 2, "reference"
    last_loss()  # at its first use a cell is looked at by one step more
    Pushed.at = 0
    moved = (last_loss() - loss).detach()
    assert float(moved) / 1e-6 == pytest.approx(float(grad.norm(dim=1).sum()), rel=1e-4)


def test_columns_and_chunks_are_independent(monkeypatch):
    model = language_model(TwoMemories)
    tokens, targets = some_batch()
    whole = gradients_through_time(model, (tokens, targets))
    monkeypatch.setattr("throughtime.inspect.gradients.COLUMNS", 2)
    done = []
    chunked = gradients_through_time(model, (tokens, targets), advance=done.append)
    assert done == [2, 1]
    for part in whole.norms:
        torch.testing.assert_close(chunked.norms[part], whole.norms[part], rtol=1e-12, atol=0)


def test_the_model_is_left_as_it_was():
    model = language_model(tt.GRU).float().train()
    cell, backend = model.stack.cell, model.stack.backend
    tokens, targets = some_batch()
    found = gradients_through_time(model, (tokens, targets), dtype=torch.float64)
    assert found.norms["c"].dtype == torch.float64
    assert model.training
    assert next(model.parameters()).dtype == torch.float32
    assert model.stack.cell is cell
    assert model.stack.backend == backend
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(RuntimeError), watching(model):
        raise RuntimeError
    assert model.stack.cell is cell
    assert model.training


def test_a_frozen_model_is_measured_too():
    model = language_model(tt.LSTM)
    batch = some_batch()
    before = gradients_through_time(model, batch)
    frozen = gradients_through_time(model.requires_grad_(False), batch)
    torch.testing.assert_close(frozen.norms, before.norms)


@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_rate_and_horizon_of_a_linear_memory(factor):
    """c<t> = r c<t-1> + x<t>: the gradient at lag k is r^k times that at lag 0."""

    class Linear(tt.Cell):
        gates = ("c",)
        state = ("c",)

        def step(self, w, x, s):
            return self.State(c=factor * s.c + w.c.input(x))

    found = gradients_through_time(language_model(Linear, layers=1), some_batch())
    assert found.rate("c", 0) == pytest.approx(factor)
    right = torch.tensor([factor**k for k in range(T)], dtype=torch.float64)
    median = found.median("c", 0)
    torch.testing.assert_close(median / median[0], right)
    assert found.horizon("c", 0, share=0.1) == (4 if factor < 1 else None)  # 0.5^4 = 0.0625
    low, high = found.band("c", 0)
    assert (low <= median).all()
    assert (median <= high).all()


def test_a_lag_is_compared_with_lag_0_of_the_positions_that_reach_it():
    """Long sequences have small gradients here, and nothing fades: a median over all would fall."""
    lengths = [3] * 20 + [9] * 9 + [12] * 3
    norms = torch.full((1, 12, len(lengths)), float("nan"))
    for i, length in enumerate(lengths):
        norms[0, :length, i] = 100.0 / length**3
    found = GradientsThroughTime({"a": norms}, ("layer 1",))
    shares = found.shares("a", 0)
    torch.testing.assert_close(shares[:9], torch.ones(9, dtype=torch.float64))
    assert shares[9:].isnan().all()  # three of 32 reach so far
    assert found.lags == 8
    assert (found.horizon("a", 0), found.rate("a", 0)) == (None, 1.0)
    norms[0, 5:, 20:] /= 1000
    assert GradientsThroughTime({"a": norms}, ("layer 1",)).horizon("a", 0) == 5


def test_windows_are_the_text_before_each_position():
    task = type("Task", (), {"device": torch.device("cpu")})
    ids = np.arange(100, dtype=np.uint16)
    tokens, targets = language_windows(task, ids, lags=6, positions=20, seed=3)
    assert tokens.shape == targets.shape == (7, 20)
    assert torch.equal(tokens[1:], targets[:-1])
    assert torch.equal(targets[-1] - targets[0], torch.full((20,), 6))
    assert len(set(targets[-1].tolist())) == 20
    again, _ = language_windows(task, ids, lags=6, positions=20, seed=3)
    assert torch.equal(tokens, again)
    all_of_them, _ = language_windows(task, ids[:10], lags=6, positions=20)
    assert all_of_them.shape == (7, 3)
    with pytest.raises(tt.InputError, match="the text has 7 tokens"):
        language_windows(task, ids[:7], lags=6, positions=1)


def test_what_cannot_be_looked_into_is_said():
    with (
        pytest.raises(tt.InputError, match=r"Linear has no stack of cells"),
        watching(torch.nn.Linear(1, 1)),
    ):
        pass
    with pytest.raises(tt.InputError, match="at least one step"):
        gradients_through_time(language_model(tt.RNN), (torch.zeros(0, 2), torch.zeros(0, 2)))
