"""The folder of a search: whose it is, who works on which trial, and what is kept.

tune.yaml   what is searched; more trials may be added to it, other settings may not
study.db    Optuna's storage: the trials, their settings, evaluations and ends
trials/     the run folders
results/    what each finished trial found
logs/       what each trial said
locks/      of each trial, held while a process works on it
best        a link to the run folder of the best trial
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .. import config as configs
from ..checkpoint import AVERAGED
from ..config.search import Range
from ..config.tuning import Tuning
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.lock import NAME as LOCK
from ..ground.lock import locked, take
from ..ground.output import make_folder
from ..ground.paths import typed_path
from ..ground.whole import is_temporary, write_text
from ..pool.process import AGAIN, Job
from .study import Trial

LOCK_PATIENCE = 60.0
"""Seconds to wait while another process that works on the same search decides something."""
INSIDE = ("trials", "results", "logs", "locks")


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with its configuration: one run folder."""

    trial: Trial
    folder: Path
    config: Any

    @property
    def name(self) -> str:
        """As it is displayed."""
        return f"trial {self.trial.number}"


class SearchFolder:
    """The files of a search below `out`."""

    def __init__(self, out: str | Path) -> None:
        self.path = typed_path(out)
        self.settings = self.path / "tune.yaml"

    def prepare(self, wanted: dict[str, Any], config: Any) -> bool:
        """Make the folder, or find that it is this search's; whether it is new.

        Errors: `InputError` where it holds anything else, or a search of other settings.
        """
        if self.path.is_file():
            raise InputError(f"{self.path} is a file; --out names a folder.")
        others = [p for p in self.path.glob("*") if p.name != LOCK and not is_temporary(p)]
        new = not self.settings.exists()
        if others and new:
            raise InputError(f"{self.path} exists and holds no search. Choose another --out.")
        if not new:
            self.refuse_others(wanted, config)
        make_folder(self.path)
        for name in INSIDE:
            make_folder(self.path / name)
        if new:
            text = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
            write_text(self.settings, text, AGAIN)
        return new

    def refuse_others(self, wanted: dict[str, Any], config: Any) -> None:
        """Raise `InputError` where the folder was made for another search."""
        before = configs.load_yaml(self.settings)
        changed = [
            f"{name} ({before.get(name)!r} → {wanted[name]!r})"
            for name in ("task", "sampler", "pruner", "baseline")
            if before.get(name) != wanted[name]
        ]
        was, now = before.get("search") or {}, wanted["search"]
        for name in dict.fromkeys([*was, *now]):
            if was.get(name) != now.get(name):
                changed.append(f"search {name} ({was.get(name)} → {now.get(name)})")
        if before.get("task") == wanted["task"] and isinstance(before.get("settings"), dict):
            kept = configs.from_dict(type(config), before["settings"])
            were = configs.followed(kept, self.path)
            found = configs.changes(configs.to_dict(were), config)
            loose = ("out", "threads", *(now if not wanted["baseline"] else ()))
            changed += [said for name, said in found.items() if name not in loose]
        if not changed and before.get("data") != wanted["data"]:
            changed = ["the data have changed"]
        if changed:
            raise InputError(
                f"{self.path} holds another search: {', '.join(changed)}. Leave it as it was, or "
                "choose another --out."
            )

    def deciding(self) -> contextlib.AbstractContextManager[int]:
        """Inside, no other process that works on this search draws a trial or moves a file."""
        return locked(
            self.path,
            f"another process holds {self.path}",
            patience=LOCK_PATIENCE,
            waiting=f"waiting for another process in {self.path}",
            keep=True,
        )

    def claim(self, number: int) -> int | None:
        """The open file of a trial's lock, held until it is closed; None where another has it.

        Whoever trains the trial inherits the file: one that outlives its search holds the lock
        until it has saved.
        """
        return take(self.path / "locks" / f"{number:04}")

    def job(self, trial: Trial, config: Any) -> Job:
        """What is to be run for a trial: a copy of `config` into a folder of its own."""
        folder = self.path / "trials" / trial.name
        config = dataclasses.replace(config, out=str(folder))
        return Job(
            PlannedTrial(trial, folder, config),
            self.path / "results" / f"{trial.name}.json",
            self.path / "logs" / f"{trial.name}.log",
        )

    def keep(self, best: list[Trial], ended: list[Trial], most: int) -> None:
        """Point `best` to the run folder of the first of the best; of ended trials beyond the
        `most` best, 0: of none, remove the weights."""
        if best:
            self.link(self.path / "trials" / best[0].name)
        if not most:
            return
        kept = {trial.number for trial in best[:most]}
        for trial in ended:
            if trial.number not in kept:
                folder = self.path / "trials" / trial.name
                weights = (folder / "model.safetensors", folder / "trainer.pt")
                for path in (*weights, *folder.glob(AVERAGED)):
                    path.unlink(missing_ok=True)

    def link(self, run: Path) -> None:
        """Let `best` lead there; what is there and is no link is left alone, and told."""
        best, to = self.path / "best", Path("trials") / run.name
        if best.is_symlink() and best.readlink() == to:
            return
        if best.exists() and not best.is_symlink():
            terminal.warn(f"{best} is in the way of a link to {run}: the best trial is there.")
            return
        temporary = best.with_name(f".best.{os.getpid()}.tmp")
        try:
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(to)
            os.replace(temporary, best)
        except OSError as error:
            terminal.warn(f"{best}: {error.strerror}: the best trial is {run}.")


def wanted(
    task: str, tuning: Tuning, space: dict[str, Range], config: Any, fingerprint: str
) -> dict[str, Any]:
    """What tune.yaml holds: all that makes two commands the same search."""
    return {
        "task": task,
        "search": {name: str(range_) for name, range_ in space.items()},
        "sampler": tuning.sampler,
        "pruner": tuning.pruner,
        "baseline": tuning.baseline,
        "data": fingerprint,
        "settings": configs.to_dict(configs.located(config)),
    }
