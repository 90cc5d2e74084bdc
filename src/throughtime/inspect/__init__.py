"""Looking inside a trained model: what it remembers, what its gates do, where it errs.

Everything here takes a model, and its task where text is read; `throughtime inspect RUN` and
`verbs.inspect_run` load them and write the report.
"""

from . import figures
from .gates import Gates, gates_through_time
from .gradients import GradientsThroughTime, gradients_through_time, language_windows
from .health import Health, read_health
from .influence import Influence, influence_of_tokens
from .positions import Band, ContextErrors, errors_by_context, errors_by_frequency
from .units import Unit, longest_units
from .watch import watching

__all__ = [
    "Band",
    "ContextErrors",
    "Gates",
    "GradientsThroughTime",
    "Health",
    "Influence",
    "Unit",
    "errors_by_context",
    "errors_by_frequency",
    "figures",
    "gates_through_time",
    "gradients_through_time",
    "influence_of_tokens",
    "language_windows",
    "longest_units",
    "read_health",
    "watching",
]
