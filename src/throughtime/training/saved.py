"""What is looked at before a checkpoint is taken up: kinds, bounds, shapes.

A damaged one may hold anything in any place. What torch and the steps to come would take on trust
is checked here: each function raises a `ValueError` that names what is wrong.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 2**62
"""No counter is beyond."""


def check_like(found: Any, like: Any, name: str) -> None:
    """Whether a value is of the kind of another: of a number, a text, or a mapping or a list of
    numbers and texts. Numbers are finite where `like` says so by being whole.
    """
    if isinstance(like, float):
        right = type(found) in (int, float) and abs(found) <= LARGEST
        right = right or (type(found) is float and not math.isfinite(found))
    elif isinstance(like, int):
        right = type(found) is int and abs(found) <= LARGEST
    else:
        right = type(found) is type(like)
    if not right:
        raise ValueError(f"{name} is {str(found)[:40]}")


def check_mapping(found: Any, like: Mapping[str, Any], name: str, *, whole: bool = True) -> None:
    """Whether a mapping has the names of another, and values of its kinds; without `whole` some
    names may be missing.
    """
    if type(found) is not dict:
        raise ValueError(f"{name} is no mapping")
    missing = [key for key in like if key not in found] if whole else []
    odd = [*missing, *(key for key in found if key not in like)]
    if odd:
        raise ValueError(f"{name}: {'no' if missing else 'unknown'} {str(odd[0])[:40]}")
    for key, value in found.items():
        check_like(value, like[key], f"{name}: {key}")


def check_counters(found: Any, fresh: Any) -> None:
    """The counters of a run, as those of a fresh one; older releases had fewer."""
    like = {field.name: getattr(fresh, field.name) for field in dataclasses.fields(fresh)}
    check_mapping(found, like, "counters", whole=False)
    for name in ("averaged", "fired"):
        inner = found.get(name, [])
        keys, values = (inner, inner.values()) if isinstance(inner, dict) else ((), inner)
        for key in keys:
            check_like(key, "", f"counters: {name}")
        for value in values:
            check_like(value, 0, f"counters: {name}")
    for name, value in found.items():
        if isinstance(value, int) and value < (-1 if name == "evaluated_step" else 0):
            raise ValueError(f"counters: {name} is {value}")
    if not 0 <= found.get("elapsed", 0.0) <= LARGEST:
        raise ValueError(f"counters: elapsed is {found['elapsed']}")


def check_schedule(found: Any, fresh: Mapping[str, Any]) -> None:
    """The memory of a schedule: what the rate is multiplied by, and evaluations without a best."""
    check_mapping(found, fresh, "schedule")
    if not 0 <= found["scale"] <= 1 or found["stale"] < 0:
        raise ValueError(f"schedule: {found}")


def check_weights(model: nn.Module) -> None:
    """Whether all weights are numbers: a training never saves others."""
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(f"weights: {name} holds what is no number")


def check_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[Any, str], *, every: bool
) -> None:
    """The state that an optimizer has taken from a checkpoint, before its kernels read it.

    `names` are those of the parameters that train. For each it has either nothing, or what one step
    leaves: tensors of the parameter's shape, in memory as the parameter is, and a count of steps.
    `every`: each step has a gradient for all of them.
    """
    expected = state_after_a_step(optimizer)
    momenta = {name: optimizer.state.get(p, {}).get("momentum_buffer") for p, name in names.items()}
    without = [name for name, momentum in momenta.items() if momentum is None]
    if every and 0 < len(without) < len(momenta):  # a kernel takes all of them or none
        raise ValueError(f"optimizer's state of {without[0]}: no momentum_buffer")
    for parameter, state in optimizer.state.items():
        name = f"optimizer's state of {names[parameter]}"
        if set(state) not in (set(), expected):
            raise ValueError(f"{name}: {', '.join(map(str, state))[:40]}")
        for key, value in state.items():
            if value is None and key == "momentum_buffer":
                continue
            if not isinstance(value, Tensor):
                raise ValueError(f"{name}: {key} is no tensor")
            shape = torch.Size() if key == "step" else parameter.shape
            if value.shape != shape or not value.is_floating_point():
                raise ValueError(f"{name}: {key} is {list(value.shape)}, expected {list(shape)}")
            if not value.is_contiguous():
                raise ValueError(f"{name}: {key} shares its memory")
            if not value.isfinite().all():
                raise ValueError(f"{name}: {key} holds what is no number")
            if key == "exp_avg_sq" and bool((value < 0).any()):
                raise ValueError(f"{name}: {key} is below 0")
            if key == "step" and not 0 <= float(value) <= LARGEST:
                raise ValueError(f"{name}: step is {float(value)}")


def state_after_a_step(optimizer: torch.optim.Optimizer) -> set[str]:
    """What an optimizer of this kind and these settings keeps of each parameter."""
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    settings = {k: v for k, v in optimizer.param_groups[0].items() if k in optimizer.defaults}
    kind: Any = type(optimizer)
    one = kind([{**settings, "params": [parameter]}])
    one.step()
    return set(one.state[parameter])
