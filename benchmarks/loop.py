"""The training loop against bare loops over the same batches: tokens per second.

    python benchmarks/loop.py [--rounds 5] [--device cuda] [--precision bf16]

Ours does what a run does: budget, schedule, clipping, checks for non-finite steps, carried state,
metrics, display. The bare loops have forward, backward, clipping and the optimizer's step: one over
our model, one over torch.nn.LSTM and torch's cross entropy. All take turns in one process; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from throughtime.command.cli import prepare_environment

prepare_environment()

import torch
from torch import Tensor, nn

from throughtime.checkpoint import RunFolder
from throughtime.config import LanguageConfig, ModelConfig, StreamLoopConfig
from throughtime.ground import machine
from throughtime.ground.machine import Processes
from throughtime.tasks.language import Language
from throughtime.training.optimization import make_optimizer
from throughtime.training.trainer import Trainer

ROWS = {
    "cpu": ((64, 32, 128, 200), (64, 32, 512, 40), (20, 20, 200, 400)),
    "cuda": ((64, 32, 128, 200), (64, 32, 512, 200), (128, 128, 1024, 100)),
}
"""T, B, n and training steps of a turn."""

WARM = 10


class Bare(nn.Module):
    """What one writes without a library."""

    def __init__(self, vocabulary: int, n: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, n)
        self.lstm = nn.LSTM(n, n)
        self.linear = nn.Linear(n, vocabulary)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        zeros = self.linear.weight.new_zeros(1, batch, self.lstm.hidden_size)
        return zeros, zeros

    def forward(self, tokens: Tensor, targets: Tensor, state: tuple[Tensor, ...]):
        y, state = self.lstm(self.embedding(tokens), state)
        logits = self.linear(y).flatten(0, 1)
        return nn.functional.cross_entropy(logits, targets.flatten()), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=ROWS, default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    options = parser.parse_args()
    machine.prepare(None)
    on = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {on}, {torch.get_num_threads()} threads")
    print(f"{'T, B, n':>16} {'ours':>10} {'bare':>10} {'nn.LSTM':>10} {'ratios':>12}   tokens/s")
    for T, B, n, steps in ROWS[options.device]:
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "text.txt"
            text.write_text("the cat, which already ate a lot of food, was full.\n" * 12_000)
            times: dict[str, list[float]] = {"ours": [], "bare": [], "torch": []}
            for k in range(options.rounds):
                out = f"{folder}/run{k}"
                task = make_task(text, T, B, n, steps, out, options.device, options.precision)
                times["ours"].append(run_ours(task))
                times["bare"].append(run_bare(task, task.build_model()))
                theirs = Bare(len(task.vocabulary), n).to(task.device)
                times["torch"].append(run_bare(task, theirs))
        a, b, c = (statistics.median(measured) for measured in times.values())
        print(
            f"{f'{T}, {B}, {n}':>16} {a:>10,.0f} {b:>10,.0f} {c:>10,.0f} {a / b:>6.3f}"
            f" {a / c:>5.3f}"
        )


def make_task(
    text: Path, T: int, B: int, n: int, steps: int, out: str, device: str, precision: str,
    cell: str = "lstm",
) -> Language:  # fmt: skip
    config = LanguageConfig(
        cell=cell,
        train=[str(text)],
        out=out,
        max_steps=steps,
        model=ModelConfig(hidden_size=n),
        loop=StreamLoopConfig(
            batch_size=B,
            window=T,
            precision=precision,
            eval_every="0",
            sample_every="0",
            log_every=str(WARM),
        ),
    )
    return Language.prepare(config, device=torch.device(device))


def run_ours(task: Language) -> float:
    """Tokens per second between two lines of metrics.jsonl."""
    folder = RunFolder(task.config.out or "")
    folder.create(overwrite=False)
    trainer = Trainer(task, folder, Processes())
    trainer.warm_up()
    trainer.run()
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    first, *_, last = (line for line in lines if line["kind"] == "train")
    steps = last["step"] - first["step"]
    return steps * tokens(task) / (last["elapsed"] - first["elapsed"])


def run_bare(task: Language, model: nn.Module) -> float:
    """Tokens per second of a loop that does nothing more than it must."""
    optimizer = make_optimizer(model, task.config.optim)
    state = model.initial_state(task.config.loop.batch_size)
    steps = task.config.max_steps or 0
    bf16 = task.config.loop.precision == "bf16"
    for step in range(steps):
        if step == WARM:
            started = now(task.device)
        x, targets, _ = task.batch(0, step % task.steps_per_epoch)
        optimizer.zero_grad()
        with torch.autocast(task.device.type, torch.bfloat16, enabled=bf16):
            loss, state = model(x, targets, state)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.config.optim.clip_norm)
        optimizer.step()
        state = [part.detach() for part in state]
    return (steps - WARM) * tokens(task) / (now(task.device) - started)


def tokens(task: Language) -> int:
    """Targets in a full window."""
    return task.config.loop.batch_size * task.streams.window


def now(device: torch.device) -> float:
    """The time when the device has done all it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
