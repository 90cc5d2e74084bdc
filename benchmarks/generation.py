"""Sampling at batch 1 against a bare torch.nn.LSTM loop over the same weights: characters/s.

    python benchmarks/generation.py [--rounds 5]

Both draw from the softmax with a generator and turn ids into characters. They take turns in one
process; medians.
"""

from __future__ import annotations

import argparse

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch
from torch import nn

import throughtime as tt
from throughtime.config import ModelConfig
from throughtime.decoding import Sampling, sample
from throughtime.ground import machine
from throughtime.layers.mode import frozen
from throughtime.models.language import LanguageModel

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
    def write(self, generator: torch.Generator | None) -> str:
        """Drawn from the generator; without one, always the most probable letter."""
        token, state, text = torch.zeros(1, 1, dtype=torch.int64), None, []
        for _ in range(CHARACTERS):
            y, state = self.lstm(self.embedding(token), state)
            logits = self.linear(y[0])
            if generator is None:
                token = logits.argmax(1, keepdim=True)
            else:
                token = torch.multinomial(logits.softmax(1), 1, generator=generator)
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
        times = against_bare(layers, n, "auto", least=rounds)
        a, b = (CHARACTERS / times.median(name) for name in ("ours", "bare"))
        print(f"{f'{layers}, {n}':>12} {a:>9,.0f} {b:>9,.0f} {times.ratio('bare', 'ours'):>7.2f}")


def against_bare(
    layers: int, n: int, backend: str, *, seconds: float = 0.0, least: int = 3
) -> timing.Times:
    """Seconds of ours and of the bare loop for one text, in turns."""
    torch.manual_seed(1)
    config = ModelConfig(hidden_size=n, num_layers=layers, embedding_size=64, backend=backend)
    model = LanguageModel(tt.LSTM, len(LETTERS), config).eval()
    bare = Bare(model).eval()

    def ours(sampling: Sampling | None = None) -> str:
        with frozen(model):  # as `Run.generate` does: the weights are packed for each text anew
            tokens = sample(model, [0], CHARACTERS, sampling, generator=seeded())
            return "".join(LETTERS[token] for token in tokens)

    def theirs() -> str:
        return bare.write(seeded())

    assert ours(Sampling(temperature=0)) == bare.write(None)  # the same weights, the same text
    return timing.take_turns({"ours": ours, "bare": theirs}, seconds, least=least, warm=0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


if __name__ == "__main__":
    main()
