"""Ids in a file that may be larger than memory, of which a part is read when it is asked for."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.errors import ThroughtimeError

READ = 1 << 22
"""Bytes read at once to look over a whole file."""


class StoredIds:
    """Ids [N] on disk: a slice is read, the whole is `np.asarray`.

    The file is read, not mapped: a mapped file that somebody cuts short takes the process down
    (SIGBUS); here that is a `ThroughtimeError`. It stays the file that was opened, whatever comes
    in its place. Errors: `OSError` where it cannot be opened.
    """

    def __init__(self, path: Path, dtype: Any) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.file)
        self.size = os.fstat(self.file).st_size
        self.shape = (self.size // self.dtype.itemsize,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise IndexError("ids on disk are read in slices without a step.")
        wanted, at = max(stop - start, 0) * self.dtype.itemsize, start * self.dtype.itemsize
        data = self._read(wanted, at)
        while len(data) < wanted:  # a read has a largest size
            data += self._read(wanted - len(data), at + len(data))
        return np.frombuffer(data, self.dtype)

    def _read(self, size: int, at: int) -> bytes:
        """Some bytes from a place, one at least."""
        try:
            data = os.pread(self.file, size, at)
        except OSError as error:
            raise ThroughtimeError(f"{self.path}: cannot be read: {error.strerror}.") from error
        if size and not data:
            raise ThroughtimeError(
                f"{self.path}: cut short at byte {at} while it was in use. The next run encodes "
                "the text anew; a training goes on with --resume."
            )
        return data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def fingerprint(self, advance: Callable[[float], None]) -> str:
        """The SHA-256 of all."""
        digest, count = hashlib.sha256(), READ // self.dtype.itemsize
        for start in range(0, len(self), count):
            digest.update(self[start : start + count].data)
            advance(READ)
        return digest.hexdigest()


class KnownIds:
    """Other ids, but for those from `size` on, which are `instead`: all of one vocabulary."""

    def __init__(self, ids: np.ndarray | StoredIds, size: int, instead: int) -> None:
        self.ids, self.size, self.instead = ids, size, instead

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> np.ndarray:
        ids = self.ids[part]
        return np.where(ids >= self.size, ids.dtype.type(self.instead), ids)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self[:]
        return found.astype(dtype or found.dtype, copy=False)


Ids = np.ndarray | StoredIds | KnownIds
"""Ids [N] in memory or on disk."""
