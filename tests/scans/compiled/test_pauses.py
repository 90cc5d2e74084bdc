"""A long compiled scan pauses, so that Python hears Ctrl-C; where it pauses changes no bit."""

import signal
import time
from contextlib import contextmanager

import pytest
import torch

import throughtime as tt
from cases import TwoMemories, outcome, problem
from compiling import forget
from throughtime.scans.compiled import call, programs


@contextmanager
def built_with(flags, monkeypatch):
    with monkeypatch.context() as other:
        other.setenv("THROUGHTIME_CXXFLAGS", flags)
        forget()
        yield
    forget()


def test_a_pause_after_every_step_changes_no_bit(monkeypatch):
    """Several chunks of time, ragged, with resets; both ways to share the work, kept or not."""
    cell, lengths = TwoMemories(), [40, 3, 0, 25] * 10
    problems = [
        problem(cell, T=40, B=40, n=19, n_x=19, lengths=lengths, reset=[(9, 0), (20, 3)]),
        problem(cell, T=3, B=2, n=70, n_x=70),
        problem(cell, T=2, B=3, n=5, n_x=5, lengths=[0, 0, 0]),
        problem(cell, T=0, B=3, n=5, n_x=5),
    ]

    def results():
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            for p in problems:
                found.append(outcome(p, "compiled", torch.float32))
                vectors = {name: v.float() for name, v in p.w.vectors.items()}
                w = tt.Weights(*(part.float() for part in p.w[:3]), vectors)
                more = {"lengths": p.lengths, "reset": p.reset, "backend": "compiled"}
                y, final = tt.scan(cell, w, p.x.float(), **more)
                found.append({"y": y, **final._asdict()})
        return found

    with built_with("-O1", monkeypatch):
        right = results()
    calls = []
    carry = call.carry
    with built_with("-O1 -DPAUSE_WORK=1", monkeypatch):
        monkeypatch.setattr(
            call, "carry", lambda run, *given: carry(lambda *g: calls.append(1) or run(*g), *given)
        )
        got = results()
    assert len(calls) > 2 * 2 * (40 + 3)
    for a, b in zip(right, got, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]), name


@contextmanager
def interrupted(after):
    """Ctrl-C after so many seconds."""

    def raising(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raising)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_ctrl_c_ends_a_scan_of_many_seconds(direction):
    """Wide and one sequence alone: each step reads all of the weights, 16 MiB."""
    cell = tt.LSTM()
    forward = direction == "forward"
    n = 1024
    w, x = cell.weights(1, n), torch.zeros(20_000 if forward else 4_000, 1, 1)
    assert tt.why_not("compiled", cell) is None
    with torch.set_grad_enabled(not forward):
        y = x if forward else tt.scan(cell, w, x, backend="compiled")[0]
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), interrupted(0.2):
            tt.scan(cell, w, x, backend="compiled") if forward else y.sum().backward()
    assert time.monotonic() - began < 2.2
    p = problem(cell)  # what comes after is as ever
    assert torch.equal(outcome(p, "compiled")["y"], outcome(p, "compiled")["y"])


def test_both_sides_mean_the_same_struct(monkeypatch):
    larger = type("Larger", (call.Call,), {"_fields_": [("more", call._integer)]})
    program = programs.find(tt.RNN())
    monkeypatch.setattr(call, "Call", larger)
    with pytest.raises(RuntimeError, match=r"struct Call has \d+ bytes in .*plan.h, \d+ in .*call"):
        call.Native(program, torch.float32)
