"""A run, loaded once and used many times: what the verbs, exporters and servers stand on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import nn

from . import config as configs
from . import engine
from .cells.names import is_own
from .checkpoint import RunFolder
from .config import RunConfig
from .config.located import lost, piped
from .config.verbs import ModelOptions
from .data.lines import Inputs
from .data.scored import some_of, texts_to_score
from .ground import machine, terminal
from .ground.errors import InputError
from .layers.frozen import Frozen
from .layers.mode import evaluating, frozen
from .tasks import entry, task_class, verb_options
from .tasks.scoring import Scored
from .tasks.streams import Stream
from .tasks.task import Evaluation, Prediction, Task
from .tasks.writing import Piece, WrittenText

__all__ = ["Evaluation", "Prediction", "Run", "Scored", "WrittenText"]


class Run:
    """A run folder's model, with what its task can do with it.

    `open` loads it; made directly it reads the settings alone, and loads when it is first asked for
    more. The model is in evaluation mode; no call leaves a trace in it, in another call, or in
    torch's random state. `device`, `checkpoint` and `threads` are `config.verbs.ModelOptions`;
    threads are those of the process. `trust` lets it run the Python file of a cell that is not
    built in.
    """

    config: RunConfig
    """The settings that it was trained with: config.yaml. Data that moved with the folder are
    followed."""
    path: Path
    """The run folder."""
    name: str
    """The folder's own name."""
    kind: str
    """The name of its task: lm, classify, …."""

    def __init__(
        self,
        path: str | Path,
        trust: bool = False,
        *,
        device: str = "auto",
        checkpoint: str = "best",
        threads: int | None = None,
    ) -> None:
        self.folder = RunFolder(path, trust=trust)
        self.path, self.name = self.folder.path, self.folder.path.resolve().name
        self.kind, values = self.folder.load_config()
        try:
            self.saved = configs.from_dict(entry(self.kind).config, values)
        except InputError as error:
            raise InputError(f"{self.folder.config}: {error}") from error
        self.config = configs.followed(self.saved, self.path)
        self.given = str(path)
        self.options = ModelOptions(cast(Any, device), cast(Any, checkpoint), threads)

    @classmethod
    def open(
        cls,
        path: str | Path,
        trust: bool = False,
        *,
        device: str = "auto",
        checkpoint: str = "best",
        threads: int | None = None,
    ) -> Self:
        """The run in a folder, loaded.

        Errors: `InputError` for a folder that is no run, settings or weights that are damaged or do
        not fit each other, a device that is not there, and a cell of the user's own in a run that
        is not trusted.
        """
        run = cls(path, trust, device=device, checkpoint=checkpoint, threads=threads)
        run.load()
        return run

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {entry(self.kind).noun})"

    def load(self) -> tuple[Any, Any]:
        """Task and model, loaded if they are not yet."""
        return self.loaded

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The task without its data, and the model with its weights."""
        configs.check(self.options)
        machine.prepare(self.options.threads)
        self.folder.require_weights(self.options.checkpoint)
        device = machine.choose_device(self.options.device)
        which = self.options.checkpoint
        own = any(is_own(cell) for cells in self.config.cells().values() for cell in cells)
        stored = {} if own else self.folder.shapes(which)
        with torch.random.fork_rng(devices=[]):  # weights are drawn, and then read
            task: Task = task_class(self.kind).load(self.config, self.folder, device)
            if own:  # trusted, as it was loaded
                stored = self.folder.shapes(which)
            else:
                self.folder.compare(stored, shapes_of(task))
            model: nn.Module = task.build_model()
            if own:  # its code may need numbers: there is no model of shapes alone
                self.folder.compare(stored, shapes_in(model))
        self.folder.load_weights(model, which)
        return task, model.eval()

    @property
    def task(self) -> Any:
        """The `tasks.task.Task`, without data: vocabulary, labels, what else it keeps."""
        return self.loaded[0]

    @property
    def model(self) -> Any:
        """The task's `torch.nn.Module`, in evaluation mode."""
        return self.loaded[1]

    def require_data(self) -> None:
        """Raise `InputError` where the run's own validation data are not there; say where they are
        if they moved with it."""
        if not self.config.files:
            return
        config: Any = self.config
        held_out = not config.valid
        paths = config.train if held_out else config.valid
        if said := lost(paths) or piped(paths):
            more = " All of them are then measured, not a part held out." if held_out else ""
            raise InputError(
                f"{self.given}: its validation data are not found: {said}. Give data anew with "
                f"--data {config.files} (in Python: data=…).{more}"
            )
        if paths not in (self.saved.train, self.saved.valid):
            terminal.say(f"the data of {self.given} moved with it: {', '.join(paths)}")

    def evaluate(
        self,
        data: list[str] | str | None = None,
        *,
        options: object | None = None,
        **named: Any,
    ) -> Evaluation:
        """The metrics of the model on `data`: files, globs or directories.

        None: the run's own validation data. The result depends on no batch size. `options` are
        those that the task has for this verb, as its dataclass or `named` one by one. Errors:
        `InputError` for an option that it has not, and for data that cannot be read, by file and
        line.
        """
        chosen = self.choose("evaluate", options, named)
        if data is None:
            self.require_data()
        task, model = self.loaded
        return task.evaluate(model, [data] if isinstance(data, str) else data, chosen)

    def predict(
        self,
        data: list[str] | str | None = None,
        *,
        lines: Iterable[str] | None = None,
        options: object | None = None,
        **named: Any,
    ) -> Iterator[Prediction]:
        """Predictions for the files `data`, for `lines`, or for standard input where both are None.

        They come one by one, in order. `options` are those that the task has for this verb, as its
        dataclass or `named` one by one. Errors: `InputError` for a task without predictions, for an
        option that it has not, and for input that cannot be read, by file and line.
        """
        chosen = self.choose("predict", options, named)
        if data is not None:
            inputs = Inputs.files([data] if isinstance(data, str) else data)
        else:
            inputs = Inputs(given=lines)
        task, model = self.loaded
        return task.predict(model, inputs, chosen)

    def stream(self, state: str | Path | None = None) -> Stream:
        """Answers step by step, in constant memory: `push(x)` gives the label or the targets so
        far, the label of the step, or the next values.

        `state`: a file that an earlier stream's `save` wrote, to go on from. Errors: `InputError`
        for a task or a model that needs whole sequences, and for a state of another run.
        """
        task, model = self.loaded
        found = task.stream(model)
        if state is not None:
            found.load(state)
        return found

    def generate(
        self,
        prime: str | Sequence[str] | None = None,
        *,
        weights: str = "float32",
        on_text: Callable[[int, str], None] | None = None,
        options: object | None = None,
        **named: Any,
    ) -> list[WrittenText]:
        """Novel sequences, one for each sample, `prime` included where one is given.

        Each is a text that knows its prompt, its sample and what ended it. `prime` may be several
        texts to go on from. `weights` says how those of the stacks are stored: as they are, or
        "bf16", in half the memory (`Stack.frozen`): each step reads all of them.
        `options` are those that the task has for this verb, as its dataclass (of a language model,
        `config.language.WritingOptions`) or `named` one by one. `on_text(number, piece)` hears each
        piece, those of one text after those of another. Errors: `InputError` for a task that writes
        nothing, and for an option that it has not.
        """
        return list(self.write(prime, weights=weights, on_text=on_text, options=options, **named))

    def write(
        self,
        prime: str | Sequence[str] | None = None,
        *,
        weights: str = "float32",
        on_text: Callable[[int, str], None] | None = None,
        options: object | None = None,
        **named: Any,
    ) -> Iterator[WrittenText]:
        """As `generate`, each text as soon as it and all before it are written."""
        if prime is not None:
            named["prime"] = prime if isinstance(prime, str) else list(prime)
        chosen = self.choose("generate", options, named)
        task, model = self.loaded
        return self._written(task, model, weights, on_text, chosen)

    def _written(
        self, task: Task, model: nn.Module, weights: str, on_text: Any, chosen: Any
    ) -> Iterator[WrittenText]:
        with evaluating(model, inference=False), frozen(model, weights) as stacks:
            if weights != "float32":
                tell_slow(model, stacks, weights)
            pieces: list[Piece] = []
            for piece in task.generate(model, chosen):
                if pieces and pieces[0].number != piece.number:
                    yield WrittenText.of(pieces, chosen.num_samples)
                    pieces = []
                pieces.append(piece)
                if on_text and piece.text:
                    on_text(piece.number, piece.text)
            if pieces:
                yield WrittenText.of(pieces, chosen.num_samples)

    def export(
        self,
        out: str | Path,
        to: str = "c",
        *,
        name: str | None = None,
        precision: str = "float32",
        form: str = "sequence",
        yes: bool = False,
    ) -> Path:
        """Write the model into the new folder `out` for the target `to`: "c", one C file; "onnx",
        in the `form` "sequence", whole ones in a call, or "step", whose states are in- and outputs;
        or "page", one HTML file: `out` itself where it ends in .html.

        `name`: what functions and files are called, by default as the run is. `precision`: how
        weights are stored: "float32", "int8", with a scale for each row, of C "int8-full", where
        activations are int8 too, or, of a page, "float16". `yes` lets weights of more than 16 MB
        become C. Errors: `InputError` for a folder that is there, a name that is none in C, and a
        model that cannot be written so, with the reason.
        """
        from . import export

        task, model = self.loaded
        return export.write(
            task.exported(model),
            out,
            to=to,
            name=self.name if name is None else name,
            precision=precision,
            what=f"{entry(self.kind).noun.capitalize()}, the run {self.name}",
            form=form,
            kind=self.kind,
            yes=yes,
        )

    def why_not_native(self) -> str | None:
        """Why texts are not written in native code here, or None where they are."""
        with evaluating(self.model, inference=False), frozen(self.model):
            return engine.why_not(self.model)

    def score(
        self,
        texts: Iterable[str] | None = None,
        *,
        inputs: Inputs | None = None,
        options: object | None = None,
        **named: Any,
    ) -> Iterator[Scored]:
        """How probable texts are for a language model, each by itself: `texts` in memory, or what
        `inputs` are (None: standard input), in order, as they come.

        `options` are `config.language.TextScoringOptions`; of texts in memory each is a line, or
        with per="document" a whole text. Errors: `InputError` for a run of another task.
        """
        chosen = self.choose("score", options, named)
        if texts is not None:
            some = some_of(texts, chosen.batch_size)
        else:
            some = texts_to_score(
                inputs or Inputs(), chosen.per, chosen.batch_size, chosen.max_bytes
            )
        task, model = self.loaded
        return task.score_texts(model, some, chosen)

    def choose(self, verb: str, options: object | None, named: dict[str, Any]) -> Any:
        """The options of a verb as the task has them, `named` ones in the place of others.

        `InputError` where it has no such verb, or other options.
        """
        cls, noun = verb_options(self.kind, verb, self.given), entry(self.kind).noun
        if options is not None and type(options) is not cls:
            takes = f"takes {cls.__name__}" if cls else "takes no options"
            raise InputError(f"{verb} of {noun} {takes}, got {type(options).__name__}.")
        if cls is None:
            if named:
                raise InputError(f"{verb} of {noun} has no option {next(iter(named))!r}.")
            return None
        chosen = configs.from_dict(cls, named, defaults=options)
        configs.check(chosen)
        return chosen


def tell_slow(model: nn.Module, stacks: Iterable[Frozen], weights: str) -> None:
    """Warn where weights that were to be stored otherwise are only rounded."""
    reason = engine.why_not(model)
    if reason and weights == "bf16":  # steps of stacks alone read them as they are stored
        reason = next((stack.why_not for stack in stacks if stack.why_not), None)
    if reason:
        terminal.warn(f"weights are rounded, but steps are no faster for it: {reason}")


def shapes_of(task: Task) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors, without a model: settings may ask for any size."""
    device, task.device = task.device, torch.device("meta")
    try:
        with task.device:
            return shapes_in(task.build_model())
    finally:
        task.device = device


def shapes_in(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors."""
    return {name: tuple(part.shape) for name, part in model.state_dict().items()}
