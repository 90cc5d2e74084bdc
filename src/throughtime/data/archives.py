"""NumPy's archives of arrays, .npz, from anywhere."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..ground.errors import InputError
from .limits import WHOLE_FILE

RATIO = 1000
"""An archive that holds more bytes than both so many times its size and `WHOLE_FILE` is refused."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive by name; `InputError` where they cannot be read."""
    try:
        with open(path, "rb") as file:
            with zipfile.ZipFile(file) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > max(WHOLE_FILE, RATIO * path.stat().st_size):
                raise InputError(f"{path}: unpacks to {size:,} bytes, out of all proportion.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
    except InputError:
        raise
    except Exception as error:  # what NumPy's readers meet in damage is of any kind
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a NumPy archive of arrays: {what}.") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: {name} is no array.")
    return arrays
