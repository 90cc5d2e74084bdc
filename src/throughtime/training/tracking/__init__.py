"""Trackers: the lines of metrics.jsonl, sent besides to where people compare runs.

A tracker is a class with three methods (`kinds.Tracker`) and a line in `kinds.KINDS`. Training does
not depend on any: one that fails while a run trains is told once, and left out from then on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ... import config as configs
from ...checkpoint import TRACKED
from ...ground import terminal
from ...ground.errors import InputError, first_line
from ...ground.interrupts import Interrupted
from ...ground.output import json_text
from ...ground.whole import write_text
from .kinds import KINDS, Ending, Tracker


def named(loop: Any) -> list[str]:
    """The trackers that a run has; --loop.tensorboard is one of them."""
    return list(dict.fromkeys([*loop.track, *(["tensorboard"] if loop.tensorboard else [])]))


def require(loop: Any) -> None:
    """Raise `InputError` for a tracker whose package is not installed."""
    for name in named(loop):
        KINDS[name].require()


class Tracking:
    """The trackers of a run, begun or gone on with.

    `sent` are the last steps of each kind of line that were sent before: a resumed run writes those
    after its checkpoint again, and they are not sent twice. Errors: `InputError` where a tracker
    cannot begin.
    """

    def __init__(self, folder: Path, config: Any, *, resumed: bool, sent: dict[str, int]) -> None:
        self.path, self.sent = folder / TRACKED, sent
        kept = known(self.path) if resumed else {}
        settings = configs.to_dict(configs.located(config))
        self.trackers: dict[str, Tracker] = {}
        for name in named(config.loop):
            before = kept.get(name, {})
            try:
                self.trackers[name] = KINDS[name](folder.absolute(), settings, before)
            except Exception as error:
                self.close("failed")
                raise InputError(f"loop.track {name}: {first_line(error)}") from error
        kept |= {name: tracker.kept for name, tracker in self.trackers.items() if tracker.kept}
        if kept:
            write_text(self.path, json_text(kept, indent=1))

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Send the numbers of a line."""
        if step <= self.sent.get(kind, -1):
            return
        numbers = dict(flat(kind, values))
        for name in list(self.trackers) if numbers else ():
            with self.left_out(name):
                self.trackers[name].write(numbers, step)

    def close(self, how: Ending) -> None:
        """The run has ended, or stopped."""
        for name in list(self.trackers):
            with self.left_out(name):
                self.trackers[name].close(how)
        self.trackers = {}

    @contextlib.contextmanager
    def left_out(self, name: str) -> Iterator[None]:
        """Inside, an error is told, and the tracker is not used again: the run goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  a network's troubles are of any kind, and told
            self.trackers.pop(name, None)
            terminal.warn(
                f"{name} does not take what is sent ({first_line(error)[:200]}): the run goes on "
                "without it; metrics.jsonl has everything."
            )


def known(path: Path) -> dict[str, dict[str, str]]:
    """What trackers call the run, as `Tracking` wrote it; nothing where that cannot be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return {str(k): {str(a): str(b) for a, b in v.items()} for k, v in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        terminal.warn(f"{path}: cannot be read ({first_line(error)}): trackers begin a new run.")
        return {}


def ending(error: type[BaseException] | None) -> Ending:
    """How a run ended, by what was raised."""
    if error is None:
        return "finished"
    return "interrupted" if issubclass(error, (Interrupted, KeyboardInterrupt)) else "failed"


def flat(name: str, values: Any) -> Iterator[tuple[str, float]]:
    """The numbers in nested values, with their names one below the other."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from flat(f"{name}/{key}", value)
    elif isinstance(values, (int, float)):
        yield name, values


def last_steps(lines: bytes) -> dict[str, int]:
    """The last step of each kind among lines of metrics.jsonl."""
    found: dict[str, int] = {}
    for line in lines.split(b"\n"):
        with contextlib.suppress(ValueError, TypeError, KeyError):  # the last may be cut
            values = json.loads(line)
            found[values["kind"]] = max(int(values["step"]), found.get(values["kind"], -1))
    return found
