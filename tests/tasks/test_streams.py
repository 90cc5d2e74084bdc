"""Step by step: what a stream says is what the whole says; its state is saved and restored."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import throughtime as tt
from runs import small_run
from throughtime.command.cli import main
from throughtime.data.batches import Ragged
from throughtime.layers.pooling import POOLINGS, Pooling
from throughtime.tasks.streams import PooledSoFar

CAUSAL = {"bidirectional": False, "dropout": 0.0}


@pytest.fixture
def classifier(tmp_path):
    """Of tables with columns of names, stamps and missing values."""
    random = np.random.default_rng(0)
    rows = ["sequence,at,a,kind,label"]
    for k in range(40):
        for t in range(3 + k % 4):
            value = "" if t == 1 else f"{random.normal() + k % 2:.3f}"
            rows.append(f"{k},{2 * t + k % 3},{value},{'xy'[k % 2]},{'uv'[k % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    values = {
        "train": [str(tmp_path / "t.csv")], "out": str(tmp_path / "run"), "max_steps": 6,
        "device": "cpu", "threads": 1, "level": "numbers", "loop": {"batch_size": 8},
        "model": {**CAUSAL, "hidden_size": 6, "pooling": "attention"},
        "data": {"missing": "mask", "time": "at", "categories": ["kind"]},
    }  # fmt: skip
    tt.train(tt.config.from_dict(tt.ClassifierConfig, values))
    return tt.Run.open(values["out"], device="cpu", threads=1), tmp_path


def test_the_last_answer_is_that_of_the_whole_sequence(classifier):
    run, folder = classifier
    whole = {p.values["sequence"]: p.values for p in run.predict(str(folder / "t.csv"))}
    rows = [row.split(",") for row in (folder / "t.csv").read_text().splitlines()[1:]]
    stream = run.stream()
    for name in ("0", "1", "7"):
        stream.reset()
        for row in rows:
            if row[0] == name:
                found = stream.push({"a": row[2], "at": row[1], "kind": row[3]})
        for label, p in whole[name]["probabilities"].items():
            assert found.values["probabilities"][label] == pytest.approx(p, abs=1e-5)


def test_a_state_is_saved_and_restored_in_a_pipe_too(classifier, capsys, monkeypatch):
    run, folder = classifier
    lines = ["at,a,kind", "0,1.5,x", "1,,y", '{"at": 3, "a": 0.2, "kind": "x"}', "9,-1,z"]

    def say(some, *more):
        text = "\n".join(some) + "\n"
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert main(["predict", run.given, "--stream", *more]) == 0
        return capsys.readouterr().out.splitlines()

    state = ["--state", str(folder / "state.json")]
    whole = say(lines)
    assert len(whole) == 4
    assert say(lines[:3], *state) + say([lines[0], *lines[3:]], *state) == whole
    assert json.loads((folder / "state.json").read_text())["steps"] == 4
    (folder / "mine.txt").write_text("precious")
    assert main(["predict", run.given, "--stream", "--state", str(folder / "mine.txt")]) == 2
    assert (folder / "mine.txt").read_text() == "precious"
    assert main(["predict", run.given, "--state", "x"]) == 2
    stream = run.stream()
    stream.push({"at": 5, "a": 1, "kind": "x"})
    with pytest.raises(tt.InputError, match="time goes back"):
        stream.push({"at": 4, "a": 1, "kind": "x"})
    with pytest.raises(tt.InputError, match="step: no 'kind'"):
        run.stream().push({"at": 5, "a": 1})


def test_bad_lines_are_told_by_number(classifier, capsys, monkeypatch):
    run, _ = classifier
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"at,a,kind\n1,2,x\n2,z,x\n")))
    assert main(["predict", run.given, "--stream"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "standard input:3: a: expected a number, got 'z'" in err


@pytest.mark.parametrize("name", ["regress", "tag numbers", "forecast, step"])
def test_other_tasks_answer_as_they_do_of_the_whole(name, tmp_path):
    model = {**CAUSAL, **({"head": "softmax"} if name.startswith("tag") else {})}
    data = {"static": []} if name.startswith("forecast") else {}
    model = {"dropout": 0.0} if name.startswith("forecast") else model
    config = small_run(name, tmp_path, max_steps=3, model=model, data=data)
    if name.startswith("forecast"):
        text = (tmp_path / "waves.csv").read_text().splitlines()
        (tmp_path / "a.csv").write_text("\n".join(r for r in text if r[0] in "na"))
        config.train = [str(tmp_path / "a.csv")]
        config.data.series = None
        config.data.target = ["load", "warm"]
    tt.train(config)
    run = tt.Run.open(config.out, device="cpu", threads=1)
    stream = run.stream()
    first = next(iter(run.predict(config.train)))
    rows = Path(config.train[0]).read_text().splitlines()
    names = rows[0].split(",")
    steps = [dict(zip(names, row.split(","))) for row in rows[1:]]
    if "sequence" in names:
        steps = [step for step in steps if step["sequence"] == steps[0]["sequence"]]
    found = [stream.push(step).values for step in steps]
    if name == "regress":
        assert found[-1]["targets"]["mean"] == pytest.approx(
            first.values["targets"]["mean"], abs=1e-5
        )
    elif name == "tag numbers":
        assert [f["label"] for f in found] == first.values["labels"]
    else:
        assert found[0]["value"] == {"load": None, "warm": None}
        np.testing.assert_allclose(
            found[-1]["forecast"]["load"], first.values["forecast"], rtol=0.2
        )
        assert found[-1]["times"] == first.values["times"]


@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_so_far_is_pooling(kind):
    torch.manual_seed(0)
    pooling, y = Pooling(kind, 3), torch.randn(6, 1, 3)
    so_far = PooledSoFar(pooling, 3)
    for t in range(6):
        found = so_far.add(y[t], y[t][None])
        again = PooledSoFar(pooling, 3)
        again.take_up(json.loads(json.dumps(so_far.carried())))
        so_far = again
        expected = pooling(y[: t + 1], y[t][None], torch.tensor([t + 1]))
        torch.testing.assert_close(found, expected)


def test_models_that_need_the_whole_say_so(tmp_path):
    for name, said in (("classify numbers", "bidirectional false"), ("classify", "step by step")):
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        config = small_run(name, folder, max_steps=1)
        tt.train(config)
        with pytest.raises(tt.InputError, match=said):
            tt.Run.open(config.out).stream()


def test_memory_does_not_grow_with_the_steps(classifier):
    run, _ = classifier
    stream = run.stream()
    sizes = []
    for t in range(200):
        stream.push({"a": 1.0, "at": t, "kind": "x"})
        if t in (20, 199):
            sizes.append(len(json.dumps(stream.carried())))
    assert sizes[1] < 1.2 * sizes[0]
    assert isinstance(Ragged.of([[1]]), Ragged)
