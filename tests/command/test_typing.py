"""Standard input as it is typed, or as another program writes it: each line is answered at once."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[1] / "runs_of_0_1"
PATIENCE = 60.0
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As Python is by default: what is not flushed stays in the program."""


class Program:
    """One that runs, and what it has written so far."""

    def __init__(self, words, stdin):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "throughtime", *map(str, words)],
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=BUFFERED,
        )  # fmt: skip

    def hears(self, stream, ending=b"\n"):
        """What it writes to a stream, up to this ending."""
        said, until = b"", time.monotonic() + PATIENCE
        while not said.endswith(ending):
            assert select.select([stream], [], [], until - time.monotonic())[0], said
            piece = os.read(stream.fileno(), 1)
            assert piece, said
            said += piece
        return said.decode()


@pytest.fixture
def program():
    started = []

    def program(*words, stdin=subprocess.PIPE):
        started.append(Program(words, stdin))
        return started[-1]

    yield program
    for each in started:
        with each.process:
            each.process.kill()


@pytest.fixture
def terminal():
    """The end that a person types at, and the program's."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["predict", RUNS / "classify-text"], "lines"),
        (["generate", RUNS / "lm-char", "--max-new-tokens", "3", "--prime", "-"], "the prime"),
    ],
)
def test_at_a_terminal_it_says_that_it_waits_and_how_to_end(program, terminal, words, what):
    ours, theirs = terminal
    running = program(*words, stdin=theirs)
    said = running.hears(running.process.stderr)
    while "reading" not in said:
        said = running.hears(running.process.stderr)
    assert said == f"reading {what} from the terminal; Ctrl-D on a line of its own ends.\n"
    os.write(ours, b"the cat\n")
    if words[0] == "predict":
        assert running.hears(running.process.stdout).strip()
    os.write(ours, b"\x04")
    assert running.process.wait(PATIENCE) == 0


ANSWERED = {
    "classify-text": (["--format", "text"], "the cat\n", b"\n"),
    "translate": ([], "the cat\n", b"\n"),
    "tag": (["--format", "text"], "the cat\n", b"\n\n"),
}


@pytest.mark.parametrize("run", ANSWERED)
def test_through_a_pipe_each_line_is_answered_before_the_next_is_written(program, run):
    options, line, ending = ANSWERED[run]
    running = program("predict", RUNS / run, *options)
    for _ in range(2):  # the pipe stays open
        running.process.stdin.write(line.encode())
        running.process.stdin.flush()
        assert running.hears(running.process.stdout, ending)
    running.process.stdin.close()
    assert running.process.wait(PATIENCE) == 0
    assert "reading" not in running.process.stderr.read().decode()


def test_through_a_pipe_a_sentence_in_columns_is_answered_when_it_ends(program):
    running = program("predict", RUNS / "tag", "--format", "conll")
    running.process.stdin.write(b"the\ncat\n\n")
    running.process.stdin.flush()
    assert running.hears(running.process.stdout, b"\n\n").startswith("the")
