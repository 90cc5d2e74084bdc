"""The fixed window: a language model without recurrence, trained and used as the others."""

import pytest
import torch

import throughtime as tt
from runs import kill, same_bits, weights
from throughtime.command.cli import main
from throughtime.config import ModelConfig, from_dict
from throughtime.layers.window import Recent, Window
from throughtime.models.language import LanguageModel


def test_each_position_is_the_network_on_its_last_inputs():
    window = Window(3, 4, [5, 5], 0.0).double()
    x = torch.randn(6, 2, 4, dtype=torch.float64)
    y, state = window.run(x, window.initial_state(2), None, None)
    before = torch.cat([torch.zeros(2, 2, 4, dtype=torch.float64), x])
    for t in range(6):
        h = torch.cat([before[t], before[t + 1], before[t + 2]], -1)
        for layer in window.layers:
            h = torch.tanh(h @ layer.weight.T + layer.bias)
        torch.testing.assert_close(y[t], h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.x, x[-2:])


@pytest.mark.parametrize("context", [1, 2, 7])
def test_splitting_and_carrying_the_state_equals_the_whole(context):
    window = Window(context, 3, [5], 0.0)
    x = torch.randn(9, 2, 3)
    whole, last = window.run(x, window.initial_state(2), None, None)
    state, parts = window.initial_state(2), []
    for piece in x.split([1, 3, 5]):
        y, state = window.run(piece, state, None, None)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert isinstance(state, Recent)
    torch.testing.assert_close(state.x, last.x)


def test_nothing_before_the_window_is_seen():
    model = LanguageModel(tt.LSTM, 20, from_dict(ModelConfig, {"hidden_size": 8, "context": 4}))
    tokens = torch.randint(20, (10, 1))
    other = tokens.clone()
    other[:6] = (other[:6] + 1) % 20
    a, _ = model.eval().hidden(tokens, model.initial_state(1))
    b, _ = model.hidden(other, model.initial_state(1))
    assert torch.equal(a[9], b[9])
    assert not torch.equal(a[8], b[8])
    assert not any("stack.weights" in name for name, _ in model.named_parameters())


def test_it_trains_resumes_exactly_evaluates_and_writes(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("the cat, which already ate a lot, was full.\n" * 40)

    def config(out):
        return from_dict(tt.LanguageConfig, {
            "train": [str(text)], "out": str(tmp_path / out), "max_steps": 30, "device": "cpu",
            "model": {"hidden_size": 16, "context": 5, "num_layers": 2, "dropout": 0.1},
            "optim": {"lr": 0.01, "warmup": 0},
            "loop": {"batch_size": 4, "window": 16, "sample_every": "10", "save_every": "5"},
        })  # fmt: skip

    result = tt.train(config("whole"))
    assert result.metrics["loss"] < 2.5
    kill(config("killed"), at_step=17)
    monkeypatch.setenv("THROUGHTIME_CACHE", str(tmp_path / "cache"))
    tt.train(config("killed"), resume=True)
    assert same_bits(weights(config("whole")), weights(config("killed")))
    assert tt.evaluate(tmp_path / "whole").nats_per_token > 0
    for beams in ({}, {"num_beams": 3}):
        assert tt.generate(tmp_path / "whole", "the ", max_new_tokens=5, seed=1, **beams)[0]


def test_what_needs_recurrence_is_refused(tmp_path, capsys):
    arguments = ["--model.context", "3", "--model.skips", "true", "--out", str(tmp_path / "run")]
    assert main(["train", "lm", *arguments]) == 2
    assert "model.skips" in capsys.readouterr().err
