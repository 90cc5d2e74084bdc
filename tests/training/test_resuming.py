"""What must survive a kill, and the run folder that it is kept in."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import throughtime as tt
from runs import Killed, command, flags, kill, lines, same_bits, timeless, weights
from throughtime.checkpoint import RunFolder
from throughtime.ground.errors import InputError, ThroughtimeError
from throughtime.ground.machine import Processes
from throughtime.tasks import task_class
from throughtime.tasks.language import Language
from throughtime.training import trainer as trainers

# ---- going on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at_step", [0, 1, 7, 11])
@pytest.mark.parametrize("optim", [{}, {"name": "sgd", "momentum": 0.9, "schedule": "plateau",
                                        "patience": 1}])  # fmt: skip
def test_a_killed_run_resumed_gives_the_same_bits(settings, at_step, optim):
    sections = {"optim": optim, "loop": {"save_every": "3"}, "model": {"num_layers": 2,
                "weight_drop": 0.1, "dropout": 0.3, "zoneout": "0.1", "recurrent_dropout": 0.2,
                "variational_dropout": 0.1}}  # fmt: skip
    whole = settings("whole", **sections)
    tt.train(whole)
    killed = settings("killed", **sections)
    kill(killed, at_step)
    tt.train(killed, resume=True)
    assert same_bits(weights(whole.out), weights(killed.out))
    assert same_bits(load_file(Path(whole.out) / "model.safetensors"),
                     load_file(Path(killed.out) / "model.safetensors"))  # fmt: skip
    assert timeless(whole) == timeless(killed)


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_is_survived(settings, monkeypatch, after):
    """Vanish just before or just after each file takes its place, the last evaluation included."""
    sections = {"loop": {"save_every": "6", "eval_every": "5", "early_stopping": 3}}
    whole = settings("whole", **sections)
    tt.train(whole)
    real, k = os.replace, 0
    while True:
        calls = iter(range(-1, 1000))  # the first is the warm-up

        def replace(a, b, k=k, calls=calls):
            if str(b).startswith(whole.out.removesuffix("whole") + "killed"):
                now = next(calls) == k
                if now and not after:
                    raise Killed
                real(a, b)
                if now:
                    raise Killed
            else:
                real(a, b)

        killed = settings(f"killed{k}", **sections)
        with monkeypatch.context() as m:
            m.setattr("os.replace", replace)
            try:
                tt.train(killed)
                break  # fewer writes than k: every one has had its turn
            except Killed:
                pass
        if (Path(killed.out) / "config.yaml").exists():
            tt.train(killed, resume=True)
        else:
            tt.train(killed)
        assert same_bits(weights(whole.out), weights(killed.out)), k
        assert same_bits(load_file(Path(whole.out) / "model.safetensors"),
                         load_file(Path(killed.out) / "model.safetensors")), k  # fmt: skip
        k += 1
    assert k > 6


def test_a_kill_in_the_last_evaluation_is_survived(settings, monkeypatch):

    config = settings(loop={"save_every": "3"})

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as m:
        m.setattr(Language, "validate", killed)
        with pytest.raises(Killed):
            tt.train(settings("evaluating", loop={"eval_every": "100", "save_every": "3"}))
    tt.train(settings("evaluating", loop={"eval_every": "100", "save_every": "3"}), resume=True)
    tt.train(config)
    again = tt.train(config, resume=True)
    assert again.steps == 12
    assert same_bits(weights(config.out), weights(settings("evaluating").out))


def test_what_a_resumed_run_may_change_takes_effect_and_is_kept(settings):
    config = settings(max_steps=6)
    tt.train(config)
    changed = settings(max_steps=12, optim={"lr": 0.5, "weight_decay": 0.3, "schedule": "constant"})
    tt.train(changed, resume=True)
    saved = torch.load(Path(config.out) / "trainer.pt", weights_only=True)
    assert saved["optimizer"]["param_groups"][0]["weight_decay"] == 0.3
    assert "lr: 0.5" in (Path(config.out) / "config.yaml").read_text()
    assert lines(config.out, "train")[-1]["lr"] == 0.5


@pytest.mark.slow
def test_sigkill_at_any_moment_then_resume_gives_the_same_bits(settings):
    whole, killed = settings("whole"), settings("killed")
    assert command(whole, *flags(whole)).wait() == 0
    process = command(killed, *flags(killed))
    folder = Path(killed.out)
    metrics = folder / "metrics.jsonl"
    for moment in (0.0, 0.1, 0.25):
        before = metrics.stat().st_mtime_ns if metrics.exists() else 0
        while process.poll() is None and (
            not metrics.exists() or metrics.stat().st_mtime_ns == before
        ):
            time.sleep(0.005)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = command(killed, "--resume")
    assert process.wait() == 0
    assert same_bits(weights(whole.out), weights(killed.out))
    assert not list(folder.glob(".*.tmp"))


def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(settings, capfd):
    config = settings()
    process = command(config, *flags(config), "--max-steps", "100000")
    while not (Path(config.out) / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    said = " ".join(capfd.readouterr().err.split())
    assert re.search(rf"saved at step \d+\. Go on .* --resume --out {config.out}", said)
    assert torch.load(Path(config.out) / "trainer.pt", weights_only=True)["counters"]["step"] > 0


def test_what_is_said_to_be_saved_is_on_the_disk(settings):
    """While steps are skipped the checkpoint before them stays."""
    config = settings(max_steps=3)
    tt.train(config)
    task = task_class("lm").prepare(config)
    trainer = trainers.Trainer(task, RunFolder(config.out), Processes())
    trainer.resume()
    assert trainer.saved == "step 3"
    trainer.counters.step, trainer.counters.skipped_in_a_row = 9, 2
    trainer.save()
    assert trainer.saved == "step 3"
    assert trainer.folder.load_trainer()["counters"]["step"] == 3
    trainer.counters.skipped_in_a_row = 0
    trainer.save()
    assert trainer.saved == "step 9"


def test_a_finished_run_goes_on_with_a_larger_budget(settings):
    tt.train(settings(max_steps=6))
    assert tt.train(settings(max_steps=12), resume=True).steps == 12


def test_what_cannot_be_resumed_is_refused(settings, corpus, tmp_path):
    config = settings()
    tt.train(config)
    with pytest.raises(InputError, match=r"model.hidden_size \(16 → 32\)"):
        tt.train(settings(model={"hidden_size": 32}), resume=True)
    with pytest.raises(InputError, match=r"loop.batch_size \(4 → 8\)"):
        tt.train(settings(loop={"batch_size": 8}), resume=True)
    with pytest.raises(InputError, match=r"optim\.name"):
        tt.train(settings(optim={"name": "sgd"}), resume=True)
    with pytest.raises(InputError, match="cell"):
        tt.train(settings(cell="gru"), resume=True)
    with pytest.raises(InputError, match="no such run folder"):
        tt.train(settings("nowhere"), resume=True)
    corpus.write_text(corpus.read_text() + "more\n")
    with pytest.raises(InputError, match="data have changed"):
        tt.train(config, resume=True)


# ---- the run folder -----------------------------------------------------------------------------


def test_the_folder_holds_what_it_should(settings):
    config = settings()
    tt.train(config)
    names = {p.name for p in Path(config.out).iterdir()}
    assert names == {
        "config.yaml",
        "tokenizer.json",
        "model.safetensors",
        "trainer.pt",
        "metrics.jsonl",
    }


def test_an_existing_folder_is_refused_and_nothing_of_it_lost(settings, tmp_path):
    config = settings()
    tt.train(config)
    before = weights(config.out)
    with pytest.raises(InputError, match="--overwrite"):
        tt.train(config)
    with pytest.raises(InputError, match="no such file"):
        tt.train(settings(train=["missing.txt"]), overwrite=True)
    assert same_bits(before, weights(config.out))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    (tmp_path / "mine/config.yaml").write_text("theirs: true\n")
    with pytest.raises(InputError, match="not a run folder"):
        tt.train(settings("mine"), overwrite=True)
    assert (tmp_path / "mine/thesis.txt").exists()
    assert tt.train(settings(max_steps=2), overwrite=True).steps == 2


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.pt", "tokenizer.json"])
def test_a_truncated_file_is_named(settings, name):
    config = settings(max_steps=2)
    tt.train(config)
    path = Path(config.out) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        tt.train(config, resume=True) if name == "trainer.pt" else tt.evaluate(config.out)


def test_a_run_without_a_checkpoint_says_so(settings, tmp_path):
    config = settings(max_steps=2)
    tt.train(config)
    (Path(config.out) / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        tt.generate(config.out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a run folder"):
        tt.evaluate(tmp_path / "empty")


def test_weights_without_their_trainer_are_never_trained_over(settings):
    config = settings(max_steps=2)
    tt.train(config)
    (Path(config.out) / "trainer.pt").unlink()
    before = load_file(Path(config.out) / "model.safetensors")
    with pytest.raises(InputError, match=r"no trainer\.pt"):
        tt.train(config, resume=True)
    assert same_bits(before, load_file(Path(config.out) / "model.safetensors"))


def test_files_of_a_run_can_be_read_by_whom_the_umask_allows(settings):
    config = settings(max_steps=2)
    tt.train(config)
    assert len({path.stat().st_mode for path in Path(config.out).iterdir()}) == 1


def test_a_full_disk_leaves_the_last_good_checkpoint(settings, monkeypatch):
    config = settings(loop={"save_every": "1"})
    calls = iter(range(-1, 1000))  # the first is the warm-up
    real = os.fsync

    def full(descriptor):
        if next(calls) > 12:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ThroughtimeError, match=r"No space left on device.*untouched"):
        tt.train(config)
    monkeypatch.undo()
    assert weights(config.out)
    assert not list(Path(config.out).glob(".*.tmp"))
    assert tt.train(config, resume=True).steps == 12
