"""Primes, and one text after them; states of the sequences that are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..ground.errors import InputError
from ..layers.attention import Memory
from ..layers.states import rebuilt
from .sampling import Sampling


@torch.inference_mode()
def sample(
    model: Any,
    prime: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    eos: int | None = None,
    generator: torch.Generator | None = None,
    state: Any = None,
) -> Iterator[int]:
    """Novel tokens after `prime` (at least one id, such as <bos>), one at a time, until `eos`.

    x<t+1> is the token drawn from ŷ<t>. The `eos` itself is not given out. `state` is that before
    the prime.
    """
    sampling = sampling or Sampling()
    device = next(model.parameters()).device
    state, last = read(model, prime, device, state)
    for _ in range(max_new_tokens):
        logits, state = model.step(last, state)
        last = sampling.draw(logits, generator)
        token = int(last)
        if token == eos:
            return
        yield token


def read(
    model: Any, prime: Sequence[int], device: torch.device, state: Any = None
) -> tuple[Any, Tensor]:
    """The state after all of `prime` but its last token, and that token [1]."""
    if not prime:
        raise InputError("the prime must hold at least one token, such as <bos>.")
    tokens = torch.tensor(prime, dtype=torch.int64, device=device)[:, None]
    state = model.initial_state(1) if state is None else state
    for window in tokens[:-1].split(1024):
        _, state = model.hidden(window, state)
    return state, tokens[-1]


def reorder(state: Any, rows: Tensor, sentences: Tensor | None = None) -> Any:
    """The state of the chosen hypotheses: each part [layers, R, n] → [layers, len(rows), n],
    whatever the layout.

    A `Memory` [T_x, sentences, …] is shared by all hypotheses of a sentence: what is kept of it are
    the chosen sentences; None: all.
    """
    if isinstance(state, Tensor):
        return state.index_select(1, rows)
    if state is None:
        return None
    if isinstance(state, Memory):
        if sentences is None:
            return state
        return Memory(*(part.index_select(1, sentences) for part in state))
    return rebuilt(state, (reorder(part, rows, sentences) for part in state))
