"""The likelihood of running text, exact over one stream or quick over several."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from ..data.corpus import Corpus
from ..data.left_out import files_said, read_said
from ..data.streams import Streams
from ..data.text import Text
from ..data.vocabulary import BOS
from ..ground import terminal
from ..layers.mode import evaluating
from ..metrics.likelihood import scores
from ..models.language import LanguageModel
from .task import Evaluation


def stream_nats(
    model: LanguageModel,
    corpus: Corpus,
    batch_size: int,
    window: int,
    *,
    limit: int | None = None,
    patience: float = math.inf,
    advance: Any = None,
) -> tuple[float, int]:
    """Total nats and tokens of a corpus read as parallel streams with carried state.

    With one stream that is the exact likelihood of the whole. `limit` stops after so many tokens,
    `patience` after so many seconds.
    """
    device = next(model.parameters()).device
    streams = Streams(corpus.ids, batch_size, window, BOS)
    nats, tokens = 0.0, 0
    began = time.perf_counter()
    with evaluating(model):
        state = model.initial_state(batch_size)
        for i in range(len(streams)):
            inputs, targets = streams[i]
            losses, state = model.nats(inputs.to(device), targets.to(device), state)
            nats += float(losses.sum(dtype=torch.float64))
            tokens += targets.numel()
            if advance is not None:
                advance(targets.numel())
            if (limit is not None and tokens >= limit) or time.perf_counter() - began > patience:
                break
    return nats, tokens


@dataclass(frozen=True)
class LanguageEvaluation(Evaluation):
    """What `evaluate` found, over the whole text as one stream."""

    nats_per_token: float
    bits_per_token: float
    perplexity: float
    nats_per_char: float
    bits_per_char: float
    unk_rate: float
    tokens: int
    characters: int
    bytes: int
    tokens_per_second: float


def evaluate_text(task: Any, model: LanguageModel, text: Text) -> LanguageEvaluation:
    """Exact likelihood of `text`, read as one stream."""
    corpus = task.encoded(text)
    c = corpus.counts
    part = "a part of " if (text.start, text.stop) != (0, None) else ""
    items = f"{c.tokens:,} tokens, {c.characters:,} characters"
    terminal.say(read_said(part + files_said(text.files), items))
    started = time.perf_counter()
    with terminal.progress("evaluating", len(corpus)) as advance:
        nats, tokens = stream_nats(model, corpus, 1, min(1024, len(corpus)), advance=advance)
    took = time.perf_counter() - started
    found = scores(nats / tokens, c.tokens, c.characters)
    return LanguageEvaluation(
        nats_per_token=found.pop("loss"),
        **found,
        unk_rate=c.unknown / c.tokens,
        tokens=c.tokens,
        characters=c.characters,
        bytes=c.bytes,
        tokens_per_second=tokens / took,
    )
