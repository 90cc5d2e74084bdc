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
        same = record.label, short(data)
        k = 0 if equal_together else before[same]
        before[same] += 1
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


def hold_out_groups(
    records: Sequence[Record], share: float, seed: int
) -> tuple[list[Record], list[Record]]:
    """The same by groups: all records of a group come to one side, about that share held out.

    A group's turn is the SHA-256 of the seed and its name.
    """
    sizes = Counter(record.group for record in records)
    turns = sorted(sizes, key=lambda g: hashlib.sha256(f"{seed}\0{g}".encode()).digest())
    held: set[str | None] = set()
    count = 0
    for group in turns:
        if count and count + sizes[group] / 2 > len(records) * share:
            break
        held.add(group)
        count += sizes[group]
    if not 0 < count < len(records) or not share:
        raise InputError(
            f"{plural(len(records), 'example')} in {plural(len(sizes), 'group')}: too few groups "
            f"to hold out {share:.0%}. Give --valid."
        )
    train = [record for record in records if record.group not in held]
    return train, [record for record in records if record.group in held]


def hold_out_latest(
    records: Sequence[Record], share: float
) -> tuple[list[Record], list[Record], int]:
    """The same by time: the records that begin last are held out.

    Those that begin before and end within the time held out are on neither side; how many comes
    third.
    """
    begins = np.array([record.span[0] for record in records])
    held = max(1, round(len(records) * share)) if share else 0
    if not 0 < held < len(records):
        raise InputError(
            f"{plural(len(records), 'example')}: too few to hold out {share:.0%}. Give --valid."
        )
    border = np.sort(begins)[-held]
    valid = [record for record in records if record.span[0] >= border]
    train = [record for record in records if record.span[1] < border]
    if not train:
        raise InputError(
            "no sequence ends before the last ones begin: a split by time leaves nothing to learn "
            "from. Give --valid, or --data.split random."
        )
    return train, valid, len(records) - len(train) - len(valid)


def also_in(train: Sequence[Record], records: Sequence[Record]) -> int:
    """How many records have the content of one in `train`."""
    known = {short(as_bytes(record)) for record in train}
    return sum(short(as_bytes(record)) in known for record in records)


def short(content: bytes) -> bytes:
    """What tells a content from others in few bytes."""
    return content if len(content) <= 64 else hashlib.sha256(content).digest()


def as_bytes(record: Record) -> bytes:
    """A record's content."""
    content = record.content
    return content.tobytes() if isinstance(content, np.ndarray) else content.encode()
