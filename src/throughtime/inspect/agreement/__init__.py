"""Does a language model know which noun its verb belongs to? Minimal pairs, scored."""

from .figure import draw
from .measure import measure, write_corpus
from .results import Agreement

__all__ = ["Agreement", "draw", "measure", "write_corpus"]
