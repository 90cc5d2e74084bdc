"""Steps on a GPU captured in CUDA graphs: what a step launches, launched as one.

A step of a stack is some dozens of short kernels, and each costs the processor more than the GPU.
A graph holds them with the addresses of what they read and write: so the inputs are copied to
places of its own, and what it made is copied from there. `ground.recorded` makes a graph; all else
here is the same without a GPU.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from ..ground.recorded import Function, Recording, Replays, Turns, turns_on

EAGER = 2
"""Steps of one shape before it is captured: a capture costs as much as some hundred steps."""

MOST = 8
"""Graphs kept; each has memory of its own. The one that was used longest ago goes."""


class Graphs:
    """The graphs of one function, by the shapes of what it is given. Any thread may call."""

    def __init__(self, record: Callable[[Function, Sequence[Tensor]], Replays] = Recording) -> None:
        self.record = record
        self.lock = threading.Lock()
        self.seen: Counter[Hashable] = Counter()
        self.kept: OrderedDict[Hashable, tuple[Sequence[Tensor], Replays, Turns]] = OrderedDict()

    def __call__(self, function: Function, given: Sequence[Tensor]) -> list[Tensor] | None:
        """What `function` makes of `given`, as new tensors; None where nothing was captured yet."""
        key = tuple((tuple(one.shape), one.dtype, one.device) for one in given)
        with self.lock:
            if key not in self.kept:
                self.seen[key] += 1
                if self.seen[key] <= EAGER:
                    return None
                self.kept[key] = self.capture(function, given)
                if len(self.kept) > MOST:
                    gone, (_, _, turns) = self.kept.popitem(last=False)
                    turns.finish()
                    del self.seen[gone]
            self.kept.move_to_end(key)
            places, recording, turns = self.kept[key]
            turns.begin()
            for place, one in zip(places, given):
                place.copy_(one)
            recording.replay()
            made = [one.clone() for one in recording.made]
            turns.end()
        return made

    def capture(
        self, function: Function, given: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Replays, Turns]:
        """A graph, with places for what it is given that outlive a block of inference mode."""
        with torch.inference_mode(False), torch.no_grad():
            places = [torch.empty_like(one).copy_(one) for one in given]
            return places, self.record(function, places), turns_on(places[0].device)


def capturable(*tensors: Tensor) -> bool:
    """Whether a step over these can be a graph: on a CUDA GPU, outside of another capture."""
    return (
        all(type(tensor) is Tensor and tensor.is_cuda for tensor in tensors)
        and not torch.cuda.is_current_stream_capturing()
        and not torch.is_autocast_enabled("cuda")
        and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
    )
