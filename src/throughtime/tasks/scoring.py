"""How probable texts are for a language model: each by itself, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..data.batches import Ragged
from ..data.vocabulary import PAD, UNK, Vocabulary
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
    return [
        Scored(
            text,
            float(values.sum()),
            tuple(zip(map(vocabulary.label, some), values.tolist())),
            sum(i == UNK for i in some),
        )
        for text, some, values in zip(texts, ids, nats)
    ]


def log_probabilities(
    model: Any, sequences: Sequence[Sequence[int]], given: int
) -> list[np.ndarray]:
    """Of each sequence, the log-probabilities of its ids but the first `given`, in float64."""
    device = next(model.parameters()).device
    padded, lengths = Ragged.of(np.asarray(one, np.int64) for one in sequences).pad(
        np.arange(len(sequences)), PAD
    )
    found = []
    with evaluating(model):
        state = model.initial_state(len(sequences))
        for start in range(0, len(padded) - 1, WINDOW):
            tokens = padded[start : start + WINDOW + 1].to(device)
            nats, state = model.nats(tokens[:-1], tokens[1:], state)
            found.append(-nats.double().cpu())
    values = torch.cat(found).numpy() if found else np.zeros((0, len(sequences)))
    return [values[given - 1 : n - 1, k].copy() for k, n in enumerate(lengths.tolist())]
