"""Ctrl-C and SIGTERM: a question that work in progress answers, or the end, in one line.

Little is imported here: `__main__` listens before anything else is loaded.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 1.5
"""Seconds that the main thread has to notice a signal, where it may be inside a long call."""

_heard = signal.SIGINT
_first_to_leave = iter((True,))
_tell: Callable[[], None] | None = None
"""What to call at the first signal, while `asked` listens."""


class Interrupted(Exception):
    """Training stopped on request, at a step boundary, its checkpoint written; says where."""


def exit_code() -> int:
    """That of a process that the signal heard last has ended: 130 after Ctrl-C, 143 after TERM."""
    return 128 + _heard


def leave_at_once(number: int, _: FrameType | None) -> None:
    """End the process with one line: a handler for moments with nothing to put in order."""
    if next(_first_to_leave, False):  # the main thread and the one that watches may both come
        with contextlib.suppress(OSError):
            os.write(2, b"\nthroughtime: interrupted\n")
        os._exit(128 + number)


def listen() -> None:
    """From here on a signal ends the process with one line, where nothing else is said."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave_at_once)


def interrupt(number: int, _: FrameType | None) -> None:
    """Raise KeyboardInterrupt in the main thread: what is half done is put in order."""
    global _heard
    _heard = signal.Signals(number)
    raise KeyboardInterrupt


def in_main_thread() -> bool:
    """Whether this is the thread that hears signals."""
    import threading

    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Inside, `handler` hears both signals, but for one that is ignored; not in other threads."""
    if not in_main_thread():
        yield  # whoever called listens
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, was in before.items():
            if was is not signal.SIG_IGN:  # as for a command in a script's background
                signal.signal(number, handler)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def at_once() -> contextlib.AbstractContextManager[None]:
    """Inside, a signal ends the process: for imports, which would make other errors of it."""
    return handled(leave_at_once)


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """Inside, a signal raises KeyboardInterrupt, within `PATIENCE`; else the process is left.

    Python's handlers wait until a call into a library returns, which may train a vocabulary or
    sort for minutes. A thread hears the signal at once, through a pipe, and waits a moment.
    """
    import threading

    if not in_main_thread():
        yield
        return
    raised = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def heard(number: int, frame: FrameType | None) -> None:
        raised.set()
        interrupt(number, frame)

    def watch() -> None:
        while number := os.read(reading, 1):
            listens = signal.getsignal(number[0])
            if (tell := _tell) is not None:
                tell()
            if listens is leave_at_once or (listens is heard and not raised.wait(PATIENCE)):
                leave_at_once(number[0], None)
            raised.clear()

    thread = threading.Thread(target=watch, daemon=True)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        thread.start()
        with handled(heard):
            yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)  # which ends the thread
        thread.join()
        os.close(reading)


@contextlib.contextmanager
def asked(ask: Callable[[], bool], say: Callable[[], None]) -> Iterator[None]:
    """Inside the block a signal calls `ask`; where that answers False it interrupts at once.

    `say` tells a person what the first signal does: within `noticed` at once, from the thread that
    watches, though the main thread is inside a long call.
    """
    global _tell
    first = iter((True,))

    def tell() -> None:
        if next(first, False):
            say()

    def heard(number: int, frame: FrameType | None) -> None:
        global _heard
        _heard = signal.Signals(number)
        tell()
        if not ask():
            interrupt(number, frame)

    before, _tell = _tell, tell
    try:
        with handled(heard):
            yield
    finally:
        _tell = before


def leave(code: int) -> NoReturn:
    """End the process when all is said: taking torch apart takes another second or two."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or a full disk
            stream.flush()
    os._exit(code)
