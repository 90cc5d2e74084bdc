"""The lock of a folder: one holder, told to the others, taken over from the dead."""

import os
import signal
import subprocess
import sys

import pytest

from throughtime.ground.errors import InputError
from throughtime.ground.lock import NAME, locked

HOLD = (
    "import sys, time; from pathlib import Path; from throughtime.ground.lock import locked\n"
    "with locked(Path(sys.argv[1]), 'busy'):\n"
    "    print('held', flush=True); time.sleep(60)"
)


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_the_first_is_and_takes_over_when_it_is_dead(tmp_path):
    process = holder(tmp_path)
    with (
        pytest.raises(InputError, match=rf"^busy \(process {process.pid} on "),
        locked(tmp_path, "busy"),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / NAME).exists()  # left by the dead, and worth nothing
    with locked(tmp_path, "busy"):
        assert f'"pid": {os.getpid()}' in (tmp_path / NAME).read_text()
    assert not (tmp_path / NAME).exists()
    with locked(tmp_path, "busy", keep=True):
        pass
    assert (tmp_path / NAME).exists()


def test_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="is a symbolic link"), locked(tmp_path / "folder", "busy"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_in_its_place_is_told_at_once(tmp_path, kind):
    path = tmp_path / NAME
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(InputError, match=rf"\{NAME} is a {kind}"), locked(tmp_path, "busy"):
        pass
    assert path.exists()
