"""Many texts written side by side by the engine: `Writer` in native code.

Texts are those of `Writer` but for what rounding decides: both draw by the same chances, from the
same probabilities to rounding.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine import Engine, engine_of
from ..engine.structs import ROW, Drawing
from ..ground.errors import InputError
from .sampling import NO_NUMBERS, Sampling
from .writer import Likely, Start, Writer

AT_ONCE = 256
"""Tokens that a row may be ahead of what was asked for."""

PATIENCE = 0.02
"""Seconds of a call: between two of them Python hears Ctrl-C, and says what was written."""

NUMBERS_ENDED = 3
"""`Row.ended` where logits are no numbers."""


def writer_of(
    model: Any,
    starts: Sequence[Start],
    sampling: Sampling,
    seed: int,
    *,
    tops: int | None = None,
    eos: int | None = None,
    limit: int | None = None,
) -> Writer | NativeWriter:
    """Who writes texts after `starts` with a model whose stack is frozen: the engine where there is
    one, else torch. No text needs more than `limit` tokens, or any after `eos`."""
    engine = engine_of(model)
    if isinstance(engine, str):
        return Writer(model, starts, sampling, seed, tops=tops)
    return NativeWriter(engine, model, starts, sampling, seed, tops=tops, eos=eos, limit=limit)


class NativeWriter:
    """As `Writer`, over an engine; rows stop by themselves at `eos` and at `limit` tokens."""

    def __init__(
        self,
        engine: Engine,
        model: Any,
        starts: Sequence[Start],
        sampling: Sampling,
        seed: int,
        *,
        tops: int | None = None,
        eos: int | None = None,
        limit: int | None = None,
    ) -> None:
        if not all(start.ids for start in starts):
            raise InputError("a prime must hold at least one token, such as <bos>.")
        self.engine, self.tops = engine, tops
        self.rows = list(range(len(starts)))  # whose texts are still written
        self.likely: list[Likely] = []
        self.coming: list[deque[int]] = [deque() for _ in starts]
        self.likely_coming: list[deque[Likely]] = [deque() for _ in starts]
        self.drawing, self.added = drawing_of(sampling, seed, engine)
        self.limits = np.full(len(starts), 2**62 if limit is None else limit)
        B = len(starts)
        with torch.inference_mode():
            self.native, self.slots = begun(engine, model, starts)
        self.native["eos"] = -1 if eos is None else eos
        self.native["drawing"] = ctypes.addressof(self.drawing)
        self.written = np.zeros((B, AT_ONCE), np.int64)
        count = 0 if tops is None else min(tops, engine.tokens)
        self.native["tops"] = count
        self.chosen = np.zeros((B, AT_ONCE if tops is not None else 0), np.float32)
        self.top = np.zeros((B, AT_ONCE, count), np.int64)
        self.top_chosen = np.zeros((B, AT_ONCE, count), np.float32)
        if sampling.looks_back:
            self.seen = np.zeros((B, engine.tokens), np.uint8)
            for row, start in zip(self.seen, starts):
                row[list(start.ids)] = 1
            self.counts = np.zeros((B, engine.tokens), np.int32)
            self.native["seen"] = addresses(self.seen, np.arange(B))
            self.native["counts"] = addresses(self.counts, np.arange(B))

    def step(self) -> list[int]:
        """The next token of each text in `rows`; of `likely` too, where that is asked for."""
        coming = [self.coming[row] for row in self.rows]
        while not all(coming):
            self._write()
        if self.tops is not None:
            self.likely = [self.likely_coming[row].popleft() for row in self.rows]
        return [row.popleft() for row in coming]

    def keep(self, which: Collection[int]) -> None:
        """Write on only those places of `rows`."""
        places = sorted(which)
        self.rows = [self.rows[k] for k in places]
        self.native = self.native[places]

    def _write(self) -> None:
        """Some more tokens of each row."""
        rows, native = np.array(self.rows), self.native
        ahead = np.array([len(self.coming[row]) for row in self.rows])
        native["left"] = np.minimum(AT_ONCE - ahead, self.limits[rows])
        native["written"] = addresses(self.written, rows)
        if self.tops is not None:
            native["log_probability"] = addresses(self.chosen, rows)
            native["top"] = addresses(self.top, rows)
            native["top_probability"] = addresses(self.top_chosen, rows)
        advance(self.engine, native, self.slots)
        if any(native["ended"][ahead == 0] == NUMBERS_ENDED):
            raise NO_NUMBERS
        if any(
            (ahead == 0) & (native["made"] == 0) & ((native["ended"] > 0) | (native["left"] <= 0))
        ):
            raise RuntimeError("a text has ended and is asked for more: `keep` those that go on.")
        for row, made in zip(self.rows, native["made"].tolist()):
            self.coming[row].extend(self.written[row, :made].tolist())
            if self.tops is not None:
                probable = self.chosen[row, :made].tolist()
                ids, theirs = self.top[row, :made].tolist(), self.top_chosen[row, :made].tolist()
                others = (list(zip(*one)) for one in zip(ids, theirs))
                self.likely_coming[row].extend(map(Likely, probable, others))
            self.limits[row] -= made


def advance(engine: Engine, native: np.ndarray, slots: Tensor) -> None:
    """One call: rows go on, for `PATIENCE`."""
    engine.write(
        native, slots, steps=2 * AT_ONCE, seconds=PATIENCE, threads=torch.get_num_threads()
    )


def begun(engine: Engine, model: Any, starts: Sequence[Start]) -> tuple[np.ndarray, Tensor]:
    """Rows that have read all of their starts but the last token, and where their states stand.

    What begins alike is read once.
    """
    numbers: dict[tuple[int, int], int] = {}
    alike = [numbers.setdefault((id(s.ids), id(s.state)), len(numbers)) for s in starts]
    different = [starts[alike.index(k)] for k in range(len(numbers))]
    slots = engine.slots(len(different))
    for k, start in enumerate(different):
        engine.put(slots, torch.tensor([k]), engine.apart(*model.begun(start.state)))
    ids = [np.asarray(start.ids, np.int64) for start in different]
    if any(((one < 0) | (one >= len(engine.table))).any() for one in ids):
        raise InputError(f"a prime holds ids that are none of the {len(engine.table)} tokens.")
    rows = np.zeros(len(different), ROW)
    rows["slot"] = np.arange(len(different))
    rows["token"] = [one[0] for one in ids]
    rows["given"] = [one.ctypes.data + one.itemsize for one in ids]
    rows["given_count"] = [len(one) - 1 for one in ids]
    while rows["given_count"].any():
        advance(engine, rows, slots)
    every = rows[alike]
    every["slot"] = np.arange(len(starts))
    every["sample"] = [start.sample for start in starts]
    return every, slots[torch.tensor(alike)]


def drawing_of(
    sampling: Sampling, seed: int, engine: Engine
) -> tuple[Drawing, torch.Tensor | None]:
    """`struct Drawing`, and what it adds to logits, to be kept alive."""
    s, added = sampling, None
    if s.forbidden:
        added = torch.zeros(engine.tokens, dtype=engine.dtype)
        added[list(s.forbidden)] = -torch.inf
    drawing = Drawing(
        s.temperature, s.top_p, s.min_p, s.repetition_penalty, s.presence_penalty,
        s.frequency_penalty, s.top_k, (seed + 2**63) % 2**64 - 2**63,
        None if added is None else added.data_ptr(),
    )  # fmt: skip
    return drawing, added


def addresses(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where some rows of an array begin."""
    return array.ctypes.data + rows * array.strides[0]
