"""A forecaster that reads on: its window is carried, and the next values are said at each step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..config.forecast import ForecastOptions
from ..data.limits import LARGEST
from ..data.series import Series
from ..data.stamps import UNIT, said, stamp
from ..data.tables import NO_VALUE
from ..ground.errors import InputError, did_you_mean
from .streams import Step, Stream
from .task import Prediction


class ForecastStream(Stream):
    """The next values after each step; nothing while there are fewer than a window."""

    def __init__(self, task: Any, model: Any) -> None:
        """Of a `forecast.Forecast` and its model."""
        kept = task.learned.columns
        for name in ("known", "static"):
            if kept[name]:
                raise InputError(
                    f"this run needs data.{name} ({', '.join(kept[name])}), which a stream has "
                    "not: predict --data FILE."
                )
        if task.config.data.apart:
            raise InputError("a run over series apart has none that a stream is of: predict.")
        self.task, self.model = task, model
        self.time = kept["time"] if kept["time"] != "none" else None
        self.numbers = (*kept["target"], *kept["observed"])
        self.columns = ((self.time,) if self.time else ()) + self.numbers
        only = list(task.learned.scales)
        self.name = only[0] if len(only) == 1 else "stream"
        self.rows: list[list[float]] = []
        self.stamp: Any = None

    def reset(self) -> None:
        """Begin a new series."""
        self.rows, self.stamp, self.steps = [], None, 0

    def push(self, x: Step) -> Prediction:
        """The forecast of the next steps: `value` has the first of them."""
        row, at = self.read(x)
        step = self.task.learned.step
        if at is not None:
            if self.stamp is not None:
                place = float(step.places(np.array([at]), self.stamp)[0])
                if abs(place - 1) > 1e-6:
                    raise InputError(
                        f"step: expected a stamp {step} after {said(self.stamp)}, got {said(at)}."
                    )
            self.stamp = at
        self.rows = [*self.rows, row][-self.task.config.window :]
        self.steps += 1
        names = self.task.learned.columns["target"]
        if len(self.rows) < self.task.config.window:
            return Prediction("", {"value": dict.fromkeys(names), "steps": self.steps})
        first: Any = 0.0
        if self.stamp is not None:
            first = step.stamps(self.stamp, np.array([1 - len(self.rows)]))[0]
        series = Series(self.name, "stream", first, step, np.array(self.rows), len(self.rows))
        horizon = self.task.config.horizon
        found = list(self.task.forecast(self.model, [series], horizon, ForecastOptions()))
        values: dict[str, Any] = {
            "value": {name: float(one.point[0]) for name, one in zip(names, found)},
            "forecast": {name: one.point.tolist() for name, one in zip(names, found)},
            "steps": self.steps,
        }
        if self.time:
            values["times"] = [said(one) for one in found[0].stamps]
        text = "\t".join(f"{value:.6g}" for value in values["value"].values())
        return Prediction(text, values)

    def read(self, x: Step) -> tuple[list[float], Any]:
        """The numbers of a step, and its stamp."""
        cells = list(x.values()) if isinstance(x, dict) else list(x)  # type: ignore[arg-type]
        if isinstance(x, dict):
            for name in self.columns:
                if name not in x:
                    raise InputError(f"step: no {name!r}.{did_you_mean(name, x)}")
            cells = [x[name] for name in self.columns]
        if len(cells) != len(self.columns):
            said_so = ", ".join(self.columns)
            raise InputError(f"step: expected {said_so}, got {len(cells)} cells.")
        at = stamp(str(cells[0])) if self.time else None
        if at is not None and isinstance(at, np.datetime64) != self.task.learned.is_date:
            raise InputError(f"step: {str(cells[0])[:40]!r} is no stamp as in training.")
        row = []
        for name, cell in zip(self.numbers, cells[bool(self.time) :]):
            text = "" if cell is None else str(cell).strip()
            try:
                value = math.nan if text.lower() in NO_VALUE else float(text)
            except ValueError:
                value = math.inf
            if abs(value) > LARGEST:
                raise InputError(f"step: {name}: expected a number, got {text[:40]!r}.")
            if math.isnan(value) and self.task.config.data.missing == "error":
                raise InputError(f"step: no value of {name!r}, and training had all.")
            row.append(value)
        return row, at

    def carried(self) -> dict[str, Any]:
        """The window, and the stamp of its last step."""
        rows = [[None if math.isnan(v) else v for v in row] for row in self.rows]
        at = self.stamp
        stamped = str(at) if isinstance(at, np.datetime64) else at
        return {"rows": rows, "stamp": None if stamped is None else str(stamped)}

    def take_up(self, values: dict[str, Any]) -> None:
        """From what was carried."""
        rows = [[math.nan if v is None else float(v) for v in row] for row in values["rows"]]
        if any(len(row) != len(self.numbers) for row in rows):
            raise ValueError("rows of another width")
        self.rows = rows[-self.task.config.window :]
        at = values["stamp"]
        if at is not None:
            self.stamp = np.datetime64(at).astype(UNIT) if self.task.learned.is_date else float(at)
