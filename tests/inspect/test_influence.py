"""Influence: one exchange at a time, and what is said of it."""

import math

import numpy as np
import pytest
import torch

import throughtime as tt
from cases import V, language_model, log_probabilities
from throughtime.inspect import (
    figures,
    influence_of_tokens,
)
from throughtime.inspect.influence import Influence, choose_positions, exchanges, mean_within, reach
from throughtime.layers.states import each

# ---- influence --------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [tt.GRU, (tt.GRU, tt.LSTM)], ids=["GRU", "GRU, LSTM"])
@pytest.mark.parametrize("T", [1, 5, 37])  # 37: exchanged columns join in several blocks
def test_influence_is_that_of_one_exchange_at_a_time(T, cells):
    model, ids = language_model(cells), np.random.default_rng(0).integers(4, V, 300)
    tokens, target = torch.from_numpy(ids[:T]), 5
    state = model.initial_state(1)
    state = each(torch.randn_like, state)
    found = influence_of_tokens(model, tokens, target, ids, state=state, draws=3, seed=1)
    others = exchanges(tokens, ids, 3, 1)
    assert (others != tokens[:, None]).all()
    p = log_probabilities(model, tokens, state)
    for j in {0, T // 2, T - 1}:
        moved, helped = 0.0, 0.0
        for other in others[j]:
            changed = tokens.clone()
            changed[j] = other
            q = log_probabilities(model, changed, state)
            moved += float((p.exp() * (p - q)).sum()) / 3 / math.log(2)
            helped += float(p[target] - q[target]) / 3 / math.log(2)
        assert float(found.moved[j]) == pytest.approx(moved, rel=1e-9, abs=1e-12)
        assert float(found.helped[j]) == pytest.approx(helped, rel=1e-9, abs=1e-12)
    assert found.bits == pytest.approx(-float(p[target]) / math.log(2))
    assert found.best[0][0] == int(p.argmax())
    assert len(found.moved) == T


def test_what_is_not_seen_has_no_influence():
    class Last(tt.Cell):
        gates = ("a",)
        state = ("a",)

        def step(self, w, x, s):
            return self.State(a=torch.tanh(w.a.input(x)))

    ids = np.random.default_rng(0).integers(4, V, 50)
    found = influence_of_tokens(language_model(Last), torch.from_numpy(ids[:8]), 4, ids)
    assert found.moved[-1] > 0
    assert (found.moved[:-1].abs() < 1e-12).all()
    assert found.reach(0.5) == found.reach(0.99) == 1


def test_an_exchange_needs_another_token():
    with pytest.raises(tt.InputError, match="repeats one token"):
        exchanges(torch.tensor([4]), np.full(10, 4), 2, 0)


def test_positions_are_where_the_rest_of_the_window_helped():
    model = language_model()
    tokens = torch.randint(4, V, (12, 10))
    targets = torch.cat([tokens[1:], torch.randint(4, V, (1, 10))])
    helped = []
    for b in range(10):
        whole, short = (log_probabilities(model, tokens[-k:, b]) for k in (12, 3))
        helped.append(float(whole[targets[-1, b]] - short[targets[-1, b]]))
    chosen = choose_positions(model, tokens, targets, 4, near=3)
    assert [b for b, _ in chosen[:2]] == np.argsort(helped)[::-1][:2].tolist()
    assert len({b for b, _ in chosen}) == 4


def test_memory_that_does_not_help_is_no_reason_to_show_a_passage():
    model = language_model()
    with torch.no_grad():
        for parameter in model.stack.parameters():
            parameter.zero_()  # nothing of what was read comes through
    tokens, targets = torch.randint(4, V, (12, 9)), torch.randint(4, V, (12, 9))
    chosen = choose_positions(model, tokens, targets, 4, near=3)
    assert [why for _, why in chosen] == ["drawn at random"] * 4


def test_the_sentence_of_influence_is_that_of_the_bold_line():
    def one(*moved):
        moved = torch.tensor(moved)
        return Influence([4] * len(moved), 4, moved, moved, 1.0, [], 0, "")

    near, far, none = one(0.0, 0.0, 1.0), one(1.0, 0.0, 0.0), one(0.0, 0.0, 0.0)
    assert (near.reach(0.5), far.reach(0.5), none.reach(0.5)) == (1, 3, 0)
    assert mean_within([near, far, none]).tolist() == [0.5, 0.5, 1.0]
    assert [reach(mean_within([near, far, none]), share) for share in (0.5, 0.9)] == [1, 3]
    (line, *_) = figures.influence_figure([near, far, none]).axes[0].get_lines()[-1:]
    assert line.get_ydata().tolist() == [0.5, 0.5, 1.0]
    assert reach(mean_within([none]), 0.5) == 0
