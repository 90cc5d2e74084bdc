"""How the files of a classifier's other verbs are read: as in training, or as asked for."""

import json

import numpy as np
import pytest

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import from_dict

WORDS = {"pos": "good fine lovely warm bright", "neg": "bad dull awful cold dim"}
FILLER = ["a", "the", "film", "was", "pos", "neg"]


@pytest.fixture
def data(tmp_path):
    """Lines of a label and a text, whose words may be labels."""
    random = np.random.default_rng(0)
    lines = []
    for i in range(160):
        label = ("pos", "neg")[i % 2]
        words = [*random.choice(FILLER, random.integers(1, 9)), random.choice(WORDS[label].split())]
        lines.append(f"{label} {' '.join(random.permutation(words))}\n")
    path = tmp_path / "train.txt"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def run(data, tmp_path, capsys):
    """A classifier, trained for a few steps."""
    settings = {
        "train": [str(data)],
        "out": str(tmp_path / "run"),
        "max_steps": 12,
        "device": "cpu",
        "threads": 1,
        "model": {"hidden_size": 8, "embedding_size": 8},
        "optim": {"lr": 0.02, "warmup": 0},
        "loop": {"batch_size": 16},
    }
    tt.train(from_dict(tt.ClassifierConfig, settings))
    capsys.readouterr()
    return settings["out"]


def test_a_file_of_labelled_lines_is_predicted_as_it_was_trained(run, data, capsys, tmp_path):
    """The label is no word of the text: what is said is what is said of the bare texts."""
    labelled = data.read_text().splitlines()[:40]
    (tmp_path / "labelled.txt").write_text("\n".join(labelled) + "\n")
    bare = [line.partition(" ")[2] for line in labelled]
    expected = [prediction.text for prediction in tt.predict(run, lines=bare)]
    assert main(["predict", run, "--data", str(tmp_path / "labelled.txt")]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == expected
    assert "labelled.txt: read as a label and a text a line (--format lines)." in said.err
    whole = [prediction.text for prediction in tt.predict(run, lines=labelled)]
    (tmp_path / "labelled.txt").write_text("\n".join(labelled) + "\nodd film\n")
    assert main(["predict", run, "--data", str(tmp_path / "labelled.txt")]) == 2
    said = capsys.readouterr().err
    assert "labelled.txt:41: " in said
    assert "'odd' is none of training's labels (neg, pos)" in said
    for form, count in ("text", 41), ("lines", 41):
        command = ["predict", run, "--format", form, "--data", str(tmp_path / "labelled.txt")]
        assert main(command) == 0
        found = capsys.readouterr().out.splitlines()
        assert len(found) == count
        assert found[:40] == (whole if form == "text" else expected)
    assert whole != expected


def test_evaluate_reads_formats_and_columns_other_than_those_of_training(
    run, data, capsys, tmp_path
):
    lines = data.read_text().splitlines()
    pairs = [line.split(" ", 1) for line in lines]
    (tmp_path / "other.dat").write_text(
        "".join(f"{i}\t{label}\t{text}\n" for i, (label, text) in enumerate(pairs))
    )
    other = str(tmp_path / "other.dat")
    columns = ["--format", "tsv", "--text", "3", "--label", "2", "--header", "no"]
    assert main(["evaluate", run, "--data", other, *columns, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = tt.evaluate(run, str(data))
    assert found["examples"] == 160
    assert found["accuracy"] == expected.accuracy
    assert found["loss"] == pytest.approx(expected.loss, abs=1e-6)
    assert main(["predict", run, "--data", other, *columns]) == 0
    bare = [text for _, text in pairs]
    texts = [prediction.text for prediction in tt.predict(run, lines=bare)]
    assert capsys.readouterr().out.splitlines() == texts
    assert main(["evaluate", run, "--data", other, "--format", "tsv", "--text", "4"]) == 2
    assert "other.dat:1: no column '4'" in (said := capsys.readouterr().err)
    assert said.endswith(" Say which it is: --text NAME, or NUMBER without a header.\n")
    assert main(["evaluate", run, "--format", "tsv"]) == 2
    assert "--format is how --data is read" in capsys.readouterr().err


def test_files_that_are_read_alike_are_told_in_one_line(run, capsys, tmp_path):
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.csv"):
        head = "text\n" if name == "e.csv" else "pos "
        (tmp_path / f"more-{name}").write_text(f"{head}film\n\n")
    assert main(["predict", run, "--data", str(tmp_path / "more-*")]) == 0
    found = capsys.readouterr()
    assert len(found.out.splitlines()) == 5
    said = "".join(found.err.split("\n")[:-1]).replace(f"{tmp_path}/", "")
    assert "4 files (more-a.txt … more-d.txt): read as a label and a text a line" in said
    assert "more-e.csv: read as CSV" in said
    assert "5 files (more-a.txt … more-e.csv): 5 blank lines left out" in said
    assert len(found.err.splitlines()) == 3


def test_evaluate_says_in_one_line_what_it_read_and_what_was_left_out(run, data, capsys, tmp_path):
    (tmp_path / "b.txt").write_text("pos film\n\n\nneg film\n")
    assert main(["evaluate", run, "--data", str(tmp_path / "b.txt")]) == 0
    read = f"read {tmp_path}/b.txt: 2 examples (2 tokens, vocabulary "
    said = capsys.readouterr().err
    assert said.startswith(read)
    assert said.endswith("); 2 blank lines left out.\n")
    assert main(["evaluate", run]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"read what is held out of {data}: 16 examples (")
    assert "left out" not in said
