"""One thread a worker, caches and runs in temporary folders."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import pytest
import torch


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No test sees another's cache, threads or random state."""
    monkeypatch.setenv("THROUGHTIME_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
