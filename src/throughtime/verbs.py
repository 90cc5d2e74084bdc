"""The verbs of the command line as typed functions: train, evaluate, predict, generate, …."""

from __future__ import annotations

import contextlib
import copy
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from . import config as configs
from . import scans
from .cells.names import CELLS, find_cell
from .checkpoint import RunFolder, remove_leftovers
from .config.agreement import AgreementOptions, CorpusOptions
from .config.verbs import ModelOptions
from .data.lines import Inputs
from .ground import machine, terminal
from .ground.cache import cache_folder
from .ground.errors import InputError
from .ground.extras import need
from .ground.machine import Processes
from .ground.output import json_text, new_file, new_folder, new_path, refuse_existing
from .inspect.agreement import Agreement, draw, measure, write_corpus
from .tasks import TASKS, entry, task_class, verb_options
from .tasks.task import Evaluation, Prediction, Task
from .training.trainer import Trainer


@dataclass(frozen=True)
class Result:
    """What `train` leaves: the run folder, the metrics of its best weights, and how it went."""

    folder: Path
    metrics: dict[str, float]
    steps: int
    seconds: float
    skipped: int
    best_step: int
    """The step whose weights are the best, those that other verbs load."""


def train(
    config: configs.RunConfig,
    *,
    task: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Result:
    """Train `config` into the run folder `config.out`; its class tells the task.

    `resume` goes on from the folder's checkpoint with the same data and architecture; a larger
    budget continues a finished run. The process's allocator and denormals are set for training
    (`machine.prepare`). Errors: `InputError` for anything in the configuration or the
    data that cannot be used, before anything is written; `TrainingDiverged`; `Interrupted`.
    """
    task = task or next(name for name, line in TASKS.items() if type(config) is line.config)
    config = copy.deepcopy(config)  # preparing settles what is left to auto
    configs.check(config)
    config.out = str(config.out)
    folder = RunFolder(config.out)
    machine.prepare(config.threads)
    device = machine.choose_device(config.device)
    processes = Processes.join(device)
    try:
        if resume:
            check_unchanged(folder, task, config)
            if folder.model.exists() and not folder.trainer.exists():
                raise InputError(
                    f"{folder.path} has weights (model.safetensors) but no trainer.pt: it cannot "
                    "go on. Choose another --out, or replace it with --overwrite."
                )
            remove_leftovers(folder.path)
        elif processes.rank == 0:
            folder.refuse_existing(overwrite)
        resumed = folder if resume else None
        prepared = task_class(task).prepare(
            config, resumed=resumed, device=device, processes=processes
        )
        trainer = Trainer(prepared, folder, processes)
        if resume and folder.trainer.exists():
            trainer.resume()
        processes.wait()
        if processes.rank == 0:
            if not resume:
                folder.create(overwrite)
            # config.yaml first: a run killed from here on can be resumed
            folder.save_config(task, config)
            prepared.save(folder)
        processes.wait()
        if processes.rank == 0:
            parameters = sum(p.numel() for p in trainer.model.parameters())
            terminal.say(f"{prepared.summary()}; {parameters:,} parameters")
        metrics = trainer.run()
    finally:
        processes.leave()
    c = trainer.counters
    return Result(folder.path, metrics, c.step, c.elapsed, c.skipped, c.best_step)


def check_unchanged(folder: RunFolder, task: str, config: Any) -> None:
    """Raise `InputError` if a resumed run's architecture or data differ from the saved ones."""
    saved_task, values = folder.load_config()
    if saved_task != task:
        raise InputError(f"{folder.path} is a run of task {saved_task!r}, not {task!r}.")
    before = configs.to_dict(configs.from_dict(type(config), values))
    now = configs.to_dict(config)
    changed = [
        f"{name} ({old!r} → {new!r})"
        for name, old, new in differences("", before, now)
        if any(name == fixed or name.startswith(f"{fixed}.") for fixed in config.fixed)
    ]
    if changed:
        raise InputError(
            f"{folder.path} cannot go on with other settings: {', '.join(changed)}. Leave them as "
            "they were, or start a new run with another --out."
        )


def differences(name: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """The settings that differ, with dotted names; auto fits whatever it came to."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in new
            for found in differences(f"{name}.{key}".lstrip("."), old.get(key), new[key])
        ]
    return [] if new in (old, "auto") else [(name, old, new)]


def load(run: str | Path, *, device: str = "auto", checkpoint: str = "best") -> tuple[Any, Any]:
    """A run's task (without its data) and its model, in evaluation mode."""
    folder = RunFolder(run)
    name, values = folder.load_config()
    config = configs.from_dict(entry(name).config, values)
    folder.require_weights(checkpoint)
    task: Task = task_class(name).load(config, folder, machine.choose_device(device))
    model: nn.Module = task.build_model()
    folder.load_weights(model, checkpoint)
    return task, model.eval()


def prepare(device: str, checkpoint: str, threads: int | None) -> None:
    """Check what every verb on a run has, and prepare the machine."""
    configs.check(ModelOptions(cast(Any, device), cast(Any, checkpoint), threads))
    machine.prepare(threads)


def evaluate(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    **options: Any,
) -> Evaluation:
    """The metrics of a run's model on `data`: files, globs or directories.

    None: the run's own validation data. The result depends on no batch size. `options` are those
    that the task has for this verb.
    """
    chosen = choose_options(run, "evaluate", options)
    prepare(device, checkpoint, threads)
    task, model = load(run, device=device, checkpoint=checkpoint)
    return task.evaluate(model, [data] if isinstance(data, str) else data, chosen)


def predict(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    lines: Iterable[str] | None = None,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    **options: Any,
) -> Iterator[Prediction]:
    """Predictions for the files `data`, for `lines`, or for standard input where both are None.

    They come one by one, in order. `options` are those that the task has for this verb.
    """
    chosen = choose_options(run, "predict", options)
    if data is not None:
        inputs = Inputs.files([data] if isinstance(data, str) else data)
    else:
        inputs = Inputs(given=lines)
    prepare(device, checkpoint, threads)
    task, model = load(run, device=device, checkpoint=checkpoint)
    return task.predict(model, inputs, chosen)


def generate(
    run: str | Path,
    prime: str | None = None,
    *,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    on_text: Callable[[int, str], None] | None = None,
    **options: Any,
) -> list[str]:
    """Novel sequences, one for each sample, `prime` included where one is given.

    `options` are those that the task has for this verb: of a language model,
    `config.language.WritingOptions`. `on_text(sample, piece)` hears each piece as it is written.
    """
    if prime is not None:
        options["prime"] = prime
    chosen = choose_options(run, "generate", options)
    prepare(device, checkpoint, threads)
    task, model = load(run, device=device, checkpoint=checkpoint)
    texts: dict[int, list[str]] = {}
    for k, piece in task.generate(model, chosen):
        texts.setdefault(k, []).append(piece)
        if on_text:
            on_text(k, piece)
    return ["".join(pieces) for pieces in texts.values()]


def agreement(
    run: str | Path,
    pairs: list[str] | str | None = None,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    **options: Any,
) -> Agreement:
    """Which share of minimal pairs a language model gets right: of files, or of built-in sentences.

    `options` are those of `config.agreement.AgreementOptions`. `out` is a folder for
    agreement.json, agreement.tsv with every item, and agreement.svg; none of them is overwritten.
    """
    options["pairs"] = [pairs] if isinstance(pairs, str) else (pairs or [])
    chosen = configs.from_dict(AgreementOptions, options)
    configs.check(chosen)
    name, _ = RunFolder(run).load_config()
    if not task_class(name).judges_sentences:
        raise InputError(f"{run} is {entry(name).noun}; inspect agreement is for language models.")
    if out:
        need("matplotlib", "inspect")  # before the work
    with new_folder(out) if out else contextlib.nullcontext() as folder:
        kinds = ("json", "tsv", "svg") if folder else ()
        files = [refuse_existing(Path(folder or "", f"agreement.{kind}")) for kind in kinds]
        prepare(device, checkpoint, threads)
        task, model = load(run, device=device, checkpoint=checkpoint)
        result = measure(task, model, chosen)
        if files:
            write_agreement(str(run), result, files)
    return result


def write_agreement(run: str, result: Agreement, files: list[Path]) -> None:
    """The figures as JSON, the items, and a picture."""
    with new_file(files[0]) as file:
        file.write(json_text({"run": run, **result.to_dict()}, indent=1))
    with new_file(files[1]) as file:
        result.write_items(file)
    with new_path(files[2]) as path:
        draw({"model": result}, run).savefig(path)


def agreement_corpus(path: str | Path, **options: Any) -> str:
    """Write a training text of the built-in sentences to a new file; a line says what it holds.

    `options` are those of `config.agreement.CorpusOptions`.
    """
    chosen = configs.from_dict(CorpusOptions, options)
    configs.check(chosen)
    with new_file(path) as file:
        return write_corpus(file, chosen)


@dataclass(frozen=True)
class Inspected:
    """What `inspect_run` leaves: the path of the HTML file, and what it says."""

    path: Path
    report: Any


def inspect_run(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    untrained: bool = False,
    lags: int = 200,
    positions: int = 128,
    passages: int = 6,
    seed: int = 0,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
) -> Inspected:
    """Look inside a run over the files `data`, and write report.html and inspect.json.

    `data` None: the run's own validation data. `out`: a folder of their own; None: RUN/inspect, or
    the first of RUN/inspect-2, … that is free. `untrained` measures the gradients at initialisation
    too. `lags` steps are looked back from `positions` places; `passages` predictions are shown.
    """
    from .inspect import report as reports
    from .inspect.health import read_health
    from .inspect.inspection import inspect
    from .inspect.language import Effort

    need("matplotlib", "inspect")
    folder = RunFolder(run)
    folder.load_config()
    target = reports.free_folder(folder.path) if out is None else Path(out).expanduser()
    reports.prepare(target, overwrite)
    prepare(device, checkpoint, threads)
    task, model = load(run, device=device, checkpoint=checkpoint)
    found = inspect(
        task,
        model,
        [data] if isinstance(data, str) else data,
        name=str(run),
        untrained=untrained,
        health=read_health(folder.metrics) if folder.metrics.exists() else None,
        effort=Effort(lags, positions, passages, seed),
    )
    return Inspected(found.write(target, overwrite=overwrite), found)


def choose_options(run: str | Path, verb: str, values: dict[str, Any]) -> Any:
    """The options of a verb as its task has them; `InputError` where it has no such verb."""
    name, _ = RunFolder(run).load_config()
    cls = verb_options(name, verb, run)
    if cls is None:
        if values:
            raise InputError(f"{verb} of {entry(name).noun} has no option {next(iter(values))!r}.")
        return None
    chosen = configs.from_dict(cls, values)
    configs.check(chosen)
    return chosen


def doctor(cell: str | None = None) -> list[tuple[str, str]]:
    """What this machine offers and which scan backends run here, as (name, finding) pairs.

    `cell` names one cell, `FILE.py:Class` for one's own, instead of the built-in ones.
    """
    names = [cell] if cell else list(CELLS)
    found = [
        ("python", f"{sys.version.split()[0]} ({sys.executable})"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        ("cpu", torch.backends.cpu.get_cpu_capability()),
        ("cuda", torch.cuda.get_device_name() if torch.cuda.is_available() else "not available"),
        ("mps", "available" if torch.mps.is_available() else "not available"),
        ("compiler", shutil.which("c++") or shutil.which("g++") or "none found"),
        ("tensorboard", installed("tensorboard")),
        ("cache", f"{cache_folder()} ({folder_size(cache_folder()) / 2**20:.1f} MiB)"),
    ]
    for backend in scans.BACKENDS:
        for name in names:
            reason = scans.why_not(backend, find_cell(name))
            found.append((f"{backend}: {name}", "runs" if reason is None else f"no: {reason}"))
    for name in names:
        if reason := scans.why_slow(find_cell(name)):
            found.append((f"slow: {name}", reason))
    return found


def installed(package: str) -> str:
    """The version of an optional package."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed (pip install 'throughtime[{package}]')"


def folder_size(folder: Path) -> int:
    """Bytes in a folder's files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
