"""The verb export."""

from __future__ import annotations

from ..ground.interrupts import at_once


def export(words: list[str]) -> int:
    """throughtime export RUN."""
    from .parsing import run_command

    with at_once():  # it may import torch
        command = run_command("export", words)
        from ..verbs import export as run

    print(run(command.run, **command.common))
    return 0
