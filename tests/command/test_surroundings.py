"""What the program meets around it: streams that are closed or narrow, folders that are gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[1] / "runs_of_0_1"


def program(*words, **settings):
    """Its exit code, what it wrote, and what it said."""
    found = subprocess.run(
        [sys.executable, "-m", "throughtime", *map(str, words)],
        capture_output=True, timeout=120, check=False, **settings,
    )  # fmt: skip
    return found.returncode, found.stdout.decode(), found.stderr.decode()


def one_error(said):
    lines = said.strip().splitlines()
    return len(lines) == 1 and lines[0].startswith("throughtime: error: ")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("generate", RUNS / "lm-char", "--prime", "ä", "--max-new-tokens", "3", "--json"),
    ],
)
def test_output_that_cannot_be_encoded_is_escaped(words):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    code, text, said = program(*words, env=env)
    assert (code, "Traceback" in said) == (0, False)
    assert "\\u2026" in text or "\\xe4" in text


def test_a_closed_standard_input_is_an_empty_one():
    found = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m throughtime predict {RUNS}/classify-text <&-"],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (0, b"")


def test_a_folder_that_is_gone_is_told(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    command = f"rmdir {folder}; {sys.executable} -m throughtime evaluate run"
    found = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, timeout=120, check=False
    )
    assert found.returncode == 2
    assert one_error(found.stderr.decode())


@pytest.mark.parametrize(
    "variables",
    [{"WORLD_SIZE": "x"}, {"WORLD_SIZE": "2", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "x"}],
    ids=str,
)
def test_variables_of_torchrun_that_are_no_such_are_told(tmp_path, variables):
    words = "train adding --sequences 9 --held-out 9 --length 5 --max-steps 1 --model.hidden_size 3"
    code, _, said = program(
        *words.split(), "--out", "run", cwd=tmp_path, env={**os.environ, **variables}
    )
    assert code == 2
    assert one_error(said), said


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch, capsys):
    from throughtime.command.cli import main

    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the cat sat. " * 99)
    for words in (["train", "lm", "--train", "", "--out", "run"], ["evaluate", ""]):
        assert main(words) == 2
        assert "is empty" in capsys.readouterr().err
    assert main(["train", "lm", "--train", "text.txt", "--out", "/dev/null"]) == 2
    assert main(["completion"]) == 2
