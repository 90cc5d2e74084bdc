"""How probable texts are for a language model: each by itself, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.batches import Ragged
from ..data.vocabulary import PAD, UNK, Vocabulary
from ..layers.heads import LOGITS_AT_ONCE
from ..layers.mode import evaluating

WINDOW = 1024
"""Steps read at a time: a long text in bounded memory."""


@dataclass(frozen=True)
class Scored:
    """A text, the natural logarithm of its probability, and that of each token; how many of these
    are unknown."""

    text: str
    log_probability: float
    tokens: tuple[tuple[str, float], ...]
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            "log_probability": self.log_probability,
            "unknown": self.unknown,
            "tokens": [list(one) for one in self.tokens],
        }


def scored(
    model: Any,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    ids: Sequence[Sequence[int]],
    opening: Sequence[int],
) -> list[Scored]:
    """Each text's ids after `opening`, side by side; what is summed is float64."""
    nats = log_probabilities(model, [[*opening, *some] for some in ids], len(opening))
    known = [[i if i < len(vocabulary) else UNK for i in some] for some in ids]
    return [
        Scored(
            text,
            float(values.sum()),
            tuple(zip(map(vocabulary.label, some), values.tolist())),
            some.count(UNK),
        )
        for text, some, values in zip(texts, known, nats)
    ]


def log_probabilities(
    model: Any, sequences: Sequence[Sequence[int]], given: int
) -> list[np.ndarray]:
    """Of each sequence, the log-probabilities of its ids but the first `given`, in float64."""

    def said(tokens: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        nats, state = model.nats(tokens, targets, state)
        return -nats.double(), state

    return read_through(model, sequences, given, said)


def likelihoods(model: Any, sequences: Sequence[Sequence[int]], given: int) -> list[np.ndarray]:
    """As `log_probabilities`, and beside each whether its id is the likeliest there: [n, 2]."""

    def said(tokens: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        h, state = model.hidden(tokens, state)
        flat, known = h.flatten(0, 1), model.known(targets)
        rows = max(1, LOGITS_AT_ONCE // model.embedding.num_embeddings)
        best = torch.cat([model.head.logits(part).argmax(1) for part in flat.split(rows)])
        nats = model.head.nats(flat, known.flatten()).view_as(known)
        return torch.stack([-nats.double(), (best.view_as(known) == known).double()], -1), state

    return read_through(model, sequences, given, said)


def read_through(
    model: Any, sequences: Sequence[Sequence[int]], given: int, said: Any
) -> list[np.ndarray]:
    """What is `said` of each id but the first `given`, the sequences side by side in windows."""
    device = next(model.parameters()).device
    padded, lengths = Ragged.of(np.asarray(one, np.int64) for one in sequences).pad(
        np.arange(len(sequences)), PAD
    )
    found = []
    with evaluating(model):
        state = model.initial_state(len(sequences))
        for start in range(0, len(padded) - 1, WINDOW):
            tokens = padded[start : start + WINDOW + 1].to(device)
            values, state = said(tokens[:-1], tokens[1:], state)
            found.append(values.cpu())
    values = torch.cat(found).numpy() if found else np.zeros((0, len(sequences)))
    return [values[given - 1 : n - 1, k].copy() for k, n in enumerate(lengths.tolist())]
