"""How far back a language model's memory reaches, measured by its gradients."""

from __future__ import annotations

from typing import Any

from ..inspect.gradients import gradients_through_time, language_windows
from ..tasks.task import Task

LAGS = 300
POSITIONS = 64
SHARE = 0.01


def horizon(task: Task, model: Any) -> dict[str, Any] | None:
    """The lag from which ‖∂L<T>/∂s<t>‖ is below 1% of that at lag 0: the median over positions.

    Of all layers and parts s of the state (a, c) it is the one that lasts longest; `by` has each.
    None: not within the `lags` measured. Positions are drawn at random from the validation text,
    the same for every model. A fixed window reaches as far as it is wide. None for a task
    without one long text.
    """
    text = task.running_text(quiet=True)
    if text is None:
        return None
    if text.reach is not None:
        return {"horizon": text.reach, "lags": LAGS, "by": {}}
    ids = text.ids
    if len(ids) < 2:  # nothing to look back on
        return {"horizon": None, "lags": 0, "by": {}}
    lags = min(LAGS, len(ids) - 2)
    found = gradients_through_time(model, language_windows(task, ids, lags, POSITIONS))
    by = {
        f"{part}, {name}": found.horizon(part, layer, SHARE)
        for part in found.norms
        for layer, name in found.rows(part)
    }
    return {"horizon": found.reach(SHARE), "lags": lags, "by": by}
