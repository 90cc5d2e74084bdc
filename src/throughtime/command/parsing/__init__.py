"""The command line's arguments: a file for each kind of verb, on options made from dataclasses."""

from .agreement import agreement_command
from .comparing import compare_command
from .inspect import inspect_command
from .options import parse, plain_parser
from .running import between_samples, evaluate_command, generate_command, predict_command
from .training import train_command

__all__ = [
    "agreement_command",
    "between_samples",
    "compare_command",
    "evaluate_command",
    "generate_command",
    "inspect_command",
    "parse",
    "plain_parser",
    "predict_command",
    "train_command",
]
