"""The command line's arguments: options are made from dataclasses."""

from .cells import cell_command
from .completion import completion_script
from .options import as_typed, options_of
from .runs import agreement_command, between_samples, run_command
from .tasks import task_command

__all__ = [
    "agreement_command",
    "as_typed",
    "between_samples",
    "cell_command",
    "completion_script",
    "options_of",
    "run_command",
    "task_command",
]
