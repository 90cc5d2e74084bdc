"""The language model as a whole: training by backend, generation against a bare loop.

    python benchmarks/language.py [--seconds 10] [--backend auto] [--threads 2] [--json FILE]
        [--sizes 64,32,512] [--layers 1 2] [--torch-defaults]

Training: characters of tinyshakespeare under $THROUGHTIME_DATA, else of a made-up text; T, B, n =
64, 32, 512. A step is all of it: batch, forward, backward, clipping, the optimizer. The backend and
torch's own layers (`native`) train the same model on the same batches and take turns step by step;
tokens/s, ratios are medians over steps. Generation at batch 1: see generation.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch

import throughtime as tt
from generation import CHARACTERS, against_bare
from layer import chosen_backend
from throughtime.config import LanguageConfig, ModelConfig, StreamLoopConfig
from throughtime.tasks.language import Language
from throughtime.training.optimization import clip, make_optimizer
from timing import Bar, Section, geometric_mean, take_turns

CELLS = {"lstm": 1.15, "gru-reset-after": 2.0}
"""The cells that torch has, and the ratio asked of each."""


def main(arguments: list[str] | None = None) -> None:
    """Print both sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=10.0, help="for each row")
    add("--backend", default="auto")
    add("--threads", type=int, default=2)
    add("--sizes", default="64,32,512", metavar="T,B,n")
    add("--layers", type=int, nargs="+", default=[1, 2])
    add("--json", metavar="FILE", help="write everything there")
    add(timing.TORCH_DEFAULTS, action="store_true", help="OpenMP and malloc as torch has them")
    options = parser.parse_args(arguments)
    timing.prepare(options.threads)
    print("# The language model\n")
    timing.say_environment()
    with tempfile.TemporaryDirectory() as folder:
        sections = [training(options, Path(folder)), generation(options)]
    for section in sections:
        section.print()
    if options.json:
        found = {section.name: section.as_json() for section in sections}
        result = {"environment": timing.environment(), "options": vars(options), "sections": found}
        Path(options.json).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


# ---- training ---------------------------------------------------------------------------------


def training(options: argparse.Namespace, folder: Path) -> Section:
    """Our backend against torch's layers."""
    section = Section("training", "Training steps against backend native")
    T, B, n = map(int, options.sizes.split(","))
    name, text = a_text(folder)
    section.note(f"text: {name}; the losses of both sides agree")
    for cell, bound in CELLS.items():
        for layers in options.layers:

            def side(backend: str, cell: str = cell, layers: int = layers) -> Training:
                model = ModelConfig(hidden_size=n, num_layers=layers, backend=backend)
                return Training(text, cell, model, T, B)

            ours, native = side(options.backend), side("native")
            if reason := ours.why_not():
                section.note(f"{cell} left out: {options.backend} cannot run it: {reason}")
                continue
            for _ in range(2):
                a, b = ours(), native()
                assert abs(a - b) <= 1e-3 * b, f"{cell}: losses {a} and {b}"
            times = take_turns({"ours": ours, "native": native}, options.seconds)
            section.add(
                cell=cell,
                layers=layers,
                backend=ours.chosen(),
                **{"ours tokens/s": T * B / times.median("ours")},
                **{"native tokens/s": T * B / times.median("native")},
                ratio=times.ratio("native", "ours"),
            )
        ratios = [row["ratio"] for row in section.where(cell=cell)]
        if ratios:
            section.bars.append(Bar(f"{cell}: geometric mean", geometric_mean(ratios), bound))
    return section


class Training:
    """A model, its data and its optimizer; a call is one training step and gives its loss."""

    def __init__(self, text: Path, cell: str, model: ModelConfig, T: int, B: int) -> None:
        loop = StreamLoopConfig(batch_size=B, window=T)
        config = LanguageConfig(train=[str(text)], cell=cell, model=model, loop=loop)
        self.task = Language.prepare(config)
        torch.manual_seed(config.seed)
        self.model = self.task.build_model()
        self.optimizer = make_optimizer(self.model, config.optim)
        self.carry: Any = None
        self.steps = 0

    def __call__(self) -> float:
        epoch, i = divmod(self.steps, self.task.steps_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        batch = self.task.batch(epoch, i)
        loss, _, self.carry = self.task.loss(self.model, batch, self.carry)
        loss.backward()
        clip(self.model, self.task.config.optim)
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    @property
    def example(self) -> tuple[Any, Any]:
        """The weights of the first layer, and an input of its width."""
        w = self.model.stack.weights[0].forward()
        return w, torch.empty(2, 1, w.W_x.shape[1])

    def why_not(self) -> str | None:
        """Why the backend asked for cannot run the model."""
        backend = self.task.config.model.backend
        w, x = self.example
        return None if backend == "auto" else tt.why_not(backend, self.task.cell, x, w)

    def chosen(self) -> str:
        """The backend that runs."""
        return chosen_backend(self.task.config.model.backend, self.task.cell, *self.example)


def a_text(folder: Path) -> tuple[str, Path]:
    """tinyshakespeare if it is at hand, else words of random letters; its name and its file."""
    data = os.environ.get("THROUGHTIME_DATA")
    if data and (path := Path(data) / "tinyshakespeare/input.txt").exists():
        return "tinyshakespeare", path
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,.;:!?'-"
    words = ["".join(chance.choices(letters, k=chance.randint(1, 9))) for _ in range(2000)]
    path = folder / "text.txt"
    path.write_text("\n".join(" ".join(chance.choices(words, k=10)) for _ in range(15_000)))
    return "random words", path


# ---- generation -------------------------------------------------------------------------------


def generation(options: argparse.Namespace) -> Section:
    """Our sampling against a loop around torch.nn.LSTM."""
    section = Section("generation", "Sampling at batch 1 against a bare torch.nn.LSTM loop")
    n = int(options.sizes.split(",")[2])
    for layers in options.layers:
        times = against_bare(layers, n, options.backend, seconds=options.seconds)
        section.add(
            **{"layers, n": f"{layers}, {n}"},
            **{"ours characters/s": CHARACTERS / times.median("ours")},
            **{"nn.LSTM characters/s": CHARACTERS / times.median("bare")},
            ratio=times.ratio("bare", "ours"),
        )
    mean = geometric_mean(row["ratio"] for row in section.rows)
    section.bars.append(Bar("geometric mean", mean, 2.0))
    return section


if __name__ == "__main__":
    main()
