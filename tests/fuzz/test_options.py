"""Options of every verb with random values, found from the dataclasses: an exit code, one line."""

import io
import re
import shutil
import sys
import types
import typing
from pathlib import Path

import pytest
from hypothesis import strategies as st

import mutations
from outcomes import one_line
from throughtime.command import parsing
from throughtime.command.cli import main
from throughtime.command.parsing import runs, tasks
from throughtime.command.parsing.options import Parser
from throughtime.config.agreement import AgreementOptions
from throughtime.config.search import KINDS
from throughtime.tasks import TASKS

RUNS = Path(__file__).parents[1] / "runs_of_0_1"
NUMBERS = (
    *("0", "1", "2", "3", "5", "-1", "0.5", "0.999", "1.0", "1e-300", "-0.0", "nan", "inf", "-inf"),
    *(
        "1e300",
        "1e400",
        "1" * 30,
        "9" * 5000,
        "1_0",
        "0x10",
        "\u0661",
        "1,2",
        "[1,2]",
        "null",
        "",
        "x",
    ),
)
LARGE = ("1000", "65536", "1048576", "2147483648", "1000000000000", "9223372036854775807", "1e12")
"""Where nothing is run: what is asked for may take days."""
TEXTS = (
    *(
        "",
        " ",
        "x",
        "auto",
        "none",
        "null",
        "0",
        "-1",
        "1-2",
        "3-1",
        "0.5",
        "10%",
        "110%",
        "1s",
        "1e9h",
    ),
    *(
        "3m",
        "no/such/file",
        ".",
        "..",
        "/dev/null",
        "/dev/full",
        "~no-such-user/x",
        "text.txt",
        "*",
        "[",
        "{",
    ),
    *(
        "lstm",
        "gru(",
        "rnn(relu)",
        "lstm(output=7)",
        "cells.py:No",
        "utf-8",
        "hex",
        "utf-16",
        "rot13",
    ),
    *(
        "-",
        "--",
        "=",
        "a=1",
        "\0",
        "\n",
        "\x1b[2J",
        "\ud800",
        "\u2028",
        "\U0001f600" * 70,
        "a" * 5000,
    ),
)


def drawn_value(draw, hint, large):
    """What may stand after an option of this kind, of another one now and then."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        return drawn_value(draw, parts[0], large)
    if not draw(st.integers(0, 9)):
        return mutations.one_of(draw, TEXTS)
    if kind is typing.Literal:
        return str(mutations.one_of(draw, parts))
    if hint is bool:
        return mutations.one_of(draw, ("true", "false", "maybe", "1"))
    if hint in (int, float):
        return mutations.one_of(draw, NUMBERS + LARGE * large)
    return mutations.one_of(draw, TEXTS)


@st.composite
def some_options(draw, hints, large=False):
    """Words of one to four options."""
    words = []
    for _ in range(draw(st.integers(1, 4))):
        name, hint = mutations.one_of(draw, list(hints.items()))
        words.append(name)
        flag = hint is bool and "." not in name
        count = draw(st.integers(1, 3)) if typing.get_origin(hint) is list else not flag
        words += [drawn_value(draw, hint, large) for _ in range(count)]
    return words


def hints_of(parser):
    """Option → hint."""
    return {parsing.options.option(name): hint for name, hint in parser.hints.items()}


def of_task(verb, task):
    parser = Parser("x")
    tasks.add_task_options(parser, verb, task)
    return {**hints_of(parser), "--config": str}


def of_run(verb, task):
    parser, line = Parser("x"), TASKS[task]
    cls = getattr(line.config, f"{verb}_options", None)
    runs.add_run_options(parser, verb, {task: cls} if cls else {})
    return hints_of(parser)


@pytest.fixture
def program(tmp_path, monkeypatch, capfd):
    """Runs the command line in a folder with the small runs; asserts its code and its one line."""
    shutil.copytree(RUNS, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the dog\tx\n")

    kept = {path.name for path in tmp_path.iterdir()}

    def run(words):
        for path in tmp_path.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the dog\n")))
        code = main(words)
        said = capfd.readouterr().err
        errors = re.findall("^throughtime: error: (.*)", said, re.M)
        assert code in (0, 1, 2), code
        assert "Traceback" not in said
        assert len(errors) == (code != 0), said
        for error in errors:
            one_line(error)

    return run


def nothing(*given, **named):
    """In the place of a verb: its options are right."""
    raise SystemExit(0)


@pytest.mark.parametrize("verb", ["train", "compare", "tune"])
@pytest.mark.parametrize("task", TASKS)
def test_parsing(verb, task, rounds, program, monkeypatch):
    for name in ("verbs.train", "compare.compare", "tuning.tune"):
        monkeypatch.setattr(f"throughtime.{name}", nothing)
    rounds(
        some_options(of_task(verb, task), large=True), lambda words: program([verb, task, *words])
    )


@st.composite
def some_ranges(draw, hints):
    """Words of one to three ranges, nearly right."""
    words = ["--search"]
    for _ in range(draw(st.integers(1, 3))):
        name = mutations.one_of(draw, list(hints)).removeprefix("--")
        kind = mutations.one_of(draw, (*KINDS, "log", "normal", ""))
        values = [
            mutations.one_of(draw, NUMBERS + LARGE + TEXTS) for _ in range(draw(st.integers(0, 4)))
        ]
        words.append(f"{name}={kind}({','.join(values)})")
    return words


@pytest.mark.parametrize("task", TASKS)
def test_ranges(task, rounds, program, monkeypatch):
    monkeypatch.setattr("throughtime.tuning.tune", nothing)
    rounds(
        some_ranges(of_task("train", task)),
        lambda words: program(["tune", task, "--out", "out", *words]),
    )


TRAINED = {
    "lm": "--train data/text.txt --loop.window 8 --loop.batch_size 2",
    "classify": "--train data/labelled.txt",
    "tag": "--train data/names.conll",
    "translate": "--train data/pairs.x data/pairs.y --level word --score loss",
    "forecast": "--train data/waves.csv --data.series name --data.target load --data.static kind "
    "--data.missing mask --window 12 --horizon 6",
    "regress": "--train data/measured.csv --data.target mean last",
    "conditional": "--train data/up.txt data/down.txt",
    "music": "--train data/rolls.npz",
    "adding": "--sequences 20 --held-out 20 --length 10",
    "copy": "--sequences 20 --held-out 20 --length 1",
    "temporal-order": "--sequences 20 --held-out 20 --length 10",
}
LAST = "--max-steps 1 --device cpu --threads 1 --model.hidden_size 3"
"""Words after all others: a training is short."""


@pytest.mark.parametrize("task", TASKS)
def test_training(task, rounds, program):
    skipped = ("--max-steps", "--device", "--threads", "--model.hidden_size", "--loop.tensorboard",
               "--loop.track")  # fmt: skip
    hints = {name: hint for name, hint in of_task("train", task).items() if name not in skipped}

    def train(words):
        program(["train", task, "--out", "out", *TRAINED[task].split(), *words, *LAST.split()])

    train([])
    rounds(some_options(hints), train)


USED = {
    "evaluate": ("lm-word", "classify-text", "classify-numbers", "tag", "translate", "adding"),
    "predict": ("classify-text", "tag", "translate"),
    "generate": ("lm-char", "lm-word", "lm-subword", "conditional", "music-abc", "music-frames"),
}


@pytest.mark.parametrize(
    ("verb", "name"), [(v, name) for v, names in USED.items() for name in names]
)
def test_using(verb, name, rounds, program):
    task = "classify" if name.startswith("classify") else name.partition("-")[0]
    hints = of_run(verb, task)

    def use(words):
        program([verb, name, *words, *last])

    last = ["--threads", "1", "--device", "cpu"]
    last += ["--max-new-tokens", "3"] if verb == "generate" else []
    last += ["--output", "out"] if name == "music-frames" else []
    use([])
    rounds(some_options(hints), use)


def test_agreement(rounds, program):
    parser = Parser("x")
    parsing.options.add_options(parser, AgreementOptions, "x")
    last = "--threads 1 --device cpu --items 3"
    rounds(
        some_options(hints_of(parser)),
        lambda words: program(["inspect", "agreement", "lm-word", *words, *last.split()]),
    )
