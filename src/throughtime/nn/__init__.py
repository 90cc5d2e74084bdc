"""`tt.nn`: all of torch.nn, its RNN, LSTM and GRU replaced. Changing the import is all a user does.

LSTMCell, GRUCell, RNNCell and what else has no time loop are torch's own.
"""

from __future__ import annotations

# whatever this torch has
from torch.nn import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

from .faces import GRU as GRU
from .faces import LSTM as LSTM
from .faces import RNN as RNN
