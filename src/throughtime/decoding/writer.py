"""Many texts written side by side, each as it would be alone.

A draw is a function of (seed, sample, position): `chance.shares`. What it draws from is the same to
the last bit however many texts stand beside it: frozen stacks step row by row in native code, and
all else is computed in blocks of a fixed number of rows (`layers.rows`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.vocabulary import UNK
from ..ground import chance
from ..ground.errors import InputError
from ..layers.rows import block_of, steps_row_by_row
from ..layers.states import each
from .reading import read, reorder
from .sampling import Before, Sampling

WINDOW = 256
"""Tokens of a prime that are read at once, where it is longer."""

AHEAD = 64
"""Positions whose chances are made at a time."""


class Start(NamedTuple):
    """What a text goes on from: at least one id, such as <bos>; the number of the sample, which
    decides the draws; and the state before it all (None: the model's own first one)."""

    ids: Sequence[int]
    sample: int = 0
    state: Any = None


class Likely(NamedTuple):
    """A written token's natural log-probability, and the likeliest tokens in its place with theirs.

    They are the model's own, before penalties, temperature and what else `Sampling` does.
    """

    log_probability: float
    instead: list[tuple[int, float]]


class Writer:
    """Texts after their `starts`, all a token longer with each `step`.

    `sampling` says how tokens are drawn and `seed` by what chance. `tops`: None, or of how many
    likely tokens `likely` tells.
    """

    def __init__(
        self,
        model: Any,
        starts: Sequence[Start],
        sampling: Sampling,
        seed: int,
        *,
        tops: int | None = None,
    ) -> None:
        self.model, self.sampling, self.seed, self.tops = model, sampling, seed, tops
        self.device = next(model.parameters()).device
        self.rows = list(range(len(starts)))  # whose texts are still written
        self.samples = torch.tensor([start.sample for start in starts])
        self.primes = [start.ids for start in starts]
        self.position, self.chances = 0, torch.empty(len(starts), 0, dtype=torch.float64)
        self.likely: list[Likely] = []
        self.before: Before | None = None
        if not all(start.ids for start in starts):
            raise InputError("a prime must hold at least one token, such as <bos>.")
        with torch.inference_mode():
            self.last = torch.tensor([start.ids[-1] for start in starts], device=self.device)
            exact = self.device.type == "cpu" and steps_row_by_row(model)
            self.beside = Beside(model, None if exact else block_of(self.device))
            self.beside.begin(self._read(starts, exact))

    def _read(self, starts: Sequence[Start], exact: bool) -> Any:
        """The state of each text after all of its start but the last token; what begins alike is
        read once."""
        numbers: dict[tuple[int, int], int] = {}
        alike = [numbers.setdefault((id(s.ids), id(s.state)), len(numbers)) for s in starts]
        different = [starts[alike.index(k)] for k in range(len(numbers))]
        states, rests = [], []
        for start in different:
            alone = len(start.ids) - 1
            if exact:  # what is short is read step by step, beside the others
                alone -= alone % WINDOW
            state, _ = read(self.model, start.ids[: alone + 1], self.device, start.state)
            states.append(state)
            rests.append(list(start.ids[alone:-1]))
        state = joined(states)
        if any(rests):
            state = read_beside(self.model, state, rests, self.device)
        return reorder(state, torch.tensor(alike, device=self.device))

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of each text in `rows`; of `likely` too, where that is asked for."""
        logits = self.beside.step(self.last)
        if self.sampling.looks_back and self.before is None:
            self.before = Before(self._seen(logits), torch.zeros_like(logits))
        chances = None
        if self.sampling.temperature > 0:
            if not (ahead := self.position % AHEAD):
                steps = torch.arange(self.position, self.position + AHEAD)
                self.chances = chance.shares(self.seed, self.samples, steps)
            chances = self.chances[:, ahead].to(self.device)
        self.last = self.sampling.draw(logits, chances=chances, before=self.before)
        self.position += 1
        if self.before is not None:
            self.before.counts.scatter_add_(1, self.last[:, None], torch.ones_like(logits[:, :1]))
            self.before.seen.scatter_(1, self.last[:, None], True)
        if self.tops is not None:
            self.likely = likely(logits, self.last, self.tops)
        return self.last.tolist()

    def _seen(self, logits: Tensor) -> Tensor:
        """Which tokens stand in each prime [B, V]."""
        seen = torch.zeros_like(logits, dtype=torch.bool)
        for k, ids in enumerate(self.primes):
            known = [i if i < seen.shape[1] else UNK for i in ids]
            seen[k, torch.tensor(known, device=self.device)] = True
        return seen

    def keep(self, which: Collection[int]) -> None:
        """Write on only those places of `rows`."""
        with torch.inference_mode():
            places = torch.tensor(sorted(which), dtype=torch.int64)
            self.rows = [self.rows[k] for k in places.tolist()]
            self.samples, self.chances = self.samples[places], self.chances[places]
            places = places.to(self.device)
            self.last = self.last[places]
            if self.before is not None:
                self.before = Before(*(part[places] for part in self.before))
            if self.rows:
                self.beside.keep(places)


class Beside:
    """The states of texts that step side by side: all at once, or in blocks of `size` rows."""

    def __init__(self, model: Any, size: int | None) -> None:
        self.model, self.size, self.count = model, size, 0
        self.blocks: list[Any] = []

    def begin(self, state: Any) -> None:
        """Of all rows."""
        self.count = rows_of(state)
        if self.size is None:
            self.blocks = [state]
            return
        device = first_tensor(state).device
        filled = torch.arange(-(-self.count // self.size) * self.size, device=device)
        filled[self.count :] = 0  # what a block lacks is a row that nobody looks at
        self.blocks = [reorder(state, rows) for rows in filled.split(self.size)]

    def step(self, tokens: Tensor) -> Tensor:
        """Logits [B, V] after tokens [B]."""
        if self.size is None:
            logits, self.blocks[0] = self.model.step(tokens, self.blocks[0])
            return logits
        filled = torch.cat([tokens, tokens[:1].expand(-len(tokens) % self.size)])
        made = [
            self.model.step(some, state)
            for some, state in zip(filled.split(self.size), self.blocks)
        ]
        self.blocks = [state for _, state in made]
        return torch.cat([logits for logits, _ in made])[: self.count]

    def keep(self, rows: Tensor) -> None:
        """Go on with those rows alone."""
        self.begin(reorder(joined(self.blocks), rows))


def read_beside(model: Any, state: Any, rests: Sequence[list[int]], device: torch.device) -> Any:
    """The state after each row's own tokens, read side by side."""
    order = sorted(range(len(rests)), key=lambda k: -len(rests[k]))  # who ends first stands last
    state = reorder(state, torch.tensor(order, device=device))
    done: list[Any] = []
    going = len(order)
    for t in range(len(rests[order[0]])):
        ended = sum(len(rests[k]) <= t for k in order[:going])
        if ended:
            rows = torch.arange(going, device=device)
            done.insert(0, reorder(state, rows[going - ended :]))
            going -= ended
            state = reorder(state, rows[:going])
        tokens = torch.tensor([rests[k][t] for k in order[:going]], device=device)
        _, state = model.step(tokens, state)
    back = torch.tensor(order, device=device).argsort()
    return reorder(joined([state, *done]), back)


def likely(logits: Tensor, tokens: Tensor, tops: int) -> list[Likely]:
    """Of each row's token."""
    found = logits.float().log_softmax(1)
    own = found.gather(1, tokens[:, None])[:, 0].tolist()
    best = found.topk(min(tops, found.shape[1]))
    rows = zip(own, best.indices.tolist(), best.values.tolist())
    return [Likely(one, list(zip(ids, values))) for one, ids, values in rows]


def joined(states: Sequence[Any]) -> Any:
    """One state of all the sequences of several."""
    return states[0] if len(states) == 1 else each(lambda *parts: torch.cat(parts, 1), *states)


def first_tensor(state: Any) -> Tensor:
    """Any tensor of a state."""
    return state if isinstance(state, Tensor) else first_tensor(state[0])


def rows_of(state: Any) -> int:
    """How many sequences a state is of."""
    return first_tensor(state).shape[1]
