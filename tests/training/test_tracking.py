"""Trackers get the numbers of metrics.jsonl; a run that goes on is the same run there."""

import contextlib
import importlib.util
import json
import sqlite3
from pathlib import Path

import pytest

import throughtime as tt
from runs import lines
from throughtime.command.cli import main
from throughtime.ground.errors import InputError
from throughtime.training import tracking
from throughtime.training.tracking.kinds import KINDS, Tracker, leaves

RUNS = []


class Recorder(Tracker):
    """A tracker that remembers; `fails` at its nth write."""

    package, install, fails = "json", "nothing", None

    def __init__(self, folder, settings, before):
        super().__init__(folder, settings, before)
        self.kept = {"run": before.get("run") or f"run {len(RUNS)}"}
        self.before, self.settings, self.folder = before, settings, folder
        self.rows, self.how = [], None
        RUNS.append(self)

    def write(self, numbers, step):
        self.rows.append((step, numbers))
        if len(self.rows) == self.fails:
            raise ConnectionError("the network is gone\nand more")

    def close(self, how):
        self.how = how


@pytest.fixture
def recorder(monkeypatch):
    RUNS.clear()
    monkeypatch.setitem(KINDS, "wandb", Recorder)
    monkeypatch.setattr(Recorder, "fails", None)
    return RUNS


def test_a_tracker_gets_settings_and_every_number_of_the_lines(settings, recorder):
    config = settings(loop={"track": ["wandb"], "log_every": "4"})
    tt.train(config)
    (run,) = recorder
    assert run.settings["optim"]["lr"] == 0.01
    assert run.folder == Path(config.out)
    assert run.how == "finished"
    written = [line for line in lines(config.out) if line["kind"] in ("train", "valid")]
    assert len(written) == len(run.rows) == 6
    for line, (step, numbers) in zip(written, run.rows):
        kind = line.pop("kind")
        assert line.pop("step") == step
        assert numbers == {f"{kind}/{name}": value for name, value in line.items()}


def test_a_run_that_goes_on_is_the_same_run_and_sends_nothing_twice(
    settings, recorder, monkeypatch
):
    from throughtime.training.trainer import Trainer

    config = settings(loop={"track": ["wandb"], "log_every": "1", "save_every": "100"})
    step = Trainer._one_step

    def killed(self):
        if self.counters.step == 7:
            raise RuntimeError("killed")
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", killed)
        with pytest.raises(RuntimeError, match="killed"):
            tt.train(config)
    tt.train(config, resume=True)
    first, second = recorder
    assert first.how == "failed"
    assert second.before == first.kept == second.kept
    sent = [(n, *numbers) for run in recorder for n, numbers in run.rows]
    assert len(sent) == len(set(sent))
    assert {n for n, *_ in sent} == {line["step"] for line in lines(config.out, "train")}
    # a new run in its place is another one there
    tt.train(config, overwrite=True)
    assert recorder[2].before == {}
    assert json.loads((Path(config.out) / "trackers.json").read_text()) == {
        "wandb": {"run": "run 2"}
    }


def test_a_tracker_that_fails_is_told_and_the_run_goes_on(settings, recorder, monkeypatch, capsys):
    monkeypatch.setattr(Recorder, "fails", 2)
    assert tt.train(settings(loop={"track": ["wandb"]})).steps == 12
    said = capsys.readouterr().err
    assert said.count("wandb does not take what is sent (the network is gone)") == 1
    assert len(recorder[0].rows) == 2
    monkeypatch.setattr(Recorder, "__init__", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"loop\.track wandb: division by zero"):
        tt.train(settings("other", loop={"track": ["wandb"]}))


def test_what_trackers_call_the_run_may_be_lost(tmp_path, capsys):
    path = tmp_path / "trackers.json"
    assert tracking.known(path) == {}
    for damage in ("{", "[1]", '{"wandb": 3}'):
        path.write_text(damage)
        assert tracking.known(path) == {}
        assert "trackers begin a new run" in capsys.readouterr().err


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_package_is_a_line_with_the_extra(settings, name, monkeypatch):
    config = settings(loop={"track": [name]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'throughtime\[track\]'"):
        tt.train(config)
    assert not Path(config.out).exists()


def test_trackers_are_named_on_the_command_line(corpus, tmp_path, capsys):
    words = ["train", "lm", "--train", str(corpus), "--out", str(tmp_path / "run")]
    assert main([*words, "--loop.track", "wandbb"]) == 2
    assert "Did you mean 'wandb'?" in capsys.readouterr().err
    assert main([*words, "--loop.track", "wandb", "mlflow", "--print_config"]) == 0
    assert "  track:\n  - wandb\n  - mlflow\n" in capsys.readouterr().out
    config = tt.LanguageConfig()
    config.loop.tensorboard, config.loop.track = True, ["mlflow", "tensorboard"]
    assert tracking.named(config.loop) == ["mlflow", "tensorboard"]


# ---- the trackers themselves --------------------------------------------------------------------


def installed(name):
    missing = importlib.util.find_spec(KINDS[name].package) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed (the extra track)")


def twice(config):
    """Train, and go on for as long again."""
    tt.train(config)
    config.max_steps *= 2
    tt.train(config, resume=True)
    return [line for line in lines(config.out) if line["kind"] == "valid"]


@installed("tensorboard")
def test_tensorboard_reads_what_was_sent(settings):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = settings(loop={"track": ["tensorboard"]})
    valid = twice(config)
    events = EventAccumulator(str(config.out))
    events.Reload()
    found = [(event.step, pytest.approx(event.value)) for event in events.Scalars("valid/loss")]
    assert found == [(line["step"], line["loss"]) for line in valid]
    assert "settings/text_summary" in events.Tags()["tensors"]


@installed("mlflow")
def test_mlflow_keeps_one_run_in_files(settings, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri := (tmp_path / "mlruns").as_uri())
    config = settings(loop={"track": ["mlflow"]})
    valid = twice(config)
    client = mlflow.MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "throughtime"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["optim.lr"] == "0.01"
    history = client.get_metric_history(run.info.run_id, "valid/loss")
    found = sorted((metric.step, metric.value) for metric in history)
    assert found == [(line["step"], line["loss"]) for line in valid]
    # where its run is gone, another begins
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "elsewhere").as_uri())
    config.max_steps += 1
    tt.train(config, resume=True)
    kept = json.loads((Path(config.out) / "trackers.json").read_text())
    assert kept["mlflow"]["run"] != run.info.run_id


@installed("wandb")
def test_wandb_offline_keeps_one_run(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    config = settings(loop={"track": ["wandb"]})
    valid = twice(config)
    kept = json.loads((Path(config.out) / "trackers.json").read_text())["wandb"]["run"]
    folders = sorted((Path(config.out) / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    found = []
    for folder in folders:
        assert folder.name.endswith(kept)
        found += history(next(folder.glob("*.wandb")))
    assert [row["step"] for row in found if "valid/loss" in row] == [line["step"] for line in valid]


def history(path):
    """The rows of an offline run, whose file is a log of LevelDB's after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if 2**15 - at % 2**15 < 7:  # no room for another head in this block
            at += 2**15 - at % 2**15
        if kind in (1, 4):  # whole, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            if record.WhichOneof("record_type") == "history":
                yield {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }


@installed("trackio")
def test_trackio_keeps_one_run_in_its_database(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    config = settings(loop={"track": ["trackio"]})
    valid = twice(config)
    with contextlib.closing(sqlite3.connect(tmp_path / "trackio/throughtime.db")) as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id")
        rows = [(name, step, json.loads(found)) for name, step, found in rows]
    assert len({name for name, *_ in rows}) == 1
    found = [(step, m["valid/loss"]) for _, step, m in rows if "valid/loss" in m]
    assert found == [(line["step"], line["loss"]) for line in valid]


def test_settings_are_flat_by_dotted_name():
    assert dict(leaves({"a": 1, "b": {"c": [2], "d": {"e": None}}})) == {
        "a": 1, "b.c": [2], "b.d.e": None,
    }  # fmt: skip
