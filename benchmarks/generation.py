"""Writing: at batch 1 against a bare torch.nn.LSTM loop over the same weights, and 64 at once.

    python benchmarks/generation.py [--rounds 5] [--section alone|beside] [--torch-defaults]

alone: characters/s of one text. Both sides draw from the softmax by chance and turn ids into
characters; ours freezes and packs its weights for each text anew, as `Run.generate` does.
beside: 64 texts written side by side against the same one after the other. Sides take turns in one
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
from throughtime.decoding import Sampling, Start, writer_of
from throughtime.layers.mode import frozen
from throughtime.models.language import LanguageModel

CHARACTERS = 400
TEXTS, TEXT = 64, 100
ALONE = (
    (1, 128, "float32", 15),
    (1, 512, "float32", 3),
    (1, 512, "bf16", None),
    (1, 512, "int8", 6),
    (2, 512, "float32", 3),
    (2, 512, "int8", None),
    (1, 1024, "float32", None),
)
"""Layers, n, how weights are stored, and the ratio that is wanted."""
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
    parser.add_argument("--section", choices=("alone", "beside"))
    parser.add_argument(timing.TORCH_DEFAULTS, action="store_true")
    options = parser.parse_args()
    timing.prepare(None)
    timing.say_environment()
    if options.section != "beside":
        alone(options.rounds)
    if options.section != "alone":
        beside(options.rounds)


def alone(rounds: int) -> None:
    """Characters/s at batch 1."""
    head = f"{'layers, n':>10} {'weights':>8} {'ours':>9} {'nn.LSTM':>9} {'ratio':>7} {'bar':>5}"
    print(f"{head}   characters/s, batch 1")
    for layers, n, weights, bar in ALONE:
        times = against_bare(layers, n, "auto", least=rounds, weights=weights)
        a, b = (CHARACTERS / times.median(name) for name in ("ours", "bare"))
        bar = f"{bar:>5}" if bar else "    –"
        print(
            f"{f'{layers}, {n}':>10} {weights:>8} {a:>9,.0f} {b:>9,.0f} "
            f"{times.ratio('bare', 'ours'):>7.2f} {bar}"
        )


def beside(rounds: int) -> None:
    """Characters/s of 64 texts at once and one after the other."""
    print(f"{'layers, n':>10} {'64 at once':>11} {'one by one':>11} {'ratio':>7} {'bar':>5}")
    for layers, n, bar in ((2, 512, 6), (1, 256, 4)):
        model = model_of(layers, n, "auto")
        starts = [Start([0], k) for k in range(TEXTS)]

        def at_once(model: LanguageModel = model, starts: list[Start] = starts) -> list[str]:
            return drawn(model, starts, TEXT)

        def one_by_one(model: LanguageModel = model, starts: list[Start] = starts) -> list[str]:
            return [drawn(model, [start], TEXT)[0] for start in starts]

        sides = {"at once": at_once, "one by one": one_by_one}
        with frozen(model):  # weights are packed once for both
            assert at_once() == one_by_one()  # the same texts, to the bit
            times = timing.take_turns(sides, 0.0, least=rounds, warm=0)
        a, b = (TEXTS * TEXT / times.median(name) for name in sides)
        ratio = times.ratio("one by one", "at once")
        print(f"{f'{layers}, {n}':>10} {a:>11,.0f} {b:>11,.0f} {ratio:>7.2f} {bar:>5}")


def model_of(layers: int, n: int, backend: str) -> LanguageModel:
    torch.manual_seed(1)
    config = ModelConfig(hidden_size=n, num_layers=layers, embedding_size=64, backend=backend)
    return LanguageModel(tt.LSTM, len(LETTERS), config).eval()


def written(
    model: LanguageModel,
    starts: list[Start],
    length: int,
    sampling: Sampling | None = None,
    weights: str = "float32",
) -> list[str]:
    """Texts of so many characters, as `Run.generate` writes them."""
    with frozen(model, weights):
        return drawn(model, starts, length, sampling)


def drawn(
    model: LanguageModel, starts: list[Start], length: int, sampling: Sampling | None = None
) -> list[str]:
    """The same of a model that is frozen."""
    writer = writer_of(model, starts, sampling or Sampling(), 1, limit=length)
    rows = zip(*(writer.step() for _ in range(length)))
    return ["".join(LETTERS[token] for token in row) for row in rows]


def against_bare(
    layers: int,
    n: int,
    backend: str,
    *,
    seconds: float = 0.0,
    least: int = 3,
    weights: str = "float32",
) -> timing.Times:
    """Seconds of ours and of the bare loop for one text, in turns."""
    model = model_of(layers, n, backend)
    bare = Bare(model).eval()

    def ours(sampling: Sampling | None = None, weights: str = weights) -> str:
        return written(model, [Start([0])], CHARACTERS, sampling, weights)[0]

    def theirs() -> str:
        return bare.write(seeded())

    # the same weights, the same text
    assert ours(Sampling(temperature=0), "float32") == bare.write(None)
    return timing.take_turns({"ours": ours, "bare": theirs}, seconds, least=least, warm=1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


if __name__ == "__main__":
    main()
