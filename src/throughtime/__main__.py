"""The program: `throughtime`, and `python -m throughtime`, which is how torchrun starts it."""

import sys

from .ground.interrupts import listen


def program() -> int:
    """The command line as a process of its own: a signal ends it in one line, imports included."""
    listen()
    from .command.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(program())
