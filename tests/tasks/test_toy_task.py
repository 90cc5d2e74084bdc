"""A task is a file and a line in a table: one defined here does all that the others do."""

import ast
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import throughtime as tt
from runs import kill, lines, same_bits, weights
from throughtime import tasks
from throughtime.compare import Comparison, compare
from throughtime.config.run import ExampleLoopConfig, RunConfig, StackConfig
from throughtime.data.batches import Ragged
from throughtime.data.files import find_files
from throughtime.data.lines import read_lines
from throughtime.layers.mode import evaluating
from throughtime.models import stack_of
from throughtime.tasks.example_task import ExampleTask
from throughtime.tasks.task import Evaluation, Prediction, Score
from throughtime.verbs import inspect_run

# ---- settings, data, model, task ----------------------------------------------------------------


@dataclass
class ToyModelConfig(StackConfig):
    """A stack.

    Args:
        hidden_size: Width n.
    """

    hidden_size: int = 8


@dataclass
class ToyOptions:
    """How numbers are predicted."""


@dataclass
class ToyConfig(RunConfig):
    """Train on the mean of numbers.

    Args:
        train: Files, a sequence a line: what is to be said, then the numbers.
        valid: Validation files; default: every tenth line.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = field(default_factory=list)
    valid: list[str] = field(default_factory=list)
    model: ToyModelConfig = field(default_factory=ToyModelConfig)
    loop: ExampleLoopConfig = field(default_factory=ExampleLoopConfig)

    predict_options: ClassVar[type | None] = ToyOptions


@dataclass(frozen=True)
class Series:
    """Numbers and what is to be said of each sequence."""

    numbers: Ragged
    targets: np.ndarray

    @property
    def lengths(self):
        return self.numbers.lengths

    def __len__(self):
        return len(self.targets)

    def pad(self, some):
        return *self.numbers.pad(some), torch.from_numpy(self.targets[some])

    def fingerprint(self):
        return self.numbers.fingerprint() + Ragged.of([self.targets], np.float32).fingerprint()


class ToyModel(nn.Module):
    """ŷ = W a<T> + b."""

    def __init__(self, cell, config):
        super().__init__()
        self.stack = stack_of(cell, 1, config)
        self.output = nn.Linear(config.hidden_size, 1)

    def values(self, x, lengths):
        _, state = self.stack(x, lengths=lengths)
        return self.output(state[0][-1])[:, 0]

    def forward(self, x, lengths, targets):
        return F.mse_loss(self.values(x, lengths), targets)


@dataclass(frozen=True)
class ToyEvaluation(Evaluation):
    """What `evaluate` found."""

    loss: float
    sequences: int


class Toy(ExampleTask):
    """The mean of a sequence of numbers."""

    unit = "sequences"
    score = Score(name="squared error")

    def read(self, patterns):
        found = [line.text.split() for path in find_files(patterns) for line in read_lines(path)]
        return [[float(value) for value in row] for row in found]

    def split(self, examples):
        return [e for i, e in enumerate(examples) if i % 10], examples[::10]

    def encode(self, examples, *, training=False):
        numbers = Ragged.of(([[v] for v in row[1:]] for row in examples), np.float32)
        return Series(numbers, np.array([row[0] for row in examples], np.float32))

    def summary(self):
        return f"{len(self.train)} sequences, {len(self.valid)} for validation"

    def build_model(self):
        return ToyModel(self.cell, self.config.model).to(self.device)

    def size(self, examples, some):
        return len(some)

    def said(self, model, examples):
        found = np.zeros(len(examples))
        with evaluating(model):
            for some, (x, lengths, _) in self.in_batches(examples):
                found[some] = model.values(x, lengths).cpu().numpy()
        return found

    def validate(self, model, *, quick):
        return {"loss": float(((self.said(model, self.valid) - self.valid.targets) ** 2).mean())}

    def describe(self, metrics):
        return f"squared error {metrics['loss']:.4f}"

    def evaluate(self, model, data, options):
        examples = self.to_measure(data)
        error = float(((self.said(model, examples) - examples.targets) ** 2).mean())
        return ToyEvaluation(error, len(examples))

    def predict(self, model, inputs, options):
        for line in inputs.lines():
            row = [0.0, *map(float, line.text.split())]
            (value,) = self.said(model, self.encode([row]))
            yield Prediction(f"{value:.3f}", {"value": float(value)})


# ---- what it does -------------------------------------------------------------------------------


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """The line in the table, and a small run."""
    line = tasks.Entry("a toy", ToyConfig, f"{__name__}:Toy")
    monkeypatch.setitem(tasks.TASKS, "toy", line)
    random = np.random.default_rng(0)
    rows = [random.random(random.integers(1, 9)) for _ in range(120)]
    text = "".join(f"{row.mean()} {' '.join(map(str, row))}\n" for row in rows)
    (tmp_path / "train.txt").write_text(text)

    def configure(out, **changes: Any) -> ToyConfig:
        values = {"train": [str(tmp_path / "train.txt")], "out": str(tmp_path / out),
                  "device": "cpu", "threads": 1, "max_steps": 60, "optim": {"lr": 0.02},
                  "loop": {"eval_every": "20", "inspect_every": "30"}}  # fmt: skip
        return tt.config.from_dict(ToyConfig, {**values, **changes})

    return configure


def test_it_trains_goes_on_evaluates_and_predicts(configure):
    config = configure("run")
    result = tt.train(config)
    assert result.metrics["loss"] < 0.02
    assert tt.evaluate(config.out).loss == pytest.approx(result.metrics["loss"])
    assert tt.evaluate(config.out, config.train).sequences == 120
    (one,) = tt.predict(config.out, lines=["0.5 0.5 0.5"])
    assert one.values["value"] == pytest.approx(0.5, abs=0.25)
    killed = configure("killed")
    kill(killed, at_step=30)
    tt.train(killed, resume=True)
    assert same_bits(weights(config), weights(killed))


def test_it_is_looked_into_while_it_trains_and_after(configure, tmp_path):
    config = configure("run")
    tt.train(config)
    looks = [line["stack"] for line in lines(config, "inside")]
    assert [look["lags"] > 0 for look in looks] == [True, True]
    found = inspect_run(config.out, out=tmp_path / "report", positions=20)
    said = found.report.to_dict()["sections"]
    assert "the loss of the whole sequence" in said["gradients"]["finding"]
    assert said["gates"]["gates"].keys() == {"u", "f", "o"}
    assert said["influence"]["left_out"]


def test_it_is_compared(configure, here):
    config = configure("side", loop={"eval_every": "20"})
    found = compare(config, Comparison(cells=["rnn", "gru"], seeds=1))
    assert found.table.heads[:2] == ["", "squared error"]
    assert [row[0] for row in found.table.cells] == ["rnn", "gru"]
    kept = json.loads((Path(config.out) / "compare.json").read_text())
    assert kept["task"] == "toy"
    shutil.rmtree(config.out)
    with pytest.raises(tt.InputError, match="levels is for"):
        compare(config, Comparison(levels=["char"]))


def test_nothing_that_asks_tasks_knows_one():
    """inspect, compare, training, the command line and the verbs know the contract alone."""
    package = Path(tt.__file__).parent
    homes = {line.home.partition(":")[0].lstrip(".") for line in tasks.TASKS.values()}
    names = {*tasks.TASKS, *(line.home.partition(":")[2] for line in tasks.TASKS.values())}
    wings = ("inspect", "compare", "training", "command")
    asking = [path for wing in wings for path in (package / wing).rglob("*.py")]
    alone = ("verbs.py", "run.py", "checkpoint.py", "config/comparison.py", "config/run.py")
    for path in [*asking, *(package / name for name in alone)]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module not in {f"tasks.{home}" for home in homes}, path
                assert not names & {alias.name for alias in node.names}, path
            elif isinstance(node, ast.Constant):
                assert node.value not in names, (path, node.lineno, node.value)
