"""Room for many numbers: in memory, or where there are too many in a mapped file of nobody else."""

from __future__ import annotations

import math
import tempfile
import weakref
from typing import Any, BinaryIO, cast

import numpy as np

from ..ground.cache import private
from ..ground.errors import ThroughtimeError

IN_MEMORY = 1 << 27
"""Bytes of an array beyond which it lies in a file."""


def room(shape: tuple[int, ...], dtype: Any, *, most: int | None = None) -> np.ndarray:
    """An array whose values are yet to be written; beyond `most` bytes it is mapped from a file.

    The file has no name, so that nobody can cut it short, and is gone with the process. Errors:
    `ThroughtimeError` where there is no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= (IN_MEMORY if most is None else most):
        return np.empty(shape, dtype)
    with nameless() as file:  # what is mapped stays
        try:
            file.truncate(size)
            return np.memmap(cast(Any, file), dtype, "r+", shape=shape)
        except OSError as error:
            raise no_room(size, error) from error


def nameless() -> BinaryIO:
    """A file in the cache that has no name."""
    return cast(BinaryIO, tempfile.TemporaryFile(dir=private("numbers")))


def no_room(size: int, error: OSError) -> ThroughtimeError:
    """What to say where a file of the cache cannot grow."""
    return ThroughtimeError(
        f"no room for {size:,} bytes of numbers in the cache: {error.strerror}. THROUGHTIME_CACHE "
        "names a folder on another disk."
    )


class Spool:
    """Rows of `width` numbers, of which nobody knows how many will come: `add`, then `array`."""

    def __init__(self, width: int, dtype: Any = np.float64, *, most: int | None = None) -> None:
        self.width, self.dtype = width, np.dtype(dtype)
        self.most = IN_MEMORY if most is None else most
        self.rows = 0
        self.blocks: list[np.ndarray] = []
        self.file: BinaryIO | None = None
        self.mapped: np.ndarray | None = None

    def add(self, block: np.ndarray) -> None:
        """Rows [R, width] after those that are there."""
        block = np.ascontiguousarray(block, self.dtype)
        self.rows += len(block)
        if self.file is None:
            self.blocks.append(block)
            if self.rows * self.width * self.dtype.itemsize > self.most:
                self.file = nameless()
                weakref.finalize(self, self.file.close)
                for one in self.blocks:
                    self._write(one)
                self.blocks = []
        else:
            self._write(block)

    def _write(self, block: np.ndarray) -> None:
        try:
            self.file.write(block.data)  # type: ignore[union-attr]
        except OSError as error:
            raise no_room(self.rows * self.width * self.dtype.itemsize, error) from error

    def array(self) -> np.ndarray:
        """All rows [R, width]."""
        if self.file is None:
            self.blocks = [np.concatenate([np.zeros((0, self.width), self.dtype), *self.blocks])]
            return self.blocks[0]
        if self.mapped is None or len(self.mapped) != self.rows:
            self.file.flush()
            shape = self.rows, self.width
            self.mapped = np.memmap(cast(Any, self.file), self.dtype, "r+", shape=shape)
        return self.mapped
