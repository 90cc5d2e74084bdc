"""Ctrl-C, SIGTERM, full disks and closed pipes: one line, soon, at any moment."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import throughtime as tt
from runs import same_bits, timeless, weights
from throughtime.config import from_dict
from throughtime.ground import interrupts
from throughtime.ground.errors import TrainingDiverged
from throughtime.tasks.language import Language


def program(code, *, sent=signal.SIGINT, after=None):
    """Run Python, send a signal when it has said "now"; exit code, what it said, seconds since."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "now\n"
    if after:
        time.sleep(after)
    started = time.monotonic()
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    return process.returncode, said, time.monotonic() - started


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_program_is_loaded_is_one_line(sent):
    code = """
import sys
from throughtime import __main__
listen = __main__.listen
def told():
    listen()
    print("now", flush=True)
__main__.listen = told
sys.argv[1:] = ["doctor"]
__main__.program()
"""
    found, said, took = program(code, sent=sent)
    assert (found, said.strip()) == (128 + sent, "throughtime: interrupted")
    assert took < 2


def test_a_signal_while_torch_is_loaded_is_one_line():
    code = """
import builtins, sys
before = builtins.__import__
def told(name, *rest):
    if name == "torch":
        builtins.__import__ = before
        print("now", flush=True)
    return before(name, *rest)
builtins.__import__ = told
sys.argv[1:] = ["doctor"]
from throughtime.__main__ import program
sys.exit(program())
"""
    found, said, _ = program(code, after=0.2)
    assert (found, said.strip()) == (130, "throughtime: interrupted")


def test_a_call_that_does_not_return_is_left():
    """Python's own handlers wait until it returns, as a vocabulary's training would have it."""
    code = """
import hashlib
from throughtime.ground.interrupts import noticed
with noticed():
    print("now", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"a", b"b", 300_000_000)
"""
    found, said, took = program(code, after=0.1)
    assert (found, said.strip()) == (130, "throughtime: interrupted")
    assert took < interrupts.PATIENCE + 1


def test_work_is_put_in_order_where_python_hears_the_signal():
    code = """
import time
from throughtime.ground.interrupts import exit_code, noticed
try:
    with noticed():
        print("now", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(exit_code())
"""
    for sent in (signal.SIGINT, signal.SIGTERM):
        found, said, took = program(code, sent=sent)
        assert (found, said) == (128 + sent, "")
        assert took < 1


def test_a_signal_that_is_ignored_stays_ignored():
    """As Ctrl-C is by a command in a script's background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.noticed(), interrupts.asked(lambda: False, print):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_as_they_were_afterwards():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with interrupts.noticed(), interrupts.at_once(), interrupts.asked(lambda: True, print):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


# ---- training ------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat, which already ate, was full.\n" * 40)

    def config(out="run", **loop):
        return from_dict(tt.LanguageConfig, {
            "train": [str(path)], "out": str(tmp_path / out), "max_steps": 12, "threads": 1,
            "model": {"hidden_size": 12, "dropout": 0.2}, "optim": {"lr": 0.01, "warmup": 0},
            "loop": {"batch_size": 4, "window": 8, "sample_every": "0", "eval_every": "4", **loop},
        })  # fmt: skip

    return config


@pytest.mark.parametrize(("method", "call"), [("validate", 2), ("validate", 3), ("sample", 1)])
def test_ctrl_c_breaks_off_a_measurement_that_resuming_makes_again(
    config, monkeypatch, method, call
):
    loop = {"sample_every": "6"}
    tt.train(config("whole", **loop))
    original, calls = getattr(Language, method), 0

    def interrupted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)  # which a signal ends
        return original(*arguments, **options)

    with monkeypatch.context() as m:
        m.setattr(Language, method, interrupted)
        started = time.monotonic()
        with pytest.raises(interrupts.Interrupted, match=r"step \d+"):
            tt.train(config(**loop))
        assert time.monotonic() - started < 20
    tt.train(config(**loop), resume=True)
    assert same_bits(weights(config("whole")), weights(config()))
    assert timeless(config("whole")) == timeless(config())


@pytest.mark.parametrize("part", ["forward", "backward", "optimizer"])
def test_ctrl_c_breaks_off_a_step_that_resuming_takes_again(config, monkeypatch, capsys, part):
    """Dropout was drawn for it: the random state is that of before. The optimizer's is ended."""
    tt.train(config("whole"))
    loss, calls = Language.loss, iter(range(99))  # the first is the warm-up

    def interrupted(self, model, batch, carry):
        found, call = loss(self, model, batch, carry), next(calls)
        if call == 6 and part == "forward":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)  # which a signal ends
        if call == 6 and part == "backward":
            found.mean.register_hook(lambda _: os.kill(os.getpid(), signal.SIGINT))
        return found

    optimize, steps = torch.optim.AdamW.step, iter(range(99))

    def optimizing(self, *rest):
        if next(steps) == 5 and part == "optimizer":
            os.kill(os.getpid(), signal.SIGINT)
        return optimize(self, *rest)

    with monkeypatch.context() as m:
        m.setattr(Language, "loss", interrupted)
        m.setattr(torch.optim.AdamW, "step", optimizing)
        where = "step 6" if part == "optimizer" else "step 5"
        with pytest.raises(interrupts.Interrupted, match=where):
            tt.train(config())
    assert capsys.readouterr().err.count("stopping: the run is being saved") == 1
    tt.train(config(), resume=True)
    assert same_bits(weights(config("whole")), weights(config()))
    assert timeless(config("whole")) == timeless(config())


def test_what_a_signal_does_is_told_at_once_inside_a_long_call_too():
    code = """
import hashlib, sys
from throughtime.ground.interrupts import asked, noticed
def say():
    print("stopping", file=sys.stderr, flush=True)
with noticed(), asked(lambda: True, say):
    print("now", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"a", b"b", 6_000_000)
print("ended", file=sys.stderr, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "now\n"
        time.sleep(0.1)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping\n"
        told = time.monotonic() - started
        assert process.stderr.read() == "ended\n"
        ended = time.monotonic() - started
    assert told < 0.5 < ended
    assert process.returncode == 0


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_run_whose_loss_is_no_number_fails(config, monkeypatch, loss, capsys):
    monkeypatch.setattr(Language, "validate", lambda *_, **__: {"loss": loss})
    monkeypatch.setattr(Language, "describe", lambda *_: "")
    with pytest.raises(
        TrainingDiverged, match=f"the validation loss of its best weights is {loss}"
    ):
        tt.train(config())
    assert TrainingDiverged.exit_code == 1


# ---- output --------------------------------------------------------------------------------------


def shell(line):
    """A shell line with `throughtime` for the program."""
    line = line.replace("throughtime", f"{sys.executable} -m throughtime")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", ["--help", "train lm --print_config"])
def test_a_full_disk_behind_the_output_is_one_line(arguments):
    done = shell(f"throughtime {arguments} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "throughtime: error: [Errno 28] No space left on device\n"


def test_closed_outputs_are_no_traceback():
    done = shell("throughtime --version >&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert shell("throughtime train lm --level x 2>&-").returncode == 2
    if os.path.exists("/dev/full"):
        assert shell("throughtime train lm --level x 2>/dev/full").returncode == 2
