"""The verbs of the command line as typed functions: train, evaluate, generate, doctor."""

from __future__ import annotations

import copy
import dataclasses
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from . import config as configs
from . import machine, scans, terminal
from .cache import cache_folder
from .cell_names import CELLS, find_cell
from .checkpoint import RunFolder, remove_leftovers
from .data.text import Text
from .data.vocabulary import BOS, EOS, PAD, UNK, Decoder
from .decoding import Sampling, beam_search, sample
from .errors import InputError, one_of
from .machine import Processes
from .model import LanguageModel
from .tasks import TASKS, task_class
from .tasks.language import Evaluation, Language, evaluate_text
from .trainer import Trainer

FIXED = (
    *("level", "cell", "model", "optim.name"),  # the checkpoint's tensors depend on them
    *("train", "valid", "data", "loop.batch_size", "loop.window"),  # its place in the data does
)
"""Settings that a resumed run cannot change."""


@dataclass(frozen=True)
class Result:
    """What `train` leaves: the run folder, the last evaluation, and how it went."""

    folder: Path
    metrics: dict[str, float]
    steps: int
    seconds: float
    skipped: int


def train(
    config: configs.LanguageConfig,
    *,
    task: str = "lm",
    resume: bool = False,
    overwrite: bool = False,
) -> Result:
    """Train `config` into the run folder `config.out`.

    `resume` goes on from the folder's checkpoint with the same data and architecture; a larger
    budget continues a finished run. The process's allocator and denormals are set for training
    (`machine.prepare`). Errors: `InputError` for anything in the configuration or the
    data that cannot be used, before anything is written; `TrainingDiverged`; `Interrupted`.
    """
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
    return Result(folder.path, metrics, c.step, c.elapsed, c.skipped)


def check_unchanged(folder: RunFolder, task: str, config: Any) -> None:
    """Raise `InputError` if a resumed run's architecture or data differ from the saved ones."""
    saved_task, values = folder.load_config()
    if saved_task != task:
        raise InputError(f"{folder.path} is a run of task {saved_task!r}, not {task!r}.")
    before, now = values, configs.to_dict(config)
    changed = [
        f"{name} ({old!r} → {new!r})"
        for name, old, new in differences("", before, now)
        if any(name == fixed or name.startswith(f"{fixed}.") for fixed in FIXED)
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


def load(
    run: str | Path, *, device: str = "auto", checkpoint: str = "best"
) -> tuple[Language, LanguageModel]:
    """A run's task (without its data) and its model, in evaluation mode."""
    folder = RunFolder(run)
    name, values = folder.load_config()
    config = configs.from_dict(TASKS[one_of("task", name, TASKS)][0], values)
    if not folder.tokenizer.exists() or not (folder.model.exists() or checkpoint == "last"):
        raise InputError(
            f"{folder.path} has no checkpoint (model.safetensors): training has not reached its "
            "first save."
        )
    task = task_class(name).load(config, folder, machine.choose_device(device))
    model = task.build_model()
    folder.load_weights(model, checkpoint)
    return task, model.eval()


def evaluate(
    run: str | Path,
    data: list[str] | str | None = None,
    *,
    device: str = "auto",
    checkpoint: str = "best",
    threads: int | None = None,
) -> Evaluation:
    """The exact likelihood of text under a run's model, read as one stream with carried state.

    `data`: files, globs or directories; None: the run's own validation text. The result depends on
    no batch size. Characters never seen in training count as <unk>.
    """
    machine.prepare(threads)
    task, model = load(run, device=device, checkpoint=checkpoint)
    text = None
    if data is not None:
        files = [data] if isinstance(data, str) else data
        raw = task.config.level == "byte"
        text = Text.of(files, raw=raw, column=task.config.data.column)
    return evaluate_text(task, model, text)


def generate(
    run: str | Path,
    prime: str = "",
    *,
    max_new_tokens: int = 500,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    num_beams: int = 1,
    num_samples: int = 1,
    seed: int | None = None,
    forbid_unk: bool = False,
    ignore_eos: bool = False,
    device: str = "auto",
    checkpoint: str = "best",
    on_text: Callable[[int, str], None] | None = None,
) -> list[str]:
    """Novel text, `prime` included: `num_samples` of them, or the best of a beam search.

    `on_text(sample, piece)` hears each piece as it is written. The same seed gives the same text;
    sample k of a seed is the first sample of seed + k. Writing stops at <eos> where the model's
    text has one, unless `ignore_eos`, and at `max_new_tokens`. Beam search is deterministic and
    gives its `num_samples` best.
    """
    if max_new_tokens < 0 or num_samples < 1 or num_beams < 1:
        raise InputError(
            "max_new_tokens must be at least 0, num_samples and num_beams at least 1; got "
            f"{max_new_tokens}, {num_samples} and {num_beams}."
        )
    if num_beams > 1 and num_samples > num_beams:
        raise InputError(f"num_samples {num_samples} exceeds num_beams {num_beams}.")
    sampling = Sampling(temperature, top_k, top_p)
    machine.prepare(None)
    task, model = load(run, device=device, checkpoint=checkpoint)
    ids, unknown = task.read_prime(prime)
    if unknown:
        terminal.warn(f"not in the vocabulary, read as <unk>: {unknown} of the prime's tokens.")
    has_eos = task.config.data.eos != "none"
    no_unk = forbid_unk or task.config.level != "word"  # only words are left out of a vocabulary
    forbidden = (PAD, BOS, *((UNK,) if no_unk else ()), *(() if has_eos else (EOS,)))
    eos = EOS if has_eos and not ignore_eos else None
    if num_beams > 1:
        found = beam_search(
            model, ids, max_new_tokens, num_beams, eos=eos, forbidden=forbidden, length_penalty=1.0
        )
        streams: list[Iterable[int]] = [tokens for tokens, _ in found[:num_samples]]
    else:
        seed = secrets.randbelow(2**31) if seed is None else seed
        seeded = [torch.Generator(task.device).manual_seed(seed + k) for k in range(num_samples)]
        sampling = replace(sampling, forbidden=forbidden)
        streams = [
            sample(model, ids, max_new_tokens, sampling, eos=eos, generator=generator)
            for generator in seeded
        ]
    hear = on_text or (lambda sample, piece: None)
    return [write(tokens, prime, task, k, hear) for k, tokens in enumerate(streams)]


def write(
    tokens: Iterable[int], prime: str, task: Language, k: int, hear: Callable[[int, str], None]
) -> str:
    """Decode one stream of tokens as they come, after the prime."""
    decoder = Decoder(task.vocabulary, after=prime)
    pieces = [prime]
    hear(k, prime)
    for token in tokens:
        if piece := decoder.push(token):
            hear(k, piece)
            pieces.append(piece)
    if rest := decoder.close():
        hear(k, rest)
        pieces.append(rest)
    return "".join(pieces)


def doctor() -> list[tuple[str, str]]:
    """What this machine offers and which scan backends run here, as (name, finding) pairs."""
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
        for name in CELLS:
            reason = scans.why_not(backend, find_cell(name))
            found.append((f"{backend}: {name}", "runs" if reason is None else f"no: {reason}"))
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


def as_json(result: Any) -> dict[str, Any]:
    """A result dataclass as plain data."""
    return dataclasses.asdict(result)
