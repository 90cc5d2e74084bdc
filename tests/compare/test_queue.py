"""Runs as processes: after a kill, after Ctrl-C, when one fails; one comparison a folder."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import throughtime as tt
from comparing import SMALL, compare, table
from runs import lines, same_bits, weights
from throughtime.compare.outcome import Finding
from throughtime.pool.display import last_line

# ---- processes ----------------------------------------------------------------------------------


def wait_for(condition, seconds=120):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited too long"
        time.sleep(0.05)


def step_of(folder):
    line = last_line(folder / "metrics.jsonl")
    return line["step"] if line else 0


@pytest.mark.slow
def test_it_goes_on_after_a_kill_and_after_ctrl_c_bit_for_bit(corpus, tmp_path, capsys, request):
    """Killed from outside, then interrupted here; the runs of both are processes of their own."""
    out, steps = tmp_path / "side", 300
    command = ["lm", "--train", str(corpus), *SMALL, "--cells", "rnn,gru", "--seeds", "1",
               "--max-steps", str(steps), "--loop.log_every", "5", "--loop.eval_every", "150",
               "--loop.save_every", "50", "--jobs", "1", "--threads", "1",
               "--out", str(out)]  # fmt: skip
    first, second = folders = [out / "rnn-1", out / "gru-1"]

    start = [sys.executable, "-m", "throughtime", "compare", *command]
    killed = subprocess.Popen(start, stderr=subprocess.DEVNULL)
    wait_for(lambda: step_of(first) > 0)
    killed.kill()  # its run is an orphan now: it saves and goes, and holds the lock till then
    killed.wait()

    over = threading.Event()

    def press_ctrl_c():
        wait_for(lambda: over.is_set() or step_of(second) > 0)
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press_ctrl_c)
    presser.start()
    code = compare(*command)
    over.set()
    presser.join()
    said = capsys.readouterr().err
    assert code == 130, said
    assert "goes on" in said
    assert step_of(first) == steps > step_of(second)
    assert not (out / "compare.json").exists()

    before = (first / "trainer.pt").stat().st_mtime_ns
    request.getfixturevalue("here")
    assert compare(*command) == 0
    printed = capsys.readouterr()
    assert "1 of 2 runs are finished already" in printed.err
    assert (first / "trainer.pt").stat().st_mtime_ns == before
    assert [row[0] for row in table(printed.out)[1:]] == ["rnn", "gru"]
    for folder in folders:
        config = tt.load(folder, device="cpu")[0].config
        config.out = str(tmp_path / folder.name)
        tt.train(config)
        assert lines(folder, "train")[-1]["step"] == lines(config, "train")[-1]["step"] == steps
        assert same_bits(weights(folder), weights(config))


def test_a_folder_at_work_is_left_alone(corpus, tmp_path, capsys, here, monkeypatch):
    import fcntl

    monkeypatch.setattr("throughtime.compare.folder.LOCK_PATIENCE", 0.1)
    out = tmp_path / "side"
    out.mkdir()
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert compare("lm", "--train", corpus, *SMALL, "--out", out, "--max-steps", 1) == 2
    assert "at work" in capsys.readouterr().err


def test_a_run_that_fails_is_a_row_and_the_others_go_on(tmp_path, capsys, request):
    out = tmp_path / "side"
    cell = tmp_path / "mine.py"
    cell.write_text(
        "import torch, throughtime as tt\n"
        "class Bad(tt.Cell):\n"
        "    gates = ('a',)\n"
        "    state = ('a',)\n"
        "    def step(self, w, x, s):\n"
        "        return self.State(a=w.a(s.a, x) / 0.0)\n"
    )
    command = ["adding", "--seeds", 1, "--max-steps", 20, "--length", 5, "--model.hidden_size", 4,
               "--device", "cpu", "--held-out", 20, "--model.backend", "reference",
               "--threads", 1, "--out", out]  # fmt: skip
    assert compare(*command, "--cells", f"{cell}:Bad") == 1  # in a process of its own
    found = capsys.readouterr()
    assert "warning: Bad-1 failed: stopped at step 10" in found.err
    assert "not finite" in found.out
    assert json.loads((out / "compare.json").read_text())["rows"][0]["failures"]
    request.getfixturevalue("here")
    assert compare(*command, "--cells", f"{cell}:Bad,rnn") == 1
    rows = {row[0]: row for row in table(capsys.readouterr().out)}
    assert rows["mine.py:Bad"][1] == "–"
    assert float(rows["rnn"][1]) > 0


def test_ctrl_c_while_runs_are_loaded_ends_them_at_once(corpus, tmp_path):
    out = tmp_path / "side"
    process = subprocess.Popen(
        [sys.executable, "-m", "throughtime", "compare", "lm", "--train", str(corpus), *SMALL,
         "--cells", "rnn,gru", "--seeds", "1", "--max-steps", "100000", "--jobs", "2",
         "--threads", "1", "--out", str(out)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        wait_for(lambda: len([*(out / "logs").glob("*.log")]) == 2)
        time.sleep(0.2)  # they import
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert time.monotonic() - started < 2
    assert "stopping: every run saves (Ctrl-C again" in said
    assert "Traceback" not in said + "".join(p.read_text() for p in (out / "logs").iterdir())
    assert not (out / "rnn-1").exists()


def test_null_in_metrics_is_a_number_that_is_not_finite(tmp_path):
    (tmp_path / "result.json").write_text('{"unit": "words"}')
    (tmp_path / "metrics.jsonl").write_text(
        '{"kind": "valid", "step": 1, "loss": null, "elapsed": 1.0}\n'
        '{"kind": "train", "step": 2, "loss": null, "words_per_second": 5.0}\n'
    )
    (point,) = Finding.read(tmp_path / "result.json", tmp_path, 1).curve
    assert math.isnan(point["loss"])
    line = last_line(tmp_path / "metrics.jsonl")
    assert line is not None
    assert f"{line['loss']:.3f}" == "nan"
