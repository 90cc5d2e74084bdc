"""check CELL: a verb on a cell."""

from __future__ import annotations

from collections.abc import Sequence

from ...config.verbs import JsonOption
from .options import Parser, add_options


def cell_command(words: Sequence[str], about: str) -> tuple[str, bool]:
    """Parse `check CELL`: the cell's name, and whether JSON is asked for."""
    parser = Parser("throughtime check CELL", description=about)
    parser.add_argument("cell", metavar="CELL", help="FILE.py:Class, or a built-in cell's name.")
    add_options(parser, JsonOption, "check")
    values = parser.read(words)
    return values["cell"], values.get("json", False)
