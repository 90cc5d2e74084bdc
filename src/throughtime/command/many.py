"""The verbs that train many runs: compare, tune."""

from __future__ import annotations

from ..ground.interrupts import Interrupted, at_once, exit_code


def compare(words: list[str]) -> int:
    """throughtime compare TASK."""
    from .parsing import as_typed, task_command

    command = task_command("compare", words)
    if command is None:
        return 0
    with at_once():
        from ..compare import compare as run
        from ..ground import terminal

    for note in command.notes:
        terminal.say(note)
    try:
        with as_typed():
            found = run(command.config, command.options, task=command.task)
    except Interrupted:
        terminal.say("saved. The same command goes on.")
        return exit_code()
    print(found.table.text())
    terminal.say(f"{found.folder}: compare.md, compare.json, compare.png, compare.svg")
    return 1 if found.failures else 0


def tune(words: list[str]) -> int:
    """throughtime tune TASK."""
    from .parsing import as_typed, task_command

    command = task_command("tune", words)
    if command is None:
        return 0
    with at_once():
        from ..ground import terminal
        from ..tuning import tune as run

    for note in command.notes:
        terminal.say(note)
    try:
        with as_typed():
            found = run(command.config, command.options, task=command.task)
    except Interrupted as where:
        terminal.say(f"saved; so far: {where}/tune.md. The same command goes on.")
        return exit_code()
    print(found.table.text())
    terminal.say(f"{found.folder}: tune.md, tune.json, tune.png, tune.svg, study.db")
    if found.best is None:
        return 1
    terminal.say(f"go on with: throughtime evaluate {found.folder}/best")
    return 0
