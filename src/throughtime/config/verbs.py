"""The options of the verbs, apart from those of a run's task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..ground.errors import SettingError
from .run import DEVICES, MOST_THREADS, WEIGHTS
from .settings import SEEDS, limited

STORED = Literal["float32", "bf16", "int8"]
"""How weights are stored while a model is used."""


@dataclass
class TrainOptions:
    """A new run, or an old one that goes on.

    Args:
        resume: Go on with the run in --out.
        overwrite: Replace the run in --out.
        trust: Run the file of a cell of its own that a resumed run or --config names.
    """

    resume: bool = False
    overwrite: bool = False
    trust: bool = False

    def check(self) -> None:
        """One of them."""
        if self.resume and self.overwrite:
            said = "resume goes on with a run, overwrite replaces it: give one of them."
            raise SettingError(said, "resume", "overwrite")


@dataclass
class ModelOptions:
    """Where to run, and which weights.

    Args:
        device: Where to run.
        checkpoint: The weights with the best validation score, the last, the mean of loop.average,
            or the running mean of loop.ema as it was last.
        threads: CPU threads; default all cores.
        trust: Run the Python file of the run's cell, where that is not a built-in one.
    """

    device: DEVICES = "auto"
    checkpoint: WEIGHTS = "best"
    threads: int | None = limited(None, 1, MOST_THREADS)
    trust: bool = False


@dataclass
class JsonOption:
    """How results are printed.

    Args:
        json: Print one JSON object.
    """

    json: bool = False


@dataclass
class DoctorOptions(JsonOption):
    """What this machine offers, which backends run and why others do not.

    Args:
        cell: One cell to ask for, FILE.py:Class for your own; default: the built-in ones.
        gpu: A card (h100, a100, rtx4090, …) of which to tell how scans would run on it.
    """

    cell: str | None = None
    gpu: str | None = None


@dataclass
class EvaluateOptions(JsonOption, ModelOptions):
    """Measure a run's model on data.

    Args:
        data: Files, globs or directories; default: the run's own validation data.
    """

    data: list[str] | None = None


@dataclass
class PredictOptions(JsonOption, ModelOptions):
    """Predictions of a run's model, one after the other.

    Args:
        data: Files, globs or directories; default: standard input.
        output: A new file to write; default: standard output.
        json: One JSON object a line, with all that is known.
        stream: Take one step of numbers a line, CSV or JSON, and answer each at once.
        state: With --stream, a file to go on from where it is there, and to leave the state in.
    """

    data: list[str] | None = None
    output: str | None = None
    stream: bool = False
    state: str | None = None

    def check(self) -> None:
        """A state is that of a stream."""
        if self.state is not None and not self.stream:
            raise SettingError("state is that of a stream: give stream too.", "state", "stream")


@dataclass
class ScoreOptions(ModelOptions):
    """How probable texts are for a language model: a JSON object a line, with the text, the natural
    logarithm of its probability, that of each token, and how many are unknown.

    Args:
        data: Files, globs or directories; - or none: standard input, as it comes.
        output: A new file to write; default: standard output.
    """

    data: list[str] | None = None
    output: str | None = None


@dataclass
class GenerateOptions(JsonOption, ModelOptions):
    """Write novel sequences with a run's model.

    Args:
        weights: How those of the stacks are stored: float32, as they are, bf16, rounded, in half
            the memory, which is what limits the speed of large models, or int8, in a quarter.
        output: A new file to write; default: standard output.
        json: One JSON object a line for each text, when it is written.
    """

    weights: STORED = "float32"
    output: str | None = None


TARGETS = Literal["c", "onnx", "page"]
"""Languages that a model is exported to."""
PRECISIONS = Literal["float32", "float16", "int8", "int8-full"]
"""How weights are stored in what is exported."""


@dataclass
class ExportOptions(ModelOptions):
    """Write a run's model in another language, into a new folder: c is one C99 file without a heap,
    with a test program, for microcontrollers and programs of any kind; onnx whole sequences in one
    call, or a step whose states are inputs and outputs; page one HTML file that runs the model in
    a browser.

    Args:
        to: The language.
        out: The folder, or of a page the file.html; it must not be there.
        name: What functions and files are called; default: the run's name.
        precision: How weights are stored: float32, as they are, int8, with a scale for each row,
            or, of a page, float16; of c int8-full, where what they are multiplied with is int8 too.
        form: Of onnx: sequence or step.
        yes: Write C though the weights have more than 16 MB.
    """

    to: TARGETS = "c"
    out: str | None = None
    name: str | None = None
    precision: PRECISIONS = "float32"
    form: Literal["sequence", "step"] = "sequence"
    yes: bool = False

    def check(self) -> None:
        """There is somewhere to write."""
        if self.out is None:
            raise SettingError("out is a new folder to write into: give one.", "out")


@dataclass
class InspectOptions(JsonOption, ModelOptions):
    """Look inside a run: gradients through time, influence on text, gates, errors, training health,
    as one HTML file and one JSON file. `throughtime inspect agreement RUN --help`: agreement of
    subject and verb by distance.

    Args:
        data: Files, globs or directories; default: the run's own validation data.
        out: Folder of the report; default: RUN/inspect.
        overwrite: Replace the report that --out holds.
        untrained: Measure the gradients at initialisation too.
        lags: Steps to look back.
        positions: Positions of the data to measure at.
        passages: Predictions to show with their text.
        seed: Of the positions drawn.
    """

    data: list[str] | None = None
    out: str | None = None
    overwrite: bool = False
    untrained: bool = False
    lags: int = limited(200, 1)
    positions: int = limited(128, 1)
    passages: int = limited(6, 1)
    seed: int = limited(0, 0, SEEDS)

    def check(self) -> None:
        """What is replaced is named."""
        if self.overwrite and self.out is None:
            raise SettingError(
                "overwrite replaces the report in out: give one.", "overwrite", "out"
            )


@dataclass
class AgreementVerbOptions(JsonOption, ModelOptions):
    """Does a language model know which noun its verb belongs to? The share of minimal pairs whose
    good version it finds the more probable one.

    Args:
        out: A folder for agreement.json, agreement.tsv (every item) and agreement.svg.
        corpus: Instead of measuring: a new file to write training sentences into.
    """

    out: str | None = None
    corpus: str | None = None
