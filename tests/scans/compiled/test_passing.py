"""A build that fails for want of something says what and is tried again; others are not."""

import errno
import subprocess

import pytest

import throughtime as tt
from compiling import forget
from throughtime.ground import terminal
from throughtime.scans.compiled import build, programs


@pytest.fixture(autouse=True)
def cold(tmp_path, monkeypatch):
    """Nothing compiled, nothing remembered, nothing said."""
    monkeypatch.setenv("THROUGHTIME_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", "-O0")
    monkeypatch.setattr(terminal, "warn", lambda line: None)
    forget()
    yield
    forget()


def no_fork(*_, **__):
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_failed_fork_is_told_as_such_and_tried_again(monkeypatch):
    with monkeypatch.context() as short:
        short.setattr(subprocess, "run", no_fork)
        reason = tt.why_not("compiled", tt.RNN)
    assert "could not be started" in reason
    assert "Resource temporarily unavailable" in reason
    assert "cache" not in reason
    assert tt.why_not("compiled", tt.RNN) is None


FAILURES = {
    "Killed signal terminated": "echo 'c++: fatal error: Killed signal terminated' >&2; exit 1",
    "it was killed by SIGKILL": "kill -9 $$",
    "No space left on device": "echo 'error: cannot write: No space left on device' >&2; exit 1",
    "cannot fork": "echo 'c++: error: vfork: cannot fork' >&2; exit 1",
}


@pytest.mark.parametrize("said", FAILURES)
def test_what_passes_is_tried_again(said, tmp_path, monkeypatch):
    fake = tmp_path / "c++"
    fake.write_text(f"#!/bin/sh\n{FAILURES[said]}\n")
    fake.chmod(0o700)
    with monkeypatch.context() as short:
        short.setenv("CXX", str(fake))
        assert said in tt.why_not("compiled", tt.RNN)
    assert tt.why_not("compiled", tt.RNN) is None


def test_what_fails_for_good_is_asked_once(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    fake = tmp_path / "c++"
    fake.write_text(
        f"#!/bin/sh\necho >>{asked}; echo 'it.cpp:1: error: no such thing' >&2; exit 1\n"
    )
    fake.chmod(0o700)
    monkeypatch.setenv("CXX", str(fake))
    for _ in range(3):
        assert "error: no such thing" in tt.why_not("compiled", tt.RNN)
    assert asked.read_text() == "\n"


def test_what_goes_on_failing_is_tried_ever_more_seldom(monkeypatch):
    tries = []

    def counted(*_, **__):
        tries.append(1)
        no_fork()

    monkeypatch.setattr(subprocess, "run", counted)
    for _ in range(100):
        assert tt.why_not("compiled", tt.RNN)
    assert 2 <= len(tries) < 20
    assert programs.find(tt.RNN()).startswith("// {")
    assert build.compiler()
