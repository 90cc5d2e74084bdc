"""Stopping a training on request: what changes nothing is broken off, what does is ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ..ground import terminal
from ..ground.interrupts import Interrupted


class Stopping:
    """What a signal does to a run that trains.

    Until the optimizer's step a training step changes nothing, and neither does a measurement: they
    are broken off, and come again when the run goes on. Beside other processes they are ended, for
    those would wait.
    """

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self.asked = False  # by a signal, in this process
        self.agreed = False  # by all processes
        self.breakable = False

    def ask(self) -> bool:
        """The first signal asks to stop, the next to end at once; False: interrupt what runs."""
        if self.asked:
            return False
        self.asked = True
        self.agreed = self.breakable
        return not self.breakable

    def say(self) -> None:
        """What the first signal does."""
        when = "the run is being saved" if self.alone else "the run is saved after this step"
        terminal.say(f"stopping: {when} (Ctrl-C again: at once, back to the last save)")

    @contextlib.contextmanager
    def broken_off(self, save: Callable[[], str]) -> Iterator[None]:
        """What changes nothing in the run until it ends. Asked to stop, it is broken off.

        `save` undoes what there is to undo, saves the run and says where: `Interrupted` tells it.
        """
        self.breakable = self.alone
        try:
            yield
        except KeyboardInterrupt:
            if not self.agreed:
                raise
            self.breakable = False
            raise Interrupted(save()) from None
        finally:
            self.breakable = False
