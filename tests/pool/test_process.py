"""A run as a process of its own: why it ended, what it says."""

import subprocess
import sys

import pytest

import throughtime as tt
from throughtime.ground.whole import write_text
from throughtime.pool import process
from throughtime.pool.worker import said


def test_what_a_run_says_of_a_full_disk_names_what_compare_has(tmp_path):
    with pytest.raises(tt.ThroughtimeError, match="go on with --resume") as told:
        write_text(tmp_path / "none" / "text", "")
    assert said(told.value).endswith("make room and give the command again.")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("os.kill(os.getpid(), 9)", "for want of memory"),
        ("os.kill(os.getpid(), 11)", "signal 11; its last words: ready"),
        ("sys.exit(130)", "goes on with it"),
        ("sys.exit(2)", "ready"),
    ],
)
def test_why_a_run_ended(tmp_path, end, why):
    log = tmp_path / "log"
    with open(log, "w") as file:
        code = subprocess.run(
            [sys.executable, "-c", f"import os, sys; print('ready', flush=True); {end}"],
            stdout=file,
            check=False,
        ).returncode
    assert why in process.reason(process.Job(None, tmp_path / "result", log), code)
