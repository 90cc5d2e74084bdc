"""One run of a comparison, in a process of its own: `python -m throughtime.compare.worker`."""

from __future__ import annotations

from typing import Any

from ..ground.interrupts import leave
from ..pool.worker import main, trained
from .horizon import horizon


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train a run or go on with it; what was found, as plain data."""
    found, task, model = trained(job)
    return {**found, "horizon": horizon(task, model)}


if __name__ == "__main__":
    leave(main(run))
