"""Archives of arrays from anywhere: read, or told by one line."""

import io
import zipfile

import numpy as np
import pytest

from throughtime.data.archives import read_arrays
from throughtime.ground.errors import InputError


def test_arrays_are_read_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), y=np.ones(2))
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == {"x", "y"}
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "entry",
    [
        b"no array",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|u" + b"9" * 100,
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, "
        b"'shape': (10000000000000,)}\n",
    ],
)
def test_entries_that_are_no_arrays_are_told(tmp_path, entry):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", entry)
    with pytest.raises(InputError, match=r"a\.npz: "):
        read_arrays(tmp_path / "a.npz")


def test_an_archive_out_of_all_proportion_is_refused(tmp_path):
    data = io.BytesIO()
    np.save(data, np.zeros(40_000_000))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("x.npy", data.getvalue())
    with pytest.raises(InputError, match="out of all proportion"):
        read_arrays(tmp_path / "a.npz")
