"""The verbs of the command line as typed functions: train, evaluate, predict, generate, …."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import config as configs
from .checkpoint import RunFolder
from .config.agreement import AgreementOptions, CorpusOptions
from .config.located import lost, paths
from .data.lines import Inputs
from .examination import check as check
from .findings import doctor as doctor
from .ground import machine, terminal
from .ground.errors import InputError
from .ground.extras import need
from .ground.machine import Processes
from .ground.output import (
    json_text,
    make_folder,
    new_file,
    new_folder,
    new_path,
    refuse_existing,
)
from .ground.paths import typed_path
from .ground.whole import remove_leftovers
from .inspect.agreement import Agreement, draw, measure, write_corpus
from .run import Evaluation, Prediction, Run, WrittenText
from .tasks import entry, name_of, task_class
from .tasks.origin import Origin, Other
from .tasks.streams import Lines
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
    trust: bool = False,
) -> Result:
    """Train `config` into the run folder `config.out`; its class tells the task.

    `resume` goes on from the folder's checkpoint with the same data and architecture; a larger
    budget continues a finished run. `trust` lets it run the file of a cell of one's own that the
    folder holds. The process's allocator and denormals are set for training
    (`machine.prepare`). Errors: `InputError` for anything in the configuration or the
    data that cannot be used, before anything is written; `TrainingDiverged`; `Interrupted`.
    """
    task = task or name_of(config)
    config = copy.deepcopy(config)  # preparing settles what is left to auto
    configs.check(config)
    config.out = str(config.out)
    folder = RunFolder(config.out, trust=trust)
    machine.prepare(config.threads)
    device = machine.choose_device(config.device)
    processes = Processes.join(device)
    at_work = ExitStack()
    try:
        if resume:
            check_resumable(folder, task, config)
        elif processes.rank == 0:
            folder.refuse_existing(overwrite)
        if processes.rank == 0 and folder.path.is_dir():
            folder.lock(at_work)
            remove_leftovers(folder.path)
        resumed = folder if resume else None
        going_on = resume and folder.trainer.exists()
        origin = None if going_on else origin_of(config, trust)
        prepared = task_class(task).prepare(
            config, resumed=resumed, device=device, processes=processes, origin=origin
        )
        trainer = Trainer(prepared, folder, processes)
        if origin is not None:
            prepared.take_weights(origin, trainer.model)
        if resume and folder.trainer.exists():
            trainer.resume()
        trainer.warm_up()  # what fails at once, a cell's typo, fails before there is a folder
        begin_folder(trainer, task, at_work, resume=resume, overwrite=overwrite)
        metrics = trainer.run()
    finally:
        processes.leave()
        at_work.close()
    c = trainer.counters
    return Result(folder.path, metrics, c.step, c.elapsed, c.skipped, c.best_step)


def origin_of(config: configs.RunConfig, trust: bool) -> Origin | None:
    """The runs that a new one starts from; None where none is named."""
    if config.init_from is None:
        if config.init_backward_from is not None:
            raise InputError("init_backward_from goes with init_from: give both.")
        return None
    found = []
    for path in (config.init_from, config.init_backward_from):
        if path is not None:
            run = Run(path, trust, device=config.device, threads=config.threads)
            found.append(Other(path, *run.load(), run.folder))
    return Origin(*found)


def begin_folder(
    trainer: Trainer, task: str, at_work: ExitStack, *, resume: bool, overwrite: bool
) -> None:
    """Write what the run folder holds from the first step on; say what is learned by how much.

    The first process does, the others wait. The folder is locked until `at_work` is closed.
    """
    folder, first = trainer.folder, trainer.processes.rank == 0
    trainer.processes.wait()
    if first:
        if not resume:
            make_folder(folder.path)
            folder.lock(at_work)
            folder.create(overwrite)
        # config.yaml first: a run killed from here on can be resumed
        folder.save_config(task, trainer.config)
        trainer.task.save(folder)
        folder.seal_texts()
    trainer.processes.wait()
    if first:
        parameters = sum(p.numel() for p in trainer.model.parameters())
        terminal.say(f"{trainer.task.summary()}; {parameters:,} parameters")


def check_resumable(folder: RunFolder, task: str, config: Any) -> None:
    """Raise `InputError` if a resumed run's architecture or data differ from the saved ones, or its
    checkpoint is not there."""
    saved_task, values = folder.load_config()
    if saved_task != task:
        raise InputError(f"{folder.path} is a run of task {saved_task!r}, not {task!r}.")
    kept = configs.followed(configs.from_dict(type(config), values), folder.path)
    were, are = (paths(each, "data", "read") for each in (kept, config))
    # with a checkpoint, data are known by their fingerprint, wherever they are
    anywhere = were.keys() & are.keys() if folder.trainer.exists() else ()
    changed = [
        said
        for name, said in folder.changes(values, config).items()
        if any(name == fixed or name.startswith(f"{fixed}.") for fixed in config.fixed)
        and name not in anywhere
    ]
    if changed:
        raise InputError(
            f"{folder.path} cannot go on with other settings: {', '.join(changed)}. Leave them as "
            "they were, or start a new run with another --out."
        )
    for name, now in are.items():
        if now == were.get(name) and (said := lost(now)):
            files = config.files if name in paths(config, "data") else "FILE"
            raise InputError(
                f"{folder.path} cannot go on: {said}. Give it anew with --{name} {files}."
            )
    if folder.model.exists() and not folder.trainer.exists():
        raise InputError(
            f"{folder.path} has weights (model.safetensors) but no trainer.pt: it cannot go on. "
            "Choose another --out, or replace it with --overwrite."
        )


def load(
    run: str | Path, *, device: str = "auto", checkpoint: str = "best", trust: bool = False
) -> tuple[Any, Any]:
    """A run's task (without its data) and its model, in evaluation mode: as `Run.open` has them."""
    return Run(run, trust, device=device, checkpoint=checkpoint).load()


def evaluate(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    trust: bool = False,
    **options: Any,
) -> Evaluation:
    """`Run.evaluate` of a run that is used once."""
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    return opened.evaluate(data, **options)


def predict(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    lines: Iterable[str] | None = None,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    trust: bool = False,
    **options: Any,
) -> Iterator[Prediction]:
    """`Run.predict` of a run that is used once."""
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    return opened.predict(data, lines=lines, **options)


def stream(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    state: str | Path | None = None,
    lines: Iterable[str] | None = None,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    trust: bool = False,
    **options: Any,
) -> Iterator[Prediction]:
    """`Run.stream` over lines, a step each: of files, `lines`, or standard input as it comes.

    `state`: a file to go on from where it is there; what is carried at the end is left in it.
    """
    for name in options:
        raise InputError(f"--{name.replace('_', '-')} does not go with --stream.")
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    begins = state is not None and typed_path(state).exists()
    steps = opened.stream(state if begins else None)
    read = Lines(steps.columns)
    files = [data] if isinstance(data, str) else data
    inputs = Inputs(given=lines) if files is None else Inputs.files(files)
    try:
        for line in inputs.lines():
            try:
                if (step := read.step(line.text, line.where)) is not None:
                    yield steps.push(step)
            except InputError as error:
                said = str(error).removeprefix("step: ")
                raise InputError(said if line.where in said else f"{line.where}: {said}") from error
    finally:
        if state is not None:
            steps.save(typed_path(state))


def generate(
    run: str | Path,
    prime: str | Sequence[str] | None = None,
    *,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    trust: bool = False,
    weights: str = "float32",
    on_text: Callable[[int, str], None] | None = None,
    **options: Any,
) -> list[WrittenText]:
    """`Run.generate` of a run that is used once."""
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    return opened.generate(prime, weights=weights, on_text=on_text, **options)


def export(
    run: str | Path,
    out: str | Path,
    to: str = "c",
    *,
    name: str | None = None,
    precision: str = "float32",
    form: str = "sequence",
    yes: bool = False,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    trust: bool = False,
) -> Path:
    """`Run.export` of a run that is used once."""
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    return opened.export(out, to, name=name, precision=precision, form=form, yes=yes)


def agreement(
    run: str | Path,
    pairs: list[str] | str | None = None,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
    trust: bool = False,
    **options: Any,
) -> Agreement:
    """Which share of minimal pairs a language model gets right: of files, or of built-in sentences.

    `options` are those of `config.agreement.AgreementOptions`. `out` is a folder for
    agreement.json, agreement.tsv with every item, and agreement.svg; none of them is overwritten.
    """
    options["pairs"] = [pairs] if isinstance(pairs, str) else (pairs or [])
    chosen = configs.from_dict(AgreementOptions, options)
    configs.check(chosen)
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    if not task_class(opened.kind).judges_sentences:
        raise InputError(
            f"{run} is {entry(opened.kind).noun}; inspect agreement is for language models."
        )
    if out:
        need("matplotlib", "inspect")  # before the work
    with new_folder(out) if out else contextlib.nullcontext() as folder:
        kinds = ("json", "tsv", "svg") if folder else ()
        files = [refuse_existing(Path(folder or "", f"agreement.{kind}")) for kind in kinds]
        result = measure(*opened.load(), chosen)
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
    trust: bool = False,
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
    opened = Run(run, trust, device=device, checkpoint=checkpoint, threads=threads)
    if data is None:
        opened.require_data()
    target = reports.free_folder(opened.path) if out is None else typed_path(out)
    reports.prepare(target, overwrite)
    history = opened.folder.metrics
    found = inspect(
        *opened.load(),
        [data] if isinstance(data, str) else data,
        name=str(run),
        untrained=untrained,
        health=read_health(history) if history.exists() else None,
        effort=Effort(lags, positions, passages, seed),
    )
    return Inspected(found.write(target, overwrite=overwrite), found)
