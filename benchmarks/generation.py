"""Sampling at batch 1 against a bare torch.nn.LSTM loop over the same weights: characters/s.

    python benchmarks/generation.py [--rounds 5]

Both draw from the softmax with a generator and turn ids into characters. They take turns in one
process; medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from throughtime.cli import prepare_environment

prepare_environment()

import torch
from torch import nn

import throughtime as tt
from throughtime import machine
from throughtime.config import ModelConfig
from throughtime.decoding import sample
from throughtime.model import LanguageModel

CHARACTERS = 400
LETTERS = [chr(32 + i) for i in range(96)]


class Bare(nn.Module):
    """What one writes without a library."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        stack = model.stack
        self.embedding = model.embedding
        self.lstm = nn.LSTM(stack.input_size, stack.hidden_size, stack.num_layers)
        for layer, w in enumerate(stack.weights):
            for name, value in (("weight_ih", w.W_x), ("weight_hh", w.W_a), ("bias_ih", w.b)):
                getattr(self.lstm, f"{name}_l{layer}").data.copy_(value)
            getattr(self.lstm, f"bias_hh_l{layer}").data.zero_()
        self.linear = nn.Linear(stack.hidden_size, len(LETTERS))
        self.linear.load_state_dict(model.head.state_dict())

    @torch.inference_mode()
    def write(self, generator: torch.Generator) -> str:
        token, state, text = torch.zeros(1, 1, dtype=torch.int64), None, []
        for _ in range(CHARACTERS):
            y, state = self.lstm(self.embedding(token), state)
            p = self.linear(y[0]).softmax(1)
            token = torch.multinomial(p, 1, generator=generator)
            text.append(LETTERS[token.item()])
        return "".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    machine.prepare(None)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'layers, n':>12} {'ours':>9} {'nn.LSTM':>9} {'ratio':>7}   characters/s, batch 1")
    for layers, n in ((1, 128), (1, 512), (2, 512), (1, 1024)):
        config = ModelConfig(hidden_size=n, num_layers=layers, embedding_size=64)
        model = LanguageModel(tt.LSTM, len(LETTERS), config).eval()
        bare = Bare(model).eval()

        def ours(generator: torch.Generator, model: LanguageModel = model) -> str:
            tokens = sample(model, [0], CHARACTERS, generator=generator)
            return "".join(LETTERS[token] for token in tokens)

        assert ours(seeded()) == bare.write(seeded())  # the same weights, the same text
        times: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(rounds):
            times["ours"].append(timed(ours))
            times["bare"].append(timed(bare.write))
        a, b = (CHARACTERS / statistics.median(times[name]) for name in ("ours", "bare"))
        print(f"{f'{layers}, {n}':>12} {a:>9,.0f} {b:>9,.0f} {a / b:>7.2f}")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def timed(write: Callable[[torch.Generator], str]) -> float:
    generator = seeded()
    started = time.perf_counter()
    write(generator)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
