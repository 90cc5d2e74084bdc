"""What a person sees: messages and progress, on standard error, so that output can be piped."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from .errors import printable

console = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """One plain line."""
    console.print(message, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """One line that asks for attention."""
    console.print(f"warning: {printable(message)}", style="yellow", markup=False, soft_wrap=True)


def say_if_typed(what: str) -> None:
    """Where a person types standard input, say that it is waited for, and how it ends."""
    if sys.stdin.isatty():
        say(f"reading {what} from the terminal; Ctrl-D on a line of its own ends.")


@contextlib.contextmanager
def progress(what: str, total: float, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """A bar while something runs; without a terminal, a line if it took over two seconds."""
    if quiet:
        yield lambda amount: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)
    took = time.monotonic() - started
    if took > 2:
        say(f"{what}: {took:.1f} s")
