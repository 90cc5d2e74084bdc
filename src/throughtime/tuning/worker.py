"""One trial, in a process of its own: `python -m throughtime.tuning.worker`."""

from __future__ import annotations

from typing import Any

from ..ground.errors import TrainingDiverged
from ..ground.interrupts import leave
from ..pool.worker import main, trained


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train a run or go on with it; what was found, as plain data.

    Settings with which training diverges are a finding, too.
    """
    try:
        return trained(job)[0]
    except TrainingDiverged as error:
        return {"diverged": str(error)}


if __name__ == "__main__":
    leave(main(run))
