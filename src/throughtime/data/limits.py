"""How much a reader takes: a line, a file that is unpacked, a file that is read whole, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.errors import InputError
from ..ground.wording import say_in_training
from .files import open_bytes

LONGEST_LINE = 1 << 26
"""Bytes of a line where no setting says how many."""

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that float32 holds: what models read."""

WHOLE_FILE = 1 << 28
"""Bytes of a file that is read as a whole."""

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""What may be half of one."""

RATIO, UNPACKED = 100, 1 << 25
"""A .gz that holds more bytes than both so many times its size and so many is not taken for text,
which packs to a fifth."""


def too_long(where: str, longest: int | None, option: str = "") -> InputError:
    """The error about a line of more bytes than `longest`, which `option` or a setting says."""
    what = f"{where}: a line of more than {longest or LONGEST_LINE:,} bytes."
    if not longest:
        return InputError(f"{what} Is it a text file?")
    if option:
        return InputError(f"{what} Is it a text file? If so, say {option} NUMBER.")
    return InputError(f"{what}{say_in_training('--data.max_bytes NUMBER')}")


def check_tokens(lengths: np.ndarray, most: int, place: Callable[[int], str]) -> None:
    """Raise `InputError` for an example [N] of more than `most` tokens; `place` tells where one is.

    Before a model sees it: what it keeps of each step would not fit into memory.
    """
    beyond = np.flatnonzero(lengths > most)
    if len(beyond):
        i = int(beyond[0])
        raise InputError(
            f"{place(i)}: an example of {int(lengths[i]):,} tokens, more than {most:,}."
            f"{say_in_training('--data.max_tokens NUMBER')}"
        )


def unpacking(path: Path, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces; `InputError` where a .gz holds out of all proportion to its size."""
    if path.suffix != ".gz":
        yield from pieces
        return
    most, size = max(UNPACKED, RATIO * path.stat().st_size), 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise InputError(
                f"{path}: unpacks to more than {RATIO} times its size. If that is meant, unpack it "
                "yourself (gunzip) and give the file that comes of it."
            )
        yield piece


def read_whole(path: Path) -> bytes:
    """All of a file, .gz too; `InputError` where it is too large to be one."""
    with open_bytes(path) as file:
        data = file.read(WHOLE_FILE + 1)
    if len(data) > WHOLE_FILE:
        raise InputError(f"{path}: more than {WHOLE_FILE:,} bytes. Give it in several files.")
    return data


def parse_json(text: str) -> Any:
    """`json.loads`, of which every refusal is a `ValueError`: nesting without end too.

    So is half a surrogate pair (an escape as in `\\ud83d` by itself), which is no text.
    """
    try:
        value = json.loads(text)
        if SURROGATE.search(text):
            check_text(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def check_text(text: str) -> None:
    """Raise `ValueError` for half a surrogate pair, which no encoding can write."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(
            f"{half} is half a surrogate pair, and no character by itself; leave it out, or write "
            "\\ufffd for it"
        ) from None
