"""What a run tells while it trains: metrics.jsonl, trackers, a live line, samples."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from ..ground import terminal
from ..ground.errors import ThroughtimeError
from ..ground.output import json_text
from ..ground.whole import RESUME, refuse_special
from . import tracking

QUIET_EVERY = 10.0
"""Seconds between lines where there is no terminal to redraw."""


class Metrics:
    """metrics.jsonl, one JSON object a line, and the trackers that get its numbers too."""

    def __init__(self, path: Path, config: Any, *, keep: int | None) -> None:
        """Begin a new file, or go on after its first `keep` bytes: later lines come again."""
        self.path = path
        refuse_special(path, links=False)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._saving():
            descriptor = os.open(path, flags, 0o666)
            size = os.fstat(descriptor).st_size
            from_here = min(keep or 0, size)
            taken_back = os.pread(descriptor, size - from_here, from_here) if keep else b""
            os.ftruncate(descriptor, from_here)
        self.file = os.fdopen(descriptor, "a", encoding="utf-8")
        sent, resumed = tracking.last_steps(taken_back), keep is not None
        try:
            self.tracking = tracking.Tracking(path.parent, config, resumed=resumed, sent=sent)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the file and say to trackers how the run ended."""
        with contextlib.suppress(OSError):  # a full disk was reported when the line was written
            self.file.close()
        self.tracking.close(tracking.ending(error))

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Append one line."""
        line = {"kind": kind, "step": step, **values}
        with self._saving():
            self.file.write(json_text(line) + "\n")
            self.file.flush()
        self.tracking.write(kind, step, values)

    def position(self) -> int:
        """Bytes written so far, on the disk."""
        with self._saving():
            self.file.flush()
            os.fsync(self.file.fileno())
        return self.file.tell()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ThroughtimeError(
                f"cannot write {self.path}: {error}. The last checkpoint is untouched; make room "
                f"and {RESUME}."
            ) from error


class LiveBars:
    """Bars on a terminal; where there is none, `line_due` tells when a line may take their place.

    `named`: each bar has a name before it.
    """

    def __init__(self, *, named: bool = False, quiet: bool = False) -> None:
        self.live = terminal.console.is_terminal and not quiet
        self.bars = Progress(
            *([TextColumn("{task.fields[name]}")] if named else []),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=terminal.console,
            transient=True,
            disable=not self.live,
        )
        self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def line_due(self) -> bool:
        """Whether the last line is ten seconds ago; asked once for each line."""
        if time.monotonic() - self.last_line < QUIET_EVERY:
            return False
        self.last_line = time.monotonic()
        return True


class Display(LiveBars):
    """The live line of a training run: a bar on a terminal, else a line every ten seconds."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.quiet = quiet
        self.task = self.bars.add_task("starting", total=1.0)

    def update(self, progress: float, text: str) -> None:
        """Show where training is."""
        if self.live:
            self.bars.update(self.task, completed=progress, description=text)
        elif not self.quiet and self.line_due():
            terminal.say(f"{progress:4.0%}  {text}")

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            terminal.say(text)

    def sample(self, text: str) -> None:
        """What the model writes by now, set apart."""
        if not self.quiet and text:
            shown = Text("\n".join(f"  │ {line}" for line in text.splitlines()), style="dim")
            terminal.console.print(shown, soft_wrap=True)


def clock(duration: float) -> str:
    """Seconds as 1:05 or 2:00:07."""
    total = round(duration)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
