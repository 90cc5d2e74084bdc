"""Paths as they were typed: told where no file can have such a name."""

import os
from pathlib import Path

import pytest

from throughtime.command.cli import main
from throughtime.data.files import find_files
from throughtime.ground.errors import InputError
from throughtime.ground.paths import absolute, leads, typed_path


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


def test_an_absolute_path_leads_to_the_same(tmp_path, monkeypatch):
    here = tmp_path / "a [1]" / "b"
    here.mkdir(parents=True)
    for folder in (here, here.parent, tmp_path):
        (folder / "text [x].txt").touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", "/somewhere")
    assert absolute("text.txt") == str(here / "text.txt")
    assert absolute("./x/../text.txt") == str(here / "x/../text.txt")  # x may be a link
    assert absolute("../../text.txt") == str(tmp_path / "text.txt")
    assert absolute("/text.txt") == "/text.txt"
    assert absolute("~/*.txt") == "/somewhere/*.txt"
    monkeypatch.chdir("/")
    assert absolute("../text.txt") == "/text.txt"


def test_a_glob_stays_one_below_a_folder_whose_name_looks_like_one(tmp_path, monkeypatch):
    here = tmp_path / "a [1]"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("text [x].txt", "b.txt"):
        (here / name).touch()
    found = absolute("text [x].txt"), absolute("*.txt")
    monkeypatch.chdir("/")
    assert find_files([found[0]]) == [here / "text [x].txt"]
    assert find_files([found[1]]) == [here / "b.txt", here / "text [x].txt"]


def test_where_a_path_leads(tmp_path):
    (tmp_path / "a [1]").mkdir()
    (tmp_path / "a [1]" / "b.txt").touch()
    for there in ("a [1]", "a [1]/b.txt", "a [1]/*.txt", "*", "*/b.txt"):
        assert leads(str(tmp_path / there)), there
    for gone in ("b", "a [1]/c.txt", "b/*.txt", "a [1]/b/*.txt", "a\0b"):
        assert not leads(str(tmp_path / gone)), gone


def test_below_a_folder_whose_name_is_no_text_a_path_stays_relative(tmp_path, monkeypatch):
    here = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(here)
    monkeypatch.chdir(os.fsdecode(here))
    assert absolute("text.txt") == "text.txt"
    assert absolute("/text.txt") == "/text.txt"
