"""Cells side by side: the same task at equal parameters, time or width, several seeds.

A comparison is a folder: an ordinary run folder for each variant and seed, what they found
(results/), what they said (logs/), compare.yaml, which says what is compared, and the outcome:
compare.json, compare.md, compare.png, compare.svg. Started again it goes on where it was.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import config as configs
from ..cells.names import find_cell
from ..config.comparison import Comparison
from ..config.values import listed
from ..ground import terminal
from ..ground.extras import need
from ..ground.output import json_text
from ..ground.paths import typed_path
from ..ground.whole import write_text
from ..pool.process import AGAIN, Job, cores_here, share_out
from ..tasks import name_of, task_class
from ..tasks.task import Score, aligned
from . import figure, floor, outcome, plan, queue, spelling, table
from .folder import at_work, finished
from .outcome import Finding, VariantRow
from .plan import PlannedRun, Variant

__all__ = ["Compared", "Comparison", "compare"]


@dataclass(frozen=True)
class Compared:
    """What `compare` found: the folder, the rows and their table."""

    folder: Path
    rows: list[VariantRow]
    table: table.ComparisonTable

    @property
    def failures(self) -> list[str]:
        """Runs that failed, and why."""
        return [f"{row.label} {row.at}: {why}" for row in self.rows for why in row.failures]


def compare(
    config: configs.RunConfig, comparison: Comparison | None = None, *, task: str | None = None
) -> Compared:
    """Train every cell, level or length with every seed into folders below `config.out`.

    `config` is what `train` takes; `comparison` says what varies. Runs are processes of their own,
    several at a time. The folder of an earlier call with the same settings is gone on with:
    finished runs stay, half-finished ones resume exactly; more cells, seeds, baselines, levels and
    lengths may be added.
    Errors: `InputError` for what cannot be used, before anything is written, and for a folder that
    holds another comparison; `Interrupted` after Ctrl-C, every run saved.
    """
    task = task or name_of(config)
    config, comparison = copy.deepcopy(config), copy.deepcopy(comparison or Comparison())
    configs.check(config)
    configs.check(comparison)
    comparison.settle(config)
    for cell in (one for stack in comparison.cells for one in listed(stack)):
        find_cell(cell)  # an unknown one is told before data are read
    need("matplotlib", figure.EXTRA)
    axis, places = plan.axis(comparison, config)
    tasks = prepare_tasks(task, comparison, config)
    variants = plan.variants(comparison, config, tasks)
    out = typed_path(str(config.out))
    at_once, threads = share_out(config, comparison.jobs, len(variants) * comparison.seeds)
    runs = plan.runs(variants, comparison, out, threads)
    with at_work(out, task, config, comparison) as lock:
        show_sizes(comparison, variants, axis)
        floors = [row for place in places for row in floors_of(comparison, tasks[place], place)]
        facts = {place: facts_of(tasks[place]) for place in places} if comparison.levels else {}
        chances = {place: tasks[place].chance() for place in places}
        asked = tasks[places[0]]
        score, solved_means = asked.score, asked.solved_means
        del tasks, asked  # the runs read their data themselves
        failures = train(task, runs, at_once, lock, comparison.trust)
        rows = gather(variants, runs, failures)
        rows += [VariantRow("no memory", at, None, metrics=[c]) for at, c in chances.items() if c]
        rows += floors
        for row in rows:
            row.facts = facts.get(row.at, {})
        outcome.correct_for_unknown(rows)
        notes = notes_of(solved_means, comparison, rows)
        return write(out, task, axis, score, comparison, config, rows, notes)


def prepare_tasks(task: str, comparison: Comparison, config: Any) -> dict[str, Any]:
    """The task with its data, by level or length: for counting, so that nothing is written.

    The configured level is among them, since that is where parameters are counted.
    """
    axis, values = plan.axis(comparison, config)
    if axis:
        values = list(dict.fromkeys([*values, str(getattr(config, axis))]))
    prepare = task_class(task).prepare
    cpu = torch.device("cpu")
    return {value: prepare(plan.at(config, axis, value), device=cpu) for value in values}


# ---- what it does -------------------------------------------------------------------------------


def show_sizes(comparison: Comparison, variants: list[Variant], axis: str) -> None:
    """The widths and parameters, on standard error."""
    rows = [
        (
            v.label,
            *([v.at] if axis else []),
            table.widths(v.config.model.hidden_size),
            f"{v.parameters:,}",
        )
        for v in variants
    ]
    terminal.say(aligned([(f"equal {comparison.equal}", *([axis] if axis else []), "width",
                           "parameters"), *rows]))  # fmt: skip


def train(
    task: str, runs: list[PlannedRun], at_once: int, lock: int, trust: bool
) -> dict[str, str]:
    """Train what is not finished; what failed, by the run's name."""
    jobs = []
    for run in runs:
        out = run.folder.parent
        job = Job(run, out / "results" / f"{run.name}.json", out / "logs" / f"{run.name}.log")
        if not finished(job, trust):
            jobs.append(job)
    if len(jobs) < len(runs):
        terminal.say(f"{len(runs) - len(jobs)} of {len(runs)} runs are finished already")
    return queue.run_all(jobs, task, at_once, lock, trust) if jobs else {}


def gather(
    variants: list[Variant], runs: list[PlannedRun], failures: dict[str, str]
) -> list[VariantRow]:
    """A row for each variant."""
    rows = []
    for variant in variants:
        mine = [run for run in runs if run.variant is variant]
        found = [
            Finding.read(run.folder.parent / "results" / f"{run.name}.json", run.folder, run.seed)
            for run in mine
            if run.name not in failures
        ]
        failed = [failures[run.name] for run in mine if run.name in failures]
        rows.append(outcome.row_of(variant, found, failed))
    return rows


def floors_of(comparison: Comparison, task: Any, place: str) -> list[VariantRow]:
    """The n-gram floor, where it is asked for."""
    if "ngram" not in comparison.baselines:
        return []
    found = floor.ngram(task)
    row = VariantRow("ngram", place, found["parameters"], metrics=[found["metrics"]])
    row.horizon = [found["order"] - 1]
    return [row]


def facts_of(task: Any) -> dict[str, float]:
    """How the validation text reads at a level."""
    counts = task.valid.counts
    return {
        "tokens_per_character": counts.tokens / counts.characters,
        "unk_rate": counts.unknown / counts.tokens,
        "hidden_bits_per_char": spelling.hidden_bits(task) / counts.characters,
        "vocabulary": len(task.vocabulary),
    }


def notes_of(solved_means: str, comparison: Comparison, rows: list[VariantRow]) -> list[str]:
    """What must be known to read the table."""
    orders = {row.at: (row.horizon[0] or 0) + 1 for row in rows if row.label == "ngram"}
    return table.notes_of(solved_means, comparison, rows, cores_here(), orders)


def write(
    out: Path,
    task: str,
    axis: str,
    score: Score,
    comparison: Comparison,
    config: Any,
    rows: list[VariantRow],
    notes: list[str],
) -> Compared:
    """compare.json, compare.md and the figure, and the table."""
    findings = [finding for row in rows for finding in row.findings]
    unit = findings[0].values["unit"] if findings else "tokens"
    made = table.table_of(axis, score, unit, rows, notes)
    values = {
        "task": task,
        "comparison": dataclasses.asdict(comparison),
        "settings": configs.to_dict(configs.located(config)),
        "score": score.metric,
        "cores": cores_here(),
        "rows": [row.to_dict() for row in rows],
        "notes": notes,
    }
    text = json_text(values, indent=1)
    write_text(out / "compare.json", text, AGAIN)
    page = f"# {task}: side by side\n\n{made.markdown()}\n![](compare.svg)\n"
    write_text(out / "compare.md", page, AGAIN)
    if findings:
        # of levels, what can be compared
        spelled = Score("bits_per_char_spelled", name="bits/character, <unk> spelled")
        drawn = spelled if comparison.levels else score
        figure.draw(out, axis, drawn.metric, drawn.title, rows, log=score.log)
    return Compared(out, rows, made)
