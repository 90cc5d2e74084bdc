import io
import json
import math

import pytest

import throughtime as tt
from runs import small_run
from throughtime.command.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Language models whose texts end at lines, at files and nowhere."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for eos, level in (("line", "word"), ("file", "char"), ("none", "char")):
        (folder / eos).mkdir()
        config = small_run("lm", folder / eos)
        config.level, config.data.eos = level, eos
        tt.train(config)
        found[eos] = tt.Run.open(config.out)
    return found


@pytest.mark.parametrize("eos", ["line", "file", "none"])
def test_a_documents_probability_is_that_of_evaluate(runs, eos, tmp_path):
    """More than one window of 1,024 steps."""
    path, run = tmp_path / "text.txt", runs[eos]
    path.write_text("the cat sat on a mat\n" * 300)
    (found,) = run.score([path.read_text()], per="document")
    expected = run.evaluate(str(path))
    assert len(found.tokens) == expected.tokens
    assert -found.log_probability / len(found.tokens) == pytest.approx(
        expected.nats_per_token, abs=1e-5
    )
    assert found.unknown == round(expected.unk_rate * expected.tokens)
    assert found.log_probability == pytest.approx(sum(p for _, p in found.tokens))


@pytest.mark.parametrize("eos", ["line", "none"])
def test_a_line_has_no_part_in_anothers_score(runs, eos):
    run, lines = runs[eos], ["the cat", "", "the cat sat on a mat", "a"]
    found = list(run.score(lines))
    for text, one in zip(lines, found, strict=True):
        (alone,) = run.score([text], batch_size=1)
        assert one.text == text
        assert alone.log_probability == pytest.approx(one.log_probability, abs=1e-4)
        count = len(text.split()) + 1 if eos == "line" else len(text)
        assert len(alone.tokens) == count
    assert found[1].log_probability == 0 or eos == "line"
    assert "<unk>" in [name for name, _ in next(run.score(["qqqq"])).tokens] or eos == "none"


def test_lines_come_as_json(runs, tmp_path, capsys, monkeypatch):
    path = tmp_path / "lines.txt"
    path.write_text("the cat\na mat\n")
    run = runs["line"]
    command = ["score", str(run.path)]
    assert main([*command, "--data", str(path)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["text"] for one in found] == ["the cat", "a mat"]
    assert all(math.isfinite(one["log_probability"]) for one in found)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the cat\na mat\n")))
    assert main([*command, "--data", "-", "--output", str(tmp_path / "out.jsonl")]) == 0
    written = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in written] == ["the cat", "a mat"]
    assert main([*command, "--data", str(path), "--per", "document"]) == 0
    (whole,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert whole["text"] == "the cat\na mat\n"


def test_other_tasks_score_no_texts(tmp_path):
    config = small_run("classify", tmp_path)
    tt.train(config)
    with pytest.raises(tt.InputError, match="not score"):
        tt.Run(config.out).score(["a"])


@pytest.mark.parametrize(("per", "where"), [("line", "{path}:2"), ("document", "{path}")])
def test_a_text_that_is_too_long_is_told_before_it_is_read_into_the_model(
    runs, per, where, tmp_path, capsys
):
    """Each token is answered, in memory: a line of 64 MiB would take some 20 GB."""
    path = tmp_path / "long.txt"
    path.write_text("the cat\n" + ("the cat " if per == "line" else "the cat\n") * (1 << 19) + "\n")
    words = ["score", str(runs["none"].path), "--data", str(path), "--per", per]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"throughtime: error: {where.format(path=path)}: ")
    assert "--max-bytes" in said
    path.write_text("the cat\n")
    assert main([*words, "--max-bytes", "7"]) == 2
    assert main([*words, "--max-bytes", "8"]) == 0
