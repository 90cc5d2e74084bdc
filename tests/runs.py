"""Small runs of every task, what is on their disk, a kill in the middle, a process apart."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import throughtime as tt
from throughtime.config import from_dict
from throughtime.tasks import TASKS
from throughtime.training import trainer as trainers

WORDS = ["the", "a", "of", "and", "saw", "met", "with", "near", "cat", "dog", "bird", "red"]


class Killed(BaseException):
    """A kill: nothing after it is allowed to run."""


def kill(config, at_step):
    """Train up to a step and vanish there, as a SIGKILL does between two lines."""
    original = trainers.Trainer._one_step

    def one_step(self):
        if self.counters.step == at_step:
            raise Killed
        original(self)

    with pytest.MonkeyPatch.context() as m:
        m.setattr(trainers.Trainer, "_one_step", one_step)
        with pytest.raises(Killed):
            tt.train(config)


def weights(run):
    """The last weights of a run folder or configuration."""
    folder = Path(getattr(run, "out", run))
    return torch.load(folder / "trainer.pt", weights_only=True)["model"]


def lines(run, kind=None):
    """Lines of metrics.jsonl."""
    folder = Path(getattr(run, "out", run))
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in found if kind in (None, line["kind"])]


def timeless(run):
    """The same without what the clock decides."""
    return [
        {k: v for k, v in line.items() if k != "elapsed" and not k.endswith("_per_second")}
        for line in lines(run)
    ]


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def command(config, *extra):
    """Training in a process of its own."""
    program = [sys.executable, "-m", "throughtime", "train", "lm", "--out", config.out, *extra]
    return subprocess.Popen(program, env=dict(os.environ))


def flags(config):
    """A small language model's settings, as options."""
    return [
        "--train", *config.train, "--max-steps", "120", "--threads", "1", "--device", "cpu",
        "--model.hidden_size", "16", "--model.dropout", "0.2", "--loop.batch_size", "4",
        "--loop.window", "16", "--loop.save_every", "2", "--loop.eval_every", "5",
        "--loop.sample_every", "0",
    ]  # fmt: skip


# ---- every task, small --------------------------------------------------------------------------


def text(folder, random):
    path = folder / "text.txt"
    sentences = (" ".join(random.choice(WORDS, 8)) for _ in range(150))
    path.write_text("\n".join(sentences) + "\n")
    return [path]


def labelled(folder, random):
    """The label is the last word."""
    path = folder / "labelled.txt"
    rows = []
    for i in range(120):
        some = " ".join(random.choice(WORDS, random.integers(0, 8)))
        rows.append(f"{('neg', 'pos')[i % 2]} {some} {('bad', 'good')[i % 2]}\n")
    path.write_text("".join(rows))
    return [path]


def sensors(folder, random):
    """The label is in the deviation."""
    lengths, y = random.integers(1, 12, 120), np.arange(120) % 2 + 1
    x = random.normal(size=(120, 12, 3)) * y[:, None, None] ** 2 + 100
    np.savez(folder / "sensors.npz", x=x, y=y, lengths=lengths)
    return [folder / "sensors.npz"]


def events(folder, random):
    """A step's label tells whether the numbers rise; some are missing."""
    rows = ["sequence,a,b,kind,label"]
    for k in range(60):
        a = random.normal(size=random.integers(2, 12)).cumsum()
        for t in range(1, len(a)):
            gone = random.random() < 0.1
            label = "up" if a[t] > a[t - 1] else "down"
            b = "" if gone else f"{a[t] - a[t - 1]:.4f}"
            rows.append(f"{k},{a[t]:.4f},{b},{'xyz'[k % 3]},{label}")
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    return [folder / "events.csv"]


def measured(folder, random):
    """Two targets: the mean and the last of a sequence's numbers."""
    rows = ["sequence,a,b,mean,last"]
    for k in range(120):
        a = random.normal(size=random.integers(1, 9))
        rows += [f"{k},{v:.4f},{t},{a.mean():.4f},{a[-1]:.4f}" for t, v in enumerate(a)]
    (folder / "measured.csv").write_text("\n".join(rows) + "\n")
    return [folder / "measured.csv"]


def names_in_text(folder, random):
    """Capital letters begin a span."""
    blocks = []
    for _ in range(100):
        rows = []
        for _ in range(random.integers(1, 6)):
            rows.append(f"{random.choice(WORDS)}\tO\n")
            if random.random() < 0.4:
                kind = int(random.integers(2))
                rows.append(f"{('Ada', 'Rome')[kind]}\tB-{('PER', 'LOC')[kind]}\n")
        blocks.append("".join(rows))
    (folder / "names.conll").write_text("\n".join(blocks))
    return [folder / "names.conll"]


def pairs(folder, random):
    """Word for word."""
    sentences = [random.choice(WORDS, random.integers(0, 5)).tolist() for _ in range(300)]
    for side, say in (("x", str), ("y", str.upper)):
        rows = (" ".join(map(say, words)) + "\n" for words in sentences)
        (folder / f"pairs.{side}").write_text("".join(rows))
    return [folder / "pairs.x", folder / "pairs.y"]


def classes(folder, random):
    """Up and down the alphabet."""
    for name, letters in (("up", "abcdefg"), ("down", "gfedcba")):
        rows = [letters[i : i + 3 + k % 3] for k in range(10) for i in range(4)]
        (folder / f"{name}.txt").write_text("\n".join(rows))
    return [folder / "up.txt", folder / "down.txt"]


def tunes(folder, random):
    for rhythm, metre, bar in (("jig", "6/8", "DEF GAB"), ("reel", "4/4", "DEFG ABcd")):
        head = f"R:{rhythm}\nM:{metre}\nL:1/8\nK:D\n"
        bars = [bar, bar[::-1], bar.lower()]
        music = ["|".join(bars[(i + j) % 3] for j in range(1 + i // 3)) for i in range(12)]
        book = (f"X:{i}\nT:A tune\n{head}{line}|]\n" for i, line in enumerate(music))
        (folder / f"{rhythm}s.abc").write_text("\n".join(book))
    return [folder / "jigs.abc", folder / "reels.abc"]


def rolls(folder, random):
    """Four chords in turn."""
    chords = np.zeros((4, 88), np.uint8)
    for i in range(4):
        chords[i, [30 + 5 * i, 34 + 5 * i, 37 + 5 * i]] = 1
    sequences = {f"all{i}": np.roll(np.tile(chords, (2 + i % 3, 1)), i, 0) for i in range(20)}
    np.savez(folder / "rolls.npz", **sequences)
    return [folder / "rolls.npz"]


def waves(folder, random):
    """Three series with a period of eight steps, of different sizes; one of them has a gap."""
    rows = ["name,date,load,warm,kind"]
    for k, name in enumerate("abc"):
        t = np.arange(90)
        load = (k + 1) * (5 + np.sin(2 * np.pi * t / 8)) + random.normal(size=90) * 0.05
        for i in t.tolist():
            if (k, i) != (1, 20):
                date = f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00"
                value = "" if (k, i) == (2, 11) else f"{load[i]:.4f}"
                rows.append(f"{name},{date},{value},{i % 8},{'xy'[k % 2]}")
    (folder / "waves.csv").write_text("\n".join(rows) + "\n")
    return [folder / "waves.csv"]


NARROW = {"hidden_size": 8, "dropout": 0.2}
EMBEDDED = {**NARROW, "embedding_size": 8}
RUNS = {
    "lm": ("lm", text, {"model": {**NARROW, "num_layers": 2, "weight_drop": 0.1,
                                  "zoneout": "c=0.2", "recurrent_dropout": 0.1,
                                  "variational_dropout": 0.1, "learned_initial_state": True},
                        "loop": {"batch_size": 4, "window": 16}}),
    "lm, mixed": ("lm", text, {"cell": "gru,lstm", "model": {**NARROW, "hidden_size": [8, 6]},
                               "loop": {"batch_size": 4, "window": 16}}),
    "lm, full BPTT": ("lm", text, {"level": "word", "model": {**NARROW, "tied": True},
                                   "loop": {"batch_size": 4, "window": 0, "recompute": 20}}),
    "classify": ("classify", labelled, {"model": {**EMBEDDED, "pooling": "attention",
                                                  "hidden_size": [6, 8]},
                                        "class_weights": ["pos=2"]}),
    "classify numbers": ("classify", sensors, {"level": "numbers", "model": NARROW,
                                               "loop": {"batch_tokens": 70, "average": 2}}),
    "tag": ("tag", names_in_text, {"model": {**EMBEDDED, "char_embedding_size": 4, "char_size": 8,
                                             "head": "crf"}}),
    "translate": ("translate", pairs, {
        "level": "word", "model": {**EMBEDDED, "scheduled_sampling": 0.5, "sampling_epochs": 1.0,
                                   "learned_initial_state": True},
        "score": "loss", "loop": {"valid_sentences": 0, "batch_tokens": 70}}),
    "translate, mixed": ("translate", pairs, {
        "level": "word", "cell": "lstm,gru",
        "model": {**EMBEDDED, "hidden_size": [10, 8], "decoder_cell": "gru,peephole-lstm"},
        "score": "loss", "loop": {"valid_sentences": 0, "batch_tokens": 70}}),
    "conditional": ("conditional", classes, {"model": {**NARROW, "condition_dropout": 0.3},
                                             "loop": {"recompute": 3}}),
    "tunes": ("music", tunes, {"cell": "gru,lstm", "model": {**NARROW, "hidden_size": [8, 6]}}),
    "frames": ("music", rolls, {"model": NARROW, "data": {"transpose": 2, "longest": 8}}),
    "tag numbers": ("tag", events, {"level": "numbers", "model": {**NARROW, "head": "crf"},
                                    "data": {"missing": "mask", "categories": ["kind"]}}),
    "regress": ("regress", measured, {"model": {**NARROW, "loss": "quantiles",
                                                "pooling": "attention"},
                                      "data": {"target": ["mean", "last"]}}),
    "forecast": ("forecast", waves, {
        "model": {**NARROW, "output": "quantiles", "hidden_size": [8, 6]}, "window": 12,
        "horizon": 6, "data": {"series": "name", "known": ["warm"], "static": ["kind"],
                               "missing": "mask", "holdout": 0.3}}),
    "forecast, step": ("forecast", waves, {
        "model": {**NARROW, "output": "student-t", "decoding": "step"}, "window": 12,
        "horizon": 6, "data": {"series": "name", "target": ["load", "warm"], "static": ["kind"],
                               "missing": "forward", "holdout": 0.3}}),
    "adding": ("adding", None, {"model": {**NARROW, "num_layers": 2,
                                    "learned_initial_state": True}, "length": 6}),
    "copy": ("copy", None, {"cell": "[lstm,gru]", "model": NARROW, "length": 1}),
    "temporal-order": ("temporal-order", None, {"model": NARROW, "length": 10}),
}  # fmt: skip
"""Name → its task, what makes its data, its settings."""


def small_run(name, folder, out="run", **changes):
    """The configuration of a small run of a task over data made for it, in `folder`."""
    task, data, settings = RUNS[name]
    values = {
        "out": str(folder / out), "max_steps": 8, "device": "cpu", "threads": 1,
        "optim": {"lr": 0.02, "warmup": 0, "schedule": "constant"},
        "loop": {"batch_size": 16, "eval_every": "4", "save_every": "3", "log_every": "1"},
    }  # fmt: skip
    if data is None:
        values |= {"held_out": 60, "sequences": 100}
    else:
        values["train"] = [str(path) for path in data(folder, np.random.default_rng(0))]
    for section, more in [*settings.items(), *changes.items()]:
        both = isinstance(more, dict)
        values[section] = {**values.get(section, {}), **more} if both else more
    if task in ("lm", "translate", "conditional", "music"):
        values["loop"]["sample_every"] = "0"
    return from_dict(TASKS[task].config, values)
