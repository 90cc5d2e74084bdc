"""The folder of a comparison: whose it is, who works in it, and which runs are finished.

compare.yaml   what is compared; more runs may be added to it, other settings may not
NAME-SEED/     the run folders
results/       what each finished run found
logs/          what each run said
.lock          held while the comparison or one of its runs is at work
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .. import config as configs
from ..checkpoint import RunFolder
from ..config.comparison import Comparison
from ..ground.errors import InputError
from ..ground.lock import NAME as LOCK
from ..ground.lock import locked
from ..ground.output import make_folder
from ..ground.whole import is_temporary, write_text
from ..pool.process import AGAIN, Job

LOCK_PATIENCE = 60.0
"""Seconds that runs of a comparison that was killed have to save and go."""


@contextlib.contextmanager
def at_work(out: Path, task: str, config: Any, comparison: Comparison) -> Iterator[int]:
    """The folder of this comparison, made or gone on with, and nobody else's meanwhile.

    The lock, whose file it gives, is the runs' too: those that outlive a killed comparison hold it
    until they have saved.
    """
    kept = out / "compare.yaml"
    if out.is_file():
        raise InputError(f"{out} is a file; --out names a folder.")
    others = [p for p in out.glob("*") if p.name != LOCK and not is_temporary(p)]
    if others and not kept.exists():
        raise InputError(f"{out} exists and holds no comparison. Choose another --out.")
    wanted = {
        "task": task,
        "equal": comparison.equal,
        "context": comparison.context,
        "settings": configs.to_dict(configs.located(config)),
    }
    if kept.exists():
        refuse_others(kept, wanted, config)
    make_folder(out)
    with locked(
        out,
        f"another comparison is at work in {out}",
        patience=LOCK_PATIENCE,
        waiting=f"waiting for runs that are at work in {out}",
        keep=True,
    ) as lock:
        text = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
        write_text(kept, text, AGAIN)
        for folder in (out / "logs", out / "results"):
            folder.mkdir(exist_ok=True)
        yield lock


def refuse_others(kept: Path, wanted: dict[str, Any], config: Any) -> None:
    """Raise `InputError` where a comparison's folder was made with other settings."""
    before = configs.load_yaml(kept)
    changed = [
        f"{name} ({before.get(name)!r} → {wanted[name]!r})"
        for name in ("task", "equal", "context")
        if before.get(name) != wanted[name]
    ]
    if before.get("task") == wanted["task"]:
        were = configs.followed(configs.from_dict(type(config), before["settings"]), kept.parent)
        found = configs.changes(configs.to_dict(were), config)
        changed += [said for name, said in found.items() if name != "out"]
    if changed:
        raise InputError(
            f"{kept.parent} holds a comparison with other settings: {', '.join(changed)}. Leave "
            "them as they were, or choose another --out."
        )


def finished(job: Job, trust: bool) -> bool:
    """Whether a run has its result, by the settings that it would have now.

    `InputError` where they differ: the data have changed, and with them the vocabulary or widths.
    So it is for another file of a cell than it was trained with, unless `trust`.
    """
    folder = RunFolder(job.run.folder)
    if not job.result.exists() or not folder.config.exists():
        return False
    if not trust and not folder.has_copies_for(job.run.config):
        raise InputError(
            f"{folder.path} was trained with another file of the cell {job.run.config.cell} than "
            "is there now: choose another --out, or take its result as it is with --trust."
        )
    before = json.loads(job.result.read_text("utf-8"))["settings"]
    found = folder.changes(before, job.run.config)
    changed = [said for name, said in found.items() if name not in ("out", "threads")]
    if changed:
        raise InputError(
            f"{job.run.folder} was trained with other settings: {', '.join(changed)}. The data "
            "have changed: choose another --out."
        )
    return True
