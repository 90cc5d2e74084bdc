"""What the trainer and the verbs need of a task: data, model, loss, score, and its verbs."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..cells.base import Cell
from ..cells.names import find_cell, is_own, source_file
from ..checkpoint import RunFolder
from ..data.lines import Inputs
from ..ground.errors import InputError, did_you_mean
from ..ground.machine import Processes
from . import entry, name_of
from .endings import Ends, RunningText
from .exported import Exported
from .origin import Origin
from .scoring import Scored
from .writing import Piece

QUICK_TOKENS = 200_000
"""Validation tokens looked at during training, where there are more."""


class Loss(NamedTuple):
    """What a batch costs: the mean over `size` tokens or examples of this process, with its graph.

    The trainer weighs processes by their sizes, so the step is that of the mean over the whole
    batch; a process with nothing of its own gives size 0. `carry` goes to the next batch, detached.
    """

    mean: Tensor
    size: float
    carry: Any = None


@dataclass(frozen=True)
class Score:
    """The validation metric that decides which weights are the best; of equals, the lower loss.

    `percent`: the task shows it as a percentage. `name`: what it is called, where `metric` says too
    little; `log`: it is drawn on a logarithmic scale.
    """

    metric: str = "loss"
    higher_is_better: bool = False
    percent: bool = False
    name: str = ""
    log: bool = False

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.metric.replace("_", " ")

    def shown(self, value: float) -> str:
        """For the display."""
        return f"{value:.2%}" if self.percent else f"{value:.4f}"

    def better(self, found: tuple[float, float], best: tuple[float, float]) -> bool:
        """Whether a score and its loss beat the best so far; NaN never does."""
        (value, loss), (best_value, best_loss) = found, best
        if value == best_value:
            return loss < best_loss
        return value > best_value if self.higher_is_better else value < best_value

    @property
    def worst(self) -> float:
        """What any value beats."""
        return -torch.inf if self.higher_is_better else torch.inf


class Prediction(NamedTuple):
    """One prediction: as text, without the last line end, and as a JSON object."""

    text: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; a task's own has its figures as fields."""

    def __getattr__(self, name: str) -> Any:
        """A figure that this task has not: Any, since a run's task is not known before."""
        if name.startswith("__"):
            raise AttributeError(name)
        figures = [field.name for field in dataclasses.fields(self)]
        raise AttributeError(
            f"{type(self).__name__} has no {name}.{did_you_mean(name, figures)} It has "
            f"{', '.join(figures)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    def report(self) -> str:
        """As a person reads it: by default the plain figures, one a line."""
        return figures(self.to_dict())


def figures(values: dict[str, Any]) -> str:
    """Numbers by name, one a line, NaN as what there is none of; what is no number is left out."""
    lines = []
    for name, value in values.items():
        if isinstance(value, (int, float)):
            decimals = 0 if isinstance(value, int) or value >= 1000 else 4
            shown = "none" if value != value else f"{value:z,.{decimals}f}"
            lines.append(f"{name.replace('_', ' '):18} {shown:>14}")
    return "\n".join(lines)


def aligned(rows: Iterable[Sequence[Any]]) -> str:
    """A table: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in cells
    )


class Task(ABC):
    """Data + loss + score + what its verbs do.

    A task is made of its configuration, then either `prepare`d with its data, for training, or
    `load`ed from a run, without. Its cells are `cell` and, for a `model.NAME_cell`, `NAME_cell`:
    one for all layers, or one for each.

    `batch(epoch, i)` is a function of its arguments alone, so that a resumed run sees the same
    data. `carry` is whatever passes from one batch to the next (a recurrent state), None at the
    start; the task drops it where a sequence ends. Validation runs alike on every process.
    """

    config: Any
    device: torch.device
    cell: Cell | tuple[Cell, ...]
    score = Score()
    unit = "tokens"
    """What `Loss.size` counts, in the plural: the display says so many of them a second."""
    loss_unit = ""
    """What the training loss is counted in, where that is said: nats."""
    processes = Processes()
    origin: Origin | None = None
    kept: ClassVar[dict[str, str]] = {}
    """Files of the run folder, and of each the attribute whose `to_json` is its text; what is none
    of `checkpoint.FILES` is listed in `checkpoint.TASK_FILES`."""

    def __init__(
        self, config: Any, device: torch.device | None = None, folder: RunFolder | None = None
    ) -> None:
        """`folder`: of the run that the task is of, where there is one already."""
        self.config, self.device = config, device or torch.device("cpu")
        self.is_new = folder is None
        self.settle()
        self.find_cells(folder)

    @property
    def unused_parameters(self) -> bool:
        """Whether a step may leave parameters without a gradient."""
        return False

    def find_cells(self, folder: RunFolder | None = None) -> None:
        """Set the cells that the configuration names; one of the user's own is in `folder`, which
        is trusted or not."""
        where = {"folder": folder.path, "trust": folder.trust} if folder else {}
        named = self.config.cells()
        cells = {text: find_cell(text, **where) for texts in named.values() for text in texts}
        for name, texts in named.items():
            found = [cells[text] for text in texts]
            setattr(self, name, tuple(found) if len(found) > 1 else found[0])

    def settle(self) -> None:  # noqa: B027  a task may leave nothing to settle
        """Set what the configuration alone decides, as the score, or refuse it."""

    # ---- training -----------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls,
        config: Any,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
        origin: Origin | None = None,
    ) -> Self:
        """The task with its data, for training; `resumed` is the folder of a run that goes on,
        `origin` another run to start from."""
        if config.files and not config.train:
            raise InputError("no training data. Give --train FILE ….")
        task = cls(config, device, resumed)
        task.processes, task.origin = processes or Processes(), origin
        if origin is not None:
            task.accept(origin)
        task.find_data(resumed)
        return task

    @abstractmethod
    def find_data(self, resumed: RunFolder | None) -> None:
        """Read what there is to learn from, and learn what comes before training."""

    def accept(self, origin: Origin) -> None:
        """Raise `InputError` for a run that this one cannot start from."""
        if not origin.is_like(self):
            raise InputError(
                f"{entry(name_of(self.config)).noun} cannot start from {origin.forward.said}: only "
                "from a run of the same kind."
            )

    def begin_from(self, origin: Origin) -> None:
        """Take what another run has learned of its data: as it is, of a run of the same task."""
        self.restore(origin.forward.folder)

    def take_weights(self, origin: Origin, model: Any) -> None:
        """Put the weights of another run in their places."""
        origin.put_whole(model, None)

    def save(self, folder: RunFolder) -> None:
        """Write what `load` needs besides the configuration and the weights: what is `kept`, and
        the source of cells of the user's own.
        """
        if self.is_new:
            named = {cell for cells in self.config.cells().values() for cell in cells}
            folder.keep({source_file(cell) for cell in named if is_own(cell)})
        for name, attribute in self.kept.items():
            folder.save_text(folder.file(name), attrgetter(attribute)(self).to_json())

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the data: the same in every epoch."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Of the training and validation data: a resumed run must find the same."""

    @abstractmethod
    def summary(self) -> str:
        """The data in one line."""

    @abstractmethod
    def build_model(self) -> nn.Module:
        """The untrained network, on the device."""

    @abstractmethod
    def batch(self, epoch: int, i: int) -> Any:
        """This process's part of batch `i` of an epoch, on the device."""

    @abstractmethod
    def loss(self, model: Any, batch: Any, carry: Any) -> Loss:
        """The loss of a batch, through one call of `model`, which may be wrapped."""

    def restore_carry(self, parts: list[Tensor], model: Any) -> Any:
        """The carry of the model from the tensors that it held."""
        return tuple(parts)

    @abstractmethod
    def validate(self, model: Any, *, quick: bool) -> dict[str, float]:
        """Validation metrics, that of `score` among them; `quick` during training.

        `loss` is not among them where nothing has one, as where no label is known.
        """

    def judged(self, metrics: dict[str, float]) -> tuple[float, float]:
        """The metric of `score`, which decides, and the loss, NaN where nothing has one."""
        metric = self.score.metric
        if metric not in metrics:
            raise InputError(
                f"the validation data have no {metric} to choose the best weights by: "
                f"{self.describe(metrics)}. Give other validation data, or another --score."
            )
        return metrics[metric], metrics.get("loss", math.nan)

    @abstractmethod
    def describe(self, metrics: dict[str, float]) -> str:
        """Validation metrics as a person reads them."""

    def validation_loss(self, metrics: dict[str, float]) -> str:
        """The loss among validation metrics, as a person reads it."""
        return f"loss {metrics['loss']:.4f}" if "loss" in metrics else "no loss"

    def finish(self, model: Any) -> bool:
        """Settle by the validation data what training leaves open in the weights that are kept;
        whether anything of them changed."""
        return False

    def describe_loss(self, loss: float) -> str:
        """The training loss on the live line."""
        return f"loss {loss:.3f} {self.loss_unit}".rstrip()

    def sample(self, model: Any, generator: torch.Generator) -> str:
        """A short sample of what the model does by now, or nothing; every `loop.sample_every`."""
        return ""

    # ---- what inspect and compare ask ---------------------------------------------------------

    judges_sentences: ClassVar[bool] = False
    """Whether `inspect agreement` can ask which of two sentences is the likelier."""
    loss_at_end = "the loss of the whole sequence"
    """What loss the gradients of the model's stack are of."""
    cell_options: ClassVar[dict[str, str]] = {}
    """Of stacks that have a cell of their own: the option that sets it."""
    longest_looked_at: ClassVar[int | None] = None
    """Steps of a sequence beyond which `ends` cuts it off."""
    solved_means: ClassVar[str] = ""
    """For a task whose metrics tell whether it is solved: when that is, what chance achieves."""

    def running_text(
        self, data: list[str] | None = None, *, quiet: bool = False
    ) -> RunningText | None:
        """The tokens of files, None: of the run's validation data, for a task over one long text.

        Such a task has a `vocabulary` and a `level`; its model steps as `LanguageModel` does. Other
        tasks have sequences with ends.
        """
        return None

    def to_look_at(self, data: list[str] | None) -> Any:
        """Examples of files, None: of the run's own for validation, as `steps` and `ends` take."""
        raise InputError(f"inspect finds no sequences in {entry(name_of(self.config)).noun}.")

    def steps(self, examples: Any) -> np.ndarray:
        """The length of each example [N]; 0 where it has no loss to look at."""
        return examples.lengths

    def looked_into(self) -> dict[str, str]:
        """The model's stacks, and of each what loss the gradients are of."""
        return {"stack": self.loss_at_end}

    def ends(self, model: Any, examples: Any, some: np.ndarray) -> Ends:
        """The losses of some examples, for gradients through time."""
        raise NotImplementedError  # only for tasks that `to_look_at` has examples of

    def chance(self) -> dict[str, float] | None:
        """What the best model without memory achieves, where that is known."""
        return None

    # ---- a finished run -----------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any, folder: RunFolder, device: torch.device) -> Self:
        """The task of a run without its data, to evaluate, predict or write with."""
        task = cls(config, device, folder)
        task.restore(folder)
        return task

    def restore(self, folder: RunFolder) -> None:  # noqa: B027  a task may keep nothing
        """Read what is `kept`."""

    @abstractmethod
    def evaluate(self, model: Any, data: list[str] | None, options: Any) -> Evaluation:
        """Metrics of the files `data`, whatever the batch size; None: the run's validation data."""

    def predict(self, model: Any, inputs: Inputs, options: Any) -> Iterator[Prediction]:
        """A prediction for each input, in order, as they come."""
        raise NotImplementedError  # only where config.predict_options says so

    def stream(self, model: Any) -> Any:
        """A `tasks.streams.Stream`, which answers step by step; `InputError` for no such task."""
        raise InputError(
            f"{entry(name_of(self.config)).noun} does not answer step by step; runs trained "
            "on numbers do: classify and tag with --level numbers, regress, forecast."
        )

    def generate(self, model: Any, options: Any) -> Iterator[Piece]:
        """Pieces of novel text as they are written, those of one text after those of another."""
        raise NotImplementedError  # only where config.generate_options says so

    def score_texts(
        self, model: Any, texts: Iterable[Sequence[str]], options: Any
    ) -> Iterator[Scored]:
        """How probable texts are, some at a time; in order."""
        raise NotImplementedError  # only where config.score_options says so

    def exported(self, model: Any) -> Exported:
        """What an exporter writes; `InputError` where nothing of it can be."""
        raise InputError(f"{entry(name_of(self.config)).noun} is not exported yet.")
