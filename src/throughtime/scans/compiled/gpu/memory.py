"""The memory of a scan on a GPU: sizes, and what is kept for the backward in one buffer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ....ground.errors import InputError
from .. import programs


class Sizes:
    """The sizes of a problem and of the buffers of its kernels.

    K states, V vectors, Q streams, S slots, J values that products take; `inputs` slots that x
    feeds, `rest` others with a place of their own.
    """

    def __init__(self, program: str, T: Any, B: Any, n: Any) -> None:
        facts = programs.facts(program)
        self.facts = facts
        self.T, self.B, self.n = T, B, n
        self.K, self.V, self.S = facts["states"], facts["vectors"], facts["slots"]
        self.J, self.Q = facts["operands"] - self.K, facts["streams"]
        self.inputs = facts["inputs"]
        self.rest = self.S - self.inputs - facts["reads_x"]
        self.gates = facts["gates"]

    def buffers(
        self, dtype: torch.dtype, keep: bool = True
    ) -> dict[str, tuple[tuple[Any, ...], torch.dtype]]:
        """Shape and dtype of each buffer: of all that the backward needs, or of the least.

        z of slots that x feeds and of the others; the states but the first, with the one before
        them; values; y, with the first state before it.
        """
        T, B, n = self.T, self.B, self.n
        taken = keep or any(k > 0 for k in self.facts["taken"])
        return {
            "zx": ((T, B, self.inputs, n), dtype),
            "zr": ((T if keep else 0, B, self.rest, n), dtype),
            "states": ((self.K - 1, T + 1 if taken else 0, B, n), torch.float32),
            "values": ((self.J, T if keep else 1, B, n), dtype),
            "y": ((T + 1, B, n), dtype),
        }


def words(shape: tuple[Any, ...], dtype: torch.dtype) -> Any:
    """The size of a buffer in float32, rounded up to 16 bytes."""
    size: Any = dtype.itemsize
    for length in shape:
        size = size * length
    return (size + 15) // 16 * 4


def kept_size(program: str, T: Any, B: Any, n: Any, dtype: torch.dtype, keep: bool) -> Any:
    """The size of all that is kept, in float32."""
    if not keep:
        return 0
    return sum(words(*one) for one in Sizes(program, T, B, n).buffers(dtype).values())


def check(sizes: Sizes, W_a: Tensor) -> None:
    """Raise `InputError` where a step or the weights have more numbers than 32 bits count."""
    step = sizes.B * sizes.n * sizes.S
    for what, count in (("a step of the batch", step), ("the recurrent weights", W_a.numel())):
        if count >= 2**31:
            raise InputError(
                f"{what} would have {count} numbers, and the kernels count to {2**31 - 1}: give "
                "fewer sequences at once, or a narrower layer."
            )


def parts(memory: Tensor, sizes: Sizes, dtype: torch.dtype) -> dict[str, Tensor]:
    """`memory` as the tensors of `Sizes.buffers`."""
    found, at = {}, 0
    for name, (shape, kind) in sizes.buffers(dtype).items():
        size = words(shape, kind)
        found[name] = memory[at : at + size].view(kind)[: math.prod(shape)].view(shape)
        at += size
    return found


def working(sizes: Sizes, x: Tensor) -> dict[str, Tensor]:
    """The least that a forward needs, as new tensors."""
    return {
        name: x.new_empty(shape, dtype=kind)
        for name, (shape, kind) in sizes.buffers(x.dtype, keep=False).items()
    }
