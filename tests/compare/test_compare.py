"""Cells side by side: widths, runs that go on after a kill, floors, corrections, the table."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import throughtime as tt
from cases import ROOT
from runs import lines, same_bits, weights
from throughtime.command.cli import main
from throughtime.command.parsing import task_command
from throughtime.compare import floor, pool, sizes, spelling
from throughtime.compare.outcome import Finding, VariantRow, correct_for_unknown, spread
from throughtime.compare.plan import slug_of
from throughtime.compare.table import few_steps, table_of
from throughtime.config import from_dict, to_dict
from throughtime.config.comparison import split
from throughtime.ngram import witten_bell_nats
from throughtime.tasks import task_class
from throughtime.tasks.task import Score
from throughtime.training.budget import Budget

SMALL = [
    "--device", "cpu", "--model.hidden_size", "12", "--loop.batch_size", "4",
    "--loop.window", "16", "--loop.sample_every", "0", "--loop.eval_every", "10",
]  # fmt: skip
WORDS = ["cat", "dogs", "ate", "the", "which", "already", "was", "full", "sees", "bird"]


@pytest.fixture
def corpus(tmp_path):
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS, 8)) for _ in range(200)]
    lines[100] = "the one-off word sees zebras"
    lines[-1] = "the ünseen zebras ate"
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def compare(*arguments):
    return main(["compare", *map(str, arguments)])


def table(text):
    """The printed table as rows of cells."""
    import re

    return [re.split(r"\s{2,}", line.strip()) for line in text.split("\n\n")[0].splitlines()]


# ---- widths -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=3, max_size=40), st.integers(0, 2000))
def test_the_nearest_width_is_that_of_looking_at_all(steps, wanted):
    counts = np.cumsum([1, *steps]).tolist()

    def count(n):
        return counts[n - 1] if n <= len(counts) else counts[-1] + 100 * (n - len(counts))

    every = [n for n in range(1, len(counts) + 60) if count(n) <= wanted]
    found = sizes.nearest(count, wanted)
    if not every:
        assert found is None
    else:
        best = min(abs(count(n) - wanted) for n in range(1, len(counts) + 60))
        assert abs(count(found) - wanted) == best


@pytest.mark.parametrize("extra", [
    {}, {"num_layers": 2, "embedding_size": 7}, {"tied": True, "output_layers": [9]},
    {"context": 3},
])  # fmt: skip
def test_counts_are_those_of_the_built_model_and_no_width_is_nearer(corpus, tmp_path, extra):
    config = from_dict(tt.LanguageConfig, {
        "train": [str(corpus)], "out": str(tmp_path / "run"), "device": "cpu",
        "model": {"hidden_size": 40, **extra}, "loop": {"batch_size": 4, "window": 16},
    })  # fmt: skip
    task = task_class("lm").prepare(config)
    wanted = sum(p.numel() for p in task.build_model().parameters())
    assert sizes.parameters(task, config) == wanted
    assert task.device.type == "cpu"  # the prepared task is as it was
    cells = ("lstm", "rnn", "gru", "simple-gru", "peephole-lstm", "gru-reset-after")
    for cell in cells if not extra else cells[:2]:
        matched = from_dict(tt.LanguageConfig, {**to_dict(config), "cell": cell})
        count = sizes.match(task, matched, wanted, cell)
        built = task_class("lm").prepare(matched).build_model()
        assert sum(p.numel() for p in built.parameters()) == count
        n = matched.model.hidden_size
        if cell == "lstm":
            assert (n, count) == (40, wanted)
        for other in (n - 1, n + 1):
            matched.model.hidden_size = other
            assert abs(sizes.parameters(task, matched) - wanted) >= abs(count - wanted)


def test_a_second_cell_is_counted_as_the_one_that_it_follows(tmp_path):
    data = tmp_path / "train.conll"
    data.write_text("Ada\tB-person\nsees\tO\na\tO\nbear\tO\n\n" * 30)
    values = {"train": [str(data)], "out": "run", "model": {"hidden_size": 10}, "device": "cpu"}
    config = from_dict(tt.TaggerConfig, values)
    task = task_class("tag").prepare(config)
    wanted = sizes.parameters(task, config)
    matched = from_dict(tt.TaggerConfig, {**values, "cell": "rnn"})
    count = sizes.match(task, matched, wanted, "rnn")
    built = task_class("tag").prepare(matched).build_model()
    assert sum(p.numel() for p in built.parameters()) == count != wanted


def test_parameters_that_cannot_be_matched_are_told(corpus, tmp_path, capsys):
    where = ["--train", corpus, *SMALL, "--out", tmp_path / "run", "--max-steps", 1]
    assert compare("lm", "--levels", "char,subword", "--data.vocab_size", 300,
                   "--model.embedding_size", 64, "--model.hidden_size", 2, *where) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "subword has" in said or "lstm has" in said
    assert "--equal parameters cannot be" in said
    assert not (tmp_path / "run").exists()


# ---- processes ----------------------------------------------------------------------------------


def wait_for(condition, seconds=120):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited too long"
        time.sleep(0.05)


def step_of(folder):
    line = pool.last_line(folder / "metrics.jsonl")
    return line["step"] if line else 0


def test_it_goes_on_after_a_kill_and_after_ctrl_c_bit_for_bit(corpus, tmp_path, capsys, request):
    """Killed from outside, then interrupted here; the runs of both are processes of their own."""
    out, steps = tmp_path / "side", 300
    command = ["lm", "--train", str(corpus), *SMALL, "--cells", "rnn,gru", "--seeds", "1",
               "--max-steps", str(steps), "--loop.log_every", "5", "--loop.eval_every", "150",
               "--loop.save_every", "50", "--jobs", "1", "--threads", "1",
               "--out", str(out)]  # fmt: skip
    first, second = folders = [out / "rnn-1", out / "gru-1"]

    start = [sys.executable, "-m", "throughtime", "compare", *command]
    killed = subprocess.Popen(start, stderr=subprocess.DEVNULL)
    wait_for(lambda: step_of(first) > 0)
    killed.kill()  # its run is an orphan now: it saves and goes, and holds the lock till then
    killed.wait()

    over = threading.Event()

    def press_ctrl_c():
        wait_for(lambda: over.is_set() or step_of(second) > 0)
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press_ctrl_c)
    presser.start()
    code = compare(*command)
    over.set()
    presser.join()
    said = capsys.readouterr().err
    assert code == 130, said
    assert "goes on" in said
    assert step_of(first) == steps > step_of(second)
    assert not (out / "compare.json").exists()

    before = (first / "trainer.pt").stat().st_mtime_ns
    request.getfixturevalue("here")
    assert compare(*command) == 0
    printed = capsys.readouterr()
    assert "1 of 2 runs are finished already" in printed.err
    assert (first / "trainer.pt").stat().st_mtime_ns == before
    assert [row[0] for row in table(printed.out)[1:]] == ["rnn", "gru"]
    for folder in folders:
        config = tt.load(folder, device="cpu")[0].config
        config.out = str(tmp_path / folder.name)
        tt.train(config)
        assert lines(folder, "train")[-1]["step"] == lines(config, "train")[-1]["step"] == steps
        assert same_bits(weights(folder), weights(config))


def test_a_folder_at_work_is_left_alone(corpus, tmp_path, capsys, here, monkeypatch):
    import fcntl

    monkeypatch.setattr("throughtime.compare.folder.LOCK_PATIENCE", 0.1)
    out = tmp_path / "side"
    out.mkdir()
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert compare("lm", "--train", corpus, *SMALL, "--out", out, "--max-steps", 1) == 2
    assert "at work" in capsys.readouterr().err


def test_a_run_that_fails_is_a_row_and_the_others_go_on(tmp_path, capsys, request):
    out = tmp_path / "side"
    cell = tmp_path / "mine.py"
    cell.write_text(
        "import torch, throughtime as tt\n"
        "class Bad(tt.Cell):\n"
        "    gates = ('a',)\n"
        "    state = ('a',)\n"
        "    def step(self, w, x, s):\n"
        "        return self.State(a=w.a(s.a, x) / 0.0)\n"
    )
    command = ["adding", "--seeds", 1, "--max-steps", 20, "--length", 5, "--model.hidden_size", 4,
               "--device", "cpu", "--held-out", 20, "--model.backend", "reference",
               "--threads", 1, "--out", out]  # fmt: skip
    assert compare(*command, "--cells", f"{cell}:Bad") == 1  # in a process of its own
    found = capsys.readouterr()
    assert "warning: Bad-1 failed: stopped at step 10" in found.err
    assert "not finite" in found.out
    assert json.loads((out / "compare.json").read_text())["rows"][0]["failures"]
    request.getfixturevalue("here")
    assert compare(*command, "--cells", f"{cell}:Bad,rnn") == 1
    rows = {row[0]: row for row in table(capsys.readouterr().out)}
    assert rows["mine.py:Bad"][1] == "–"
    assert float(rows["rnn"][1]) > 0


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), 9)", "for want of memory"),
        ("os.kill(os.getpid(), 11)", "signal 11; its last words: ready"),
        ("sys.exit(130)", "goes on with it"),
        ("sys.exit(2)", "ready"),
    ],
)
def test_why_a_run_ended(tmp_path, end, said):
    log = tmp_path / "log"
    with open(log, "w") as file:
        code = subprocess.run(
            [sys.executable, "-c", f"import os, sys; print('ready', flush=True); {end}"],
            stdout=file,
            check=False,
        ).returncode
    assert said in pool.reason(pool.Job(None, tmp_path / "result", log), code)


def test_null_in_metrics_is_a_number_that_is_not_finite(tmp_path):
    (tmp_path / "result.json").write_text('{"unit": "words"}')
    (tmp_path / "metrics.jsonl").write_text(
        '{"kind": "valid", "step": 1, "loss": null, "elapsed": 1.0}\n'
        '{"kind": "train", "step": 2, "loss": null, "words_per_second": 5.0}\n'
    )
    (point,) = Finding.read(tmp_path / "result.json", tmp_path, 1).curve
    assert math.isnan(point["loss"])
    line = pool.last_line(tmp_path / "metrics.jsonl")
    assert line is not None
    assert f"{line['loss']:.3f}" == "nan"


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
