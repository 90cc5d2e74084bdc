"""Writing: sampling and beam search over anything that steps.

A model steps: `initial_state(B)`, `hidden(tokens [T, B], state)` to read a prime at once, and
`step(tokens [B], state) -> (logits [B, V], state)`. The parts of a state are [layers, B, n].
"""

from .beams import BeamSearch, Hypothesis, beam_search
from .native import NativeWriter, writer_of
from .reading import read, reorder, sample
from .sampling import Sampling, check_numbers
from .writer import Start, Writer

__all__ = [
    "BeamSearch",
    "Hypothesis",
    "NativeWriter",
    "Sampling",
    "Start",
    "Writer",
    "beam_search",
    "check_numbers",
    "read",
    "reorder",
    "sample",
    "writer_of",
]
