"""Work that sees nothing of what its caller has switched on.

A first use may come anywhere: under hooks on saved tensors, modes, autocast, anomaly detection,
inside torch.func's transforms or torch's tracers. torch keeps nearly all of that for each thread
apart, so a thread of its own is the clean place, of whatever kind the switch is; the few that hold
for the whole process are put back for a moment.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.nn.modules import module as modules

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """`work()`, its result or its exception, from a thread of its own; one such at a time.

    After Ctrl-C the work goes on behind, and whatever comes next waits for it.
    """
    results: list[Any] = []
    errors: list[BaseException] = []
    nested = getattr(_place, "inside", False)  # equations that scan: the lock is theirs already

    def run() -> None:
        _place.inside = True
        try:
            with contextlib.nullcontext() if nested else _one_at_a_time, _as_by_default():
                results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, name="throughtime, aside")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


_one_at_a_time = threading.Lock()
_place = threading.local()
_HOOKS: tuple[dict[Any, Any], ...] = (
    modules._global_forward_pre_hooks,
    modules._global_forward_hooks,
    modules._global_backward_pre_hooks,
    modules._global_backward_hooks,
)
"""Of all modules: a FLOP counter's, for one. Equations may call a module."""


@contextlib.contextmanager
def _as_by_default() -> Iterator[None]:
    """The switches of the whole process that tracing would see."""
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    hooks = [(kind, dict(kind)) for kind in _HOOKS]
    torch.set_anomaly_enabled(False)
    for kind in _HOOKS:
        kind.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a caller may have made errors of them
            yield
    finally:
        torch.set_anomaly_enabled(*anomaly)
        for kind, held in hooks:
            kind.update(held)
