"""What a signal does to a run that trains; in whole runs, in tests/ground/test_interrupts.py."""

import pytest

from throughtime.ground.interrupts import Interrupted
from throughtime.training.stopping import Stopping


def test_beside_other_processes_a_step_is_ended():
    stopping = Stopping(alone=False)
    with stopping.broken_off(lambda: "nowhere"):
        assert stopping.ask()
    assert stopping.asked
    assert not stopping.agreed
    assert not stopping.ask()  # the second ends at once


def interrupted(stopping, *, asks):
    """What is broken off, as a signal breaks it off."""
    with stopping.broken_off(lambda: "step 3"):
        assert not (asks and stopping.ask())
        raise KeyboardInterrupt


def test_alone_what_can_be_broken_off_is_and_another_interrupt_is_none_of_ours():
    with pytest.raises(Interrupted, match="step 3"):
        interrupted(Stopping(alone=True), asks=True)
    with pytest.raises(KeyboardInterrupt):
        interrupted(Stopping(alone=True), asks=False)
