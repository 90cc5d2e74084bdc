import pytest
import torch
from torch.nn import functional as F

import throughtime as tt
from throughtime.config import ModelConfig
from throughtime.ground.errors import InputError
from throughtime.models.language import LanguageModel

V, T, B = 30, 9, 3
CONFIGS = {
    "plain": {},
    "deep": {"num_layers": 3, "skips": True},
    "output layers": {"output_layers": [12, 7]},
    "tied": {"tied": True},
    "tied through a projection": {"tied": True, "embedding_size": 5},
    "tied after output layers": {"tied": True, "output_layers": [6]},
    "noise": {"num_layers": 2, "zoneout": "a=0.1,c=0.3", "recurrent_dropout": 0.3,
              "variational_dropout": 0.3},
    "adaptive": {"head": "adaptive", "cutoffs": [5, 15], "hidden_size": 16},
}  # fmt: skip


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    config = ModelConfig(**{"hidden_size": 10, **request.param})
    return LanguageModel(tt.PeepholeLSTM, V, config).double()


def batch():
    tokens = torch.randint(V, (T + 1, B))
    return tokens[:-1], tokens[1:]


def test_stepping_gives_what_the_whole_gives(model):
    inputs, targets = batch()
    model.eval()
    state, nats = model.initial_state(B), []
    for t in range(T):
        logits, state = model.step(inputs[t], state)
        nats.append(F.cross_entropy(logits, targets[t], reduction="none"))
    loss, final = model(inputs, targets, model.initial_state(B))
    torch.testing.assert_close(torch.stack(nats).mean(), loss)
    whole, _ = model.nats(inputs, targets, model.initial_state(B))
    torch.testing.assert_close(whole.double(), torch.stack(nats), rtol=1e-6, atol=1e-6)
    for a, b in zip(state, final):
        torch.testing.assert_close(a, b)


def test_recomputing_changes_no_gradient(model):
    inputs, targets = batch()
    gradients = []
    for recompute in (0, 2, 4):
        torch.manual_seed(0)  # of noise
        loss, _ = model(inputs, targets, model.initial_state(B), recompute)
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_the_carried_state_matters_and_joins_two_windows(model):
    inputs, targets = batch()
    model.eval()
    whole, _ = model.nats(inputs, targets, model.initial_state(B))
    first, state = model.nats(inputs[:4], targets[:4], model.initial_state(B))
    second, _ = model.nats(inputs[4:], targets[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    forgotten, _ = model.nats(inputs[4:], targets[4:], model.initial_state(B))
    assert not torch.allclose(forgotten, second)


def test_tied_weights_are_one_parameter():
    model = LanguageModel(tt.GRU, V, ModelConfig(hidden_size=10, tied=True))
    assert model.head.weight is model.embedding.weight
    with pytest.raises(InputError, match="full softmax"):
        LanguageModel(tt.GRU, V, ModelConfig(hidden_size=10, tied=True, head="adaptive"))


def test_init_range_draws_matrices_and_zeroes_biases():
    config = ModelConfig(hidden_size=40, init_range=0.05, output_layers=[8])
    model = LanguageModel(tt.PeepholeLSTM, V, config)
    for name, parameter in model.named_parameters():
        if name.endswith((".b", ".bias")):
            assert (parameter == 0).all(), name
        else:
            assert 0.03 < parameter.abs().max() <= 0.05, name


@pytest.mark.parametrize("locked", [False, True])
def test_dropout_acts_in_training_only_and_locked_masks_last(locked):
    config = ModelConfig(hidden_size=10, dropout=0.5, locked_dropout=locked)
    model = LanguageModel(tt.GRU, V, config)
    x = torch.ones(T, B, 10)
    dropped = model.drop(x, 0.5) == 0
    assert dropped.any()
    assert (dropped == dropped[:1]).all() == locked
    assert (model.eval().drop(x, 0.5) == x).all()
