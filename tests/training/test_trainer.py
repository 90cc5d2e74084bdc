"""The loop: it learns, keeps to its budget, survives what is not finite."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import throughtime as tt
from cases import MINIMAL
from runs import command, flags, lines, same_bits, weights
from throughtime.ground.errors import InputError, TrainingDiverged
from throughtime.tasks import task_class
from throughtime.training import trainer as trainers

UNIGRAM = 2.77
"""Nats of knowing only how often each character of the text occurs: what learning goes below."""


# ---- learning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "simple-gru", "gru", "gru-reset-after", "lstm",
                                  "peephole-lstm(output_gate_sees=current)"])  # fmt: skip
def test_every_cell_learns(settings, cell):
    config = settings(cell=cell, max_steps=60, loop={"eval_every": "30"}, model={"dropout": 0.0})
    result = tt.train(config)
    first, *_ = lines(config.out, "valid")
    assert result.metrics["loss"] < first["loss"] < 4
    assert result.metrics["loss"] < 2.6


@pytest.mark.parametrize("level", ["byte", "word", "subword"])
def test_every_level_trains_evaluates_and_writes(settings, level):
    data = {"vocab_size": 270} if level == "subword" else {}
    config = settings(level=level, data=data, loop={"window": 8})
    tt.train(config)
    found = tt.evaluate(config.out)
    assert found.nats_per_token > 0
    assert found.characters == pytest.approx(0.1 * len(Path(config.train[0]).read_text()), abs=80)
    assert isinstance(tt.generate(config.out, "the cat", max_new_tokens=5, seed=1)[0], str)


@pytest.mark.parametrize("optim", [
    {"name": "sgd", "lr": 3.0, "schedule": "decay", "decay_after": 1},
    {"name": "adam", "schedule": "plateau", "patience": 1},
    {"name": "adamw", "schedule": "constant", "weight_decay": 0.1, "clip_value": 0.01},
])  # fmt: skip
@pytest.mark.parametrize("model", [
    {"num_layers": 2, "skips": True, "locked_dropout": True, "weight_drop": 0.3},
    {"tied": True, "embedding_size": 8, "output_layers": [12], "dropout": 0.0},
])  # fmt: skip
def test_optimizers_and_model_options_train(settings, optim, model):
    result = tt.train(settings(optim=optim, model=model, max_steps=100, loop={"eval_every": "50"}))
    assert result.metrics["loss"] < UNIGRAM - 0.25


def test_adaptive_softmax_trains_at_word_level(settings, corpus):
    corpus.write_text(" ".join(f"w{i % 97}" for i in range(3000)) + "\n")
    config = settings(level="word", model={"head": "adaptive", "cutoffs": [10, 50], "dropout": 0.0},
                      data={"eos": "none"}, loop={"window": 8}, max_steps=300,
                      optim={"lr": 0.03})  # fmt: skip
    corpus.write_text(
        "\n".join(" ".join(f"w{i % 97}" for i in range(k, k + 9)) for k in range(400))
    )
    assert tt.train(config).metrics["loss"] < 3.4  # ln 97 = 4.57 without what came before
    assert tt.evaluate(config.out).nats_per_token < 3.4
    with pytest.raises(InputError, match="level word"):
        tt.train(settings("other", model={"head": "adaptive", "cutoffs": [10, 20]}))


def test_bf16_trains(settings):
    result = tt.train(settings(loop={"precision": "bf16"}, max_steps=30))
    assert result.metrics["loss"] < UNIGRAM - 0.15


def test_training_carries_the_state_from_window_to_window_and_starts_anew_each_epoch(settings):
    config = settings(optim={"lr": 1e-12}, model={"dropout": 0.0}, max_steps=None, epochs=2,
                      loop={"log_every": "1", "eval_every": "0"})  # fmt: skip
    tt.train(config)
    logged = [line["loss"] for line in lines(config.out, "train")]
    task = task_class("lm").prepare(config)
    _, model = tt.load(config.out, device="cpu")
    state, expected = model.initial_state(4), []
    for i in range(task.steps_per_epoch):
        tokens, targets, _ = task.batch(0, i)
        nats, state = model.nats(tokens, targets, state)
        expected.append(nats.mean().item())
    assert logged == pytest.approx(2 * expected, rel=1e-5)
    forgetful = model.nats(*task.batch(0, 1)[:2], model.initial_state(4))[0].mean().item()
    assert forgetful != pytest.approx(expected[1], rel=1e-4)


def test_full_bptt_recomputed_in_parts_gives_the_same_gradients(settings):
    runs = []
    for out, recompute in (("whole", 0), ("parts", 7)):
        config = settings(out, loop={"window": 0, "recompute": recompute}, model={"dropout": 0.0},
                          max_steps=2)  # fmt: skip
        tt.train(config)
        runs.append(weights(config.out))
    for name in runs[0]:
        torch.testing.assert_close(runs[0][name], runs[1][name], rtol=1e-4, atol=1e-5)


def test_a_users_own_cell_trains_and_its_source_travels_with_the_run(settings, tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(MINIMAL)
    config = settings(cell=f"{source}:Minimal", max_steps=40)
    tt.train(config)
    source.unlink()
    assert tt.evaluate(config.out, trust=True).nats_per_token < UNIGRAM - 0.25


@pytest.mark.parametrize(("section", "values"), [
    (None, {"level": "wrod"}), (None, {"train": "text.txt"}), ("optim", {"schedule": "cosin"}),
    ("optim", {"clip_norm": -1}), ("optim", {"warmup": -5}), ("optim", {"betas": [0.9]}),
    ("loop", {"precision": "bfloat16"}), ("loop", {"eval_every": "often"}),
    ("model", {"embedding_dropout": 2}), ("model", {"hidden_size": 0}), ("data", {"eos": "lines"}),
])  # fmt: skip
def test_settings_out_of_range_are_refused_before_anything_is_lost(settings, section, values):
    config = settings(max_steps=2)
    tt.train(config)
    before = weights(config.out)
    with pytest.raises(InputError):
        tt.train(settings(**(values if section is None else {section: values})), overwrite=True)
    assert same_bits(before, weights(config.out))


# ---- metrics and budget -------------------------------------------------------------------------


def test_metrics_say_what_happened(settings):
    config = settings(loop={"log_every": "4"}, optim={"clip_norm": 1e-3})
    tt.train(config)
    logged = lines(config.out, "train")
    assert [line["step"] for line in logged] == [4, 8, 12]
    assert logged[-1]["clipped"] == 1.0
    assert {"loss", "lr", "norm", "tokens_per_second", "epoch", "elapsed"} <= logged[0].keys()
    assert [line["step"] for line in lines(config.out, "valid")] == [4, 8, 12]


def test_budgets_end_training(settings):
    assert tt.train(settings("a", max_steps=3)).steps == 3
    epoch = tt.train(settings("b", max_steps=None, epochs=0.5)).steps
    assert tt.train(settings("c", max_steps=None, epochs=1)).steps in (2 * epoch - 1, 2 * epoch)
    started = time.monotonic()
    tt.train(settings("d", max_steps=None, max_time="1s"))
    assert time.monotonic() - started < 15
    with pytest.raises(InputError, match="max_steps must be at least 1"):
        tt.train(settings("e", max_steps=0))


@pytest.mark.parametrize("said", ["-3", "-10%", "5x", ""])
def test_an_interval_that_is_none_is_refused(settings, said):
    with pytest.raises(InputError, match="not an interval"):
        tt.train(settings(loop={"eval_every": said}))


def test_early_stopping_stops(settings):
    config = settings(max_steps=200, optim={"lr": 1e-12}, loop={"early_stopping": 2})
    assert tt.train(config).steps < 40


def test_the_best_weights_are_kept_apart_from_the_last(settings, monkeypatch):
    from throughtime.tasks.language import Language

    losses = iter([3.0, 1.0, 2.0, 2.0])
    short = settings("short", max_steps=8, optim={"schedule": "constant"})
    tt.train(short)
    monkeypatch.setattr(Language, "validate", lambda *_, **__: {"loss": next(losses)})
    monkeypatch.setattr(Language, "describe", lambda self, metrics: str(metrics))
    config = settings(max_steps=12, optim={"schedule": "constant"})
    tt.train(config)
    best, last = (
        tt.load(config.out, device="cpu", checkpoint=c)[1].state_dict() for c in ("best", "last")
    )
    assert same_bits(best, weights(short.out))
    assert same_bits(last, weights(config.out))
    assert not same_bits(best, last)


def test_evaluation_is_exact_and_knows_no_batch_size(settings):
    config = settings()
    tt.train(config)
    task, model = tt.load(config.out, device="cpu")
    text = Path(config.train[0]).read_text()[:500]
    Path(config.out).with_name("other.txt").write_text(text)
    other = str(Path(config.out).with_name("other.txt"))
    found = tt.evaluate(config.out, other, device="cpu")
    ids = torch.from_numpy(task.vocabulary.encode(text).astype("int64"))
    state, total, before = model.initial_state(1), 0.0, torch.tensor([2])
    for token in ids:
        logits, state = model.step(before, state)
        total -= logits.double().log_softmax(1)[0, token].item()
        before = token[None]
    assert found.nats_per_token == pytest.approx(total / len(ids), rel=1e-6)
    assert found.tokens == found.characters == len(text)
    assert found.unk_rate == 0


def test_a_last_evaluation_that_is_cut_says_so(settings, monkeypatch, capsys):
    monkeypatch.setattr("throughtime.tasks.language.FINAL_SECONDS", 0.0)
    monkeypatch.setattr("throughtime.tasks.language.EVALUATION_WINDOW", 16)
    config = settings(max_steps=2)
    tt.train(config)
    assert "64 of 368 validation tokens" in capsys.readouterr().err


def test_unseen_characters_are_counted_not_fatal(settings, tmp_path):
    config = settings()
    tt.train(config)
    (tmp_path / "odd.txt").write_text("the 猫 was full")
    assert tt.evaluate(config.out, [str(tmp_path / "odd.txt")]).unk_rate == 1 / 14


# ---- explosions ---------------------------------------------------------------------------------


def test_a_bad_step_is_skipped_counted_and_survived(settings, monkeypatch):
    from throughtime.tasks.language import Language

    good = Language.loss
    calls = iter(range(-1, 1000))  # the first is the warm-up

    def sometimes_nan(self, model, batch, carry):
        found = good(self, model, batch, carry)
        return found._replace(mean=found.mean * float("nan")) if next(calls) in (3, 4) else found

    monkeypatch.setattr(Language, "loss", sometimes_nan)
    config = settings()
    result = tt.train(config)
    assert result.skipped == 2
    assert [line["step"] for line in lines(config.out, "skipped")] == [4, 5]
    assert all(torch.isfinite(p).all() for p in weights(config.out).values())


def test_several_bad_steps_stop_at_the_last_good_checkpoint(settings, monkeypatch):
    from throughtime.tasks.language import Language

    good = Language.loss
    calls = iter(range(-1, 1000))  # the first is the warm-up

    def nan_for_good(self, model, batch, carry):
        found = good(self, model, batch, carry)
        return found._replace(mean=found.mean * float("inf")) if next(calls) >= 6 else found

    monkeypatch.setattr(Language, "loss", nan_for_good)
    config = settings(loop={"max_bad_steps": 5, "save_every": "1"}, max_steps=100)
    with pytest.raises(TrainingDiverged, match=r"step 11: 5 steps .*--optim.lr"):
        tt.train(config)
    saved = torch.load(Path(config.out) / "trainer.pt", weights_only=True)
    assert saved["counters"]["step"] == 6
    assert all(torch.isfinite(p).all() for p in saved["model"].values())


def test_exploding_gradients_are_clipped_and_training_survives(settings):
    config = settings(
        cell="rnn(nonlinearity=relu)", model={"init_range": 0.8}, optim={"clip_norm": 0.5},
        max_steps=60, loop={"eval_every": "30"},
    )  # fmt: skip
    result = tt.train(config)
    assert result.metrics["loss"] < UNIGRAM - 0.15
    assert max(line["norm"] for line in lines(config.out, "train")) > 0.5


def test_a_run_that_explodes_is_told_so_and_the_line_is_kept(settings, capsys):
    # The rate rises until it is too high: after some tens of steps, on any processor.
    config = settings(
        cell="rnn(nonlinearity=relu)", max_steps=4000, loop={"max_bad_steps": 10},
        optim={"name": "sgd", "lr": 10.0, "warmup": 100, "clip_norm": 0.0, "schedule": "constant"},
    )  # fmt: skip
    with pytest.raises(TrainingDiverged):
        tt.train(config)
    (line,) = (x["text"] for x in lines(config.out, "advice") if "explode" in x["text"])
    assert "--optim.clip_norm" in line
    assert " ".join(line.split()) in " ".join(capsys.readouterr().err.split())


def test_a_run_that_converges_at_once_is_not_told_that_it_explodes(settings, corpus):
    corpus.write_text("abc" * 4000)
    config = settings(max_steps=200, model={"hidden_size": 64, "dropout": 0.0},
                      loop={"eval_every": "0"})  # fmt: skip
    assert tt.train(config).metrics["loss"] < 0.01
    assert lines(config.out, "advice") == []


def test_looks_inside_tell_what_they_see_and_change_nothing(settings, capsys):
    weights_of, stacks = {}, {}
    for out, every in (("plain", "0"), ("looked", "4")):
        config = settings(out, cell="gru", loop={"inspect_every": every})
        tt.train(config)
        weights_of[out] = weights(config.out)
        stacks[out] = [line["stack"] for line in lines(config.out, "inside")]
    assert same_bits(weights_of["plain"], weights_of["looked"])
    assert stacks["plain"] == []
    assert [look["lags"] for look in stacks["looked"]] == [16, 16, 16]
    horizon = stacks["looked"][-1]["horizon"]
    assert horizon is None or 0 < horizon <= 16
    assert f"inside  horizon {'over 16' if horizon is None else f'{horizon} of 16'} steps" in (
        capsys.readouterr().err
    )


def test_looks_inside_need_a_stack_of_cells(settings):
    config = settings(cell="rnn", model={"context": 4}, loop={"inspect_every": "4"})
    with pytest.raises(
        InputError, match=r"no stack of cells to look into.*Leave out loop\.inspect_every"
    ):
        tt.train(config)
    assert not Path(config.out).exists()


def test_evaluations_leave_most_of_a_time_budget_to_training(settings, monkeypatch):
    from throughtime.tasks.language import Language

    def slow(self, model, *, quick):
        time.sleep(0.5)
        return {"loss": 1.0}

    monkeypatch.setattr(Language, "validate", slow)
    monkeypatch.setattr(Language, "describe", lambda self, metrics: "")
    tt.train(settings(max_steps=None, max_time="2s", loop={"eval_every": "5%"}))
    assert 2 <= len(lines(settings().out, "valid")) <= 3


def test_warming_up_changes_no_bit_and_is_not_on_the_clock(settings, monkeypatch):
    warm_up, gone = trainers.Trainer.warm_up, []

    def slow(trainer):
        warm_up(trainer)
        gone.append(all(p.grad is None for p in trainer.model.parameters()))
        time.sleep(5)

    monkeypatch.setattr(trainers.Trainer, "warm_up", slow)
    warm = settings(out="warm", max_time="4s")
    tt.train(warm)
    assert gone == [True]
    assert lines(warm.out, "valid")[-1]["step"] == 12  # none of the four seconds was spent before
    assert lines(warm.out, "ended")[0]["text"] == "--max-steps 12"
    monkeypatch.setattr(trainers.Trainer, "warm_up", lambda trainer: None)
    cold = settings(out="cold")
    tt.train(cold)
    assert same_bits(weights(warm.out), weights(cold.out))


# ---- several processes --------------------------------------------------------------------------


def test_two_processes_give_the_loss_of_one(settings):
    one, two = (settings(out, model={"dropout": 0.0}) for out in ("one", "two"))
    extra = ["--model.dropout", "0", "--max-steps", "10", "--loop.log_every", "1"]
    assert command(one, *flags(one), *extra).wait() == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    task = ["--nproc-per-node", "2", "-m", "throughtime", "train", "lm", "--out", two.out]
    program = [*launcher, *task, *flags(two), *extra]
    done = subprocess.run(program, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    for kind in ("train", "valid"):
        a, b = ([line["loss"] for line in lines(run.out, kind)] for run in (one, two))
        assert a == pytest.approx(b, rel=1e-5)
    for name, part in weights(one.out).items():
        torch.testing.assert_close(weights(two.out)[name], part, rtol=1e-4, atol=1e-5)
