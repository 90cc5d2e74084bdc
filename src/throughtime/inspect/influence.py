"""Influence on real text: how far each earlier token moved a prediction, by exchanging it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.stored import Ids
from ..ground.errors import InputError
from ..layers.states import each

BLOCK = 16
"""Steps between which exchanged columns join: a column runs from the block of its exchange on."""
ENTRIES_AT_ONCE = 1 << 22
"""Numbers in the largest matrix of logits."""


@dataclass(frozen=True)
class Influence:
    """What moved one prediction.

        moved[j]  = mean over draws x' of KL(P(y | x) ‖ P(y | x with x<j> → x')), in bits
        helped[j] = mean over draws of log2 P(y<T> | x) − log2 P(y<T> | x with x<j> → x')

    `tokens` are x<1…T>, `target` y<T>; `bits` what the target cost, `best` the likeliest tokens and
    their probabilities. `why` says how the position was chosen.
    """

    tokens: list[int]
    target: int
    moved: Tensor
    helped: Tensor
    bits: float
    best: list[tuple[int, float]]
    position: int = 0
    why: str = ""

    @property
    def within(self) -> Tensor:
        """[T]: the share of all that moved the prediction within the last 1, 2 … T tokens."""
        total = self.moved.flip(0).cumsum(0)
        return total / total[-1]  # NaN where nothing moved it

    def reach(self, share: float) -> int:
        """The last so many tokens that bring that share of all that moved the prediction."""
        return reach(self.within, share)


def reach(within: Tensor, share: float) -> int:
    """The first count of tokens within which that share lies; 0 where nothing moved."""
    return 0 if within[-1].isnan() else min(int((within < share).sum()) + 1, len(within))


def mean_within(several: Sequence[Influence]) -> Tensor:
    """The mean of `within` over predictions that anything moved, as far as all of them go."""
    curves = [one.within for one in several if not one.within[-1].isnan()]
    if not curves:
        return torch.full((1,), math.nan)
    return torch.stack([curve[: min(map(len, curves))] for curve in curves]).mean(0)


@torch.no_grad()
def influence_of_tokens(
    model: Any,
    tokens: Tensor,
    target: int,
    ids: Ids,
    *,
    state: Any = None,
    draws: int = 4,
    seed: int = 0,
    position: int = 0,
    why: str = "",
) -> Influence:
    """How far each of tokens [T] moved the prediction after the last of them.

    Each is exchanged, by itself, for `draws` other tokens drawn from the text `ids`, and the whole
    distribution after it is compared: no linear approximation, so a saturated unit hides nothing.
    `state`: that before the first token, [layers, 1, n] a part. Source: Li et al. 2016,
    arXiv:1612.08220 (erasure). Oracle: one exchange at a time through `LanguageModel.step`.
    """
    T = len(tokens)
    if tokens.dim() != 1 or T == 0:
        raise InputError(f"tokens must be [T], at least one; got {list(tokens.shape)}.")
    state = model.initial_state(1) if state is None else state
    others = exchanges(tokens, ids, draws, seed)
    columns = tokens[:, None].repeat(1, T * draws)
    columns[torch.arange(T).repeat_interleave(draws), torch.arange(T * draws)] = others.flatten()
    columns = torch.cat([columns, tokens[:, None]], 1)  # the last is the text as it is
    last, logs = after_the_last(model, columns, state, draws), []
    plain = model.head.logits(last[-1:]).double().log_softmax(1)[0]
    rows = max(1, ENTRIES_AT_ONCE // len(plain))
    for some in last[:-1].split(rows):
        q = model.head.logits(some).double().log_softmax(1)
        kl = (plain.exp() * (plain - q)).sum(1)
        logs.append(torch.stack([kl, plain[target] - q[:, target]]))
    moved, helped = (torch.cat(logs, 1) / np.log(2)).view(2, T, draws).mean(2).cpu()
    top = plain.exp().topk(min(3, len(plain)))
    best = list(zip(top.indices.tolist(), top.values.tolist()))
    bits = float(-plain[target] / np.log(2))
    return Influence(
        tokens.tolist(), int(target), moved.clamp(min=0), helped, bits, best, position, why
    )


def after_the_last(model: Any, columns: Tensor, own: Any, draws: int) -> Tensor:
    """What the head sees after the last of columns [T, T * draws + 1], from the state `own`.

    The last column is the text as it is; a column is read from the step where it first differs.
    """
    T = len(columns)
    running = each(lambda part: part[:, :0], own)
    h = columns.new_empty(0)
    for start in range(0, T, BLOCK):
        end = min(start + BLOCK, T)
        count = (end - start) * draws
        joined = each(lambda part, count=count: part.expand(-1, count, -1), own)
        running = each(beside, running, joined)
        many = each(beside, running, own)
        chosen = torch.cat([columns[start:end, : end * draws], columns[start:end, -1:]], 1)
        h, many = model.hidden(chosen, many)
        running = each(lambda part: part[:, :-1], many)
        own = each(lambda part: part[:, -1:], many)
    return h[-1]


def beside(*parts: Tensor) -> Tensor:
    """Sequences of states side by side."""
    return torch.cat(parts, 1)


def exchanges(tokens: Tensor, ids: Ids, draws: int, seed: int) -> Tensor:
    """[T, draws] tokens of the text, none the one that it stands for."""
    counts = np.bincount(np.asarray(ids[: 1 << 20]).astype(np.int64))
    if (counts > 0).sum() < 2:
        raise InputError("the text repeats one token: there is no other to exchange it for.")
    random = np.random.default_rng(seed)
    found = np.empty((len(tokens), draws), np.int64)
    for j, token in enumerate(tokens.tolist()):
        p = counts.astype(np.float64)
        if token < len(p):
            p[token] = 0
        found[j] = random.choice(len(p), draws, p=p / p.sum())
    return torch.from_numpy(found).to(tokens.device)


LEAST_HELP = 0.05
"""Bits: memory that helps by less does not."""


@torch.no_grad()
def choose_positions(
    model: Any, tokens: Tensor, targets: Tensor, count: int, near: int, noun: str = "token"
) -> list[tuple[int, str]]:
    """Columns of windows [T, B] to show: half where long memory helped most, half at random.

    Memory helped by the difference of the last target's nats after the last `near` tokens and after
    the whole window. The columns are random already, so the first ones are.
    """
    near = min(near, len(tokens) - 1)
    if near < 1:
        return [(b, "at random") for b in range(min(count, tokens.shape[1]))]
    whole, short = (last_nats(model, tokens[-k:], targets) for k in (len(tokens), near))
    helped = (short - whole) / np.log(2)
    order = helped.argsort(descending=True).tolist()
    chosen = [
        (b, f"memory beyond {near} {noun}s helped most, by {float(helped[b]):.1f} bits")
        for b in order[: (count + 1) // 2]
        if helped[b] >= LEAST_HELP
    ]
    taken = {b for b, _ in chosen}
    rest = [b for b in range(tokens.shape[1]) if b not in taken]
    rest = [rest[i] for i in np.random.default_rng(0).permutation(len(rest))]
    return chosen + [(b, "drawn at random") for b in rest[: count - len(chosen)]]


def last_nats(model: Any, tokens: Tensor, targets: Tensor) -> Tensor:
    """Nats of the last targets [B] after tokens [T, B], from a zero state."""
    h, _ = model.hidden(tokens, model.initial_state(tokens.shape[1]))
    return model.head.nats(h[-1], targets[-1]).double()
