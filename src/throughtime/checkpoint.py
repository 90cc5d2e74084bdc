"""The run folder: what training writes, whole or not at all, and what the other verbs read.

config.yaml        the configuration and the task's name
tokenizer.json     the vocabulary, where the task has one
model.safetensors  the best weights so far
trainer.pt         everything that training needs to go on, the last weights included
metrics.jsonl      one line for each measurement
"""

from __future__ import annotations

import functools
import hashlib
import io
import shutil
import zipfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from torch import nn

from . import config as configs
from .cells.names import is_copied, is_own, same_cell
from .ground import terminal
from .ground.errors import InputError, first_line
from .ground.lock import NAME as LOCK
from .ground.lock import locked
from .ground.output import make_folder
from .ground.paths import typed_path
from .ground.whole import atomically, is_temporary, read_text, refuse_special, write_text
from .weights import Shapes, load_weights, read_header, save_weights

FILES = ("config.yaml", "tokenizer.json", "model.safetensors", "trainer.pt", "metrics.jsonl")
TASK_FILES = (
    *("labels.json", "features.json", "conditions.json"),
    *("characters.json", "source.json", "target.json", "series.json", "targets.json"),
)
"""What some tasks keep besides, through `RunFolder.file`."""
TRACKED = "trackers.json"
"""What trackers call the run, so that it goes on there when it is resumed."""
SEAL = "# sha256 "
"""Begins the last line of config.yaml."""
CHANGED = "Were its settings changed, or is one of the files another run's?"
AVERAGED = "average-*.safetensors"
"""The weights of the last evaluations, where loop.average asks for them."""


class RunFolder:
    """A run folder at `path`; `trust`: whether a cell's file in it may be run."""

    def __init__(self, path: str | Path, *, trust: bool = False) -> None:
        self.path, self.trust = typed_path(path), trust
        self.config, self.tokenizer, self.model, self.trainer, self.metrics = (
            self.path / name for name in FILES
        )
        self.settings = ""
        self.trained_with: dict[str, str] = {}
        self.held = False

    def create(self, overwrite: bool) -> None:
        """Make the folder; an existing one is refused, or rid of its run if `overwrite`."""
        self.refuse_existing(overwrite)
        make_folder(self.path)
        for name in (
            *TASK_FILES,
            TRACKED,
            *reversed(FILES),
        ):  # config.yaml last: it is what makes this a run folder
            (self.path / name).unlink(missing_ok=True)
        self.keep_averaged(())

    def lock(self, until: ExitStack) -> None:
        """Nobody else trains into the folder `until` then: `InputError` with the other's process
        id. Who only reads is never locked out."""
        if not self.held:
            busy = f"another training is at work in {self.path}"
            until.enter_context(locked(self.path, busy, patience=1.0))
            self.held = True

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise `InputError` if the folder holds anything that may not be overwritten."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; --out names a folder.")
        if not self.path.exists():
            return
        if all(is_temporary(p) or p.name == LOCK for p in self.path.iterdir()):
            return
        if not overwrite:
            raise InputError(
                f"{self.path} exists. Choose another --out, go on with --resume, or replace it "
                "with --overwrite."
            )
        if not self.is_run():
            raise InputError(
                f"{self.path} is not a run folder (no config.yaml of a run): --overwrite does not "
                "touch it. Choose another --out."
            )

    def is_run(self) -> bool:
        """Whether config.yaml is one that `save_config` wrote."""
        return self.config.is_file() and "task" in configs.load_yaml(self.config)

    def save_config(self, task: str, config: Any) -> None:
        """Write config.yaml, whose paths are absolute."""
        values = {"task": task, **configs.to_dict(configs.located(config))}
        self.settings = sealed(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        write_text(self.config, self.settings)

    def keep_config(self) -> None:
        """Write config.yaml again if somebody removed it in mid-run, and say so."""
        if not self.config.exists() and self.settings:
            write_text(self.config, self.settings)
            terminal.warn(f"{self.config} was gone, and is there again.")

    def load_config(self) -> tuple[str, dict[str, Any]]:
        """The task's name and the settings."""
        if not self.path.is_dir():
            raise InputError(f"{self.path}: no such run folder.")
        if not self.config.exists():
            raise InputError(f"{self.path} is not a run folder: it has no config.yaml.")
        if not is_sealed(read_text(self.config)):  # by hand, which is allowed, or by a bad disk
            tell_changed(self.config)
        values = configs.load_yaml(self.config)
        if "task" not in values:
            raise InputError(f"{self.config} is not a run's: it names no task.")
        model = values.get("model")
        if isinstance(model, dict) and "affixes" in model:  # before, unknown words had none
            model.setdefault("affixes_of_unknown", False)
        return str(values.pop("task")), values

    def changes(self, before: dict[str, Any], config: Any) -> dict[str, str]:
        """How a configuration differs from settings that the run had, as a person reads it, by
        dotted name. Data that moved with it are the same, and so is a cell's file that is its copy.
        """
        kept = configs.followed(configs.from_dict(type(config), before), self.path)
        found = configs.changes(configs.to_dict(kept), config)
        were, are = kept.cells(), config.cells()

        def same(name: str) -> bool:
            was, now = were.get(name), are.get(name)
            if was is None or now is None or len(was) != len(now):
                return False
            return all(same_cell(a, b, self.path) for a, b in zip(was, now))

        return {k: said for k, said in found.items() if not same(k.rpartition(".")[2])}

    def has_copies_for(self, config: Any) -> bool:
        """Whether the copies of cells' files are those files that a configuration names."""
        named = [text for texts in config.cells().values() for text in texts if is_own(text)]
        return all(is_copied(text, self.path) for text in named)

    def file(self, name: str) -> Path:
        """A task's file in the folder: the vocabulary, or one of `TASK_FILES`."""
        if name not in (self.tokenizer.name, *TASK_FILES):
            raise ValueError(f"{name} is not listed in TASK_FILES: --overwrite would leave it")
        return self.path / name

    def keep(self, sources: Collection[Path]) -> None:
        """Copy files that the run needs (of a user's cells) into the folder."""
        if len({source.name for source in sources}) < len(sources):
            said = ", ".join(sorted(map(str, sources)))
            raise InputError(f"a run keeps files of cells by name: give {said} different names.")
        for source in sources:
            if source.resolve().parent != self.path.resolve():
                with atomically(self.path / source.name) as path:
                    shutil.copyfile(source, path)

    def save_text(self, path: Path, text: str) -> None:
        """Write a text file of the folder, whole or not at all; one that is there stays as it is:
        a run that goes on has learned the same."""
        if not path.exists():
            write_text(path, text)

    def seal_texts(self) -> None:
        """All text files are there: remember their checksums, which go with all weights."""
        paths = (self.tokenizer, *(self.path / name for name in TASK_FILES))
        self.trained_with = {p.name: digest(read_text(p)) for p in paths if p.exists()}

    def check_texts(self, written: dict[str, str]) -> None:
        """Raise `InputError` for a text file that is not the one that the weights came with."""
        for name, checksum in written.items():
            path = self.path / name
            if digest(read_text(path)) != checksum:
                raise InputError(
                    f"{path}: damaged, or another run's: it is not the file that the weights were "
                    "trained with (checksum). Restore it from a copy of the run, or train anew."
                )

    def shapes(self, which: str) -> Shapes:
        """Of the best or the last weights, once the text files have been found to be theirs.

        Weights of release 0.1 know of no such files: that is said.
        """
        if which == "last":
            saved = self.load_trainer()
            files, shapes = (
                saved.get("files"),
                {k: tuple(v.shape) for k, v in saved["model"].items()},
            )
        else:
            header = read_header(self.model)
            files, shapes = header.files, header.shapes
        if files is None:
            terminal.say(f"{self.path}: of release 0.1, without checksums: damage may go unseen")
        self.check_texts(files or {})
        return shapes

    def compare(self, stored: Shapes, shapes: Shapes) -> None:
        """Raise `InputError` where the weights have other shapes than the settings make."""
        for name, found in stored.items():
            if shapes.get(name) != found:
                expected = f"be {list(shapes[name])}" if name in shapes else "not be there"
                raise InputError(
                    f"{self.model} does not fit config.yaml: {name} is {list(found)} and would "
                    f"{expected} by the settings. {CHANGED}"
                )

    def save_weights(self, model: nn.Module, path: Path | None = None) -> None:
        """Write model.safetensors, or another file of the folder."""
        with atomically(path or self.model, also=SafetensorError) as temporary:
            save_weights(model, temporary, self.trained_with)

    def averaged(self, step: int) -> Path:
        """Where the weights of a step are kept, to be averaged with others."""
        return self.path / f"average-{step}.safetensors"

    def keep_averaged(self, steps: Sequence[int]) -> None:
        """Remove the weights of all steps but these."""
        keep = {self.averaged(step) for step in steps}
        for path in self.path.glob(AVERAGED):
            if path not in keep:
                path.unlink()

    def save_trainer(self, state: dict[str, Any]) -> None:
        """Write trainer.pt."""
        state = {**state, "files": self.trained_with}
        buffer = io.BytesIO()  # torch.save to a path reports a full disk as an internal error
        torch.save(state, buffer)
        with atomically(self.trainer) as path, open(path, "wb") as file:
            file.write(buffer.getbuffer())

    def load_trainer(self) -> dict[str, Any]:
        """What `save_trainer` wrote; `InputError` where there is none or it is damaged."""
        if not self.trainer.exists():
            raise InputError(f"{self.path} has no checkpoint (trainer.pt) to go on from.")
        refuse_special(self.trainer, links=True)
        try:
            with zipfile.ZipFile(self.trainer) as archive:
                if wrong := archive.testzip():  # torch writes checksums and reads none
                    raise ValueError(f"the checksum of {wrong} is wrong")
            saved = torch.load(self.trainer, map_location="cpu", weights_only=True)
            check_parts(saved)
        except Exception as error:  # what torch meets in damage is of any kind
            raise self.no_checkpoint(error) from error
        return saved

    def no_checkpoint(self, error: Exception) -> InputError:
        """What to say of a trainer.pt that is not what it was."""
        said = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        return InputError(
            f"{self.trainer}: damaged or truncated, so that this run cannot go on ({said[:80]}). "
            "Its best weights are a file of their own: evaluate and the like still work."
        )

    def require_weights(self, which: str = "best") -> None:
        """Raise `InputError` if training has not come to save weights yet."""
        path = self.model if which == "best" else self.trainer
        if not path.exists():
            raise InputError(
                f"{self.path} has no checkpoint ({path.name}): training has not reached its first "
                "save."
            )

    def load_weights(self, model: nn.Module, which: str = "best") -> None:
        """Load the best or the last weights into `model`."""
        self.require_weights(which)
        if which == "last":
            self.load_state(model, self.load_trainer()["model"], self.trainer)
        elif which == "average":
            self.load_average(model)
        elif which == "ema":
            mean = self.load_trainer().get("ema")
            if mean is None:
                raise InputError(
                    f"{self.path} keeps no running mean of weights. Train with --loop.ema 0.999."
                )
            self.load_state(model, mean, self.trainer)
        else:
            self.load_file(model, self.model)

    def load_average(self, model: nn.Module) -> None:
        """Load the mean of the weights of the last evaluations."""
        steps = self.load_trainer()["counters"].get("averaged")
        if not steps:
            raise InputError(
                f"{self.path} keeps no weights to average. Train with --loop.average 5."
            )
        total: dict[str, torch.Tensor] = {}
        for step in steps:
            self.load_file(model, self.averaged(step))
            for name, part in model.state_dict().items():
                part = part.double() if part.is_floating_point() else part.clone()
                total[name] = total[name] + part if name in total else part
        mean = {k: v / len(steps) if v.is_floating_point() else v for k, v in total.items()}
        self.load_state(model, mean, self.path)

    @staticmethod
    def load_file(model: nn.Module, path: Path) -> None:
        """Load one file of weights."""
        try:
            load_weights(model, path)
        except RuntimeError as error:
            raise InputError(f"{path} does not fit config.yaml: {misfit(error)}") from error

    @staticmethod
    def load_state(model: nn.Module, state: dict[str, Any], path: Path) -> None:
        """Load a state dict that came from `path`."""
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise InputError(f"{path} does not fit the model: {misfit(error)}") from error


def check_parts(saved: Any) -> None:
    """Raise unless a checkpoint has weights, and what verbs read of it is of its kind."""
    if not isinstance(saved, dict) or not isinstance(saved["model"], dict):
        raise TypeError("not what a training saves")
    if not all(isinstance(part, torch.Tensor) for part in saved["model"].values()):
        raise TypeError("weights that are no numbers")
    mean = saved.get("ema")
    if mean is not None and not (
        isinstance(mean, dict) and all(isinstance(part, torch.Tensor) for part in mean.values())
    ):
        raise TypeError("a mean of weights that is none")
    counters, files = saved["counters"], saved.get("files") or {}
    averaged = counters.get("averaged", []) if isinstance(counters, dict) else None
    if not isinstance(averaged, list) or not all(type(step) is int for step in averaged):
        raise TypeError("counters that are none")
    if not isinstance(files, dict) or not all(isinstance(k, str) for k in files):
        raise TypeError("checksums that are none")


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(text: str) -> str:
    """The settings, and their checksum as the last line, a comment."""
    return f"{text}{SEAL}{digest(text)}\n"


@functools.cache
def tell_changed(path: Path) -> None:
    """Say once that settings are not as they were written, however often they are read."""
    terminal.warn(f"{path} has been changed since training wrote it.")


def is_sealed(text: str) -> bool:
    """Whether settings are as they were written; without a seal they come from release 0.1."""
    written, _, last = text.removesuffix("\n").rpartition("\n")
    return not last.startswith("#") or last == f"{SEAL}{digest(written + chr(10))}"


def misfit(error: Exception) -> str:
    """The first tensor that does not fit, of all that torch names."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    found = (lines[0][:300].rstrip(".") if lines else first_line(error)) + more
    return f"{found}. {CHANGED}"
