"""The same likelihood in every unit."""

from __future__ import annotations

import math


def perplexity(loss: float) -> float:
    """exp of nats a token; of a loss beyond 700, that of 700."""
    return math.exp(min(loss, 700.0))


def scores(loss: float, tokens: int, characters: int) -> dict[str, float]:
    """Nats a token in every unit, for a text of so many tokens and characters."""
    per_char = loss * tokens / max(characters, 1)
    return {
        "loss": loss,
        "bits_per_token": loss / math.log(2),
        "nats_per_char": per_char,
        "bits_per_char": per_char / math.log(2),
        "perplexity": perplexity(loss),
    }
