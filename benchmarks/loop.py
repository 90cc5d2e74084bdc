"""The training loop against a bare loop over the same model and batches: tokens per second.

    python benchmarks/loop.py [--rounds 5]

Ours does what a run does: budget, schedule, clipping, checks for non-finite steps, carried state,
metrics, display. The bare loop has forward, backward, clipping and the optimizer's step. Both take
turns in one process; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from throughtime.cli import prepare_environment

prepare_environment()

import torch

from throughtime import machine
from throughtime.checkpoint import RunFolder
from throughtime.config import LanguageConfig, LoopConfig, ModelConfig
from throughtime.machine import Processes
from throughtime.optimization import make_optimizer
from throughtime.tasks.language import Language
from throughtime.trainer import Trainer

ROWS = ((64, 32, 128, 200), (64, 32, 512, 40), (20, 20, 200, 400))
"""T, B, n and training steps of a turn."""

WARM = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    machine.prepare(None)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'T, B, n':>16} {'ours':>10} {'bare':>10} {'ratio':>7}   tokens/s")
    for T, B, n, steps in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            text.write_text("the cat, which already ate a lot of food, was full.\n" * 12_000)
            ours, bare = [], []
            for k in range(rounds):
                task = make_task(text, T, B, n, steps, f"{folder}/run{k}")
                ours.append(run_ours(task))
                bare.append(run_bare(task))
        a, b = statistics.median(ours), statistics.median(bare)
        print(f"{f'{T}, {B}, {n}':>16} {a:>10,.0f} {b:>10,.0f} {a / b:>7.3f}")


def make_task(text: Path, T: int, B: int, n: int, steps: int, out: str) -> Language:
    config = LanguageConfig(
        train=[str(text)],
        out=out,
        max_steps=steps,
        model=ModelConfig(hidden_size=n),
        loop=LoopConfig(
            batch_size=B, window=T, eval_every="0", sample_every="0", log_every=str(WARM)
        ),
    )
    return Language.prepare(config)


def run_ours(task: Language) -> float:
    """Tokens per second between two lines of metrics.jsonl."""
    folder = RunFolder(task.config.out or "")
    folder.create(overwrite=False)
    Trainer(task, folder, Processes()).run()
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    first, *_, last = (line for line in lines if line["kind"] == "train")
    steps = last["step"] - first["step"]
    return steps * task.tokens_per_step / (last["elapsed"] - first["elapsed"])


def run_bare(task: Language) -> float:
    """Tokens per second of a loop that does nothing more than it must."""
    torch.manual_seed(task.config.seed)
    model = task.build_model()
    optimizer = make_optimizer(model, task.config.optim)
    state = model.initial_state(task.config.loop.batch_size)
    steps = task.config.max_steps or 0
    for step in range(steps):
        if step == WARM:
            started = time.perf_counter()
        tokens, targets, _ = task.batch(0, step % task.steps_per_epoch)
        optimizer.zero_grad()
        loss, state = model(tokens, targets, state)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.config.optim.clip_norm)
        optimizer.step()
        state = type(state)(*(part.detach() for part in state))
    return (steps - WARM) * task.tokens_per_step / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
