"""The run folder: what training writes, whole or not at all, and what the other verbs read.

config.yaml        the configuration and the task's name
tokenizer.json     the vocabulary, where the task has one
model.safetensors  the best weights so far
trainer.pt         everything that training needs to go on, the last weights included
metrics.jsonl      one line for each measurement
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from . import config as configs
from .ground.errors import InputError, ThroughtimeError
from .ground.output import make_folder
from .ground.paths import typed_path

FILES = ("config.yaml", "tokenizer.json", "model.safetensors", "trainer.pt", "metrics.jsonl")
TASK_FILES = (
    *("labels.json", "features.json", "conditions.json"),
    *("characters.json", "source.json", "target.json"),
)
"""What some tasks keep besides, through `RunFolder.file`."""
RESUME = "go on with --resume"
"""What to do when there is room on the disk again."""
AVERAGED = "average-*.safetensors"
"""The weights of the last evaluations, where loop.average asks for them."""


class RunFolder:
    """A run folder at `path`; `trust`: whether a cell's file in it may be run."""

    def __init__(self, path: str | Path, *, trust: bool = False) -> None:
        self.path, self.trust = typed_path(path), trust
        self.config, self.tokenizer, self.model, self.trainer, self.metrics = (
            self.path / name for name in FILES
        )

    def create(self, overwrite: bool) -> None:
        """Make the folder; an existing one is refused, or rid of its run if `overwrite`."""
        self.refuse_existing(overwrite)
        make_folder(self.path)
        for name in (
            *TASK_FILES,
            *reversed(FILES),
        ):  # config.yaml last: it is what makes this a run folder
            (self.path / name).unlink(missing_ok=True)
        self.keep_averaged(())

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise `InputError` if the folder holds anything that may not be overwritten."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; --out names a folder.")
        if not self.path.exists() or all(is_temporary(p) for p in self.path.iterdir()):
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
        """Write config.yaml."""
        values = {"task": task, **configs.to_dict(config)}
        self.save_text(self.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def load_config(self) -> tuple[str, dict[str, Any]]:
        """The task's name and the settings."""
        if not self.path.is_dir():
            raise InputError(f"{self.path}: no such run folder.")
        if not self.config.exists():
            raise InputError(f"{self.path} is not a run folder: it has no config.yaml.")
        values = configs.load_yaml(self.config)
        if "task" not in values:
            raise InputError(f"{self.config} is not a run's: it names no task.")
        return str(values.pop("task")), values

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
        """Write a text file of the folder, whole or not at all."""
        write_text(path, text)

    def save_weights(self, model: nn.Module, path: Path | None = None) -> None:
        """Write model.safetensors, or another file of the folder."""
        with atomically(path or self.model) as temporary:
            save_model(model, str(temporary))

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
        buffer = io.BytesIO()  # torch.save to a path reports a full disk as an internal error
        torch.save(state, buffer)
        with atomically(self.trainer) as path, open(path, "wb") as file:
            file.write(buffer.getbuffer())

    def load_trainer(self) -> dict[str, Any]:
        """What `save_trainer` wrote; `InputError` where there is none or it is damaged."""
        if not self.trainer.exists():
            raise InputError(f"{self.path} has no checkpoint (trainer.pt) to go on from.")
        try:
            return torch.load(self.trainer, map_location="cpu", weights_only=True)
        except Exception as error:  # what torch meets in damage is of any kind
            raise InputError(
                f"{self.trainer}: damaged or truncated, so that this run cannot go on "
                f"({first_line(error)[:80]}). Its best weights are a file of their own: evaluate "
                "and the like still work."
            ) from error

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
            load_model(model, str(path))
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: damaged or truncated: {first_line(error)}. The weights of the last "
                "checkpoint are in trainer.pt: --checkpoint last."
            ) from error
        except RuntimeError as error:
            raise InputError(f"{path} does not fit config.yaml: {misfit(error)}") from error

    @staticmethod
    def load_state(model: nn.Module, state: dict[str, Any], path: Path) -> None:
        """Load a state dict that came from `path`."""
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(f"{path} does not fit the model: {misfit(error)}") from error


def misfit(error: RuntimeError) -> str:
    """The first tensor that does not fit, of all that torch names."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    found = (lines[0][:300].rstrip(".") if lines else first_line(error)) + more
    return f"{found}. Were its settings changed, or is one of the files another run's?"


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def write_text(path: Path, text: str, then: str = RESUME) -> None:
    """A text file, whole or not at all."""
    with atomically(path, then) as temporary:
        temporary.write_text(text, "utf-8")


@contextlib.contextmanager
def atomically(path: Path, then: str = RESUME) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The file is on the disk before it takes the old one's place: a kill or a full disk at any moment
    leaves the old file or the new one, never a part. `then` is what to do after making room.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # safetensors makes files that only their owner can read
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise ThroughtimeError(
            f"cannot save {path}: {first_line(error)}. What was saved before is untouched; make "
            f"room and {then}."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_temporary(path: Path) -> bool:
    """Whether `atomically` made this file."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in a run folder."""
    for path in filter(is_temporary, folder.iterdir()):
        path.unlink(missing_ok=True)
