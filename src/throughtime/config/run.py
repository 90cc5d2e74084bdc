"""Settings that all tasks share: a run, its optimizer, its loop, a stack of cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..ground.errors import InputError, SettingError
from .durations import Every, seconds
from .settings import DEEPEST, SEEDS, WIDEST, limited, one_path, spelled
from .values import listed, shown

DEVICES = Literal["auto", "cpu", "cuda", "mps"]
"""Where a model can run."""

EPOCHS = 10.0
"""Passes over the data where nothing limits a run."""

BUDGETS = ("max_time", "epochs", "max_steps")
"""What can end a run: the first of them that is spent."""

MOST_THREADS = 1024
"""More are refused: each is a thread of the system."""

BATCHES = ("train", "valid", "data", "seed", "loop.batch_size", "loop.batch_tokens")
"""What the batches of examples depend on, beside the tensors' shapes."""

TRACKERS = Literal["tensorboard", "wandb", "trackio", "mlflow"]
"""Where runs can be compared besides their folders."""

WEIGHTS = Literal["best", "last", "average", "ema"]
"""The weights that a run folder keeps."""


@dataclass
class OptimConfig:
    """The optimizer and its learning rate.

    Args:
        name: Optimizer.
        lr: Learning rate at its highest.
        weight_decay: Decoupled for adamw, L2 otherwise; not applied to biases and vectors.
        momentum: For sgd.
        betas: For adam and adamw.
        schedule: constant; cosine, down to final_lr over the whole budget; slanted, up for a tenth
            of the budget and evenly down to final_lr; plateau, lr times decay
            when validation has not improved for patience evaluations; decay, lr times decay at each
            epoch after decay_after epochs.
        warmup: Steps over which lr rises from 0, but no more than a twentieth of the budget.
        final_lr: Where cosine ends, as a share of lr.
        decay: Factor for plateau and decay.
        decay_after: Epochs before decay begins.
        patience: Evaluations without improvement before plateau decays.
        clip_norm: Largest norm of the gradient; 0 for none.
        clip_value: Largest absolute value of each gradient entry; 0 for none.
        freeze: Parts that stay as they are, with commas between: embedding,stack.0 (a module, a
            parameter, or a layer of a stack).
        unfreeze: Train one more part of freeze, the last one first, after each such share of the
            budget; 0: none of them.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = limited(0.003, 0, 1000)
    weight_decay: float = limited(0.0, 0, 1000)
    momentum: float = limited(0.0, 0, 1)
    betas: list[float] = limited([0.9, 0.99], 0, 0.9999999, items=2)
    schedule: Literal["constant", "cosine", "slanted", "plateau", "decay"] = "cosine"
    warmup: int = limited(50, 0)
    final_lr: float = limited(0.05, 0, 1)
    decay: float = limited(0.5, 0, 1)
    decay_after: int = limited(4, 0)
    patience: int = limited(2, 1)
    clip_norm: float = limited(1.0, 0)
    clip_value: float = limited(0.0, 0)
    freeze: list[str] = field(default_factory=list)
    unfreeze: float = limited(0.0, 0, 1)


@dataclass
class LoopConfig:
    """The training loop.

    Args:
        precision: float32, or bf16 autocast.
        eval_every: When to evaluate: steps (500), epochs (1e), time (30s) or share of the budget
            (10%).
        save_every: When to write a checkpoint; evaluations write one too.
        log_every: When to write a line of metrics.jsonl.
        inspect_every: When to measure, on validation data, how far back gradients reach and which
            gates are stuck; 0 for never.
        early_stopping: Stop after so many evaluations without improvement; 0 for never.
        max_bad_steps: Stop after so many steps in a row with a non-finite loss or gradient.
        average: Keep the weights of so many of the last evaluations, whose mean is what
            --checkpoint average loads; 0 for none.
        ema: Keep a running mean of the weights that forgets them at this rate, as 0.999: validation
            looks at it and the best weights are those of it; 0 for none.
        track: Also send the numbers of metrics.jsonl to trackers: tensorboard, wandb, trackio,
            mlflow; several of them.
        tensorboard: The same as --loop.track tensorboard: event files in the run folder.
    """

    precision: Literal["float32", "bf16"] = "float32"
    eval_every: str = spelled("10%", Every.parse)
    save_every: str = spelled("60s", Every.parse)
    log_every: str = spelled("20", Every.parse)
    inspect_every: str = spelled("0", Every.parse)
    early_stopping: int = limited(0, 0)
    max_bad_steps: int = limited(10, 1)
    average: int = limited(0, 0, 1000)
    ema: float = limited(0.0, 0, 0.999999999)
    track: list[TRACKERS] = field(default_factory=list)
    tensorboard: bool = False


@dataclass
class StreamLoopConfig(LoopConfig):
    """The training loop over parallel streams.

    Args:
        batch_size: Parallel streams, over all processes.
        window: Steps of backpropagation through time; 0 for the whole stream (full BPTT).
        recompute: With full BPTT, keep states only every so many steps and recompute between;
            dropout masks are drawn anew for each such part.
        sample_every: When to show a sample of what the model writes; 0 for never.
    """

    batch_size: int = limited(32, 1, WIDEST)
    window: int = limited(64, 0)
    recompute: int = limited(256, 0)
    sample_every: str = spelled("30s", Every.parse)


@dataclass
class ExampleLoopConfig(LoopConfig):
    """The training loop over examples of different lengths, batched with others about as long.

    Args:
        batch_size: Examples in a batch, over all processes.
        batch_tokens: Instead of batch_size, the budget of a batch in tokens, padding included; an
            example longer than that is a batch by itself.
    """

    batch_size: int = limited(32, 1, WIDEST)
    batch_tokens: int | None = limited(None, 1)


def zoneout_rates(text: str) -> float | dict[str, float]:
    """The rate for all parts of the state, 0.1, or one for each, a=0.05,c=0.5."""
    parts = listed(text)
    try:
        if "=" not in text:
            rates: float | dict[str, float] = float(text)
        else:
            pairs = (part.partition("=") for part in parts)
            rates = {name.strip(): float(rate) for name, _, rate in pairs}
    except ValueError:
        rates = {}
    every = list(rates.values()) if isinstance(rates, dict) else [rates]
    whole = len(every) == len(parts) and all(0 <= rate <= 0.999 for rate in every)
    if not whole or (isinstance(rates, dict) and "" in rates):
        raise InputError(
            f"{shown(text)} is no rate between 0 and 0.999, such as 0.1, nor one for each part of "
            "the state, such as a=0.05,c=0.5."
        )
    return rates


@dataclass
class StackConfig:
    """A stack of cells.

    Args:
        hidden_size: Width n of each layer, in each direction; several are one for each layer.
        num_layers: Depth; default: as many as hidden_size or the cell has, else 1.
        dropout: On what goes into the stack, between its layers and on what comes out.
        locked_dropout: One dropout mask for all time steps of a sequence.
        weight_drop: Share of recurrent weights dropped in each step of training.
        zoneout: Share of units that keep their state at a step of training: one for all parts of
            the state, or one for each, as a=0.05,c=0.5; in evaluation the expectation.
        recurrent_dropout: Share of the candidate's units dropped at each step of training.
        variational_dropout: Share of units dropped, at every step of a sequence alike, from what
            recurrent weights are multiplied with.
        skips: Add a layer's input to its output from the second layer on, where both are as wide.
        learned_initial_state: Learn the state in which a sequence begins, for each layer and
            direction; zero at first.
        initial: How weights begin where not as the cell has it: orthogonal (recurrent matrices),
            chrono:T (biases of gates, for memory of up to T steps), GATE.HALF=VALUE with a half of
            recurrent, input or bias, as f.bias=2; several of them.
        init_range: Draw all weights uniform in ±init_range and set all biases to zero.
        backend: Scan backend: auto, compiled, native or reference.
    """

    hidden_size: int | list[int] = limited(256, 1, WIDEST)
    num_layers: int | None = limited(None, 1, DEEPEST)
    dropout: float = limited(0.0, 0, 0.999)
    locked_dropout: bool = False
    weight_drop: float = limited(0.0, 0, 0.999)
    zoneout: str = spelled("0", zoneout_rates)
    recurrent_dropout: float = limited(0.0, 0, 0.999)
    variational_dropout: float = limited(0.0, 0, 0.999)
    skips: bool = False
    learned_initial_state: bool = False
    initial: list[str] = field(default_factory=list)
    init_range: float | None = limited(None, 0, 1000)
    backend: str = "auto"

    def check(self) -> None:
        """Layers are as many as their sizes; weights begin alike, or in a way of their own."""
        sizes = self.hidden_size
        if isinstance(sizes, list) and self.num_layers not in (None, len(sizes)):
            raise SettingError(
                f"model.hidden_size has {len(sizes)} sizes, and model.num_layers is "
                f"{self.num_layers}: give as many, or leave num_layers out.",
                *("model.hidden_size", "model.num_layers"),
            )
        if self.initial and self.init_range is not None:
            raise SettingError(
                "model.init_range draws all weights, and model.initial would be lost: give one.",
                *("model.initial", "model.init_range"),
            )

    @property
    def widths(self) -> list[int]:
        """The sizes of the layers, or the one that all have."""
        return [self.hidden_size] if isinstance(self.hidden_size, int) else self.hidden_size

    def dropout_of(self, place: str) -> float:
        """The rate of a place that has its own `NAME_dropout`: that, or else the general one."""
        own = getattr(self, f"{place}_dropout")
        return self.dropout if own is None else own


@dataclass
class RunConfig:
    """What every run has, whatever its task.

    A task's configuration adds its data, `model` and `loop`, and says in `fixed` which settings a
    resumed run cannot change. The options of its verbs are dataclasses of their own; a verb whose
    options are None is not for this task. `between_samples` stands between generated sequences
    where they are printed; `files` is how `--data` is written, nothing for a task without files;
    `compared_by` what `compare` may vary besides the cell (levels, lengths), or set beside the
    runs (baselines).

    Args:
        out: Run folder to make.
        init_from: Another run to start from: its weights, its vocabulary, and what is not said of
            its architecture.
        init_backward_from: For a network that reads in both directions: a language model trained
            with data.reversed, from whose weights the backward direction starts.
        cell: rnn, simple-gru, gru, gru-reset-after, lstm, peephole-lstm, layer-norm-lstm,
            layer-norm-gru; with options, as in lstm(output=identity); of the zoo, as
            zoo:janet; or your own, as FILE.py:Class. Several, with commas between them, are one for
            each layer.
        max_time: Stop after this time (90s, 3m, 1h30m).
        epochs: Stop after so many passes over the data; default 10 where nothing else limits.
        max_steps: Stop after so many steps.
        seed: Seed of everything random.
        device: Where to run.
        threads: CPU threads; default all cores.
        optim: The optimizer.
    """

    out: str | None = one_path("written")
    init_from: str | None = one_path("start")
    init_backward_from: str | None = one_path("start")
    cell: str = "lstm"
    max_time: str | None = spelled(None, seconds)
    epochs: float | None = limited(None, 0, 1e9, above=True)
    max_steps: int | None = limited(None, 1)
    seed: int = limited(1, 0, SEEDS)
    device: DEVICES = "auto"
    threads: int | None = limited(None, 1, MOST_THREADS)
    optim: OptimConfig = field(default_factory=OptimConfig)

    fixed: ClassVar[tuple[str, ...]] = (
        "cell",
        "model",
        "optim.name",
        "optim.freeze",
    )  # tensors depend on them
    evaluate_options: ClassVar[type | None] = None
    predict_options: ClassVar[type | None] = None
    generate_options: ClassVar[type | None] = None
    score_options: ClassVar[type | None] = None
    files: ClassVar[str] = "FILE"
    compared_by: ClassVar[tuple[str, ...]] = ()
    between_samples: ClassVar[str] = "\n" + "─" * 40 + "\n"

    def cells(self) -> dict[str, list[str]]:
        """`cell`, and each model.NAME_cell, one for all layers or one for each.

        One that is not named is as the first.
        """
        model = getattr(self, "model", None)
        more = {k: v for k, v in vars(model).items() if k.endswith("_cell")} if model else {}
        named = {"cell": self.cell} | {k: v or self.cell for k, v in more.items()}
        found = {name: listed(text) for name, text in named.items()}
        for name, cells in found.items():
            if len(cells) > DEEPEST:
                raise SettingError(f"{name} has {len(cells)} cells: at most {DEEPEST}.", name)
        return found

    def most_epochs(self) -> float | None:
        """`epochs`, or those after which a run ends that nothing else limits."""
        limits = (self.max_time, self.epochs, self.max_steps)
        return EPOCHS if all(limit is None for limit in limits) else self.epochs

    def check(self) -> None:
        """There is a folder to write to, and a budget."""
        if not self.out:
            raise InputError("no run folder. Give --out runs/NAME.")
        if self.max_time is not None and seconds(self.max_time) <= 0:
            raise SettingError(
                f"max_time must be more than zero, got {self.max_time!r}.", "max_time"
            )
