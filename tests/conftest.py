"""One thread a worker, caches and runs in temporary folders; compiled scans are shared.

What a compiled library is named after is everything that it is made of, so one folder serves
every test, worker and run: the `scans` of each test's cache folder leads there. The cells are
asked for while tests are collected (`cases.PAIRS`), so the folder is there before.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ["THROUGHTIME_CROWD"] = "ignored"  # laws of several threads are of several threads
CACHE = Path(__file__).resolve().parent.parent / ".pytest_cache" / "throughtime"
os.environ["THROUGHTIME_CACHE"] = str(CACHE)

import hypothesis
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it once, whoever imports it first

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


@pytest.fixture(autouse=True, scope="session")
def advice():
    """Every option that a message of the command line advises is there."""
    from hints import watched

    with watched():
        yield


@pytest.fixture
def here(monkeypatch):
    """Runs of a comparison happen in this process, one after the other."""
    from throughtime.compare import queue, worker
    from throughtime.config import to_dict
    from throughtime.ground.errors import ThroughtimeError

    def run_all(jobs, task, at_once, lock, trust=False):
        assert os.fstat(lock)
        failures = {}
        for job in jobs:
            order = {"task": task, "config": to_dict(job.run.config), "jobs": at_once,
                     "trust": trust}  # fmt: skip
            try:
                job.result.write_text(json.dumps(worker.run(order)))
            except ThroughtimeError as error:
                failures[job.run.name] = str(error)
        return failures

    monkeypatch.setattr(queue, "run_all", run_all)
