"""Settings searched for: Optuna draws them, trainings tell what becomes of them.

A search is a folder: Optuna's storage, an ordinary run folder for each trial, a link to the best of
them, tune.yaml, which says what is searched, and the outcome: tune.json, tune.md, tune.png,
tune.svg. Started again it goes on where it was.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import config as configs
from ..config.search import Range, drawn, value_of
from ..config.tuning import Tuning
from ..ground import terminal
from ..ground.extras import need
from ..ground.interrupts import Interrupted
from ..ground.output import json_text
from ..ground.whole import write_text
from ..pool.process import AGAIN, cores_here, share_out
from ..tasks import name_of, task_class
from ..tasks.task import Score
from . import figure, outcome
from .engine import LocalProcesses
from .folder import SearchFolder, wanted
from .outcome import SearchTable, Tried
from .search import Search
from .study import EXTRA, Study

__all__ = ["Tuned", "Tuning", "tune"]


@dataclass(frozen=True)
class Tuned:
    """What `tune` found: the folder, the trials with the best first, their table."""

    folder: Path
    trials: list[Tried]
    importances: dict[str, float]
    table: SearchTable

    @property
    def best(self) -> Tried | None:
        """The complete trial with the best score; its `folder` is that of an ordinary run."""
        return next((one for one in self.trials if one.trial.score is not None), None)


def tune(config: configs.RunConfig, tuning: Tuning, *, task: str | None = None) -> Tuned:
    """Search the settings that `tuning` names, each trial a training into a folder below
    `config.out`.

    `config` is what `train` takes. Trials are processes of their own, several at a time, and
    several calls may search in one folder at a time. The folder of an earlier call with the same
    settings is gone on with: no trial is lost or repeated, half-finished ones resume exactly.
    Errors: `InputError` for what cannot be used, before anything is written, and for a folder that
    holds another search; `ThroughtimeError` where nothing but failures comes of the first trials;
    `Interrupted` after Ctrl-C, every trial saved.
    """
    task = task or name_of(config)
    config, tuning = copy.deepcopy(config), copy.deepcopy(tuning)
    configs.check(tuning)
    configs.check(config)
    space = tuning.space(config)
    for name in ("optuna", "matplotlib"):
        need(name, EXTRA)
    score, fingerprint = look_at(task, config, space)
    for note in doubts(score, space):
        terminal.warn(note)
    folder = SearchFolder(str(config.out))
    places, threads = share_out(config, tuning.jobs, tuning.trials)
    folder.prepare(wanted(task, tuning, space, config, fingerprint), config)
    with folder.deciding():
        study = Study(folder.path, space, higher_is_better=score.higher_is_better, seed=config.seed)
        study.drawing(tuning.sampler, tuning.pruner)
        if tuning.baseline and not study.trials():
            study.begin_with({name: value_of(config, name) for name in space})
    threaded = dataclasses.replace(config, threads=threads)
    engine = LocalProcesses(task, places, tuning.trust)
    done = Search(threaded, tuning, score, folder, study, engine).run()
    found = write(folder, study, space, score, task, config, tuning)
    if not done:
        raise Interrupted(f"{folder.path}")
    return found


def look_at(task: str, config: Any, space: dict[str, Range]) -> tuple[Score, str]:
    """The score that decides and the data's fingerprint, once everything that trials will need has
    been looked at: `InputError` for data or cells that cannot be."""
    cls, cpu = task_class(task), torch.device("cpu")
    for name, range_ in space.items():
        for end in range_.ends():
            cls(drawn(config, {name: end}), cpu)
    prepared = cls.prepare(copy.deepcopy(config), device=cpu)
    return prepared.score, prepared.fingerprint


def doubts(score: Score, space: dict[str, Range]) -> list[str]:
    """What makes scores of different trials no measure of one thing."""
    data = [name for name in space if name.startswith("data.")]
    if score.metric != "loss" or not data:
        return []
    return [
        f"trials are compared by their loss, which {', '.join(data)} may change the meaning of: "
        "over other tokens it is another measure"
    ]


def write(
    folder: SearchFolder,
    study: Study,
    space: dict[str, Range],
    score: Score,
    task: str,
    config: Any,
    tuning: Tuning,
) -> Tuned:
    """tune.json, tune.md and the figure, and the table."""
    rows, importances = outcome.ranking(study, folder.path), study.importances()
    notes = outcome.notes_of(rows, score, importances, doubts(score, space))
    table = outcome.table_of(rows, list(space), score, notes)
    found = Tuned(folder.path, rows, importances, table)
    best = found.best
    values = {
        "task": task,
        "tuning": dataclasses.asdict(tuning),
        "search": {name: str(range_) for name, range_ in space.items()},
        "settings": configs.to_dict(configs.located(config)),
        "score": score.metric,
        "higher_is_better": score.higher_is_better,
        "cores": cores_here(),
        "best": best.to_dict() if best else None,
        "importances": importances,
        "trials": [row.to_dict() for row in sorted(rows, key=lambda row: row.trial.number)],
        "notes": notes,
    }
    with folder.deciding():
        write_text(folder.path / "tune.json", json_text(values, indent=1), AGAIN)
        page = f"# {task}: settings searched\n\n{table.markdown()}\n![](tune.svg)\n"
        write_text(folder.path / "tune.md", page, AGAIN)
        if best:
            figure.draw(folder.path, rows, space, importances, score)
    return found
