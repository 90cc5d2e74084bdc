"""Holding examples out for validation: by what they say, not by where they stand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .labelled import Record


def hold_out(
    records: Sequence[Record], share: float, seed: int
) -> tuple[list[Record], list[Record]]:
    """Training and validation records: of each label, that share is held out.

    An example's turn is the SHA-256 of the seed, its label and its content: the order of files and
    lines has no part in the split, and equal examples come to the same side (but at its very edge).
    """
    turns: dict[str | None, list[tuple[bytes, int]]] = {}
    for i, record in enumerate(records):
        content = record.content
        data = content.tobytes() if isinstance(content, np.ndarray) else content.encode()
        digest = hashlib.sha256(f"{seed}\0{record.label}\0".encode() + data).digest()
        turns.setdefault(record.label, []).append((digest, i))
    held: set[int] = set()
    for entries in turns.values():
        held.update(i for _, i in sorted(entries)[: round(len(entries) * share)])
    if not 0 < len(held) < len(records):
        raise InputError(
            f"{len(records)} examples are too few to hold out {share:.0%} of each label. Give "
            "--valid."
        )
    train = [record for i, record in enumerate(records) if i not in held]
    return train, [records[i] for i in sorted(held)]
