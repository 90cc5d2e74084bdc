"""Errors by position and frequency, the units that keep longest, and what is said of them."""

import numpy as np
import pytest
import torch

import throughtime as tt
from cases import V, language_model, log_probabilities, n
from throughtime.inspect import (
    errors_by_context,
    errors_by_frequency,
    gates_through_time,
    longest_units,
)
from throughtime.inspect.gates import Gates, GateValues, summary, watch_gates
from throughtime.inspect.positions import ContextErrors
from throughtime.inspect.sections import gates_sentence
from throughtime.inspect.text_sections import context_section

# ---- errors -----------------------------------------------------------------------------------


def test_a_context_is_enough_where_what_is_left_is_within_the_error():
    loss, interval = [2.0, 1.6, 1.5, 1.52, 1.5], [0.3, 0.05, 0.01, 0.03, 0.0]
    assert ContextErrors([1, 2, 4, 8, 16], loss, interval, 99).enough() == 4
    interval[1] = 0.2
    assert ContextErrors([1, 2, 4, 8, 16], loss, interval, 99).enough() == 2
    interval[3] = 0.0
    assert ContextErrors([1, 2, 4, 8, 16], loss, interval, 99).enough(0.001) == 16
    flat = ContextErrors([1, 2], [1.5, 1.499], [0.0, 0.0], 99)
    assert context_section(flat, "word").finding.startswith("Memory does not help")


def test_how_far_the_loss_still_is_above_its_last_is_said_as_it_is():
    noisy = ContextErrors([1, 2, 4, 8], [3.0, 1.07, 1.03, 1.0], [0.1, 0.1, 0.1, 0.0], 99)
    finding = context_section(noisy, "word").finding
    assert finding == (
        "The loss falls from 3.00 nats after 1 word of context to 1.00 after 8 words; from 2 words "
        "on it is at most 7.0% above that, within the error."
    )
    close = ContextErrors([1, 2, 4], [3.0, 1.012, 1.0], [0.1, 0.001, 0.0], 99)
    assert context_section(close, "word").finding.endswith("it is at most 1.2% above that.")


def test_gates_that_never_saturate_are_not_said_to_saturate_most():
    half = torch.full((1, 4), 0.0)
    found = Gates({"u": GateValues(torch.full((1, 20), 0.05), half, half)}, {}, ("layer 1",), 9)
    assert gates_sentence(found) == "no gate is closed or open in more than 1% of steps."


def test_errors_by_context_are_of_the_same_targets():
    model = language_model()
    tokens, targets = torch.randint(V, (9, 7)), torch.randint(V, (9, 7))
    found = errors_by_context(model, (tokens, targets))
    assert found.contexts == [1, 2, 3, 4, 6, 8, 9]
    for context, loss in zip(found.contexts, found.loss):
        right = [
            -float(log_probabilities(model, tokens[-context:, b])[targets[-1, b]]) for b in range(7)
        ]
        assert loss == pytest.approx(np.mean(right), rel=1e-6)
    assert found.interval[-1] == 0
    assert found.interval[0] > 0


def test_enough_context_is_where_the_loss_stays_low():
    found = tt.inspect.ContextErrors([1, 2, 4, 8, 16], [3.0, 1.01, 2.0, 1.01, 1.0], [0.0] * 5, 9)
    assert found.enough() == 8
    assert found.enough(within=0.001) == 16


def test_errors_by_frequency_count_each_target_once():
    model, ids = language_model(), np.repeat(np.arange(4, 9), [1, 2, 4, 8, 16])
    tokens, targets = torch.randint(4, V, (20, 5)), torch.randint(4, V, (20, 5))
    found = errors_by_frequency(model, (tokens, targets), ids, settled=5)
    nats, _ = model.nats(tokens, targets, model.initial_state(5))
    nats, kept = nats[5:].detach().double(), targets[5:]
    assert [(band.first, band.last) for band in found] == [(1, 1), (2, 3), (4, 5)]
    assert sum(band.count for band in found) == 75
    assert sum(band.share_of_loss for band in found) == pytest.approx(1)
    assert found[0].examples == [8]
    assert found[0].loss == pytest.approx(float(nats[kept == 8].mean()), rel=1e-6)
    assert found[1].loss == pytest.approx(float(nats[(kept == 7) | (kept == 6)].mean()), rel=1e-6)


# ---- units ------------------------------------------------------------------------------------


def test_the_unit_that_keeps_longest_is_found_with_what_moves_it():
    """One unit's forget gate is wide open and only token 7 writes to it."""
    model = language_model(tt.LSTM)
    weights, unit = model.stack.weights[0], 4
    with torch.no_grad():
        for gate, bias in enumerate((0.0, 6.0, 0.0, 0.0)):
            row = gate * n + unit
            weights.W_x[row], weights.W_a[row], weights.b[row] = 0, 0, bias
        model.embedding.weight[:, 0] = 0
        model.embedding.weight[7, 0] = 1
        weights.W_x[2 * n + unit, 0] = 3
    tokens = torch.randint(4, V, (60, 3))
    seen = watch_gates(model, tokens)
    units = longest_units(seen, summary(seen), tokens, count=3)
    first = units[0]
    assert (first.layer, first.unit) == (0, unit)
    assert first.kept == pytest.approx(float(torch.sigmoid(torch.tensor(6.0))), rel=1e-6)
    assert first.raises[0][0] == 7
    states = torch.stack([state.c for state in seen.states[0]])
    step, column, value = first.high[0]
    assert value == pytest.approx(float(states[..., unit].max()))
    assert value == float(states[step, column, unit])
    assert torch.equal(first.values, states[:, first.column, unit])


def test_a_cell_without_a_direct_path_has_no_such_units():
    model, tokens = language_model(tt.RNN), torch.randint(4, V, (10, 3))
    seen = watch_gates(model, tokens)
    assert longest_units(seen, gates_through_time(model, (tokens, tokens)), tokens) == []
