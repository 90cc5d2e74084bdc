"""How long the fuzzer runs, with which seeds, within which limits.

THROUGHTIME_FUZZ_SECONDS, of all tests together (60); THROUGHTIME_FUZZ_SEED, the first seed (0).
"""

import os
import time

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase

import outcomes

AT_ONCE = 50
"""Examples of a seed."""

done = pytest.StashKey[dict[str, int]]()


MENDING: tuple[str, ...] = ()
"""Tests that still find faults."""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "fuzz":
            item.add_marker("fuzz")
            if item.name.endswith(MENDING):
                item.add_marker(pytest.mark.skip("still finds faults"))


def pytest_collection_finish(session):
    asked = (item.name for item in session.items if item.path.parent.name == "fuzz")
    session.config.stash[done] = dict.fromkeys(asked, 0)


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(done, {})
    if any(counts.values()):
        each = ", ".join(f"{name.removeprefix('test_')} {count}" for name, count in counts.items())
        terminalreporter.write_line(f"{sum(counts.values()):,} examples: {each}")


@pytest.fixture
def rounds(request, tmp_path_factory):
    """Checks examples of a strategy, fifty of each seed, for this test's share of the time."""
    counts = request.config.stash[done]
    share = float(os.environ.get("THROUGHTIME_FUZZ_SECONDS", "60")) / len(counts)
    end = time.monotonic() + max(0.2, share)
    quiet = hypothesis.settings(
        max_examples=AT_ONCE,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    def check(strategy, body):
        def counted(example):
            if time.monotonic() < end or not counts[request.node.name]:
                counts[request.node.name] += 1
                outcomes.fine_or_told(lambda: body(example))

        seed = int(os.environ.get("THROUGHTIME_FUZZ_SEED", "0"))
        with outcomes.limited_memory():
            while True:
                hypothesis.seed(seed)(quiet(hypothesis.given(strategy)(counted)))()
                seed += 1
                if time.monotonic() >= end:
                    return

    return check
