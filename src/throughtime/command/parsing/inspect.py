"""throughtime inspect RUN."""

from __future__ import annotations

from typing import Any

from ...ground.errors import InputError
from .options import parse, plain_parser
from .running import add_data_option, add_model_options

ABOUT = """Look inside a run: gradients through time, influence on text, gates, errors, training
health, as one HTML file and one JSON file. `throughtime inspect agreement RUN --help`: agreement
of subject and verb by distance."""


def inspect_command(arguments: list[str]) -> dict[str, Any]:
    """throughtime inspect RUN [--data FILE …] [--out DIR] [--untrained] [--json]."""
    parser = plain_parser("inspect", ABOUT, json=True)
    parser.add_argument("run", type=str, help="Run folder.")
    add_data_option(parser, "default: the run's own validation data.")
    parser.add_argument(
        "--out", type=str, default=None, help="Folder of the report; default: RUN/inspect."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace the report that --out holds."
    )
    parser.add_argument(
        "--untrained", action="store_true", help="Measure the gradients at initialisation too."
    )
    parser.add_argument("--lags", type=int, default=200, help="Steps to look back.")
    parser.add_argument(
        "--positions", type=int, default=128, help="Positions of the data to measure at."
    )
    parser.add_argument(
        "--passages", type=int, default=6, help="Predictions to show with their text."
    )
    parser.add_argument("--seed", type=int, default=0, help="Of the positions drawn.")
    add_model_options(parser, threads=True)
    values = vars(parse(parser, arguments))
    for name in ("lags", "positions", "passages"):
        if values[name] < 1:
            raise InputError(f"--{name} must be at least 1, got {values[name]}.")
    if values["seed"] < 0:
        raise InputError(f"--seed must be at least 0, got {values['seed']}.")
    if values["overwrite"] and values["out"] is None:
        raise InputError("--overwrite replaces the report in --out DIR: give one.")
    return values
