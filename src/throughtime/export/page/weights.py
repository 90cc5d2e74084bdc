"""The numbers of a model as bytes: matrices as precisely as asked for, vectors in float32."""

from __future__ import annotations

from ...layers.outline import Array
from ..lowering import integers, scales

PRECISIONS = ("float32", "float16", "int8")


class Weights:
    """Arrays one after the other, little-endian; `specs` tells of each where it begins, its rows
    and columns and what its numbers are: float32, float16, or int8 after a float32 scale for each
    row. The same array is stored once."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.specs: list[tuple[int, int, int, str]] = []
        self.parts: list[bytes] = []
        self.size = 0
        self.known: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def matrix(self, W: Array) -> int:
        """The number of a matrix."""
        return self.add(W, self.precision)

    def vector(self, b: Array) -> int:
        """The number of a vector."""
        return self.add(b[None], "float32")

    def maybe(self, b: Array | None) -> int | None:
        """None for nothing and for zeros alone."""
        return None if b is None or not b.any() else self.vector(b)

    def add(self, W: Array, kind: str) -> int:
        """Its number among all."""
        data = packed(W, kind)
        key = (kind, W.shape, data)
        if key not in self.known:
            data += b"\0" * (-len(data) % 4)
            self.known[key] = len(self.specs)
            self.specs.append((self.size, *W.shape, kind))
            self.parts.append(data)
            self.size += len(data)
        return self.known[key]

    @property
    def bytes(self) -> bytes:
        """All of them."""
        return b"".join(self.parts)


def packed(W: Array, kind: str) -> bytes:
    """As it is stored."""
    if kind == "int8":
        return scales(W).astype("<f4").tobytes() + integers(W).tobytes()
    return W.astype("<f2" if kind == "float16" else "<f4").tobytes()
