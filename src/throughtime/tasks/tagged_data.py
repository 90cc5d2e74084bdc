"""Tagging, of words or of numbers, behind one task."""

from __future__ import annotations

from typing import Any

import torch

from ..checkpoint import RunFolder
from ..config.tagging import TaggerConfig
from .step_tagging import StepTagging
from .tagging import Tagging
from .task import Task


class TaggingTask(Task):
    """The task of a configuration, by its level: it is prepared or loaded as `Tagging` or
    `StepTagging`.
    """

    @staticmethod
    def kind(config: TaggerConfig) -> type[Any]:
        """Which."""
        return StepTagging if config.level == "numbers" else Tagging

    @classmethod
    def prepare(cls, config: TaggerConfig, **rest: Any) -> Any:
        """The task with its data."""
        return cls.kind(config).prepare(config, **rest)

    @classmethod
    def load(cls, config: TaggerConfig, folder: RunFolder, device: torch.device) -> Any:
        """The task of a run, without its data."""
        return cls.kind(config).load(config, folder, device)
