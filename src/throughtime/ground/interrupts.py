"""Ctrl-C as a question that work in progress answers."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


class Interrupted(Exception):
    """Training stopped on request, at a step boundary, its checkpoint written; says where."""


@contextlib.contextmanager
def asked(ask: Callable[[], bool]) -> Iterator[None]:
    """Inside the block Ctrl-C calls `ask`; where that answers False it interrupts at once."""

    def heard(*_: object) -> None:
        if not ask():
            raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, heard)
    except ValueError:  # not in the main thread: whoever called handles Ctrl-C
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
