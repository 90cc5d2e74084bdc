"""Tasks: each is data + loss + metrics + decoding behind one small protocol, and one line here.

The table names the classes without importing them, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from ..config import LanguageConfig
from ..errors import one_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..checkpoint import RunFolder
    from ..machine import Processes

TASKS: dict[str, tuple[type, str]] = {
    "lm": (LanguageConfig, "language:Language"),
}
"""Task name → its configuration and where it lives in this folder, as module:Class."""


class Task(Protocol):
    """What the trainer and the verbs need of a task.

    `batch(epoch, i)` is a function of its arguments alone, so that a resumed run sees the same
    data. `carry` is whatever passes from one batch to the next (the recurrent state), None at the
    start; the task drops it where a sequence ends.
    """

    config: Any
    steps_per_epoch: int
    tokens_per_step: int
    fingerprint: str

    @classmethod
    def prepare(
        cls,
        config: Any,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
    ) -> Task:
        """The task with its data, for training; `resumed` is the folder of a run that goes on."""
        ...

    @classmethod
    def load(cls, config: Any, folder: RunFolder, device: torch.device) -> Task:
        """The task of a run without its data, to evaluate or write with."""
        ...

    def save(self, folder: RunFolder) -> None:
        """Write what `load` needs besides the configuration and the weights."""
        ...

    def summary(self) -> str:
        """The data in one line."""
        ...

    def build_model(self) -> nn.Module:
        """The untrained network."""
        ...

    def batch(self, epoch: int, i: int) -> Any:
        """Batch `i` of an epoch, on the device."""
        ...

    def loss(self, model: nn.Module, batch: Any, carry: Any) -> tuple[Tensor, Any]:
        """Mean nats of the batch, with its graph, and the carry, detached."""
        ...

    def restore_carry(self, parts: list[Tensor]) -> Any:
        """The carry from the tensors that it held."""
        ...

    def evaluate(self, model: nn.Module, *, quick: bool) -> dict[str, float]:
        """Validation metrics, `loss` (lower is better) among them; `quick` during training."""
        ...

    def describe(self, metrics: dict[str, float]) -> str:
        """Metrics as a person reads them."""
        ...

    def sample(self, model: nn.Module, generator: torch.Generator) -> str:
        """A short sample of what the model writes, or nothing."""
        ...


def task_class(name: str) -> Any:
    """The class of a task."""
    module, _, cls = TASKS[one_of("task", name, TASKS)][1].partition(":")
    return getattr(importlib.import_module(f".{module}", __name__), cls)
