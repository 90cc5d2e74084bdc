"""The training loop of `conditional` and `music` against bare loops: same model, same batches.

    python benchmarks/one_to_many.py [--rounds 5] [--threads 2]

Ours does what a run does: budget, schedule, clipping, checks for non-finite steps, metrics. The
bare loop has forward, backward, clipping and the optimizer's step. Data are made up. Both take
turns in one process; medians of tokens or frames per second.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from throughtime.cli import prepare_environment

prepare_environment()

import numpy as np
import torch

from throughtime import machine
from throughtime.checkpoint import RunFolder
from throughtime.config import ConditionalConfig, MusicConfig, from_dict
from throughtime.machine import Processes
from throughtime.optimization import make_optimizer
from throughtime.tasks import task_class
from throughtime.trainer import Trainer

WARM = 10
LOOP = {"eval_every": "0", "sample_every": "0", "save_every": "0", "log_every": str(WARM)}
ROWS: dict[str, tuple[str, dict[str, Any], int]] = {
    "names, 1×128": (
        "conditional",
        {"model": {"hidden_size": 128, "embedding_size": 64}, "loop": {"batch_size": 32, **LOOP}},
        400,
    ),
    "tunes, 1×384": (
        "music",
        {"model": {"hidden_size": 384, "embedding_size": 64}, "loop": {"batch_size": 4, **LOOP}},
        40,
    ),
    "frames, 1×256": (
        "music",
        {"model": {"hidden_size": 256}, "loop": {"batch_size": 8, **LOOP}},
        80,
    ),
}
"""Name → task, settings, training steps of a turn."""


def main() -> None:
    """Print a row for each task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    machine.prepare(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'':16} {'ours':>10} {'bare':>10} {'ratio':>6}   tokens or frames a second")
    for name, (task, settings, steps) in ROWS.items():
        with tempfile.TemporaryDirectory() as folder:
            data = make_data(name, Path(folder))
            ours, bare = [], []
            for k in range(options.rounds):
                prepared = make_task(task, settings, data, steps, f"{folder}/run{k}")
                ours.append(run_ours(prepared))
                bare.append(run_bare(prepared))
        a, b = statistics.median(ours), statistics.median(bare)
        print(f"{name:16} {a:>10,.0f} {b:>10,.0f} {a / b:>6.3f}")


def make_data(name: str, folder: Path) -> str:
    """Made-up names, tunes or frames, with lengths as real ones have them."""
    chance = random.Random(1)
    if name.startswith("names"):
        for label in "abcdef":
            lines = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 12)))
                     for _ in range(3000)]  # fmt: skip
            (folder / f"{label}.txt").write_text("\n".join(lines))
        return f"{folder}/?.txt"
    if name.startswith("tunes"):
        book = []
        for i in range(400):
            bars = ["".join(chance.choices("ABcdefgD", k=6)) for _ in range(chance.randint(20, 80))]
            book.append(f"X:{i}\nR:jig\nM:6/8\nL:1/8\nK:D\n{'|'.join(bars)}|]\n")
        (folder / "tunes.abc").write_text("\n".join(book))
        return f"{folder}/tunes.abc"
    dice = np.random.default_rng(1)
    rolls = {f"train{i}": dice.random((int(dice.integers(60, 140)), 88)) < 0.05 for i in range(400)}
    np.savez(folder / "rolls.npz", **rolls)
    return f"{folder}/rolls.npz"


def make_task(name: str, settings: dict[str, Any], data: str, steps: int, out: str) -> Any:
    """A prepared task."""
    cls = ConditionalConfig if name == "conditional" else MusicConfig
    config = from_dict(cls, {"train": [data], "out": out, "max_steps": steps, **settings})
    return task_class(name).prepare(config, device=torch.device("cpu"))


def run_ours(task: Any) -> float:
    """Tokens per second between two lines of metrics.jsonl."""
    folder = RunFolder(task.config.out)
    folder.create(overwrite=False)
    Trainer(task, folder, Processes()).run()
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    first, *_, last = (line for line in lines if line["kind"] == "train")
    return size(task, first["step"], last["step"]) / (last["elapsed"] - first["elapsed"])


def run_bare(task: Any) -> float:
    """Tokens per second of a loop that does nothing more than it must."""
    torch.manual_seed(task.config.seed)
    model = task.build_model()
    optimizer = make_optimizer(model, task.config.optim)
    steps = task.config.max_steps
    started = 0.0
    for step in range(steps):
        if step == WARM:
            started = time.perf_counter()
        optimizer.zero_grad()
        *inputs, _ = task.batch(*divmod(step, task.steps_per_epoch))
        model(*inputs).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.config.optim.clip_norm)
        optimizer.step()
    return size(task, WARM, steps) / (time.perf_counter() - started)


def size(task: Any, first: int, last: int) -> int:
    """Tokens in the batches of steps first … last - 1."""
    return sum(task.batch(*divmod(i, task.steps_per_epoch))[-1] for i in range(first, last))


if __name__ == "__main__":
    main()
