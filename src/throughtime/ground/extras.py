"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import InputError


def need(module: str, extra: str) -> Any:
    """Import a module of an optional extra; `InputError` names the extra where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"this needs the package {error.name}: pip install 'throughtime[{extra}]'."
        ) from error
