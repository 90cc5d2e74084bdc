"""What a run folder holds, damaged in every way: told by file, never read as something else."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import throughtime as tt
from runs import kill, same_bits, small_run, weights
from throughtime.checkpoint import RunFolder
from throughtime.ground.errors import InputError
from throughtime.weights import load_weights, read_header, save_weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained language model, which tests copy."""
    config = small_run("lm", tmp_path_factory.mktemp("kept"), out="run")
    tt.train(config)
    return config


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(trained.out, tmp_path / "run"))


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# ---- checksums ----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.999])
def test_a_flipped_byte_of_the_weights_is_told(run, share):
    path = run / "model.safetensors"
    flipped(path, int(share * path.stat().st_size))
    with pytest.raises(InputError, match=r"model\.safetensors: damaged"):
        tt.load(run)


def test_every_flipped_byte_of_a_checkpoint_is_told_or_changes_nothing(run):
    path = run / "trainer.pt"
    good, before = path.read_bytes(), weights(run)
    told = 0
    for at in range(0, len(good), max(1, len(good) // 150)):
        path.write_bytes(good)
        flipped(path, at)
        try:
            assert same_bits(RunFolder(run).load_trainer()["model"], before), at
        except InputError as error:
            assert str(error).startswith(f"{path}: damaged"), error  # noqa: PT017
            told += 1
    assert told > 100


def test_a_vocabulary_that_is_not_the_one_trained_with_is_told(run):
    said = json.loads((run / "tokenizer.json").read_text())
    ids = said["model"]["vocab"]
    first, second = list(ids)[-2:]
    ids[first], ids[second] = ids[second], ids[first]
    (run / "tokenizer.json").write_text(json.dumps(said))
    for checkpoint in ("best", "last"):
        with pytest.raises(InputError, match=r"tokenizer\.json: damaged, or another run's"):
            tt.load(run, checkpoint=checkpoint)


def test_a_file_that_is_no_utf8_is_named(run):
    (run / "tokenizer.json").write_bytes(b"{\xff}")
    with pytest.raises(InputError, match=r"tokenizer\.json: damaged: not UTF-8 at byte 1"):
        tt.load(run)


def test_the_header_tells_shapes_and_checksums(run):
    header = read_header(run / "model.safetensors")
    model = tt.load(run)[1]
    assert header.shapes == {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert len(header.sha256 or "") == 64
    assert list(header.files) == ["tokenizer.json"]


def test_equal_weights_are_equal_files_whatever_is_shared(tmp_path):
    layers = torch.nn.ModuleDict({f"a{i}é": torch.nn.Linear(3, 3) for i in range(4)})
    for name in ("a1é", "a3é"):
        layers[name].weight = layers["a0é"].weight
    files = {"tokenizer.json": "0" * 63 + "1", "labels.json": "1"}
    paths = [tmp_path / f"{i}.safetensors" for i in range(6)]
    for path in paths:
        save_weights(layers, path, files)
    assert len({path.read_bytes() for path in paths}) == 1
    assert read_header(paths[0]).files == files
    again = torch.nn.ModuleDict({f"a{i}é": torch.nn.Linear(3, 3) for i in range(4)})
    for name in ("a1é", "a3é"):
        again[name].weight = again["a0é"].weight
    load_weights(again, paths[0])
    assert same_bits(again.state_dict(), layers.state_dict())


def test_settings_that_were_changed_are_told_and_used(run, capsys):
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("threads: 1", "threads: 2"))
    tt.load(run)
    tt.load(run)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("config.yaml has been changed since training wrote it") == 1


# ---- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("section", "name", "value", "said"), [
    (None, "level", 7, "level"),
    (None, "threads", "many", "threads"),
    ("model", "layers", 1.5, r"model\.layers"),
    ("model", "dropout", [1], r"model\.dropout"),
    ("loop", "batch_size", -3, r"loop\.batch_size"),
    ("optim", "lr", {"a": 1}, r"optim\.lr"),
    ("model", "hidden_sise", 3, "hidden_size"),
])  # fmt: skip
def test_settings_are_looked_at_as_those_of_a_command_line(run, section, name, value, said):
    values = yaml.safe_load((run / "config.yaml").read_text())
    (values[section] if section else values)[name] = value
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=said):
        tt.load(run)


def test_a_size_that_the_weights_have_not_takes_no_memory(run, monkeypatch):
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["model"]["hidden_size"] = 10**6
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"does not fit config\.yaml: .* would be \[.*1000000"):
        tt.load(run)


# ---- checkpoints of another shape ---------------------------------------------------------------

STRUCTURES = {
    "no model": lambda s: s.pop("model"),
    "a list for a model": lambda s: s.update(model=[]),
    "no optimizer": lambda s: s.pop("optimizer"),
    "an optimizer of numbers": lambda s: s.update(optimizer=3),
    "groups that are gone": lambda s: s["optimizer"].update(param_groups=[]),
    "states of nothing": lambda s: s["optimizer"].update(state=None),
    "no counters": lambda s: s.pop("counters"),
    "unknown counters": lambda s: s["counters"].update(more=1),
    "counters that are none": lambda s: s.update(counters=None),
    "no processes": lambda s: s.pop("processes"),
    "processes of numbers": lambda s: s.update(processes=[1]),
    "no fingerprint": lambda s: s.pop("fingerprint"),
    "no random state": lambda s: s["processes"][0].update(random=None),
    "a short random state": lambda s: s["processes"][0].update(random=torch.zeros(3)),
    "a carry of numbers": lambda s: s["processes"][0].update(carry=[1, 2]),
    "a schedule of text": lambda s: s.update(schedule="x", advisor="y"),
    "advice of numbers": lambda s: s.update(advisor=7),
    "bytes of text": lambda s: s.update(metrics_bytes="many"),
    "another format": lambda s: s.update(format=99),
    "a schedule of no numbers": lambda s: s["schedule"].update(scale="x"),
    "a schedule without end": lambda s: s["schedule"].update(scale=1e300),
    "a schedule of less": lambda s: s["schedule"].pop("stale"),
    "counters of text": lambda s: s["counters"].update(step="many"),
    "counters below nothing": lambda s: s["counters"].update(tokens=-3),
    "counters without end": lambda s: s["counters"].update(step=10**40),
    "intervals of text": lambda s: s["counters"].update(fired={"log": "x"}),
    "averages elsewhere": lambda s: s["counters"].update(averaged=["../x"]),
    "advice of less than nothing": lambda s: s["advisor"].update(best="x"),
    "weights of text": lambda s: s["model"].update(more="x"),
    "weights that are no numbers": lambda s: next(iter(s["model"].values())).fill_(math.nan),
    "checksums of numbers": lambda s: s.update(files=7),
    "a carry of another width": lambda s: s["processes"][0].update(
        carry=[part[..., :3] for part in s["processes"][0]["carry"]]
    ),
    "a carry of more rows": lambda s: s["processes"][0].update(
        carry=[part[:, [0, 0, 1, 1, 2]] for part in s["processes"][0]["carry"]]
    ),
    "a list": lambda s: [1],
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_checkpoint_of_another_shape_is_told_by_file(trained, run, name, tmp_path):
    saved = torch.load(run / "trainer.pt", weights_only=True)
    changed = STRUCTURES[name](saved)
    torch.save(changed if name == "a list" else saved, run / "trainer.pt")
    config = small_run("lm", Path(trained.out).parent, out=str(run))
    config.max_steps = 10**4
    with pytest.raises(InputError, match=r"trainer\.pt: ") as told:
        tt.train(config, resume=True)
    assert "\n" not in str(told.value)


def shrunk(state):
    state["exp_avg"] = state["exp_avg"][:1]


def without_memory(state):
    state["exp_avg"] = torch.zeros(1).expand(state["exp_avg"].shape)


MOMENTS = {
    "smaller": (shrunk, r"exp_avg is \[1.*\], expected \["),
    "of whole numbers": (lambda s: s.update(step=torch.tensor([1, 2])), "step is"),
    "of text": (lambda s: s.update(exp_avg_sq="x"), "exp_avg_sq is no tensor"),
    "of nothing": (lambda s: s.update(exp_avg_sq=None), "exp_avg_sq is no tensor"),
    "fewer": (lambda s: s.pop("exp_avg_sq"), "step, exp_avg"),
    "one for all": (without_memory, "shares its memory"),
    "before the beginning": (lambda s: s.update(step=torch.tensor(-1.0)), "step is -1.0"),
    "below nothing": (lambda s: s["exp_avg_sq"].neg_().sub_(1), "exp_avg_sq is below 0"),
    "never": (lambda s: s.update(step=torch.tensor(float("nan"))), "step holds what is no number"),
}
"""Changes of the optimizer's state of a parameter, and what is said."""


@pytest.mark.parametrize("name", MOMENTS)
def test_an_optimizers_state_that_its_kernels_cannot_take_is_told(trained, run, name):
    change, said = MOMENTS[name]
    saved = torch.load(run / "trainer.pt", weights_only=True)
    change(saved["optimizer"]["state"][1])
    torch.save(saved, run / "trainer.pt")
    config = small_run("lm", Path(trained.out).parent, out=str(run))
    config.max_steps = 10**4
    with pytest.raises(
        InputError, match=rf"trainer\.pt: damaged .*\(optimizer's state of .*{said}"
    ):
        tt.train(config, resume=True)


# ---- links, pipes -------------------------------------------------------------------------------


def test_no_file_is_written_through_a_link(trained, run, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious\n" * 500)
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to(target)
    config = small_run("lm", Path(trained.out).parent, out=str(run))
    config.max_steps = 10**4
    with pytest.raises(InputError, match=r"metrics\.jsonl is a symbolic link"):
        tt.train(config, resume=True)
    (run / "metrics.jsonl").unlink()
    for name in ("config.yaml", "trainer.pt", "model.safetensors"):
        (run / name).rename(tmp_path / name)
        (run / name).symlink_to(tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in ("config.yaml", "trainer.pt")}
    config.max_steps = trained.max_steps + 3
    tt.train(config, resume=True)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert target.read_text() == "precious\n" * 500


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json", "model.safetensors"])
def test_a_pipe_is_refused_at_once(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(InputError, match=rf"{name} is a pipe"):
        tt.load(run)


# ---- two at work, and files that go away --------------------------------------------------------


def test_a_pipe_in_place_of_the_lock_is_told_at_once(trained, run):
    os.mkfifo(run / ".lock")
    config = small_run("lm", Path(trained.out).parent, out=str(run))
    config.max_steps = 10**4
    with pytest.raises(InputError, match=r"run/\.lock is a pipe"):
        tt.train(config, resume=True)


def test_a_second_training_is_refused_and_reading_is_not(trained, tmp_path):
    folder = Path(trained.out).parent
    config = small_run("lm", folder, out=str(tmp_path / "run"))
    program = (
        "import sys, throughtime as tt; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from runs import small_run\n"
        "config = small_run('lm', Path(sys.argv[2]), out=sys.argv[3]); config.max_steps = 10**6\n"
        "tt.train(config)"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", program, here, str(folder), config.out])
    try:
        until = time.monotonic() + 60
        while not (Path(config.out) / "trainer.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match=rf"at work in .* \(process {process.pid} on "):
                tt.train(config, **options)
        assert tt.evaluate(config.out).nats_per_token > 0
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    config.max_steps = 3
    tt.train(config, overwrite=True)


def test_settings_removed_in_mid_run_are_written_again(trained, tmp_path, capsys):
    config = small_run("lm", Path(trained.out).parent, out=str(tmp_path / "run"))
    kill(config, at_step=2)
    before = (tmp_path / "run" / "config.yaml").read_text()
    from throughtime.training.trainer import Trainer

    original = Trainer._one_step

    def one_step(self):
        (tmp_path / "run" / "config.yaml").unlink(missing_ok=True)
        original(self)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(Trainer, "_one_step", one_step)
        tt.train(config, resume=True)
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    assert "config.yaml was gone, and is there again" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("name", "file", "text", "said"), [
    ("classify-text", "labels.json", "[]", "expected a list of labels"),
    ("conditional", "conditions.json", '{"kinds": {"condition": {"labels": []}}, "seen": []}',
     "damaged: .*nothing that 'condition' can be"),
])  # fmt: skip
def test_a_run_that_knows_nothing_is_told_by_file(tmp_path, name, file, text, said):
    run = shutil.copytree(Path(__file__).parent / "runs_of_0_1" / name, tmp_path / "run")
    (run / file).write_text(text)
    with pytest.raises(InputError, match=rf"{file}: {said}"):
        tt.load(run)
