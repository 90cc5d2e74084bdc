"""Holding examples out for validation: by what they say, not by where they stand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..ground.errors import InputError
from ..ground.wording import plural
from .labelled import Record


def hold_out(
    records: Sequence[Record], share: float, seed: int, *, equal_together: bool = False
) -> tuple[list[Record], list[Record]]:
    """Training and validation records: of each label, that share is held out.

    An example's turn is the SHA-256 of the seed, its label, its content and how many equal ones
    came before it: the order of files and lines has no part in the split. With `equal_together`
    equal examples have one turn and come to the same side (but at its very edge).
    """
    turns: dict[str | None, list[tuple[bytes, int]]] = {}
    before: Counter[tuple[str | None, bytes]] = Counter()
    for i, record in enumerate(records):
        data = as_bytes(record)
        k = 0 if equal_together else before[record.label, data]
        before[record.label, data] += 1
        digest = hashlib.sha256(f"{seed}\0{record.label}\0{k}\0".encode() + data).digest()
        turns.setdefault(record.label, []).append((digest, i))
    held: set[int] = set()
    for entries in turns.values():
        held.update(i for _, i in sorted(entries)[: round(len(entries) * share)])
    if not 0 < len(held) < len(records):
        of = f"of each of {plural(len(turns), 'label')}" if records[0].label else "of them"
        raise InputError(
            f"{plural(len(records), 'example')}: too few to hold out {share:.0%} {of}. Give "
            "--valid."
        )
    train = [record for i, record in enumerate(records) if i not in held]
    return train, [records[i] for i in sorted(held)]


def also_in(train: Sequence[Record], records: Sequence[Record]) -> int:
    """How many records have the content of one in `train`."""
    known = {as_bytes(record) for record in train}
    return sum(as_bytes(record) in known for record in records)


def as_bytes(record: Record) -> bytes:
    """A record's content."""
    content = record.content
    return content.tobytes() if isinstance(content, np.ndarray) else content.encode()
