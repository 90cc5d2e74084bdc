"""Runs that release 0.1 trained: they open, give the figures that it gave, and go on.

`runs_of_0_1` holds a run of each task, made by that release over the made-up files in its `data`,
and in expected.json what its own `evaluate` said, and `train --resume` four steps later.
"""

import json
import shutil
from pathlib import Path

import pytest

import throughtime as tt
from throughtime.checkpoint import RunFolder
from throughtime.config import from_dict
from throughtime.ground.errors import InputError
from throughtime.tasks import entry
from throughtime.verbs import inspect_run

HERE = Path(__file__).parent / "runs_of_0_1"
EXPECTED = json.loads((HERE / "expected.json").read_text())
every_run = pytest.mark.parametrize("name", EXPECTED)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A copy of them, as the working folder: their paths are relative to it."""
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def close(found, expected):
    """Whether figures agree, those of the clock apart."""
    if isinstance(expected, dict):
        names = {name for name in expected if not name.endswith("_per_second")}
        return all(close(found[name], expected[name]) for name in names)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True)
    return found == expected


def test_there_is_one_for_every_task():
    assert {RunFolder(HERE / name).load_config()[0] for name in EXPECTED} >= {
        "lm", "classify", "tag", "conditional", "music", "translate", "adding",
    }  # fmt: skip


@every_run
def test_it_opens_and_gives_the_same_figures_and_says_what_it_read(name, kept, capsys):
    found = tt.evaluate(name, device="cpu", threads=1).to_dict()
    expected = EXPECTED[name]["evaluate"]
    assert close(json.loads(json.dumps(found)), expected), (found, expected)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("read ")]
    count = next(found[n] for n in ("examples", "sentences", "sequences", "tokens") if n in found)
    assert len(said) == (name != "adding")
    assert all(f" {count:,} " in line and "data/" in line for line in said), said


@every_run
def test_it_goes_on(name, kept):
    task, values = RunFolder(name).load_config()
    config = from_dict(entry(task).config, {**values, "max_steps": 12})
    found = tt.train(config, resume=True)
    assert found.steps == 12
    expected = EXPECTED[name]["resumed to step 12"]
    assert close(found.metrics, expected), (found.metrics, expected)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "adding"])
def test_from_another_folder_it_tells_that_its_data_are_relative(name, kept, monkeypatch):
    (kept / "other").mkdir()
    monkeypatch.chdir(kept / "other")
    config = tt.Run(f"../{name}").config
    typed, option = config.train[0], f"--data {config.files}"
    said = f"{typed} is relative to where the run was trained.*anew with {option} "
    with pytest.raises(InputError, match=said):
        tt.evaluate(f"../{name}")
    with pytest.raises(InputError, match=said):
        inspect_run(f"../{name}")
    config.out, config.max_steps = f"../{name}", 12
    with pytest.raises(InputError, match=rf"{typed} is relative .*--train {config.files}\."):
        tt.train(config, resume=True)
    given = [f"../{path}" for path in config.train]
    tt.evaluate(f"../{name}", given)
    config.train = given
    assert tt.train(config, resume=True).steps == 12
    assert tt.Run(f"../{name}").config.train == [str(kept / path[3:]) for path in given]


def test_from_another_folder_what_needs_training_data_is_left_out_and_said(
    kept, monkeypatch, capsys
):
    (kept / "other").mkdir()
    monkeypatch.chdir(kept / "other")
    (report,) = tt.generate("../music-abc", report=True, num_samples=1, max_new_tokens=9)
    assert "tunes that parse" in report
    assert "copied" not in report
    assert "copies of training tunes are not counted: data/jigs.abc is" in capsys.readouterr().err
    Path("pairs.tsv").write_text("the cat saw a dog\tthe cat met a dog\n")
    tt.agreement("../lm-word", "pairs.tsv")
    assert "no n-gram beside the model: data/text.txt is relative" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("hidden_size: ", "hidden_size: x", r"model\.hidden_size must be a whole number"),
        ("seed: ", "seed: -", r"seed must be at least 0"),
        ("hidden_size: ", "hiden_size: ", r"unknown setting model\.hiden_size"),
    ],
)
def test_settings_that_cannot_be_name_the_file_and_the_field(tmp_path, old, new, field):
    shutil.copytree(HERE / "lm-word", tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(InputError, match=rf"run/config\.yaml: {field}"):
        tt.Run(path.parent)
