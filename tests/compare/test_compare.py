"""Cells side by side: floors, corrections, the table."""

import json
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt
from cases import ROOT
from comparing import SMALL, compare, table
from throughtime.command.parsing import task_command
from throughtime.compare import floor, spelling
from throughtime.compare.outcome import Finding, VariantRow, correct_for_unknown, spread
from throughtime.compare.plan import slug_of
from throughtime.compare.table import few_steps, table_of
from throughtime.config.values import listed, split
from throughtime.ngram import witten_bell_nats
from throughtime.tasks import task_class
from throughtime.tasks.task import Score
from throughtime.training.budget import Budget

# ---- the rest, in this process ------------------------------------------------------------------


def test_language_models_with_baselines(corpus, tmp_path, capsys, here):
    out = tmp_path / "side"
    command = ["lm", "--train", corpus, *SMALL, "--cells", "rnn", "lstm(output=identity)",
               "--baselines", "ngram,feed-forward", "--context", 3, "--seeds", 2,
               "--max-steps", 12, "--out", out]  # fmt: skip
    assert compare(*command) == 0
    printed = capsys.readouterr()
    rows = table(printed.out)
    assert [row[0] for row in rows[1:]] == ["rnn", "lstm(output=identity)", "feed-forward", "ngram"]
    head = dict(zip(rows[0], range(1, 20)))
    assert {"nats/token", "bits/character", "width", "parameters", "tokens/s", "time",
            "horizon"} <= head.keys()  # fmt: skip
    assert rows[3][head["horizon"]] == "3"
    assert "±" in rows[1][head["nats/token"]]
    assert {p.name for p in out.iterdir()} >= {
        "rnn-1", "rnn-2", "lstm-output-identity-1", "feed-forward-2", "compare.yaml",
        "compare.json", "compare.md", "compare.png", "compare.svg",
    }  # fmt: skip
    kept = json.loads((out / "compare.json").read_text())
    assert len(kept["rows"][0]["runs"]) == 2
    found = kept["rows"][0]["metrics"]["loss"]
    values = [tt.load(out / f"rnn-{seed}")[0] for seed in (1, 2)]
    assert [task.config.seed for task in values] == [1, 2]
    assert found["mean"] == pytest.approx(sum(found["values"]) / 2)
    assert found["sd"] == pytest.approx(abs(found["values"][0] - found["values"][1]) / 2**0.5)
    # every other verb works on the runs, and the count is that of the run
    assert tt.evaluate(out / "feed-forward-1").nats_per_token > 0
    counted = {row["label"]: row["parameters"] for row in kept["rows"]}
    for label, folder in (("rnn", "rnn-1"), ("feed-forward", "feed-forward-1")):
        _, model = tt.load(out / folder)
        assert sum(p.numel() for p in model.parameters()) == counted[label]
    # the floor is that of the formula
    task = task_class("lm").prepare(tt.load(out / "rnn-1")[0].config)
    nats = witten_bell_nats(np.asarray(task.train.ids, int), np.asarray(task.valid.ids, int), 5,
                            len(task.vocabulary))  # fmt: skip
    ngram = kept["rows"][3]["metrics"]
    assert ngram["loss"]["mean"] == pytest.approx(min(nats))
    order = nats.index(min(nats)) + 1
    ids = np.asarray(task.train.ids).tolist()
    grams = {tuple(ids[i : i + n]) for n in range(1, order + 1) for i in range(len(ids) - n + 1)}
    assert counted["ngram"] == len(grams) == floor.ngram(task)["parameters"]
    # what was found before a setting existed counts as found with its default
    result = out / "results/rnn-1.json"
    found = json.loads(result.read_text())
    del found["settings"]["loop"]["inspect_every"]
    result.write_text(json.dumps(found))
    # more may be added; other settings are refused
    assert compare(*command[:-2], "--seeds", 3, "--out", out) == 0
    assert "6 of 9 runs are finished already" in capsys.readouterr().err
    for changed, word in (
        (["--model.hidden_size", 13], "model.hidden_size (12 → 13)"),
        (["--optim.lr", 0.5], "optim.lr"),
        (["--equal", "width"], "equal ('parameters' → 'width')"),
    ):
        assert compare(*command[:-2], *changed, "--out", out) == 2
        assert word in capsys.readouterr().err


def test_it_goes_on_from_another_folder_and_after_a_move(
    corpus, tmp_path, monkeypatch, capsys, here
):
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    corpus.rename(home / "text.txt")
    command = ["lm", *SMALL, "--cells", "rnn", "--max-steps", 3, "--seeds"]
    monkeypatch.chdir(home)
    assert compare(*command, 1, "--train", "text.txt", "--out", "side") == 0
    monkeypatch.chdir(other)
    assert compare(*command, 2, "--train", "../home/text.txt", "--out", "../home/side") == 0
    assert "1 of 2 runs are finished already" in capsys.readouterr().err
    home.rename(tmp_path / "moved")
    assert compare(*command, 3, "--train", "../moved/text.txt", "--out", "../moved/side") == 0
    assert "2 of 3 runs are finished already" in capsys.readouterr().err
    (tmp_path / "moved" / "more.txt").write_bytes((tmp_path / "moved" / "text.txt").read_bytes())
    assert compare(*command, 3, "--train", "../moved/more.txt", "--out", "../moved/side") == 2
    assert "train ([" in capsys.readouterr().err


def test_levels_on_one_corpus(corpus, tmp_path, capsys, here):
    out = tmp_path / "side"
    assert compare("lm", "--levels", "char,word,subword", "--train", corpus, *SMALL, "--seeds", 1,
                   "--data.vocab_size", 300, "--data.min_count", 1, "--equal", "width",
                   "--max-steps", 10, "--loop.window", 8, "--out", out) == 0  # fmt: skip
    printed = capsys.readouterr().out
    rows = table(printed)
    head = dict(zip(rows[0], range(1, 20)))
    assert [row[1] for row in rows[1:]] == ["char", "word", "subword"]
    assert "flattered" in printed
    by = {row["at"]: row for row in json.loads((out / "compare.json").read_text())["rows"]}
    assert by["char"]["facts"]["tokens_per_character"] == 1
    assert by["word"]["facts"]["tokens_per_character"] < 0.4
    assert by["subword"]["facts"]["unk_rate"] == 0
    facts, metrics = by["word"]["facts"], by["word"]["metrics"]
    valid = corpus.read_text()[-round(0.1 * len(corpus.read_text())) :]
    assert facts["unk_rate"] == pytest.approx(
        1 / len(valid.replace("\n", " \n ").split(" ")), rel=0.2
    )
    assert facts["hidden_bits_per_char"] > 0
    corrected = metrics["bits_per_char_spelled"]["mean"]
    assert corrected == metrics["bits_per_char"]["mean"] + facts["hidden_bits_per_char"]
    nothing_hidden = by["subword"]["metrics"]
    assert nothing_hidden["bits_per_char_spelled"] == nothing_hidden["bits_per_char"]
    assert by["char"]["facts"]["hidden_bits_per_char"] > 0  # ü is not among training's characters
    assert f"{corrected:.4f}" == rows[2][head["with <unk> spelled"]]
    # all levels read the same text, line ends too
    for level in ("char", "word", "subword"):
        task = tt.load(out / f"lstm-{level}-1")[0]
        assert task.config.data.eos == "line"
        assert (
            tt.evaluate(out / f"lstm-{level}-1").characters
            == len(task_class("lm").prepare(task.config).valid.ids)
            or level != "char"
        )


def test_lengths_of_a_problem(tmp_path, capsys, here):
    out = tmp_path / "side"
    assert compare("adding", "--cells", "rnn,gru", "--lengths", "2", "6", "--seeds", 1,
                   "--max-steps", 120, "--model.hidden_size", 16, "--optim.lr", 0.02, "--out", out,
                   "--held-out", 100, "--loop.eval_every", 30, "--device", "cpu") == 0  # fmt: skip
    rows = table(capsys.readouterr().out)
    head = dict(zip(rows[0], range(1, 20)))
    assert [row[:2] for row in rows[1:]] == [
        ["rnn", "2"], ["gru", "2"], ["rnn", "6"], ["gru", "6"],
        ["no memory", "2"], ["no memory", "6"],
    ]  # fmt: skip
    assert rows[-1][head["squared error"]] == "0.1667"
    gru = rows[2]
    assert gru[head["solved"]] == "1 of 1"
    first = json.loads((out / "compare.json").read_text())["rows"][1]["runs"][0]
    after = next(point["step"] for point in first["curve"] if point["loss"] < 0.01)
    assert gru[head["sequences until then"]] == f"{20 * after:,}"


def test_classifiers_compare_by_their_score(tmp_path, capsys, here):
    data = tmp_path / "train.txt"
    data.write_text(
        "".join(f"{'pos good' if i % 2 else 'neg bad'} film {i % 7}\n" for i in range(80))
    )
    assert compare("classify", "--train", data, "--cells", "rnn,lstm", "--seeds", 1, "--max-steps",
                   20, "--model.hidden_size", 6, "--model.embedding_size", 6, "--device", "cpu",
                   "--out", tmp_path / "side") == 0  # fmt: skip
    rows = table(capsys.readouterr().out)
    assert rows[0][:3] == ["accuracy", "width", "parameters"]
    assert float(rows[1][1]) > 0.4


def test_what_cannot_be_compared_is_told(corpus, tmp_path, capsys):
    out = ["--out", str(tmp_path / "side")]
    lm = ["lm", "--train", str(corpus), *out]
    for arguments, word in (
        ([*lm, "--cells", "rnn,lsmt"], "Did you mean 'lstm'"),
        ([*lm, "--cells", "rnn,gru,rnn"], "rnn twice"),
        ([*lm, "--baselines", "bigram"], "unknown baseline"),
        ([*lm, "--levels", "wrod"], "Did you mean 'word'"),
        ([*lm, "--lengths", "100"], "--lengths is for"),
        ([*lm, "--equal", "time"], "--max-time"),
        ([*lm, "--equal", "sizes"], "must be one of"),
        ([*lm, "--seeds", "0"], "at least 1"),
        ([*lm, "--resume"], "unknown option --resume"),
        (["adding", "--levels", "char", *out], "language models"),
        (["adding", "--baselines", "ngram", *out], "language models"),
        (["adding", "--lengths", "ten", *out], "whole numbers"),
        (["adding", "--lengths", "1", *out], "at least 2"),
        (["lm", *out], "no training data"),
        (["lm", "--train", str(corpus)], "--out"),
        (["ml"], "Did you mean 'lm'"),
        (["--cells", "rnn"], "expected a task first"),
    ):
        assert compare(*arguments) == 2, arguments
        said = capsys.readouterr()
        assert word in said.err, (arguments, said.err)
        assert said.err.count("\n") == 1
        assert said.out == ""
    assert not (tmp_path / "side").exists()
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / "mine.txt").write_text("kept")
    assert compare(*lm) == 2
    assert "holds no comparison" in capsys.readouterr().err
    (tmp_path / "side" / "mine.txt").rename(tmp_path / "side" / "results")
    assert compare(*lm) == 2
    assert "holds no comparison" in capsys.readouterr().err


def test_the_commands_of_the_page_can_be_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = Path("docs/compare.md").read_text("utf-8").splitlines()
    commands = [line for line in lines if line.startswith("throughtime compare ")]
    assert len(commands) >= 3
    for line in commands:
        assert task_command("compare", shlex.split(line)[2:]) is not None, line


def test_commas_in_brackets_belong_to_a_cell():
    assert split("rnn, lstm(output=identity,a=b),gru") == [
        "rnn",
        "lstm(output=identity,a=b)",
        "gru",
    ]
    assert split("rnn,[gru, lstm(output=identity)]") == ["rnn", "[gru, lstm(output=identity)]"]
    assert listed("[gru, lstm(output=identity)]") == ["gru", "lstm(output=identity)"]
    assert listed("gru,lstm") == listed(" [gru,lstm] ") == ["gru", "lstm"]
    assert listed("lstm(a=[1,2])") == ["lstm(a=[1,2])"]
    assert slug_of("[gru,lstm]") == "gru-lstm"
    assert slug_of("lstm(output=identity)") == "lstm-output-identity"
    assert slug_of("some/where/mine.py:Minimal") == "Minimal"


def test_spelling_is_the_formula_by_hand():
    speller = spelling.Speller(Counter({"aab": 1, "b": 1, "frequent": 9}), ends=True)
    # a: 2, b: 2, end: 2; N = 6, two different characters: N + A + 1, and one more for the end
    total = 6 + 2 + 1 + 1
    expected = -np.log2([3 / total, 3 / total, 3 / total]).sum()  # a, b, end
    assert speller.bits("ab") == pytest.approx(expected)
    unseen = -np.log2(1 / total / 0x110000) - np.log2(3 / total)
    assert speller.bits("é") == pytest.approx(unseen)
    shares = 3 / total + 3 / total + 3 / total + 1 / total  # a, b, end, and all the others
    assert shares == pytest.approx(1)
    alone = spelling.Speller(Counter("aab"), ends=False)
    assert alone.bits("b") == pytest.approx(-np.log2(2 / 3))  # seen once: b alone; N + A + 1 = 3


def test_spread_and_columns():
    assert spread([1.0]) is None
    assert spread([1.0, 2.0, 4.0]) == pytest.approx(np.std([1, 2, 4], ddof=1))
    row = VariantRow("rnn", "", 10, metrics=[{"f1": 0.5}, {"f1": 0.7}])
    made = table_of("", Score("f1"), "words", [row], ["a note"])
    assert made.heads == ["", "f1", "parameters"]
    assert made.cells == [["rnn", "0.6000 ± 0.1414", "10"]]
    assert made.markdown().splitlines()[:3] == [
        "|  | f1 | parameters |", "| --- | ---: | ---: |", "| rnn | 0.6000 ± 0.1414 | 10 |",
    ]  # fmt: skip
    assert made.text().endswith("a note")


def test_a_seed_with_few_steps_beside_its_siblings_is_told():
    def finding(seed, steps):
        return Finding(seed, {"steps": steps}, 1.0, [])

    row = VariantRow("gru", "", 10, findings=[finding(1, 3), finding(2, 200), finding(3, 210)])
    (note,) = few_steps(row)
    assert "gru, seed 1: 3 steps where its siblings made 200" in note
    assert few_steps(VariantRow("gru", "", 10, findings=[finding(1, 190), finding(2, 200)])) == []


@pytest.mark.parametrize(
    ("limits", "at", "by"),
    [
        ({"max_time": "4m", "epochs": 6}, (60, 100.0), "--epochs 6"),
        ({"max_time": "4m", "epochs": 6}, (59, 240.0), "--max-time 4m"),
        ({"max_steps": 7, "epochs": 6}, (7, 1.0), "--max-steps 7"),
        ({}, (100, 1.0), "--epochs 10"),
        ({"max_time": "4m"}, (10_000, 1.0), ""),
    ],
)
def test_which_budget_ended_a_run(limits, at, by):
    config = tt.LanguageConfig(train=["x"], out="x", **limits)
    assert Budget(config, 10).spent_by(*at) == by


def test_what_is_plotted_of_levels_has_its_unknown_words_spelled():
    finding = Finding(1, {}, 1.0, [{"elapsed": 1.0, "step": 5, "bits_per_char": 2.0}])
    row = VariantRow("gru", "word", 1, findings=[finding], metrics=[{"bits_per_char": 1.5}])
    row.facts = {"hidden_bits_per_char": 0.25}
    correct_for_unknown([row])
    assert finding.curve[0]["bits_per_char_spelled"] == 2.25
    assert row.values("bits_per_char_spelled") == [1.75]
