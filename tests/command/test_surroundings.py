"""What the program meets around it: streams that are closed or narrow, folders that are gone."""

import os
import shutil
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


@pytest.mark.parametrize("verb", ["evaluate", "inspect"])
def test_a_runs_data_are_found_from_another_folder_and_after_a_move(
    verb, tmp_path, monkeypatch, capsys
):
    from throughtime.command.cli import main

    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    Path("text.txt").write_text("the cat sat. " * 99)
    flags = "--device cpu --threads 1 --model.hidden_size 3 --loop.batch_size 2 --loop.window 9"
    train = ["train", "lm", *flags.split(), "--out"]
    assert main([*train, "run", "--max-steps", "2", "--train", "*.txt"]) == 0
    monkeypatch.chdir("/")
    look = ["--device", "cpu", "--threads", "1"]
    assert main([verb, f"{tmp_path}/home/run", *look]) == 0
    (tmp_path / "home").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main([verb, f"{tmp_path}/moved/run", *look]) == 0
    assert f"moved with it: {tmp_path}/moved/*.txt" in capsys.readouterr().err
    again = [*train, f"{tmp_path}/moved/run", "--resume", "--max-steps"]
    assert main([*again, "3"]) == 0
    (tmp_path / "moved" / "text.txt").rename(tmp_path / "elsewhere.txt")
    assert main([verb, f"{tmp_path}/moved/run", *look]) == 2
    assert main([*again, "4", "--train", f"{tmp_path}/elsewhere.txt"]) == 0
    (tmp_path / "other.txt").write_text("the dog sat. " * 99)
    capsys.readouterr()
    assert main([*again, "5", "--train", f"{tmp_path}/other.txt"]) == 2
    assert "the data have changed" in capsys.readouterr().err


def test_below_a_folder_whose_name_is_no_text_a_run_is_used_where_it_is(tmp_path, monkeypatch):
    from throughtime.command.cli import main

    here = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(here)
    monkeypatch.chdir(os.fsdecode(here))
    Path("text.txt").write_text("the cat sat. " * 99)
    flags = "--device cpu --threads 1 --model.hidden_size 3 --loop.batch_size 2 --loop.window 9"
    train = ["train", "lm", *flags.split(), "--out", "run", "--train", "text.txt", "--max-steps"]
    assert main([*train, "2"]) == 0
    assert main(["evaluate", "run", "--device", "cpu"]) == 0
    assert main([*train, "3", "--resume"]) == 0


def test_what_came_through_a_pipe_is_not_waited_for(tmp_path, monkeypatch, capsys):
    from throughtime.command.cli import main

    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(RUNS / "classify-text", run)
    os.mkfifo("pipe")
    settings = (run / "config.yaml").read_text().replace("data/labelled.txt", "pipe")
    (run / "config.yaml").write_text(settings)
    for verb in ("evaluate", "inspect"):
        assert main([verb, "run"]) == 2
        assert "pipe is a pipe or a device" in capsys.readouterr().err
