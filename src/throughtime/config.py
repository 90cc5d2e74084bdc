"""The configuration of a run: dataclasses that the command line, YAML and Python share.

Plain data, no torch: `throughtime train --help` stays fast. Durations are strings such as 90s, 3m
or 1h30m; `Literal` fields list what is allowed.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from .errors import InputError, did_you_mean, one_of


@dataclass
class DataConfig:
    """How text becomes tokens.

    Args:
        vocab_size: Most tokens in the vocabulary; default 50000 for words, 8000 for subwords,
            all characters.
        min_count: Tokens seen less often become <unk>.
        lowercase: Fold the text to lower case.
        words: With level word, split at spaces only (text tokenised already) or at punctuation too.
        eos: Where <eos> stands: at each line's end, each file's end, nowhere; auto: line for words,
            file for several files, else none.
        holdout: Share of the training text, at its end, held out when no validation file is given.
        column: Read only this column (from 1) of tab-separated lines.
    """

    vocab_size: int | None = None
    min_count: int = 1
    lowercase: bool = False
    words: Literal["punctuation", "spaces"] = "punctuation"
    eos: Literal["auto", "line", "file", "none"] = "auto"
    holdout: float = 0.1
    column: int | None = None


@dataclass
class ModelConfig:
    """The network: embedding, stack of cells, output layers, softmax.

    Args:
        hidden_size: Width n of each layer.
        num_layers: Depth.
        embedding_size: Width of the token embedding; default hidden_size.
        output_layers: Widths of ordinary layers (relu) between the stack and the softmax.
        dropout: On the embedding, between layers and before the softmax.
        embedding_dropout: Instead of dropout, on the embedding.
        output_dropout: Instead of dropout, before the softmax.
        locked_dropout: One dropout mask for all time steps of a window.
        weight_drop: Share of recurrent weights dropped in each window.
        skips: Add a layer's input to its output from the second layer on.
        tied: Use the embedding matrix as the softmax's weights.
        head: full softmax, or adaptive softmax (word level: frequent words cost less).
        cutoffs: Frequency ranks between the clusters of the adaptive softmax.
        init_range: Draw all weights uniform in ±init_range and set all biases to zero.
        backend: Scan backend: auto, compiled, native or reference.
    """

    hidden_size: int = 512
    num_layers: int = 1
    embedding_size: int | None = None
    output_layers: list[int] = field(default_factory=list)
    dropout: float = 0.0
    embedding_dropout: float | None = None
    output_dropout: float | None = None
    locked_dropout: bool = False
    weight_drop: float = 0.0
    skips: bool = False
    tied: bool = False
    head: Literal["full", "adaptive"] = "full"
    cutoffs: list[int] | None = None
    init_range: float | None = None
    backend: str = "auto"


@dataclass
class OptimConfig:
    """The optimizer and its learning rate.

    Args:
        name: Optimizer.
        lr: Learning rate at its highest.
        weight_decay: Decoupled for adamw, L2 otherwise; not applied to biases and vectors.
        momentum: For sgd.
        betas: For adam and adamw.
        schedule: constant; cosine, down to final_lr over the whole budget; plateau, lr times decay
            when validation has not improved for patience evaluations; decay, lr times decay at each
            epoch after decay_after epochs.
        warmup: Steps over which lr rises from 0, but no more than a twentieth of the budget.
        final_lr: Where cosine ends, as a share of lr.
        decay: Factor for plateau and decay.
        decay_after: Epochs before decay begins.
        patience: Evaluations without improvement before plateau decays.
        clip_norm: Largest norm of the gradient; 0 for none.
        clip_value: Largest absolute value of each gradient entry; 0 for none.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 0.003
    weight_decay: float = 0.0
    momentum: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    schedule: Literal["constant", "cosine", "plateau", "decay"] = "cosine"
    warmup: int = 50
    final_lr: float = 0.05
    decay: float = 0.5
    decay_after: int = 4
    patience: int = 2
    clip_norm: float = 1.0
    clip_value: float = 0.0


@dataclass
class LoopConfig:
    """The training loop.

    Args:
        batch_size: Parallel streams, over all processes.
        window: Steps of backpropagation through time; 0 for the whole stream (full BPTT).
        precision: float32, or bf16 autocast.
        eval_every: When to evaluate: steps (500), epochs (1e), time (30s) or share of the budget
            (10%).
        save_every: When to write a checkpoint; evaluations write one too.
        log_every: When to write a line of metrics.jsonl.
        sample_every: When to show a sample of what the model writes; 0 for never.
        early_stopping: Stop after so many evaluations without improvement; 0 for never.
        max_bad_steps: Stop after so many steps in a row with a non-finite loss or gradient.
        recompute: With full BPTT, keep states only every so many steps and recompute between;
            dropout masks are drawn anew for each such part.
        tensorboard: Also write TensorBoard event files into the run folder.
    """

    batch_size: int = 32
    window: int = 64
    precision: Literal["float32", "bf16"] = "float32"
    eval_every: str = "10%"
    save_every: str = "60s"
    log_every: str = "20"
    sample_every: str = "30s"
    early_stopping: int = 0
    max_bad_steps: int = 10
    recompute: int = 256
    tensorboard: bool = False


@dataclass
class LanguageConfig:
    """Train a language model: characters, bytes, words or subwords.

    Args:
        train: Text files, globs or directories; .gz is read as it is.
        valid: Validation text; default: the last 10% of the training text.
        out: Run folder to make.
        level: What a token is.
        cell: rnn, simple-gru, gru, gru-reset-after, lstm, peephole-lstm; with options, as in
            lstm(output=identity); or your own, as FILE.py:Class.
        max_time: Stop after this time (90s, 3m, 1h30m).
        epochs: Stop after so many passes over the text; default 10 where nothing else limits.
        max_steps: Stop after so many steps.
        seed: Seed of everything random.
        device: Where to run.
        threads: CPU threads; default all cores.
        data: How text becomes tokens.
        model: The network.
        optim: The optimizer.
        loop: The training loop.
    """

    train: list[str] = field(default_factory=list)
    valid: list[str] = field(default_factory=list)
    out: str | None = None
    level: Literal["char", "byte", "word", "subword"] = "char"
    cell: str = "lstm"
    max_time: str | None = None
    epochs: float | None = None
    max_steps: int | None = None
    seed: int = 1
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = None
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


LIMITS: dict[str, tuple[float, float]] = {
    "threads": (1, math.inf),
    "data.min_count": (1, math.inf),
    "data.column": (1, math.inf),
    "model.hidden_size": (1, math.inf),
    "model.num_layers": (1, math.inf),
    "model.embedding_size": (1, math.inf),
    "model.dropout": (0, 0.999),
    "model.embedding_dropout": (0, 0.999),
    "model.output_dropout": (0, 0.999),
    "model.weight_drop": (0, 0.999),
    "model.init_range": (0, math.inf),
    "optim.weight_decay": (0, math.inf),
    "optim.momentum": (0, math.inf),
    "optim.warmup": (0, math.inf),
    "optim.final_lr": (0, 1),
    "optim.decay": (0, 1),
    "optim.decay_after": (0, math.inf),
    "optim.patience": (1, math.inf),
    "optim.clip_norm": (0, math.inf),
    "optim.clip_value": (0, math.inf),
    "loop.batch_size": (1, math.inf),
    "loop.window": (0, math.inf),
    "loop.early_stopping": (0, math.inf),
    "loop.max_bad_steps": (1, math.inf),
    "loop.recompute": (0, math.inf),
}
"""The least and the greatest value of a setting."""


def check(config: Any, where: str = "") -> None:
    """Raise `InputError` for a setting outside its choices or limits, or of the wrong kind."""
    if not where:
        if not config.out:
            raise InputError("no run folder. Give --out runs/NAME.")
        if config.max_time is not None and seconds(config.max_time) <= 0:
            raise InputError(f"max_time must be more than zero, got {config.max_time!r}.")
    hints = typing.get_type_hints(type(config))
    for setting in dataclasses.fields(config):
        name, value, hint = where + setting.name, getattr(config, setting.name), hints[setting.name]
        if dataclasses.is_dataclass(value):
            check(value, f"{name}.")
        elif typing.get_origin(hint) is Literal:
            one_of(name, value, typing.get_args(hint))
        elif typing.get_origin(hint) is list and not isinstance(value, (list, tuple)):
            raise InputError(f"{name} must be a list, got {value!r}.")
        elif value is not None and name in LIMITS:
            low, high = LIMITS[name]
            if not low <= typing.cast(float, value) <= high:
                limit = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
                raise InputError(f"{name} must be {limit}, got {value}.")
    if where == "optim." and len(config.betas) != 2:
        raise InputError(f"optim.betas must be two numbers, got {config.betas}.")


def seconds(duration: str) -> float:
    """'90s', '3m', '1h30m' or a plain number of seconds, in seconds."""
    text = str(duration).strip().lower()
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text)
    try:
        parts = [float(part or 0) for part in match.groups()] if match and text else None
    except ValueError:
        parts = None
    if parts is None:
        raise InputError(f"not a duration: {duration!r}. Write 90s, 3m or 1h30m.")
    return 3600 * parts[0] + 60 * parts[1] + parts[2]


@dataclass(frozen=True)
class Every:
    """An interval of training, in steps, epochs, seconds or shares of the budget."""

    amount: float
    unit: Literal["steps", "epochs", "seconds", "budget"]

    @classmethod
    def parse(cls, text: str | int) -> Every:
        """500, 1e, 30s or 10%."""
        said = str(text).strip().lower()
        try:
            if said.endswith("%"):
                return cls(float(said[:-1]) / 100, "budget")
            if said.endswith("e"):
                return cls(float(said[:-1]), "epochs")
            if said.endswith(("s", "m", "h")):
                return cls(seconds(said), "seconds")
            return cls(float(int(said)), "steps")
        except ValueError:
            raise InputError(
                f"not an interval: {text!r}. Write steps (500), epochs (1e), time (30s) or a share "
                "of the budget (10%)."
            ) from None


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as nested plain data."""
    return dataclasses.asdict(config)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; `InputError` names the file and the line where it is not one."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of settings, got {type(values).__name__}.")
    return values


def from_dict(cls: type, values: dict[str, Any], where: str = "") -> Any:
    """Build a configuration from plain data; unknown keys raise `InputError` with the nearest."""
    known = {f.name: f for f in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in known:
            raise InputError(f"unknown setting {where}{key}.{did_you_mean(key, known)}")
        section = known[key].default_factory
        if dataclasses.is_dataclass(section):
            if not isinstance(value, dict):
                raise InputError(f"{where}{key} must be a mapping of settings, got {value!r}.")
            value = from_dict(section, value, f"{where}{key}.")
        arguments[key] = value
    return cls(**arguments)
