"""throughtime: recurrent sequence models. A cell is its equations, written once.

Names are imported when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Cell": "cell",
    "Weights": "cell",
    "RNN": "cells",
    "SimpleGRU": "cells",
    "GRU": "cells",
    "GRUResetAfter": "cells",
    "LSTM": "cells",
    "PeepholeLSTM": "cells",
    "scan": "scans",
    "why_not": "scans",
    "Stack": "stack",
    "nn": "",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from . import nn
    from .cell import Cell, Weights
    from .cells import GRU, LSTM, RNN, GRUResetAfter, PeepholeLSTM, SimpleGRU
    from .scans import scan, why_not
    from .stack import Stack


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'throughtime' has no attribute {name!r}")
    home = _HOME[name]
    module = importlib.import_module(f".{home or name}", __name__)
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
