"""The training loop of each task against a bare loop: same model, same batches.

    python benchmarks/tasks.py [--rounds 5] [--threads 2] [--only classify music] [--steps 100]

Ours does what a run does: budget, schedule, clipping, checks for non-finite steps, metrics. The
bare loop has forward, backward, clipping and the optimizer's step. Data are made up, as long as
real ones. Both take turns in one process; medians of the examples, tokens or frames a second.
A task has a row or more in ROWS.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from throughtime.command.cli import prepare_environment

prepare_environment()

import numpy as np
import torch

from throughtime.checkpoint import RunFolder
from throughtime.config import from_dict
from throughtime.ground import machine
from throughtime.ground.machine import Processes
from throughtime.tasks import TASKS, task_class
from throughtime.training.optimization import make_optimizer
from throughtime.training.trainer import Trainer

WARM = 10
"""Steps before the clock starts, and between two lines of metrics.jsonl."""


def sentences(folder: Path) -> str:
    """Labelled sentences of 3 to 40 words, of a vocabulary of 10,000."""
    chance = random.Random(1)
    lines = [
        f"{chance.choice('ab')} {' '.join(f'w{chance.randrange(10_000)}' for _ in range(length))}"
        for length in (chance.randint(3, 40) for _ in range(6000))
    ]
    (folder / "sentences.txt").write_text("\n".join(lines))
    return f"{folder}/sentences.txt"


def names(folder: Path) -> str:
    """Names of 3 to 12 letters, a file for each of six labels."""
    chance = random.Random(1)
    for label in "abcdef":
        lines = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 12)))
                 for _ in range(3000)]  # fmt: skip
        (folder / f"{label}.txt").write_text("\n".join(lines))
    return f"{folder}/?.txt"


def load(folder: Path) -> str:
    """Two years of hours of two quantities."""
    t = np.arange(17_000)
    chance = np.random.default_rng(1)
    columns = [np.sin(2 * np.pi * t / 24) + chance.normal(size=len(t)) * 0.1 for _ in range(2)]
    rows = [f"{i},{a:.4f},{b:.4f}" for i, a, b in zip(t, *columns)]
    (folder / "load.csv").write_text("\n".join(["time,a,b", *rows]))
    return f"{folder}/load.csv"


def tagged(folder: Path) -> str:
    """Tagged sentences of 3 to 40 words, of a vocabulary of 10,000; a word's tag is fixed."""
    chance = random.Random(1)
    lines = []
    for length in (chance.randint(3, 40) for _ in range(6000)):
        words = [chance.randrange(10_000) for _ in range(length)]
        lines.append("".join(f"w{word}\t{'abcdefgh'[word % 8]}\n" for word in words))
    (folder / "tagged.conll").write_text("\n".join(lines))
    return f"{folder}/tagged.conll"


def tunes(folder: Path) -> str:
    """ABC tunes of 20 to 80 bars."""
    chance = random.Random(1)
    book = []
    for i in range(400):
        bars = ["".join(chance.choices("ABcdefgD", k=6)) for _ in range(chance.randint(20, 80))]
        book.append(f"X:{i}\nR:jig\nM:6/8\nL:1/8\nK:D\n{'|'.join(bars)}|]\n")
    (folder / "tunes.abc").write_text("\n".join(book))
    return f"{folder}/tunes.abc"


def frames(folder: Path) -> str:
    """Piano rolls of 60 to 139 frames."""
    dice = np.random.default_rng(1)
    rolls = {f"train{i}": dice.random((int(dice.integers(60, 140)), 88)) < 0.05 for i in range(400)}
    np.savez(folder / "rolls.npz", **rolls)
    return f"{folder}/rolls.npz"


def parallel(folder: Path) -> list[str]:
    """Pairs of sentences of 5 to 25 words, of vocabularies of 8,000."""
    chance = random.Random(1)
    lengths = [chance.randint(5, 25) for _ in range(4000)]
    for side, more in (("x", 0), ("y", 2)):
        words = (chance.choices(range(8000), k=length + more) for length in lengths)
        lines = [" ".join(f"{side}{word}" for word in some) for some in words]
        (folder / side).write_text("\n".join(lines))
    return [f"{folder}/x", f"{folder}/y"]


@dataclass(frozen=True)
class Row:
    """A task, what makes its data, settings apart from the defaults, training steps of a turn."""

    task: str
    data: Callable[[Path], str | list[str]]
    settings: dict[str, Any]
    batch_size: int
    steps: int


ROWS = {
    "sentences, 2×128": Row("classify", sentences, {}, 32, 100),
    "names to labels, 2×128": Row(
        "classify",
        names,
        {"level": "char", "data": {"format": "files"}, "model": {"embedding_size": 64}},
        64,
        200,
    ),
    "words to tags, 2×192": Row("tag", tagged, {}, 32, 60),
    "words to tags, CRF": Row("tag", tagged, {"model": {"head": "crf"}}, 32, 60),
    "labels to names, 128": Row(
        "conditional", names, {"model": {"hidden_size": 128, "embedding_size": 64}}, 32, 400
    ),
    "hours to hours, 64": Row("forecast", load, {"window": 168, "horizon": 24}, 32, 60),
    "tunes, 384": Row("music", tunes, {"model": {"hidden_size": 384, "embedding_size": 64}}, 4, 40),
    "frames, 256": Row("music", frames, {"model": {"hidden_size": 256}}, 8, 80),
    "translation, 256": Row("translate", parallel, {"level": "word"}, 64, 40),
    "input feeding, 256": Row(
        "translate", parallel, {"level": "word", "model": {"input_feeding": True}}, 64, 30
    ),
}


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--only", nargs="+", choices=sorted({row.task for row in ROWS.values()}))
    parser.add_argument("--steps", type=int, help="of a turn, in place of those of each row")
    options = parser.parse_args(arguments)
    machine.prepare(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'task':12} {'':24} {'ours':>9} {'bare':>9} {'ratio':>6}   a second")
    for name, row in ROWS.items():
        if not options.only or row.task in options.only:
            a, b, unit = measure(row, options.rounds, options.steps or row.steps)
            print(f"{row.task:12} {name:24} {a:>9,.0f} {b:>9,.0f} {a / b:>6.3f}   {unit}")


def measure(row: Row, rounds: int, steps: int) -> tuple[float, float, str]:
    """Ours and the bare loop, in units of the task a second; the unit."""
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = row.data(Path(folder))
        for k in range(rounds):
            task = make_task(row, data, steps, f"{folder}/run{k}")
            size, seconds = run_bare(task)
            bare.append(size / seconds)
            ours.append(size / run_ours(task))
    return statistics.median(ours), statistics.median(bare), task.unit


def make_task(row: Row, data: str | list[str], steps: int, out: str) -> Any:
    """A prepared task, whose run does nothing but train."""
    config: type[Any] = TASKS[row.task].config
    loop = {"batch_size": row.batch_size, "log_every": str(WARM)}
    loop |= {f"{what}_every": "0" for what in ("eval", "sample", "save")
             if hasattr(config().loop, f"{what}_every")}  # fmt: skip
    files = [data] if isinstance(data, str) else data
    values = {"train": files, "out": out, "max_steps": steps, "loop": loop, **row.settings}
    return task_class(row.task).prepare(from_dict(config, values), device=torch.device("cpu"))


def run_ours(task: Any) -> float:
    """Seconds of all steps but the first WARM, by metrics.jsonl."""
    folder = RunFolder(task.config.out)
    folder.create(overwrite=False)
    trainer = Trainer(task, folder, Processes())
    trainer.warm_up()
    trainer.run()
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    elapsed = {line["step"]: line["elapsed"] for line in lines if line["kind"] == "train"}
    return elapsed[task.config.max_steps] - elapsed[WARM]


def run_bare(task: Any) -> tuple[float, float]:
    """What those steps learned from, in units of the task, and the seconds without a trainer."""
    torch.manual_seed(task.config.seed)
    model = task.build_model()
    optimizer = make_optimizer(model, task.config.optim)
    size, started, carry = 0.0, 0.0, None
    for step in range(task.config.max_steps):
        if step == WARM:
            size, started = 0.0, time.perf_counter()
        optimizer.zero_grad()
        loss = task.loss(model, task.batch(*divmod(step, task.steps_per_epoch)), carry)
        loss.mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.config.optim.clip_norm)
        optimizer.step()
        size, carry = size + loss.size, loss.carry
    return size, time.perf_counter() - started


if __name__ == "__main__":
    main()
