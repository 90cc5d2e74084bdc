"""NumPy's archives of arrays, .npz, from anywhere."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..ground.errors import InputError
from .limits import WHOLE_FILE
from .rooms import IN_MEMORY, room

RATIO = 1000
"""An archive that holds more bytes than both so many times its size and `WHOLE_FILE` is refused."""


def is_large(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether an array is too large to be held in memory."""
    return f"{name}.npy" in archive.namelist() and (
        archive.getinfo(f"{name}.npy").file_size > IN_MEMORY
    )


def read_large(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array as it is in the archive, read into a file that is mapped."""
    with archive.open(f"{name}.npy") as entry:
        major, _ = np.lib.format.read_magic(entry)
        header = np.lib.format.read_array_header_1_0
        header = np.lib.format.read_array_header_2_0 if major == 2 else header
        shape, fortran, dtype = header(entry)
        if dtype.hasobject or major > 2:
            raise ValueError(f"{name} is no array of plain numbers")
        array = room(shape[::-1] if fortran else shape, dtype)
        rest = memoryview(array.reshape(-1).view(np.uint8).data)
        while len(rest):
            got = entry.readinto(rest[: 1 << 22])  # type: ignore[attr-defined]
            if not got:
                raise ValueError(f"{name} ends too soon")
            rest = rest[got:]
    return array.T if fortran else array


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
                large = {name for name in found.files if is_large(found.zip, name)}
                arrays = {
                    name: read_large(found.zip, name) if name in large else found[name]
                    for name in found.files
                }
    except InputError:
        raise
    except Exception as error:  # what NumPy's readers meet in damage is of any kind
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a NumPy archive of arrays: {what}.") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: {name} is no array.")
    return arrays
