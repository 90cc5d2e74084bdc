"""What a process does that trains one run for somebody else.

What to do comes as one JSON line on standard input, which stays open as long as whoever started
this lives: when it closes, this run saves and stops too. What was found is written to a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import config as configs
from .. import verbs
from ..checkpoint import RunFolder
from ..ground.errors import ThroughtimeError
from ..ground.interrupts import Interrupted, noticed
from ..ground.whole import RESUME, write_text
from ..tasks import entry
from .process import AGAIN


def main(run: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Do what is asked for by `run`, write what it finds; the exit code as that of training."""
    # a script that runs in the background hands down a SIGINT that is ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=stop_with_parent, daemon=True).start()
    try:
        with noticed():
            found = run(job)
            write_text(Path(job["result"]), json.dumps(found, indent=1), AGAIN)
    except (Interrupted, KeyboardInterrupt):
        return 130
    except (ThroughtimeError, OSError) as error:
        print(f"error: {said(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


def said(error: Exception) -> str:
    """An error of training as it reads where there is no --resume."""
    return str(error).replace(RESUME, AGAIN)


def stop_with_parent() -> None:
    """Wait for the end of standard input, then ask the run to save and stop."""
    os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock would bar the exit
    os.kill(os.getpid(), signal.SIGINT)


def trained(job: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Train a run or go on with it: what was found as plain data, its task, its model."""
    config = configs.from_dict(entry(job["task"]).config, job["config"])
    folder = RunFolder(config.out)
    resume = folder.config.exists()
    trust = job["trust"] or folder.has_copies_for(config)
    result = verbs.train(config, task=job["task"], resume=resume, trust=trust)
    task, model = verbs.load(folder.path, device=config.device, trust=trust or not resume)
    found = {
        "settings": configs.to_dict(configs.located(config)),
        "metrics": result.metrics,
        "score": task.score.metric,
        "higher_is_better": task.score.higher_is_better,
        "unit": task.unit,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": result.steps,
        "seconds": result.seconds,
        "skipped": result.skipped,
        "jobs": job["jobs"],
        "threads": config.threads,
    }
    return found, task, model
