"""The C of models that say a label, and of those that write under a condition."""

import numpy as np
import pytest
import torch

import throughtime as tt
from exporting import classifier, conditional, needs_gcc, off, precise, ran, written
from throughtime.export.reference import Reference

pytestmark = needs_gcc


def probabilities(model, inputs):
    """Of a whole sequence, in float64."""
    x = torch.from_numpy(np.asarray(inputs))[:, None]
    with torch.inference_mode():
        return precise(model).log_probabilities(x, torch.tensor([len(x)]))[0].exp().numpy()


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("both", [False, True])
def test_labels_of_tokens_and_numbers(pooling, both, tmp_path):
    settings = {"pooling": pooling, "bidirectional": both, "num_layers": 2, "skips": True}
    random, numbers = np.random.default_rng(2), 4 if pooling in ("last", "max") else 0
    model, exported = classifier(tt.GRU(), numbers, output_layers=[6], **settings)
    sequence = random.normal(size=(7, 4)) if numbers else random.integers(0, 20, 7)
    right = probabilities(model, sequence)
    assert off(Reference(exported.outline).whole(sequence), right) < 1e-12
    ran(written(exported, tmp_path), "-fsanitize=undefined,address")


@pytest.mark.parametrize("numbers", [0, 3])
def test_int8_and_cells_of_two_states(numbers, tmp_path):
    _, exported = classifier((tt.PeepholeLSTM(), tt.LSTM()), numbers, hidden_size=[40, 8])
    ran(written(exported, tmp_path, "int8"))


@pytest.mark.parametrize("joins", ["state", "input", "both"])
@pytest.mark.parametrize("cell", [tt.LSTM(), (tt.GRU(), tt.LSTM())], ids=["one", "two"])
def test_a_condition_joins_where_it_did(cell, joins, tmp_path):
    layers = {} if isinstance(cell, tuple) else {"num_layers": 2}
    model, exported = conditional(cell, condition_joins=joins, **layers)
    v = np.array([1.0, 0, 0.5, -1, 2])
    reference, oracle = Reference(exported.outline, v), precise(model)
    with torch.inference_mode():
        state = oracle.begin(torch.from_numpy(v))
        for token in (2, 7, 5, 5, 9):
            logits, state = oracle.step(torch.tensor([token]), state)
            assert off(reference.step(token), logits[0].numpy()) < 1e-12
    ran(written(exported, tmp_path))
