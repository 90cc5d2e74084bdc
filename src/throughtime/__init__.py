"""throughtime: recurrent sequence models. A cell is its equations, written once.

Names are imported when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib

from .ground import moved as _moved

TYPE_CHECKING = False  # as type checkers know it; typing itself takes a while to import

__version__ = "0.1.0"

_moved.install()

_HOME = {
    "Cell": "cells",
    "Weights": "cells",
    "RNN": "cells",
    "SimpleGRU": "cells",
    "GRU": "cells",
    "GRUResetAfter": "cells",
    "LSTM": "cells",
    "PeepholeLSTM": "cells",
    "LayerNormLSTM": "cells",
    "LayerNormGRU": "cells",
    "scan": "scans",
    "portable": "ground.tracing",
    "why_not": "scans",
    "Stack": "layers.stack",
    "nn": "",
    "zoo": "",
    "compare": "",
    "Comparison": "config",
    "inspect": "",
    "LanguageConfig": "config",
    "ClassifierConfig": "config",
    "ConditionalConfig": "config",
    "MusicConfig": "config",
    "AddingConfig": "config",
    "CopyingConfig": "config",
    "TemporalOrderConfig": "config",
    "TaggerConfig": "config",
    "ForecastConfig": "config",
    "RegressionConfig": "config",
    "TranslatorConfig": "config",
    "Run": "run",
    "Tuning": "config",
    "train": "verbs",
    "tune": "tuning",
    "evaluate": "verbs",
    "predict": "verbs",
    "generate": "verbs",
    "agreement": "verbs",
    "check": "verbs",
    "doctor": "verbs",
    "load": "verbs",
    "Vocabulary": "data.vocabulary",
    "ThroughtimeError": "ground.errors",
    "InputError": "ground.errors",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from typing import Any

    from . import compare as compare
    from . import inspect as inspect
    from . import nn as nn
    from . import zoo as zoo
    from .cells import GRU as GRU
    from .cells import LSTM as LSTM
    from .cells import RNN as RNN
    from .cells import Cell as Cell
    from .cells import GRUResetAfter as GRUResetAfter
    from .cells import LayerNormGRU as LayerNormGRU
    from .cells import LayerNormLSTM as LayerNormLSTM
    from .cells import PeepholeLSTM as PeepholeLSTM
    from .cells import SimpleGRU as SimpleGRU
    from .cells import Weights as Weights
    from .config import AddingConfig as AddingConfig
    from .config import ClassifierConfig as ClassifierConfig
    from .config import Comparison as Comparison
    from .config import ConditionalConfig as ConditionalConfig
    from .config import CopyingConfig as CopyingConfig
    from .config import ForecastConfig as ForecastConfig
    from .config import LanguageConfig as LanguageConfig
    from .config import MusicConfig as MusicConfig
    from .config import RegressionConfig as RegressionConfig
    from .config import TaggerConfig as TaggerConfig
    from .config import TemporalOrderConfig as TemporalOrderConfig
    from .config import TranslatorConfig as TranslatorConfig
    from .config import Tuning as Tuning
    from .data.vocabulary import Vocabulary as Vocabulary
    from .ground.errors import InputError as InputError
    from .ground.errors import ThroughtimeError as ThroughtimeError
    from .ground.tracing import portable as portable
    from .layers.stack import Stack as Stack
    from .run import Run as Run
    from .scans import scan as scan
    from .scans import why_not as why_not
    from .tuning import tune as tune
    from .verbs import agreement as agreement
    from .verbs import check as check
    from .verbs import doctor as doctor
    from .verbs import evaluate as evaluate
    from .verbs import generate as generate
    from .verbs import load as load
    from .verbs import predict as predict
    from .verbs import train as train


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'throughtime' has no attribute {name!r}")
    home = _HOME[name]
    module = importlib.import_module(f".{home or name}", __name__)
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
