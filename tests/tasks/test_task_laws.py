"""What holds for every task: its steps, its resuming, its evaluation."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import throughtime as tt
from runs import RUNS, kill, same_bits, small_run, timeless, weights
from throughtime.ground.machine import Processes
from throughtime.layers.stack import Stack
from throughtime.tasks import name_of, task_class

every_task = pytest.mark.parametrize("name", RUNS)
PLAIN = {"dropout": 0.0}


def prepared(config, **more):
    return task_class(name_of(config)).prepare(config, **more)


def flat(parts):
    """All tensors and numbers of a batch."""
    if isinstance(parts, (tuple, list)):
        return [leaf for part in parts for leaf in flat(part)]
    return [] if parts is None else [torch.as_tensor(parts)]


LEARNED = {
    "lm": (100, 2.4), "lm, mixed": (100, 2.4), "lm, full BPTT": (60, 2.3), "classify": (40, 0.2),
    "classify numbers": (60, 0.35), "tag": (60, 0.3), "translate": (150, 1.0),
    "translate, mixed": (150, 1.0), "conditional": (120, 0.9), "tunes": (60, 1.3),
    "frames": (100, 3.5), "adding": (400, 0.02), "copy": (800, 0.87 * 10 * math.log(8) / 21),
    "tag numbers": (60, 0.45), "regress": (120, 0.17),
    "temporal-order": (250, 0.5), "forecast": (80, 0.1), "forecast, step": (60, 0.6),
}  # fmt: skip
"""Steps, and the validation loss then, far below that of knowing only how often things occur."""


@every_task
def test_it_learns(name, tmp_path):
    steps, bar = LEARNED[name]
    several = isinstance(RUNS[name][2]["model"]["hidden_size"], list)
    model = PLAIN | {"hidden_size": [24, 20] if several else 24}
    loop = {"eval_every": str(steps // 2), "save_every": "1000"}
    if name.startswith("translate"):
        model |= {"scheduled_sampling": 0.0, "label_smoothing": 0.0}
        loop["batch_tokens"] = 200
    if name in ("tunes", "conditional"):
        model["condition_dropout"] = 0.0
    config = small_run(name, tmp_path, max_steps=steps, model=model, loop=loop)
    before = prepared(config)
    torch.manual_seed(1)
    untrained = before.validate(before.build_model(), quick=False)["loss"]
    found = tt.train(config).metrics["loss"]
    assert found < bar < untrained


@every_task
def test_a_killed_run_resumed_gives_the_same_bits(name, tmp_path):
    whole, killed = (small_run(name, tmp_path, out) for out in ("whole", "killed"))
    tt.train(whole)
    kill(killed, at_step=5)
    tt.train(killed, resume=True)
    assert same_bits(weights(whole), weights(killed))
    best = [
        {path.name: path.read_bytes() for path in Path(run.out).glob("*.safetensors")}
        for run in (whole, killed)
    ]
    assert best[0] == best[1]
    assert len(best[0]) == 1 + whole.loop.average
    assert timeless(whole) == timeless(killed)


def figures(run):
    """What `evaluate` finds, as text, but for what the clock decides."""
    found = tt.evaluate(run, device="cpu", threads=1).to_dict()
    return json.dumps({k: v for k, v in found.items() if not k.endswith("_per_second")})


@every_task
def test_a_run_finds_its_data_from_any_folder(name, tmp_path, monkeypatch):
    home, other, moved = (tmp_path / folder for folder in ("home", "other", "moved"))
    for folder in (home, other):
        folder.mkdir()
    monkeypatch.chdir(home)
    whole, killed = (small_run(name, Path(), out) for out in ("whole", "killed"))
    assert not Path(getattr(whole, "train", ["text"])[0]).is_absolute()
    tt.train(whole)
    kill(killed, at_step=5)
    before = figures("whole")
    monkeypatch.chdir(other)
    assert figures("../home/whole") == before
    tt.train(replace(tt.Run("../home/killed").config, out="../home/killed"), resume=True)
    assert same_bits(weights("../home/whole"), weights("../home/killed"))
    home.rename(moved)
    assert figures("../moved/killed") == before
    again = replace(tt.Run("../moved/killed").config, out="../moved/killed", max_steps=9)
    assert tt.train(again, resume=True).steps == 9


@every_task
def test_two_processes_take_the_steps_of_one(name, tmp_path, monkeypatch):
    """Means over parts, weighed by their sizes, are the mean over the whole; so are gradients."""
    model = PLAIN | ({"condition_dropout": 0.0} if name in ("tunes", "conditional") else {})
    model |= {"scheduled_sampling": 0.0} if name.startswith("translate") else {}
    noise = {"zoneout": "0", "recurrent_dropout": 0.0, "variational_dropout": 0.0}
    model |= {"weight_drop": 0.0, **noise} if name == "lm" else {}
    model |= {"word_dropout": 0.0} if name == "tag" else {}
    more = {"data": {"transpose": 0}} if name == "frames" else {}  # drawn for a batch's place
    config = small_run(name, tmp_path, model=model, **more)
    monkeypatch.setattr(Processes, "wait", lambda self: None)  # for none is beside it
    whole, *halves = (prepared(config, processes=Processes(*k)) for k in ((0, 1), (0, 2), (1, 2)))
    network = whole.build_model()

    def gradients(tasks):
        losses = [task.loss(network, task.batch(0, 0), None) for task in tasks]
        total = sum(loss.size for loss in losses)
        network.zero_grad()
        mean = sum(loss.mean * loss.size for loss in losses) / total
        mean.backward()
        return [mean.detach(), torch.tensor(float(total)), *(p.grad for p in network.parameters())]

    once = [None if part is None else part.clone() for part in gradients([whole])]
    for a, b in zip(once, gradients(halves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@every_task
def test_batches_depend_on_their_arguments_alone(name, tmp_path):
    task, again = (prepared(small_run(name, tmp_path)) for _ in range(2))
    again.batch(0, 0)
    for epoch in (0, 1):
        for a, b in zip(flat(task.batch(epoch, 0)), flat(again.batch(epoch, 0)), strict=True):
            assert torch.equal(a, b)


def reordered(raw):
    """Examples as they stand in files, the last first."""
    if isinstance(raw, dict):
        return {name: reordered(part) for name, part in raw.items()}
    return tuple(map(reordered, raw)) if isinstance(raw, tuple) else raw[::-1]


@pytest.mark.parametrize("name", [name for name in RUNS if not name.startswith("lm")])
def test_metrics_are_those_of_any_batch_size_and_order(name, tmp_path, monkeypatch):
    """A language model's are over streams, whose number is the batch size: `evaluate` has one."""
    task = prepared(small_run(name, tmp_path))
    model = task.build_model()
    found = task.validate(model, quick=False)
    assert math.isfinite(found["loss"])
    for few in ("evaluation_tokens", "evaluated_together"):
        monkeypatch.setattr(type(task), few, 7, raising=False)
    assert task.validate(model, quick=False) == pytest.approx(found, rel=1e-5)
    if hasattr(task, "raw_to_measure"):
        before = task.valid
        task.valid = task.encode(reordered(task.raw_to_measure(None)))
        assert task.valid.fingerprint() != before.fingerprint()
        assert task.validate(model, quick=False) == pytest.approx(found, rel=1e-5)


@every_task
def test_evaluation_leaves_the_models_mode_as_it_was_after_an_error_too(
    name, tmp_path, monkeypatch
):
    task = prepared(small_run(name, tmp_path))
    model = task.build_model().train()
    *_, last = model.modules()
    last.eval()  # a part that is frozen stays so
    before = [module.training for module in model.modules()]
    task.validate(model, quick=True)
    assert [module.training for module in model.modules()] == before

    def fails(*_, **__):
        assert not model.training
        raise MemoryError

    monkeypatch.setattr(Stack, "run", fails)
    monkeypatch.setattr(Stack, "forward", fails)
    with pytest.raises(MemoryError):
        task.validate(model, quick=True)
    assert [module.training for module in model.modules()] == before


PLACES = {
    "classify": r"labelled\.txt:\d+", "classify numbers": r"sensors\.npz\[\d+\]",
    "tag": r"names\.conll:\d+", "translate": r"pair \d+, '", "conditional": r"up\.txt:\d+",
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_an_example_of_too_many_tokens_is_told_with_its_place(name, tmp_path):
    config = small_run(name, tmp_path, data={"max_tokens": 3})
    said = rf"{PLACES[name]}.*: an example of \d+ tokens, more than 3\..*--data\.max_tokens NUMBER"
    with pytest.raises(tt.InputError, match=said):
        prepared(config)
