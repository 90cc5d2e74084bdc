"""A kernel over all steps of a scan: in one launch, or a launch for each segment of each step.

On the tensors' own device, whichever is the current one, and on its current stream.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ....ground import terminal
from . import graphed
from .graphed import Given
from .memory import Sizes
from .ways import Way, power


def launch(
    kernel: Any, way: Way, sizes: Sizes, given: Given, segments: range, options: Mapping[str, Any],
    back: bool = False,
) -> None:  # fmt: skip
    """Over all steps, `back` in time or forward. `given`: the kernel's tensors by name, in order.

    By the way `graph` the steps are those of a captured graph, where one can be.
    """
    x = given["x"]
    assert x is not None
    T, B, n = sizes.T, sizes.B, sizes.n
    tensors = {**given, **scratch(way, sizes, x)}
    chosen = {**options, **constants(way, B, n, given)}
    columns, tiles = way.programs(B, n)
    run = kernel[columns, tiles]

    def step(tensors: Given, long: int, t: int, segment: int) -> None:
        """Segment `segment` of step t; `long` is how many steps the tensors have room for."""
        run(*arguments(tensors), long, B, n, t, t + 1, SEG=segment, **chosen)

    key = kernel, way, n, x.device, tuple(sorted(chosen.items()))
    with noticed(key), torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        if not way.stepwise:
            # Only programs that wait for each other must all be on the device.
            together = {"launch_cooperative_grid": True} if columns > 1 else {}
            run(*arguments(tensors), T, B, n, 0, T, SEG=-1, **chosen, **together)
        elif graphed.usable(T, x):
            graphed.run(step, tensors, T, segments, back, (B, key), sizes.facts["reads_x"])
        else:
            for t in reversed(range(T)) if back else range(T):
                for segment in segments:
                    step(tensors, T, t, segment)


@contextlib.contextmanager
def noticed(key: Hashable) -> Iterator[None]:
    """Around launches: where the first of their kind takes long, say once what is going on."""
    if key in _launched:
        yield
        return
    timer = threading.Timer(LONG, _tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    _launched.add(key)


LONG = 1.0
"""Seconds after which a person is told what is waited for."""

_launched: set[Hashable] = set()
_told: list[bool] = []
"""Not empty once it was said in this process."""


def _tell() -> None:
    if not _told:
        _told.append(True)
        terminal.say("making kernels of a cell for this GPU; Triton keeps them for later")


def arguments(tensors: Given) -> list[Tensor | None]:
    """The kernel's tensors in its order; x stands in for what is not there, and is not read."""
    return [tensors["x"] if one is None else one for one in tensors.values()]


def scratch(way: Way, sizes: Sizes, x: Tensor) -> dict[str, Tensor | None]:
    """Who has arrived at barriers, and what each program adds to the sums over a row."""
    columns, tiles = way.programs(sizes.B, sizes.n)
    reductions = max(sizes.facts["reductions"])
    parts = 2 * reductions * tiles * way.BM * power(columns)
    return {
        "arrived": torch.zeros(tiles, dtype=torch.int32, device=x.device),
        "sums": x.new_empty(parts, dtype=torch.float32) if reductions else None,
    }


def constants(way: Way, B: int, n: int, given: Given) -> dict[str, Any]:
    """What a kernel is compiled for: neither T nor B is among it."""
    x = given["x"]
    assert x is not None
    columns, _ = way.programs(B, n)
    return {
        "BM": way.BM, "BU": way.BU, "KS": way.KS, "KC": way.KC, "ALONE": way.alone,
        "RESIDENT": way.resident, "RAGGED": given["lengths"] is not None,
        "RESET": given["reset"] is not None, "COLS": power(columns), "PRECISION": precision(x),
        "num_warps": way.warps, "num_stages": 2, "enable_fp_fusion": True,
    }  # fmt: skip


def precision(x: Tensor) -> str:
    """Of products of float32, as torch's settings say."""
    tf32 = x.is_cuda and torch.backends.cuda.matmul.fp32_precision == "tf32"
    return "tf32" if tf32 else "ieee"
