"""Classification, and what tasks over examples share: batches, processes, score, resume."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import throughtime as tt
from runs import lines, weights
from throughtime.command.cli import main
from throughtime.config import from_dict
from throughtime.data.batches import Batches
from throughtime.ground.errors import InputError
from throughtime.tasks import classification, task_class

GOOD, BAD = "good fine lovely warm bright", "bad dull awful cold dim"
FILLER = ["a", "the", "film", "was", "quite", "and", "very", "so", "not", "with"]


@pytest.fixture
def data(tmp_path):
    """Lines whose label follows from one word."""
    random = np.random.default_rng(0)
    lines = []
    for i in range(160):
        words = random.choice(FILLER, random.integers(0, 9)).tolist()
        kind = ("neg", BAD) if i % 2 else ("pos", GOOD)
        words.insert(random.integers(0, len(words) + 1), random.choice(kind[1].split()))
        lines.append(f"{kind[0]} {' '.join(words)}\n")
    path = tmp_path / "train.txt"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def configure(data, tmp_path):
    """A small run; change what a test is about."""

    def configure(out="run", **sections):
        values = {
            "train": [str(data)],
            "out": str(tmp_path / out),
            "max_steps": 12,
            "device": "cpu",
            "threads": 1,
            "model": {"hidden_size": 8, "embedding_size": 8, "dropout": 0.2},
            "optim": {"lr": 0.02, "warmup": 0},
            "loop": {"batch_size": 16, "eval_every": "4", "save_every": "3", "log_every": "1"},
        }
        for name, value in sections.items():
            both = isinstance(value, dict)
            values[name] = {**values.get(name, {}), **value} if both else value
        return from_dict(tt.ClassifierConfig, values)

    return configure


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_it_learns_to_tell_labels_apart(configure, pooling):
    config = configure(model={"pooling": pooling, "dropout": 0.0}, max_steps=60)
    result = tt.train(config)
    assert result.metrics["accuracy"] > 0.85
    found = tt.evaluate(config.out, config.train)
    assert 0.95 < found.accuracy <= 1
    assert 0.95 < found.macro_f1 <= 1
    assert found.examples == 160


# ---- batches, processes, score, resume ----------------------------------------------------------


def test_what_the_batches_depend_on_cannot_change(configure):
    config = configure()
    tt.train(config)
    with pytest.raises(InputError, match=r"seed \(1 → 2\)"):
        tt.train(configure(seed=2), resume=True)
    with pytest.raises(InputError, match=r"loop.batch_tokens \(None → 50\)"):
        tt.train(configure(loop={"batch_tokens": 50}), resume=True)
    assert tt.train(configure(max_steps=14, optim={"lr": 0.001}), resume=True).steps == 14


@pytest.mark.parametrize(("score", "best"), [("accuracy", 3), ("loss", 1), ("macro_f1", 3)])
def test_the_weights_kept_are_those_with_the_best_score(configure, monkeypatch, score, best):
    found = [
        {"accuracy": 0.5, "loss": 3.0, "macro_f1": 0.1},
        {"accuracy": 0.6, "loss": 1.0, "macro_f1": 0.2},
        {"accuracy": 0.9, "loss": 2.0, "macro_f1": 0.3},
        {"accuracy": 0.9, "loss": 1.9, "macro_f1": 0.4},
        {"accuracy": 0.9, "loss": 2.5, "macro_f1": 0.4},
    ]
    calls = iter([*found, found[0]])
    monkeypatch.setattr(classification.Classification, "validate", lambda *_, **__: next(calls))
    config = configure(score=score, max_steps=20, optim={"schedule": "constant"})
    tt.train(config)
    counters = torch.load(Path(config.out) / "trainer.pt", weights_only=True)["counters"]
    assert counters["best_step"] == 4 * (best + 1)
    assert counters["best"] == found[best][score]


def test_two_processes_take_the_steps_of_one(configure):
    """Batches of odd sizes, some of one example, which leaves a process with nothing of its own."""
    runs = []
    for out, launcher in (("one", []), ("two", ["-m", "torch.distributed.run", "--standalone",
                                                "--nproc-per-node", "2"])):  # fmt: skip
        config = configure(out)
        runs.append(config)
        program = [sys.executable, *launcher, "-m", "throughtime", "train", "classify", "--out",
                   config.out, "--train", *config.train, "--max-steps", "20", "--threads", "1",
                   "--device", "cpu", "--model.hidden_size", "8", "--model.embedding_size", "8",
                   "--model.dropout", "0", "--loop.batch_tokens", "17",
                   "--loop.log_every", "1"]  # fmt: skip
        done = subprocess.run(program, capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
    lengths = task_class("classify").prepare(configure()).train.sequences.lengths
    sizes = [len(b) for b in Batches(lengths, batch_tokens=17).epoch(0)[:20]]
    assert 1 in sizes
    assert any(size % 2 for size in sizes if size > 1)
    for kind in ("train", "valid"):
        a, b = ([line["loss"] for line in lines(run, kind)] for run in runs)
        assert a == pytest.approx(b, rel=1e-4)
    one, two = map(weights, runs)
    for name, part in one.items():
        torch.testing.assert_close(two[name], part, rtol=1e-3, atol=1e-4)


# ---- the verbs ----------------------------------------------------------------------------------


@pytest.fixture
def run(configure, capsys):
    config = configure(max_steps=60, model={"dropout": 0.0})
    tt.train(config)
    capsys.readouterr()
    return config.out


def test_predict_reads_files_or_standard_input_and_writes_a_label_a_line(
    run, capsys, monkeypatch, tmp_path
):
    texts = ["a lovely film", "", "bad " * 10_000, "so dull"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    command = ["predict", run, "--format", "text", "--data", str(tmp_path / "texts.txt")]
    assert main(command) == 0
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 4
    assert [line.split("\t")[0] for line in (found[0], found[3])] == ["pos", "neg"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(texts).encode())))
    assert main(["predict", run, "--json", "--batch-size", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f"{line['label']}\t{line['probability']:.4f}" for line in lines] == found
    assert all(abs(sum(line["probabilities"].values()) - 1) < 1e-9 for line in lines)
    from_python = tt.predict(run, lines=texts)
    assert [prediction.text for prediction in from_python] == found


def test_predict_never_writes_over_a_file(run, capsys, tmp_path):
    (tmp_path / "texts.txt").write_text("lovely\nawful\n")
    new = tmp_path / "found.txt"
    command = ["predict", run, "--data", str(tmp_path / "texts.txt"), "--output", str(new)]
    command += ["--format", "text"]
    assert main(command) == 0
    assert [line[:4] for line in new.read_text().splitlines()] == ["pos\t", "neg\t"]
    new.write_text("precious")
    assert main(command) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert new.read_text() == "precious"


def test_labels_never_seen_in_training_are_wrong_and_counted(run, tmp_path):
    path = tmp_path / "test.txt"
    path.write_text("pos lovely\nneg dull\nmeh lovely\n")
    found = tt.evaluate(run, str(path))
    assert (found.accuracy, found.unseen_labels) == (2 / 3, 1)


def test_class_weights_move_the_labels_that_are_found(configure):
    accuracy = {}
    for weight in ("1", "0.01"):
        config = configure(f"w{weight}", class_weights=[f"pos={weight}"], max_steps=30)
        tt.train(config)
        found = tt.evaluate(config.out, config.train)
        accuracy[weight] = {c["label"]: c["recall"] for c in found.classes}
    assert accuracy["1"]["pos"] > 0.6
    assert accuracy["0.01"] == {"neg": 1, "pos": 0}
    with pytest.raises(InputError, match="label in class_weights 'positive'"):
        tt.train(configure("other", class_weights=["positive=2"]))


def test_sequences_of_numbers_are_told_apart(configure, capsys, monkeypatch, tmp_path):
    """Constant columns, large offsets, an empty sequence: the label is in the deviation."""
    random = np.random.default_rng(0)
    lengths = random.integers(0, 12, 160)
    lengths[:2] = 0
    labels = np.arange(160) % 2 + 1
    scale = labels[:, None, None] ** 3
    x = np.concatenate([random.normal(size=(160, 12, 2)) * scale + 1000, np.ones((160, 12, 1))], 2)
    np.savez(tmp_path / "sensor.npz", x=x, y=labels, lengths=lengths)
    config = configure(
        train=[str(tmp_path / "sensor.npz")], level="numbers", max_steps=80, model={"dropout": 0}
    )
    result = tt.train(config)
    assert result.metrics["accuracy"] > 0.8
    capsys.readouterr()
    assert main(["predict", config.out, "--data", *config.train]) == 0
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 160
    steps = "".join(f"7,{a},{b},{c}\n" for a, b, c in x[3, : lengths[3]])
    csv = f"sequence,a,b,c\n{steps}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(csv.encode())))
    assert main(["predict", config.out]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line == found[3].replace("\t3", "\t7")  # the name of the sequence
    (tmp_path / "narrow.csv").write_text("sequence,a,label\n1,2,1\n")
    with pytest.raises(InputError, match=r"narrow.csv:2: expected 3 numbers a step.*got 1"):
        tt.evaluate(config.out, str(tmp_path / "narrow.csv"))


def test_columns_of_numbers_are_told_by_name(configure, capsys, tmp_path):
    """Files in another order are the same sequences; missing and unknown columns are told."""
    random = np.random.default_rng(0)
    rows = [(k, *random.normal(size=3) * (1, 5, 25), "up" if k % 2 else "down") for k in range(40)]

    def write(name, columns):
        at = {"sequence": 0, "a": 1, "b": 2, "c": 3, "label": 4}
        lines = [",".join(str(row[at[column]]) for column in columns) for row in rows]
        (tmp_path / name).write_text("\n".join([",".join(columns), *lines]))
        return str(tmp_path / name)

    train = write("train.csv", ["sequence", "a", "b", "c", "label"])
    other = write("other.csv", ["c", "label", "b", "sequence", "a"])
    config = configure(train=[train], valid=[other], level="numbers", max_steps=4)
    tt.train(config)
    said = json.loads((Path(config.out) / "features.json").read_text())
    assert (said["size"], said["columns"]) == (3, ["a", "b", "c"])
    assert said["mean"] == pytest.approx(np.mean([row[1:4] for row in rows], 0), rel=1e-12)
    assert said["deviation"] == pytest.approx(np.std([row[1:4] for row in rows], 0), rel=1e-12)
    first, second = (tt.evaluate(config.out, file) for file in (train, other))
    assert (first.loss, first.confusion) == (pytest.approx(second.loss), second.confusion)
    for columns, said in (
        (
            ["sequence", "a", "c", "label"],
            r"x.csv:1: columns of numbers without b; expected a, b, c",
        ),
        (["sequence", "a", "b", "label"], r"columns of numbers without c"),
    ):
        with pytest.raises(InputError, match=said):
            tt.evaluate(config.out, write("x.csv", columns))
    (tmp_path / "x.csv").write_text("sequence,a,b,c,d,label\n1,1,2,3,4,up\n")
    with pytest.raises(InputError, match=r"x.csv:1: columns of numbers with d; expected"):
        tt.evaluate(config.out, str(tmp_path / "x.csv"))
    chosen = configure("chosen", train=[train], valid=[other], level="numbers", max_steps=4,
                       data={"features": ["c", "a"]})  # fmt: skip
    tt.train(chosen)
    assert tt.load(chosen.out)[0].source.columns == ("c", "a")
    assert tt.evaluate(chosen.out, other).examples == 40
    capsys.readouterr()
    assert main(["predict", chosen.out, "--data", other]) == 0
    assert [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()] == [
        str(k) for k in range(40)
    ]
    with pytest.raises(InputError, match=r"no column of numbers 'cc'. Did you mean 'c'"):
        tt.train(configure("bad", train=[train], level="numbers", data={"features": ["cc"]}))


def test_examples_of_no_known_label_are_told(run, configure, capsys, tmp_path):
    path = tmp_path / "other.tsv"
    path.write_text("text\tlabel\nlovely\tjoy\n")
    assert tt.evaluate(run, str(path)).unseen_labels == 1
    assert "no label of these examples is one of training's: 'joy' is none of neg, pos" in " ".join(
        capsys.readouterr().err.split()
    )
    tt.train(configure("strange", valid=[str(path)], max_steps=2))
    said = capsys.readouterr().err
    assert "no validation example has a label that training has" in said
    assert "accuracy 0.00%, macro F1 0.0000, no loss" in said
    assert "nan" not in said
    with pytest.raises(InputError, match=r"validation data have no loss to choose .* by: accuracy"):
        tt.train(configure("by-loss", valid=[str(path)], max_steps=2, score="loss"))


def test_names_of_sequences_stand_in_one_field_and_their_file_in_json(configure, capsys, tmp_path):
    for name in "ab":
        rows = [f"{k % 2},{'up' if k % 2 else 'down'},s\t{k}" for k in range(20)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,label,sequence", *rows]))
    files = [str(tmp_path / f"{name}.csv") for name in "ab"]
    config = configure(train=files, valid=files, level="numbers", max_steps=2)
    tt.train(config)
    assert "(100.0% of them occur in training too)" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", config.out, "--data", *files]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == [f"s {k}" for k in range(20)] * 2
    assert main(["predict", config.out, "--json", "--data", *files]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [found[i]["where"] for i in (0, 20)] == [f"{file}:2" for file in files]
    with pytest.raises(InputError, match=r"data\.features are columns of numbers"):
        tt.train(configure("bad", data={"features": ["a"]}))


def test_texts_read_as_lines_of_labels_by_mistake_are_told(configure, capsys, tmp_path):
    for name in ("pos", "neg"):
        (tmp_path / f"{name}.txt").write_text(
            "\n".join(f"w{i} film" for i in range(30)) + "\na b" * 9
        )
    config = configure(train=[str(tmp_path / "pos.txt"), str(tmp_path / "neg.txt")], valid=[])
    tt.train(config)
    said = " ".join(capsys.readouterr().err.split())
    assert "31 labels in 78 examples, as in a, w0, w1: are they labels? If each file" in said


def test_predict_reads_tables_with_blank_lines(run, capsys, tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,"so\n\nlovely"\n\n2,dull\n3,\n\n')
    assert main(["predict", run, "--data", str(tmp_path / "a.csv")]) == 0
    out, err = capsys.readouterr()
    assert [line[:3] for line in out.splitlines()][:2] == ["pos", "neg"]
    assert len(out.splitlines()) == 3
    assert "a.csv: 2 blank lines left out" in err


def test_verbs_and_options_of_other_tasks_are_told(run, capsys):
    def fails(*arguments):
        assert main([*arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        return err

    assert f"a classifier: throughtime predict {run}, not generate" in fails("generate", run)
    said = fails("predict", run, "--temperature", "2")
    assert f"--temperature is for generate of a language model; {run} is a classifier" in said
    assert "unknown option --bach-size. Did you mean '--batch-size'" in fails(
        "predict", run, "--bach-size", "2"
    )
    assert "--batch-size must be at least 1" in fails("predict", run, "--batch-size", "0")
    assert "task 'classify', not 'lm'" in fails("train", "lm", "--resume", "--out", run)
    with pytest.raises(InputError, match="a classifier"):
        tt.generate(run)
    with pytest.raises(InputError, match="batch_size"):
        tt.predict(run, lines=[], batch_sise=3)


@pytest.mark.parametrize("verb", ["predict", "generate"])
def test_help_tells_the_options_of_every_task_or_of_the_runs_own(run, capsys, verb):
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert "options of" in said
    if verb == "predict":
        assert "a classifier (classify)" in said
        assert main([verb, run, "--help"]) == 0
        assert "--batch-size" in capsys.readouterr().out
    else:
        assert "a language model (lm)" in said
        assert "--temperature" in said


def test_pretrained_vectors_are_where_the_embedding_starts(configure, tmp_path, capsys):
    path = tmp_path / "v.txt"
    path.write_text("zebra 4 5 6\nfilm 1 2 3\nlion 7 8 9\n")
    settings = {"vectors": str(path), "min_count": 2, "vocab_size": 9}
    with pytest.raises(InputError, match=r"have 3 numbers.*--model.embedding_size 3"):
        tt.train(configure(data=settings))
    with pytest.raises(InputError, match="not with level char"):
        tt.train(configure(level="char", data=settings))
    config = configure(data=settings, model={"embedding_size": 3, "init_range": 0.1},
                       optim={"lr": 1e-30})  # fmt: skip
    tt.train(config)
    assert re.search(r"vectors for [01] of 5 words", " ".join(capsys.readouterr().err.split()))
    path.unlink()
    task, model = tt.load(config.out)
    weight = model.inputs.embedding.weight
    assert [weight[task.source.vocabulary.ids[w]].tolist() for w in ("film", "zebra", "lion")] == [
        [1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
    ]
    assert len(task.source.vocabulary) == 9 + sum(
        word not in task.source.vocabulary.tokens[:9] for word in ("zebra", "film", "lion")
    )
