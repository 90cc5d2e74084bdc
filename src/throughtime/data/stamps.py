"""Stamps of time in columns of tables: dates as ISO 8601 writes them, or plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..ground.errors import InputError
from .tables import Rows

UNIT = "datetime64[us]"
"""How dates are kept: exact to the microsecond, in UTC where they tell a zone."""


def stamps_of(rows: Rows, name: str, *, dates: bool | None = None) -> np.ndarray:
    """A column of stamps [R]: dates (`UNIT`) or float64, whichever all of them are.

    `dates`: which it must be, None for either. `InputError` names the place of what is neither, or
    not of the kind, or missing.
    """
    cells = rows.column(name)
    if isinstance(cells, np.ndarray):
        found = cells.astype(UNIT if cells.dtype.kind == "M" else np.float64)
    else:
        found = parsed(cells)
        if found is None:
            raise InputError(wrong(rows, name, cells))
    missing = np.isnat(found) if found.dtype.kind == "M" else ~np.isfinite(found)
    if missing.any():
        i = int(missing.argmax())
        raise InputError(f"{rows.where(i)}: column {name!r}: no stamp of time ({str(cells[i])!r}).")
    if dates is not None and dates != (found.dtype.kind == "M") and len(found):
        kind = "a date" if dates else "a number"
        raise InputError(
            f"{rows.where(0)}: column {name!r}: expected {kind}, as in the rows before, got "
            f"{str(cells[0])[:40]!r}."
        )
    return found


def parsed(cells: Sequence[str]) -> np.ndarray | None:
    """Texts as dates or as numbers; None where they are neither."""
    try:
        return np.array(list(map(float, cells)), np.float64)
    except ValueError:
        pass
    try:
        plain = [cell.strip().replace("/", "-") for cell in cells]
        if not any(zoned(cell) for cell in plain):
            return np.array(plain, UNIT)
        return np.array([in_utc(cell) for cell in plain], UNIT)
    except (ValueError, OverflowError):
        return None


def zoned(text: str) -> bool:
    """Whether a date tells a zone: Z, or hours and minutes after a sign."""
    return text.endswith("Z") or "+" in text or text.count("-") > 2


def in_utc(text: str) -> datetime:
    """A date as the UTC that it is."""
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def wrong(rows: Rows, name: str, cells: Sequence[str]) -> str:
    """What to say of the first cell that is no stamp."""
    i = next((i for i, cell in enumerate(cells) if parsed([cell]) is None), 0)
    return (
        f"{rows.where(i)}: column {name!r}: expected a stamp of time, as in 2024-05-31 14:00 or a "
        f"number, got {cells[i][:40]!r}."
    )


def stamp(text: str) -> np.ndarray:
    """One stamp as it is typed, [] ; `InputError` where it is none."""
    found = parsed([text])
    if found is None or (np.isnat(found) if found.dtype.kind == "M" else np.isinf(found))[0]:
        raise InputError(f"{text!r} is no stamp of time, as in 2024-05-31 14:00 or a number.")
    return found[0]


def said(value: Any) -> str:
    """A stamp as a person writes it: without seconds where there are none."""
    if not isinstance(value, np.datetime64):
        return f"{float(value):.15g}"
    text = str(value.astype("datetime64[us]")).rstrip("0").rstrip(".").replace("T", " ")
    text = str(value.astype("datetime64[s]")).replace("T", " ") if text.count(":") < 2 else text
    return text.removesuffix(":00") if text.endswith(":00") else text


def said_all(stamps: np.ndarray) -> list[str]:
    """Stamps of one series; days by themselves where none has a time of day."""
    texts = [said(stamp) for stamp in stamps]
    whole = all(text.endswith(" 00:00") for text in texts)
    return [text.removesuffix(" 00:00") for text in texts] if whole else texts


def seconds(stamps: np.ndarray) -> np.ndarray:
    """Stamps as float64: dates as seconds since 1970."""
    if stamps.dtype.kind == "M":
        return stamps.astype("int64") / 1e6
    return stamps.astype(np.float64)
