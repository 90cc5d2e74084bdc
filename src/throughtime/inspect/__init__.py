"""Looking inside a trained model: what it remembers, what its gates do, where it errs.

Everything here takes a model, and its task where text is read; `throughtime inspect RUN` and
`verbs.inspect_run` load them and write the report.
"""

from .gates import Gates, gates
from .gradients import GradientsThroughTime, gradients_through_time, language_windows
from .watch import watching

__all__ = [
    "Gates",
    "GradientsThroughTime",
    "gates",
    "gradients_through_time",
    "language_windows",
    "watching",
]
