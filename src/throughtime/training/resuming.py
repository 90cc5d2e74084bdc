"""What a checkpoint holds of a trainer, and how a resumed one takes it up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import nn

from ..checkpoint import RunFolder
from ..ground.errors import InputError
from ..ground.machine import Processes
from ..layers.states import tensors
from ..tasks.task import Task
from .advice import Advisor
from .counters import Counters
from .monitor import Metrics
from .optimization import Schedule
from .running_mean import RunningMean
from .saved import (
    check_counters,
    check_like,
    check_mapping,
    check_optimizer,
    check_schedule,
    check_weights,
)

CHECKPOINT_FORMAT = 1


class Training(Protocol):
    """What a trainer has that the next step depends on, or what is told."""

    task: Task
    config: Any
    folder: RunFolder
    processes: Processes
    device: torch.device
    model: nn.Module
    mean: RunningMean
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    counters: Counters
    advisor: Advisor
    carry: Any
    metrics: Metrics | None
    metrics_bytes: int | None


def of_process(trainer: Training) -> dict[str, Any]:
    """What is each process's own: the carried state and the random state."""
    carry = None if trainer.carry is None else [part.cpu() for part in tensors(trainer.carry)]
    return {"carry": carry, **random_state(trainer)}


def random_state(trainer: Training) -> dict[str, Any]:
    """That of torch, in this process."""
    cuda = trainer.device.type == "cuda"
    return {
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state(trainer.device) if cuda else None,
    }


def restore_random(trainer: Training, saved: dict[str, Any]) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"] is not None:
        torch.cuda.set_rng_state(saved["random_cuda"], trainer.device)


def of_run(trainer: Training) -> dict[str, Any]:
    """What all processes have alike."""
    return {
        "format": CHECKPOINT_FORMAT,
        "model": trainer.model.state_dict(),
        "ema": trainer.mean.state(),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.schedule.state,
        "counters": asdict(trainer.counters),
        "advisor": trainer.advisor.state(),
        "fingerprint": trainer.task.fingerprint,
        "metrics_bytes": trainer.metrics.position() if trainer.metrics else 0,
    }


def take_up(trainer: Training, saved: dict[str, Any]) -> None:
    """Put a checkpoint's state into a new trainer; the optimizer's settings are today's.

    Errors: `InputError` for another format, for data that have changed since, and for another
    number of processes.
    """
    try:
        _take_up(trainer, saved)
    except InputError:
        raise
    except Exception as error:  # what a damaged one holds is of any kind
        raise trainer.folder.no_checkpoint(error) from error


def _take_up(trainer: Training, saved: dict[str, Any]) -> None:
    where = trainer.folder.trainer
    if saved.get("format") != CHECKPOINT_FORMAT:
        raise InputError(
            f"{where}: unknown format {saved.get('format')!r}; expected {CHECKPOINT_FORMAT}."
        )
    if saved["fingerprint"] != trainer.task.fingerprint:
        raise InputError(
            f"{where}: the data have changed since this run began; it cannot go on with other "
            "text. Restore the files, or start a new run from its weights: --init-from "
            f"{trainer.folder.path} and another --out."
        )
    if len(saved["processes"]) != trainer.processes.world:
        raise InputError(
            f"{where}: this run used {len(saved['processes'])} processes, now there are "
            f"{trainer.processes.world}. Start as many as before."
        )
    trainer.folder.load_state(trainer.model, saved["model"], where)
    check_weights(trainer.model)
    trainer.mean.take_up(saved.get("ema"))
    groups = trainer.optimizer.param_groups
    wanted = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    trainer.optimizer.load_state_dict(saved["optimizer"])
    for group, settings in zip(trainer.optimizer.param_groups, wanted):
        group.update(settings)  # a resumed run may change them
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    every = not (trainer.task.unused_parameters or trainer.config.optim.freeze)
    check_optimizer(trainer.optimizer, names, every=every)
    check_schedule(saved["schedule"], trainer.schedule.state)
    trainer.schedule.state = saved["schedule"]
    check_counters(saved["counters"], trainer.counters)
    trainer.counters = Counters(**saved["counters"])
    told = saved.get("advisor", {})
    check_mapping(told, trainer.advisor.state(), "advisor", whole=False)
    trainer.advisor.resume(told)
    check_like(saved["metrics_bytes"], 0, "metrics_bytes")
    trainer.metrics_bytes = max(0, saved["metrics_bytes"])
    mine = saved["processes"][trainer.processes.rank]
    if mine["carry"] is not None:
        parts = [part.to(trainer.device) for part in mine["carry"]]
        trainer.carry = trainer.task.restore_carry(parts, trainer.model)
    restore_random(trainer, mine)
