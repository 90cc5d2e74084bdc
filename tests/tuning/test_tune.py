"""`throughtime tune`: real trainings, the files that it leaves, kills, bad input."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import throughtime as tt
from cases import ROOT
from throughtime.command.cli import main
from throughtime.command.parsing import task_command
from throughtime.config import to_dict
from throughtime.config.search import search_space
from throughtime.tuning import engine, search, worker
from throughtime.tuning.engine import EvaluationLog

pytest.importorskip("optuna", reason="the extra tune is not installed")

SMALL = ["--device", "cpu", "--loop.batch_size", "4", "--loop.window", "16",
         "--loop.sample_every", "0", "--loop.eval_every", "10"]  # fmt: skip
SEARCH = ["--search", "optim.lr=log(1e-3,1e-1)", "--search", "model.hidden_size=choice(6,12)"]


@pytest.fixture
def corpus(tmp_path):
    random = np.random.default_rng(0)
    words = ["cat", "dogs", "ate", "the", "which", "already"]
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(random.choice(words, 6)) + "\n" for _ in range(100)))
    return path


@pytest.fixture
def here(monkeypatch):
    """Trials happen in this process, one after the other."""

    class Process:
        def __init__(self, job, worker_, task, jobs, lock, trust):
            self.asked_to_stop = False
            assert os.fstat(lock)
            order = {"task": task, "config": to_dict(job.run.config), "jobs": jobs, "trust": trust}
            job.result.write_text(json.dumps(worker.run(order)))

        def ended(self):
            return 0

    monkeypatch.setattr(engine, "Working", Process)
    monkeypatch.setattr(search, "LOOK_EVERY", 0)


def tune(*arguments):
    return main(["tune", *map(str, arguments)])


def test_a_search_leaves_table_json_figure_and_a_run_for_every_verb(corpus, tmp_path, capsys, here):
    out = tmp_path / "side"
    command = ["lm", "--train", corpus, *SMALL, *SEARCH, "--max-steps", 20, "--out", out]
    assert tune(*command, "--trials", 4) == 0
    printed = capsys.readouterr()
    heads, first, *_ = printed.out.splitlines()
    assert heads.split() == ["trial", "nats/token", "optim.lr", "model.hidden_size", "parameters",
                             "steps", "time", "ended"]  # fmt: skip
    assert "4 trials: 4 complete" in printed.out
    assert f"evaluate {out}/best" in printed.err
    kept = json.loads((out / "tune.json").read_text())
    assert [trial["number"] for trial in kept["trials"]] == [0, 1, 2, 3]
    best = min(kept["trials"], key=lambda trial: trial["score"])
    assert kept["best"] == best
    assert first.split()[:2] == [str(best["number"]), f"{best['score']:.4f}"]
    assert [k for k, _ in best["evaluations"]] == [1, 2]
    assert {p.name for p in out.iterdir()} == {
        ".lock", "best", "locks", "logs", "results", "study.db", "trials", "tune.json", "tune.md",
        "tune.png", "tune.svg", "tune.yaml",
    }  # fmt: skip
    # the best trial is a run, with the settings that were drawn
    task, _ = tt.load(out / "best", device="cpu")
    assert task.config.optim.lr == best["settings"]["optim.lr"]
    assert main(["evaluate", str(out / "best"), "--device", "cpu"]) == 0
    # whose settings another training may have
    longer = ["train", "lm", "--config", out / "best/config.yaml", "--max-steps", 5]
    assert main([*map(str, longer), "--out", str(tmp_path / "longer")]) == 0
    assert tt.load(tmp_path / "longer")[0].config.optim.lr == task.config.optim.lr
    # the same again trains nothing; more trials may be added; other settings are refused
    before = (out / "best/trainer.pt").stat().st_mtime_ns
    assert tune(*command, "--trials", 4) == 0
    assert (out / "best/trainer.pt").stat().st_mtime_ns == before
    assert tune(*command, "--trials", 5, "--jobs", 1) == 0
    assert "5 trials: 5 complete" in capsys.readouterr().out
    for changed, words in (
        (["--search", "cell=choice(gru,lstm)"], "search cell (None → choice(gru,lstm))"),
        (["--loop.window", 8], "loop.window (16 → 8)"),
        (["--sampler", "random"], "sampler ('tpe' → 'random')"),
    ):
        assert tune(*command, "--trials", 5, *changed) == 2
        said = capsys.readouterr().err
        assert "holds another search" in said
        assert words in said
    corpus.write_text(corpus.read_text() + "another line\n")
    assert tune(*command, "--trials", 6) == 2
    assert "the data have changed" in capsys.readouterr().err


def test_it_begins_with_the_settings_as_they_are(corpus, tmp_path, here):
    config = tt.LanguageConfig(train=[str(corpus)], out=str(tmp_path / "side"), max_steps=4)
    config.model.hidden_size, config.loop.batch_size, config.loop.window = 6, 2, 8
    config.optim.lr, config.device = 0.02, "cpu"
    asked = tt.Tuning(search=["optim.lr=log(1e-3,1e-1)", "cell=choice(gru,lstm)"], trials=2,
                      baseline=True)  # fmt: skip
    found = tt.tune(config, asked)
    first = next(one for one in found.trials if one.trial.number == 0)
    assert first.trial.values == {"optim.lr": 0.02, "cell": "lstm"}
    assert found.best is found.trials[0]
    assert found.best.folder.parent.parent == found.folder
    assert config.out == str(tmp_path / "side")  # the caller's stays as it was


def test_a_score_that_is_better_when_higher(tmp_path, capsys, here):
    data = tmp_path / "train.txt"
    data.write_text(
        "".join(f"{'pos good' if i % 2 else 'neg bad'} film {i % 7}\n" for i in range(80))
    )
    assert tune("classify", "--train", data, "--search", "optim.lr=log(1e-5,3e-2)", "--trials", 3,
                "--max-steps", 20, "--model.hidden_size", 6, "--model.embedding_size", 6,
                "--device", "cpu", "--out", tmp_path / "side") == 0  # fmt: skip
    kept = json.loads((tmp_path / "side/tune.json").read_text())
    assert kept["higher_is_better"]
    assert kept["best"]["score"] == max(trial["score"] for trial in kept["trials"])


def test_settings_that_diverge_are_a_finding(corpus, tmp_path, capsys, here):
    cell = tmp_path / "mine.py"
    cell.write_text(
        "import torch, throughtime as tt\n"
        "class Bad(tt.Cell):\n"
        "    gates = ('a',)\n"
        "    state = ('a',)\n"
        "    def step(self, w, x, s):\n"
        "        return self.State(a=w.a(s.a, x) / 0.0)\n"
    )
    asked = f"cell=choice(rnn,{cell}:Bad)"
    assert tune("adding", "--search", asked, "--trials", 4, "--max-steps", 15, "--length", 5,
                "--model.hidden_size", 4, "--device", "cpu", "--held-out", 20,
                "--model.backend", "reference", "--out", tmp_path / "side") == 0  # fmt: skip
    trials = json.loads((tmp_path / "side/tune.json").read_text())["trials"]
    by_cell = {trial["settings"]["cell"]: trial for trial in trials}
    assert by_cell["rnn"]["state"] == "complete"
    assert by_cell[f"{cell}:Bad"]["why"] == "diverged"


def test_what_cannot_be_searched_is_told_in_a_line(corpus, tmp_path, capsys):
    out = ["--out", str(tmp_path / "side")]
    lm = ["lm", "--train", str(corpus), *out]
    lr = ["--search", "optim.lr=log(1e-4,1e-2)"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for arguments, words in (
        ([*lm], "nothing to try: give --search a range"),
        ([*lm, "--search", "lr=log(1,2)"], "Did you mean 'optim.lr'?"),
        ([*lm, *lr, "--optim.lr", "0.1"], "--optim.lr is given and searched"),
        ([*lm, *lr, "--trials", "0"], "--trials must be at least 1"),
        ([*lm, *lr, "--pruner", "medain"], "Did you mean 'median'?"),
        ([*lm, "--search", "cell=choice(gru,lsmt)"], "Did you mean 'lstm'?"),
        ([*lm, *lr, "--serach", "x"], "unknown option --serach. Did you mean '--search'?"),
        (["lm", *out, *lr], "no training data"),
        (["lm", "--train", str(tmp_path / "none"), *out, *lr], "no such file"),
        (["lm", "--train", str(corpus), *lr], "no run folder"),
        (["lm", "--train", str(corpus), *lr, "--out", str(tmp_path / "full")], "holds no search"),
        (["lm", "--train", str(corpus), *lr, "--out", str(corpus)], "is a file"),
        (["ml"], "Did you mean 'lm'"),
    ):
        assert tune(*arguments) == 2, arguments
        said = capsys.readouterr().err
        assert words in said, (arguments, said)
        assert said.startswith("throughtime: error: ")
        assert said.count("\n") == 1
    assert not (tmp_path / "side").exists()


def test_the_commands_of_the_page_can_be_given(monkeypatch):
    lines = (ROOT / "docs/tune.md").read_text("utf-8").splitlines()
    commands = [line for line in lines if line.startswith("throughtime tune ")]
    assert commands
    for line in commands:
        assert task_command("tune", shlex.split(line)[2:]) is not None, line
    for range_ in re.findall(r"^\| `([\w.]+=\S+)` \|", "\n".join(lines), re.M):
        assert search_space([range_], tt.LanguageConfig(train=["x"], out="x"))


# ---- evaluations as they come -------------------------------------------------------------------


def line(kind, step, elapsed=0.0, loss=1.0):
    values = {"kind": kind, "step": step, "elapsed": elapsed, "loss": loss}
    return json.dumps(values) + "\n"


def test_evaluations_are_read_once_as_they_come_and_anew_where_lines_were_taken_back(tmp_path):
    config = tt.LanguageConfig(max_steps=100)
    path = tmp_path / "metrics.jsonl"
    log = EvaluationLog(path, config)
    assert log.new() == []
    path.write_text(line("train", 5) + line("valid", 10) + line("valid", 20)[:-9])
    assert [(k, m["step"]) for k, m, _ in log.new()] == [(1, 10)]
    path.write_text(line("train", 5) + line("valid", 10) + line("valid", 20) + line("train", 25))
    assert [(k, m["step"]) for k, m, _ in log.new()] == [(2, 20)]
    assert log.new() == []
    path.write_text(line("valid", 10))  # taken back: resumed from before
    assert [(k, m["step"]) for k, m, _ in log.new()] == [(1, 10)]
    path.write_text(line("valid", 123456) + line("valid", 20))
    assert [m["step"] for _, m, _ in log.new()] == [123456, 20]  # no line begins where one ended


def test_an_evaluation_left_out_for_want_of_time_does_not_move_the_others(tmp_path):
    config = tt.LanguageConfig(max_time="10s")
    path = tmp_path / "metrics.jsonl"
    path.write_text(line("valid", 10, 1.01) + line("valid", 35, 3.3) + line("valid", 99, 10.2))
    assert [k for k, *_ in EvaluationLog(path, config).new()] == [1, 3, 10]
    config.loop.eval_every = "10"
    assert [k for k, *_ in EvaluationLog(path, config).new()] == [1, 3, 9]
    config.loop.eval_every = "1e"  # what an epoch is, the lines do not tell
    assert [k for k, *_ in EvaluationLog(path, config).new()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("budget", "every", "ends"),
    [
        ({"max_steps": 40}, "20", [False, True]),
        ({"max_time": "3s"}, "50%", [False, True]),
        ({"epochs": 2.0}, "50%", [False, True]),  # 40 steps, which the lines do not tell
        ({"epochs": 2.0}, "1e", [False, True]),
        ({"epochs": 3.0}, "1e", [False, False]),
    ],
)
def test_the_last_evaluation_is_known(tmp_path, budget, every, ends):
    config = tt.LanguageConfig(**budget)
    config.loop.eval_every = every
    path = tmp_path / "metrics.jsonl"
    path.write_text(line("valid", 20, 1.5) + line("valid", 40, 3.1))
    assert [last for *_, last in EvaluationLog(path, config).new()] == ends


# ---- processes ----------------------------------------------------------------------------------


def wait_for(condition, seconds=120):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited too long"
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_twice_and_interrupted_no_trial_is_lost_or_repeated(corpus, tmp_path, capfd):
    """The search is killed outright once, with all of its trials the next time."""
    out = tmp_path / "side"
    command = [sys.executable, "-m", "throughtime", "tune", "lm", "--train", str(corpus), *SMALL,
               *SEARCH, "--trials", "6", "--max-time", "2s", "--pruner", "none", "--jobs", "2",
               "--threads", "1", "--loop.save_every", "1s", "--out", str(out)]  # fmt: skip

    def at_work(number):
        return (out / f"trials/{number:04}/metrics.jsonl").exists()

    for number, everyone in ((0, False), (2, True)):
        killed = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(lambda number=number: at_work(number))
        time.sleep(0.5)
        children = subprocess.run(["pgrep", "-P", str(killed.pid)], capture_output=True, text=True)
        killed.kill()
        for child in children.stdout.split() if everyone else ():
            os.kill(int(child), signal.SIGKILL)
        killed.wait()
        killed.stderr.close()
    interrupted = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: at_work(4))
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate()
    assert interrupted.returncode == 130, said
    assert "stopping: every trial saves" in said
    assert "The same command goes on." in said
    so_far = json.loads((out / "tune.json").read_text())
    assert {trial["state"] for trial in so_far["trials"]} == {"complete", "running"}
    subprocess.run(command, check=True, capture_output=True)
    trials = json.loads((out / "tune.json").read_text())["trials"]
    assert [trial["number"] for trial in trials] == list(range(6))
    assert {trial["state"] for trial in trials} == {"complete"}
    for trial in trials:
        lines = (out / f"trials/{trial['number']:04}/metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(steps)  # one training, gone on with
        assert trial["seconds"] >= 2
    begun = {trial["number"]: trial["settings"] for trial in so_far["trials"]}
    assert all(trials[number]["settings"] == settings for number, settings in begun.items())
