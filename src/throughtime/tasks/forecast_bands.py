"""Bands of a forecast, moved when training ends so that they hold their share of validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..layers.mode import evaluating
from ..metrics.forecasts import Conformal
from ..models.forecaster import Forecaster
from ..models.outlook import Outlook

CALIBRATED = 10_000
"""Windows that bands are moved by, where there are more."""
ROUNDS = 5
"""The most."""


def calibrate(task: Any, model: Forecaster) -> bool:
    """Move pairs of quantiles by `metrics.forecasts.Conformal`; whether any was moved. Quantiles
    that cross are put in order, which may take another round.

    What is added are biases of the head, in units of each window's frame: a run, its weights and
    what is exported of it are as those of any other. `task` is a `Forecast` with its data.
    """
    config = model.config
    if config.output != "quantiles" or not config.calibrate or not len(task.valid):
        return False
    for k in range(ROUNDS):
        moves = moves_of(task, model)
        if moves is None:
            return k > 0
        with torch.no_grad():
            model.head.bias.add_(torch.from_numpy(moves.reshape(-1)).to(model.head.bias))
    return True


def moves_of(task: Any, model: Forecaster) -> np.ndarray | None:
    """How far quantiles are off, [H, k, Q]; None for not at all."""
    config, valid = model.config, task.valid
    conformal = Conformal(config.quantiles)
    chosen = np.arange(0, len(valid), -(-len(valid) // CALIBRATED))
    with evaluating(model):
        for _, inputs in task.in_batches(valid, chosen):
            past, known, static, unit, targets = inputs
            found = Outlook.of(config, model.made(past, known, static), unit, 2, 0).quantiles
            scale = model.frame(past[: task.config.window]).scale
            assert found is not None
            conformal.add(*(part.double().cpu().numpy() for part in (found, targets, scale)))
    return conformal.moves(len(config.quantiles))
