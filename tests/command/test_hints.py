"""What a message advises is there; `conftest.advice` looks at every message of every test."""

import pytest

from hints import amiss, options_of
from throughtime.command.cli import main
from throughtime.command.parsing import runs as run_verbs
from throughtime.command.parsing import tasks as task_verbs
from throughtime.tasks import TASKS


def test_every_verb_has_options_for_every_task():
    for verb in (*task_verbs.TASK_OPTIONS, *run_verbs.RUN_OPTIONS):
        assert all("--device" in options_of(verb, task) for task in TASKS)


@pytest.mark.parametrize(("words", "message", "wrong"), [
    (["train", "forecast"], "expected a number. Leave it out with --data.features NAME.",
     ["--data.features"]),
    (["train", "forecast"], "expected a number. Leave it out with --data.target NAME.", []),
    (["train", "tag"], "no column. Say which: --data.label NAME.", ["--data.label"]),
    (["train", "tag", "--data.label", "x"], "unknown option --data.label.", []),
    (["score", "RUN"], "not UTF-8: --data.encoding latin-1.", ["--data.encoding"]),
    (["score", "RUN"], "too small: train with --data.vocab_size 10.", []),
    (["score", "RUN"], "too small: train with --data.horizon 10.", ["--data.horizon"]),
    (["inspect", "agreement", "RUN"], "give --pairs FILE, or --corpus FILE.", []),
])  # fmt: skip
def test_an_option_that_is_not_there_is_found(words, message, wrong, tmp_path, monkeypatch):
    (tmp_path / "RUN").mkdir()
    (tmp_path / "RUN" / "config.yaml").write_text("task: lm\n")
    monkeypatch.chdir(tmp_path)
    assert amiss(message, words) == wrong


@pytest.mark.parametrize("columns", ["x", "sequence,x", "sequence,name,x,label", "date,load"])
@pytest.mark.parametrize("task", ["classify", "tag", "regress", "forecast"])
def test_advice_about_tables_is_of_their_task(task, columns, tmp_path, capsys):
    """The advice itself is looked at by `conftest.advice`."""
    path, width = tmp_path / "table.csv", columns.count(",")
    path.write_text(f"{columns}\n" + f"{'word,' * width}word\n{'1,' * width}2\n" * 20)
    level = ["--level", "numbers"] if task in ("classify", "tag") else []
    words = ["train", task, "--train", str(path), "--out", str(tmp_path / "run"), *level]
    assert main(words) == 2
    assert "table.csv" in capsys.readouterr().err
