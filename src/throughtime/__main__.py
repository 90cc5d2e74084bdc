"""The program: `throughtime`, and `python -m throughtime`, which is how torchrun starts it."""

import sys

from .ground.interrupts import leave, listen

INTERRUPTED = (130, 143)
"""Exit codes after Ctrl-C and SIGTERM."""


def program() -> int:
    """The command line as a process of its own: a signal ends it in one line, imports included."""
    listen()
    from .command.cli import main

    code = main()
    if code in INTERRUPTED:
        leave(code)
    return code


if __name__ == "__main__":
    sys.exit(program())
