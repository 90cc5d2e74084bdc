"""One thread a worker, caches and runs in temporary folders; compiled scans are shared.

What a compiled library is named after is everything that it is made of, so one folder serves
every test, worker and run: the `scans` of each test's cache folder leads there. The cells are
asked for while tests are collected (`cases.PAIRS`), so the folder is there before.
"""

import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
CACHE = Path(__file__).resolve().parent.parent / ".pytest_cache" / "throughtime"
os.environ["THROUGHTIME_CACHE"] = str(CACHE)

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("shared", deadline=None)  # other programs may be busy
hypothesis.settings.load_profile("shared")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No test sees another's cache, threads or random state."""
    cache = tmp_path / "cache"
    (CACHE / "scans").mkdir(parents=True, exist_ok=True)
    cache.mkdir()
    (cache / "scans").symlink_to(CACHE / "scans")
    monkeypatch.setenv("THROUGHTIME_CACHE", str(cache))
    torch.set_num_threads(1)
    torch.manual_seed(0)
