"""Work on a GPU recorded once and done again: CUDA graphs, and whose turn it is with one.

A graph holds launches with the addresses of what they read and write. It costs the processor one
launch, whatever it holds; recording costs as much as some of its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class Replays(Protocol):
    """What was captured: `made` is written anew by each `replay`."""

    made: Sequence[Tensor]

    def replay(self) -> None:
        """Do it again, on the current stream."""


class Recording:
    """A function of tensors at fixed addresses, captured on a stream aside.

    It runs once before, unless it did: not `warm`.
    """

    def __init__(self, function: Function, given: Sequence[Tensor], warm: bool = True) -> None:
        self.given = given  # a graph reads them where they are
        device = given[0].device
        with torch.cuda.device(device):
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(here)
            if warm:  # kernels are compiled, libraries get their workspaces
                with torch.cuda.stream(aside):
                    function(given)
                here.wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            # other threads may go on meanwhile with what capturing forbids
            with torch.cuda.graph(self.graph, stream=aside, capture_error_mode="thread_local"):
                self.made = function(given)

    def replay(self) -> None:
        """Do it again, on the current stream."""
        self.graph.replay()


class Turns:
    """Keeps uses of a graph's memory apart: each waits for the one before, whatever its stream."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.done: Any = None

    def begin(self) -> None:
        """Wait, on the device's current stream."""
        if self.done is not None:
            torch.cuda.current_stream(self.device).wait_event(self.done)

    def end(self) -> None:
        """Tell the next."""
        self.done = torch.cuda.current_stream(self.device).record_event()

    def finish(self) -> None:
        """Wait, on the processor, for the last: before the memory is given up."""
        if self.done is not None:
            self.done.synchronize()


class NoTurns(Turns):
    """Where there are no streams."""

    def begin(self) -> None:
        """Nothing to wait for."""

    def end(self) -> None:
        """Nothing to tell."""


def turns_on(device: torch.device) -> Turns:
    """For the memory of a graph on `device`."""
    return Turns(device) if device.type == "cuda" else NoTurns(device)
