"""Cells: their equations (`built_in.py`), the base of all (`base.py`), names (`names.py`)."""

from __future__ import annotations

from .base import Bound as Bound
from .base import Cell as Cell
from .base import Gate as Gate
from .base import Weights as Weights
from .built_in import GRU as GRU
from .built_in import LSTM as LSTM
from .built_in import RNN as RNN
from .built_in import GRUResetAfter as GRUResetAfter
from .built_in import LayerNormGRU as LayerNormGRU
from .built_in import LayerNormLSTM as LayerNormLSTM
from .built_in import PeepholeLSTM as PeepholeLSTM
from .built_in import SimpleGRU as SimpleGRU
