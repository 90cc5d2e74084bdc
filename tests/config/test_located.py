"""Settings that are paths: none is forgotten, and they lead to the same from any folder."""

import dataclasses
from typing import get_args

import pytest

from throughtime.config import changes, followed, from_dict, located, to_dict
from throughtime.config.located import lost, paths
from throughtime.config.settings import PATH, hints_of
from throughtime.tasks import TASKS

NO_PATHS = {
    *("cell", "char_cell", "decoder_cell"),  # a run has its own copy of a cell's file
    *("backend", "freeze", "initial", "encoding"),
    *("text", "label", "sequence", "condition", "features", "columns", "word", "tag"),  # columns
    *("conditions", "class_weights"),
    *("series", "time", "target", "observed", "known", "static", "categories", "group"),  # columns
    *("frequency", "calendar", "valid_from", "test_from", "until"),
}
"""Settings of text that are none; one of neither kind fails the test below."""


def texts(cls):
    """The fields of free text of a configuration and of its sections."""
    for field in dataclasses.fields(cls):
        default, hint = getattr(cls(), field.name), hints_of(cls)[field.name]
        if dataclasses.is_dataclass(default):
            yield from texts(type(default))
        elif "read" not in field.metadata and {str, list[str]} & {hint, *get_args(hint)}:
            yield field


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_of_text_is_marked_as_a_path_or_is_none(task):
    found = {field.name: PATH in field.metadata for field in texts(TASKS[task].config)}
    assert found["out"]
    assert {name for name, marked in found.items() if not marked} <= NO_PATHS
    assert not {name for name, marked in found.items() if marked} & NO_PATHS


@pytest.mark.parametrize("task", [task for task, line in TASKS.items() if line.config.files])
def test_every_task_with_files_has_data(task):
    config = TASKS[task].config(train=["a", "b"], valid=["c", "d"])
    assert paths(config, "data") == {"train": ["a", "b"], "valid": ["c", "d"]}


def of_tagger(**values):
    return from_dict(TASKS["tag"].config, {"out": "runs/x", "train": ["a.conll"], **values})


def test_paths_become_absolute_in_sections_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = of_tagger(train=["a/*.conll", "../b", "/c", "~/d"], data={"vectors": "v.txt"})
    found = located(config)
    assert found.out == str(tmp_path / "runs/x")
    up, home = tmp_path.parent / "b", monkeypatch.setenv("HOME", "/home/me")
    assert home is None
    assert located(config).train == [str(tmp_path / "a/*.conll"), str(up), "/c", "/home/me/d"]
    assert found.data.vectors == str(tmp_path / "v.txt")
    assert config.train[0] == "a/*.conll"  # the copy alone is changed
    assert dataclasses.replace(found, out=config.out).data.word == config.data.word


def test_what_leads_to_the_same_is_no_change(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    before = to_dict(located(of_tagger()))
    monkeypatch.chdir(tmp_path / "other")
    assert changes(before, of_tagger(out="../runs/x", train=["../a.conll"])) == {}
    assert list(changes(before, of_tagger(out="../runs/x"))) == ["train"]


def test_data_that_moved_with_a_run_are_followed(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new [1]"
    for folder in (old, new):
        (folder / "data").mkdir(parents=True)
        (folder / "runs" / "x").mkdir(parents=True)
        (folder / "data" / "a.conll").touch()
    was = [str(old / "data" / name) for name in ("a.conll", "*.conll", "gone.conll")]
    config = of_tagger(out=str(old / "runs/x"), train=was, data={"vectors": "/elsewhere/v.txt"})
    assert followed(config, new / "runs/x").train == was  # still there: the same data
    (old / "data" / "a.conll").rename(tmp_path / "a.conll")
    (old / "data").rmdir()
    found = followed(config, new / "runs/x")
    moved = tmp_path / "new [[]1]" / "data" / "*.conll"
    assert found.train == [str(new / "data/a.conll"), str(moved), was[2]]
    assert found.data.vectors == "/elsewhere/v.txt"  # below no folder of both
    assert lost(found.train) == f"no such file, directory or match: {was[2]}"


def test_what_is_relative_stays_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = of_tagger()
    assert followed(config, tmp_path / "x").train == ["a.conll"]
    assert "a.conll is relative to where the run was trained" in lost(config.train)
    (tmp_path / "a.conll").touch()
    assert lost(config.train) == ""
