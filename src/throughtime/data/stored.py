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
        found = np.empty(max(stop - start, 0), self.dtype)
        if not len(found):
            return found
        rest, at = found.data.cast("B"), start * self.dtype.itemsize
        while rest:
            try:
                count = os.preadv(self.file, [rest], at)
            except OSError as error:
                raise ThroughtimeError(f"{self.path}: cannot be read: {error.strerror}.") from error
            if not count:
                raise ThroughtimeError(
                    f"{self.path}: cut short at byte {at} while it was in use. The next run "
                    "encodes the text anew; a training goes on with --resume."
                )
            rest, at = rest[count:], at + count
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def fingerprint(self, advance: Callable[[float], None]) -> str:
        """The SHA-256 of all."""
        digest, count = hashlib.sha256(), READ // self.dtype.itemsize
        for start in range(0, len(self), count):
            digest.update(self[start : start + count].data)
            advance(READ)
        return digest.hexdigest()


Ids = np.ndarray | StoredIds
"""Ids [N] in memory or on disk."""
