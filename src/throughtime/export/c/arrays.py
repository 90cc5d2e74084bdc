"""Weights as constants of C: hexadecimal integers, in the order in which products read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...layers.outline import Array
from ..lowering import integers, scales
from .quantising import Ranges, per, row_scales

TILE = 32
"""Rows of a product that are summed up side by side: as many numbers stand together, column by
column."""


@dataclass(frozen=True)
class Matrix:
    """A matrix that is there: its name, as an argument of `name_product`, and its size."""

    given: str
    rows: int
    columns: int


class Arrays:
    """What the constants are; the same numbers stand there once."""

    def __init__(self, precision: str, ranges: Ranges | None = None) -> None:
        """`ranges`: of products of integers, what they take."""
        self.int8, self.ranges = precision != "float32", ranges
        self.widest = 1
        """Columns of the widest matrix."""
        self.known: dict[tuple[str, bytes], str] = {}
        self.texts: list[str] = []
        self.bytes = 0

    def vector(self, values: Array) -> str:
        """The name of a pointer to numbers."""
        return f"{self.floats(values)}.number"

    def matrix(self, W: Array) -> Matrix:
        """Tiles of rows, each column by column."""
        rows, columns = W.shape
        self.widest = max(self.widest, columns)
        if self.ranges is not None:
            largest = self.ranges.get(W.tobytes(), 0.0)
            q, by_row = self.signed(tiled(integers(W))), self.vector(row_scales(W, largest))
            return Matrix(f"{q}, {by_row}, {float(per(largest))!r}f", rows, columns)
        return Matrix(self.tiles(W), rows, columns)

    def tiles(self, W: Array) -> str:
        """The same as `name_look_up_tiled` takes it."""
        if self.int8:
            return f"{self.signed(tiled(integers(W)))}, {self.vector(scales(W))}"
        return self.vector(tiled(W))

    def table(self, W: Array) -> Matrix:
        """Row by row, for looking up."""
        rows, columns = W.shape
        if self.int8:
            return Matrix(f"{self.signed(integers(W))}, {self.vector(scales(W))}", rows, columns)
        return Matrix(self.vector(W), rows, columns)

    def floats(self, values: Array) -> str:
        """A union of the bits and the numbers."""
        bits = np.ascontiguousarray(values, np.float32).ravel().view(np.uint32)
        return self.kept(
            "w",
            bits,
            "static const union {{ uint32_t bits[{n}]; float number[{n}]; }} {name} = {{{{",
            (f"0x{value:08x}" for value in bits.tolist()),
            "}};",
            8,
        )

    def signed(self, values: Array) -> str:
        """Signed bytes."""
        flat = np.ascontiguousarray(values, np.int8).ravel()
        return self.kept(
            "q",
            flat,
            "static const signed char {name}[{n}] = {{",
            map(str, flat.tolist()),
            "};",
            20,
        )

    def kept(
        self, kind: str, values: Array, head: str, spelled: Iterable[str], end: str, across: int
    ) -> str:
        """The name of an array, made if it is not there."""
        key = (kind, values.tobytes())
        if key not in self.known:
            name = self.known[key] = f"name_{kind}{len(self.known)}"
            begin = head.format(n=max(values.size, 1), name=name)
            self.texts.append("\n".join([begin, *lines(spelled, across), end]))
            self.bytes += values.nbytes
        return self.known[key]


def lines(words: Iterable[str], across: int) -> Iterator[str]:
    """With commas, so many on a line."""
    row: list[str] = []
    some = False
    for word in words:
        row.append(word)
        some = True
        if len(row) == across:
            yield "    " + ", ".join(row) + ","
            row = []
    if row or not some:
        yield "    " + (", ".join(row) or "0") + ","


def tiled(W: Array) -> Array:
    """Tiles of `TILE` rows, what is left at the end, each column by column."""
    return np.concatenate([W[r : r + TILE].T.ravel() for r in range(0, len(W), TILE)])
