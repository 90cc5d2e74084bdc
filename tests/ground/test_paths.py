"""Paths as they were typed: told where no file can have such a name."""

from pathlib import Path

import pytest

from throughtime.command.cli import main
from throughtime.ground.errors import InputError
from throughtime.ground.paths import typed_path


def test_home_is_spelled_out(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert typed_path("~/text.txt") == Path("/somewhere/text.txt")
    assert typed_path("text~.txt") == Path("text~.txt")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("~nobody-of-this-name/x", "home"),
        ("a" * 256, "too long"),
        ("é" * 128, "too long"),
        ("a/" * 2500, "too long"),
        ("a\0b", "NUL"),
        ("\ud800", "UTF-8"),
    ],
)
def test_what_no_file_can_be_called_is_told(given, said):
    with pytest.raises(InputError, match=said):
        typed_path(given)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "a" * 5000])
def test_the_program_tells_it_in_one_line(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the cat sat on the mat. " * 100)
    train = ["train", "lm", "--train", "text.txt", "--max-steps", "1", "--device", "cpu"]
    for words in (
        ["train", "lm", "--train", path, "--out", "run"],
        [*train, "--out", path],
        [*train, "--out", "run", "--config", path],
        [*train, "--out", "run", "--cell", f"{path}.py:Mine"],
        ["evaluate", path],
        ["inspect", "agreement", "--corpus", path],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith("throughtime: error: ")
        assert len(said[0]) < 2000
