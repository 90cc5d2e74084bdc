"""The long-range problems: what is drawn, what counts as solved, that they train as tasks do."""

import json
import math

import numpy as np
import pytest
import torch

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import from_dict
from throughtime.data import problems
from throughtime.ground.errors import InputError
from throughtime.ground.machine import Processes
from throughtime.models.reader import SequenceReader
from throughtime.tasks import task_class

CONFIGS = {
    "adding": tt.AddingConfig,
    "copy": tt.CopyingConfig,
    "temporal-order": tt.TemporalOrderConfig,
}


def draw(problem, count=300, seed=0):
    return problem.draw(np.random.default_rng(seed), count)


@pytest.mark.parametrize("T", [2, 3, 50])
def test_adding_is_the_sum_of_the_marked_one_in_each_half(T):
    x, lengths, targets = draw(problems.Adding(T))
    assert x.shape == (T, 300, 2)
    assert lengths is None
    for i in range(300):
        marked = [t for t in range(T) if x[t, i, 1] == 1]
        assert marked[0] < T // 2 <= marked[1]
        assert len(marked) == 2
        assert targets[i] == pytest.approx(sum(x[t, i, 0] for t in marked))
    assert set(x[..., 1].ravel().tolist()) <= {0, 1}
    assert 0 <= x[..., 0].min() < x[..., 0].max() < 1


def test_predicting_one_always_has_the_published_error():
    targets = draw(problems.Adding(10), 200_000).targets
    expected = tt.AddingConfig().chance()
    assert expected == pytest.approx(0.1667, abs=1e-4)
    # the variance of (u + u' − 1)² is 7/180: three standard errors
    assert ((targets - 1) ** 2).mean() == pytest.approx(expected, abs=3 * (7 / 180 / 2e5) ** 0.5)


@pytest.mark.parametrize("T", [1, 2, 30])
def test_copying_says_ten_symbols_after_the_delimiter(T):
    x, _, targets = draw(problems.Copying(T), 50)
    for i in range(50):
        row, wanted = x[:, i].tolist(), targets[:, i].tolist()
        assert len(row) == len(wanted) == T + 20
        assert row[10:] == [8] * (T - 1) + [9] + [8] * 10
        assert wanted == [8] * (T + 10) + row[:10]
        assert all(0 <= symbol < 8 for symbol in row[:10])


def test_without_memory_copying_costs_what_is_published():
    T = 30
    targets = torch.from_numpy(draw(problems.Copying(T), 40).targets)
    outputs = torch.full((*targets.shape, 9), -50.0)
    outputs[:-10, :, 8] = 50.0  # blanks, surely
    outputs[-10:, :, :8] = 0.0  # then any symbol
    found = SequenceReader.losses(outputs, targets).mean()
    assert float(found) == pytest.approx(tt.CopyingConfig(length=T).chance(), rel=1e-6)
    assert tt.CopyingConfig(length=T).chance() == pytest.approx(10 * math.log(8) / (T + 20))


@pytest.mark.parametrize(("T", "relevant"), [(10, 2), (100, 2), (100, 3)])
def test_temporal_order_is_told_by_its_relevant_symbols(T, relevant):
    x, lengths, classes = draw(problems.TemporalOrder(T, relevant))
    places = {2: [(0.1, 0.2), (0.5, 0.6)], 3: [(0.1, 0.2), (0.33, 0.43), (0.66, 0.76)]}[relevant]
    assert set(classes) == set(range(2**relevant))
    assert {int(n) for n in lengths} == set(range(T, T + T // 10 + 1))
    for i in range(300):
        row = x[: lengths[i], i].tolist()
        assert row[0] == 4
        assert row[-1] == 5
        found = [t for t, symbol in enumerate(row) if symbol in (6, 7)]
        assert len(found) == relevant
        assert all(low * T - 1e-9 <= t <= high * T + 1e-9 for t, (low, high) in zip(found, places))
        assert classes[i] == int("".join(str(row[t] - 6) for t in found), 2)
        assert set(row) - {4, 5, 6, 7} <= {0, 1, 2, 3}


def configure(name, out, **settings):
    values = {
        "out": str(out), "length": 12, "max_steps": 12, "held_out": 40, "sequences": 100,
        "device": "cpu", "threads": 1, "model": {"hidden_size": 8},
        "loop": {"batch_size": 10, "eval_every": "4", "save_every": "3"}, **settings,
    }  # fmt: skip
    return from_dict(CONFIGS[name], values)


@pytest.mark.parametrize("name", CONFIGS)
def test_batches_are_functions_of_seed_epoch_and_place(name, tmp_path):
    task = task_class(name).prepare(configure(name, tmp_path / "run"))
    x = task.batch(0, 0).inputs[0]
    assert task.steps_per_epoch == 10
    assert torch.equal(x, task.batch(0, 0).inputs[0])
    other = task_class(name).prepare(configure(name, tmp_path / "run", seed=2))
    for batch in (task.batch(0, 1), task.batch(1, 0), other.batch(0, 0)):
        other = batch.inputs[0]
        assert other.shape != x.shape or not torch.equal(x, other)
    halves = [
        task_class(name).prepare(configure(name, tmp_path / "run"), processes=Processes(k, 2))
        for k in range(2)
    ]
    for k, half in enumerate(halves):
        (part, _, some), _ = half.batch(0, 0)
        (whole, _, targets), _ = task.batch(0, 0)
        assert torch.equal(some, targets[..., k::2])
        assert torch.equal(part, whole[: len(part), k::2])


def test_validation_is_the_same_for_every_seed_and_in_parts_of_any_size(tmp_path, monkeypatch):
    tasks = [
        task_class("temporal-order").prepare(configure("temporal-order", tmp_path / "r", seed=s))
        for s in (1, 2)
    ]
    model = tasks[0].build_model()
    found = [task.validate(model, quick=True) for task in tasks]
    assert found[0] == found[1]
    monkeypatch.setattr(tasks[0], "evaluated_together", 7)
    assert tasks[0].validate(model, quick=True) == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("adding", {"length": 6, "max_steps": 500}),
        ("copy", {"length": 1, "max_steps": 800}),
        ("temporal-order", {"length": 10, "max_steps": 300}),
    ],
)
def test_short_ones_are_learned_beyond_what_needs_no_memory(name, settings, tmp_path):
    config = configure(
        name, tmp_path / "run", **settings, optim={"lr": 0.02}, model={"hidden_size": 16},
        loop={"batch_size": 20, "eval_every": "100"},
    )  # fmt: skip
    result = tt.train(config)
    chance, found = config.chance(), result.metrics
    if name == "adding":
        assert found["loss"] < 0.01
        assert found["solved"] == 1
    elif name == "copy":
        assert found["loss"] < 0.85 * chance
    else:
        assert found["correct"] > 0.9
    test = tt.evaluate(config.out, sequences=200)
    assert test.length == config.length
    assert 0.5 * found["loss"] < test.loss < 2 * found["loss"] + 0.01


def test_the_command_line_says_what_does_not_go(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ["--length", "12", "--max-steps", "2", "--held-out", "10", "--device", "cpu",
                 "--model.hidden_size", "4"]  # fmt: skip
    assert main(["train", "adding", *arguments, "--out", str(run)]) == 0
    assert f"throughtime evaluate {run}\n" in capsys.readouterr().err.replace("  ", "\n")
    assert main(["evaluate", str(run), "--length", "20", "--sequences", "50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["length"] == 20
    for command, word in (
        (["train", "adding", "--length", "1", "--out", str(tmp_path / "x")], "at least 2"),
        (["train", "temporal-order", "--length", "9", "--out", str(tmp_path / "x")], "at least 10"),
        (["train", "adding", "--train", "a.txt", "--out", str(tmp_path / "x")], "unknown option"),
        (["evaluate", str(run), "--data", "text.txt"], "leave out --data"),
        (["evaluate", str(run), "--length", "1"], "at least 2"),
        (["predict", str(run)], "throughtime evaluate"),
    ):
        assert main(command) == 2, command
        assert word in capsys.readouterr().err, command
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="length"):
        tt.train(configure("adding", run, length=13), resume=True)
