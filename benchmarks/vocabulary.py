"""Training steps with a 50,000-word vocabulary: peak memory of the process, tokens per second.

    python benchmarks/vocabulary.py [--text FILE --column 2]

Batch 32 × 64 tokens, n = 512, 2 layers, Adam; full softmax in chunks, adaptive softmax, and the
whole matrix of logits as torch users write it. Each in a process of its own, in turn, over the same
tokens: the text given, else imdb_unsup under $THROUGHTIME_DATA, else random words by Zipf's law.
Also: the chunked loss against the unchunked one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from throughtime.command.cli import prepare_environment

prepare_environment()

import numpy as np
import torch
from torch.nn import functional as F

import throughtime as tt
from throughtime.config import ModelConfig
from throughtime.data.text import Text
from throughtime.data.vocabulary import Vocabulary
from throughtime.ground import machine
from throughtime.models.language import LanguageModel

V, T, B, N = 50_000, 64, 32, 512
KINDS = ("chunked", "adaptive", "whole")
STEPS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--column", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "IDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, path = options.one
        print(json.dumps(measure(kind, np.load(path))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/ids.npy"
        source, ids = tokens(options.text, options.column)
        np.save(path, ids)
        results: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                command = [sys.executable, __file__, "--one", kind, path]
                output = subprocess.run(command, check=True, capture_output=True, text=True)
                results[kind].append(json.loads(output.stdout))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; tokens: {source}")
    print(f"{'softmax':>10} {'peak MiB':>9} {'tokens/s':>9} {'first loss':>12}")
    for kind, found in results.items():
        peak, speed = (statistics.median(r[key] for r in found) for key in ("peak", "speed"))
        print(f"{kind:>10} {peak:>9,.0f} {speed:>9,.0f} {found[0]['loss']:>12.7f}")
    difference = results["chunked"][0]["loss"] - results["whole"][0]["loss"]
    print(f"chunked − whole: {difference:.1e} nats")


def tokens(text: Path | None, column: int | None) -> tuple[str, np.ndarray]:
    """Ids for the steps, and where they come from."""
    wanted = STEPS * T * B + 1
    data = os.environ.get("THROUGHTIME_DATA")
    if text is None and data:
        text, column = Path(data) / "imdb_unsup/unsup.tsv.gz", 2
    if text is None:
        ranks = np.random.default_rng(0).zipf(1.2, wanted * 2)
        return "random, Zipf 1.2", (ranks[ranks < V - 4][:wanted] + 3).astype(np.int64)
    stream = Text.of([str(text)], column=column)
    vocabulary = Vocabulary.build(stream, "word", size=V, lowercase=True)
    parts, count = [], 0
    for chunk, _ in stream.chunks():
        parts.append(vocabulary.encode(chunk, eos_at_lines=True))
        count += len(parts[-1])
        if count >= wanted:
            break
    return f"{text.name}, {len(vocabulary):,} words", np.concatenate(parts)[:wanted].astype(
        np.int64
    )


def measure(kind: str, ids: np.ndarray) -> dict[str, float]:
    """Median tokens/s, peak memory in MiB and the first loss of one kind of softmax."""
    machine.prepare(None)
    torch.manual_seed(0)
    head = "adaptive" if kind == "adaptive" else "full"
    model = LanguageModel(tt.LSTM, V, ModelConfig(hidden_size=N, num_layers=2, head=head))
    if kind == "whole":
        softmax = model.head
        model.head.forward = lambda h, y: F.cross_entropy(softmax.logits(h), y)  # type: ignore
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    stream = torch.from_numpy(ids)
    state, times, losses = model.initial_state(B), [], []
    for step in range(STEPS):
        piece = stream[step * T * B : (step + 1) * T * B + 1]
        inputs, targets = piece[:-1].view(B, T).T, piece[1:].view(B, T).T
        started = time.perf_counter()
        optimizer.zero_grad()
        loss, state = model(inputs, targets, state)
        loss.backward()
        optimizer.step()
        state = type(state)(*(part.detach() for part in state))
        times.append(time.perf_counter() - started)
        losses.append(loss.item())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak": peak, "speed": T * B / statistics.median(times[1:]), "loss": losses[0]}


if __name__ == "__main__":
    main()
