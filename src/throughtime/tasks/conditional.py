"""Sequences with a condition: one to many."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..cells.names import find_cell, source_file
from ..checkpoint import RunFolder
from ..config.conditional import ConditionalConfig, ConditionalWritingOptions
from ..data.batches import Batches, Ragged, by_length
from ..data.conditions import Conditions
from ..data.examples import Example, hold_out, read_examples
from ..data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from ..decoding import Sampling, sample
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.machine import Processes
from ..models.conditional import ConditionalModel
from .task import Evaluation, Loss, Task, batches_of
from .writing import write

EVALUATION_TOKENS = 1 << 14
"""Tokens looked at together when nothing is learned, padding included."""

QUICK_TOKENS = 200_000
"""Validation tokens looked at during training."""


class Sequences(NamedTuple):
    """Token ids of N sequences, each with its <eos>; conditions [N, n_v]; characters in all."""

    tokens: Ragged
    conditions: np.ndarray
    characters: int
    unseen: int


@dataclass(frozen=True)
class ConditionalEvaluation(Evaluation):
    """What `evaluate` found, <eos> counted as a token.

    A label never seen in training is left unspecified and counted.
    """

    nats_per_token: float
    perplexity: float
    nats_per_char: float
    bits_per_char: float
    nats_per_sequence: float
    unk_rate: float
    sequences: int
    tokens: int
    characters: int
    unseen_labels: int


class Conditional(Task):
    """Data, loss and metrics of sequences with a condition. `Task` says what each part is for."""

    train: Sequences
    valid: Sequences
    batches: Batches

    def __init__(
        self,
        config: Any,
        vocabulary: Vocabulary,
        conditions: Conditions,
        device: torch.device | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.config, self.vocabulary, self.conditions = config, vocabulary, conditions
        self.cell = find_cell(config.cell, folder.path if folder else None)
        self.device = device or torch.device("cpu")

    # ---- data: what music reads differently ---------------------------------------------------

    @classmethod
    def read(cls, config: Any, patterns: list[str]) -> list[Example]:
        """The examples of files."""
        return read_examples(patterns)

    @classmethod
    def level(cls, config: Any) -> str:
        """What a token is."""
        return config.level

    # ---- training -----------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls,
        config: ConditionalConfig,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
    ) -> Conditional:
        """The task with its data: vocabulary and conditions are those of the training sequences."""
        processes = processes or Processes()
        train, valid = cls.examples(config)
        level, data = cls.level(config), config.data
        events = next((example for example in [*train, *valid] if example.events), None)
        if events and resumed is None and level not in ("event", "word"):
            raise InputError(
                f"{events.where}: the sequence is a list of events, and --level {level} would read "
                "it as a text with spaces. Give --level event, or texts."
            )
        vocabulary = Vocabulary.of_texts(
            (example.sequence for example in train),
            "word" if level == "event" else level,
            size=data.vocab_size,
            min_count=data.min_count,
            lowercase=data.lowercase,
            words="spaces" if level == "event" else data.words,
        )
        conditions = Conditions.of((example.condition, example.where) for example in train)
        task = cls(config, vocabulary, conditions, device, resumed)
        task.train, task.valid = task.encode(train), task.encode(valid)
        task.batches = batches_of(task.train.tokens.lengths, config, processes)
        return task

    @classmethod
    def examples(cls, config: Any) -> tuple[list[Example], list[Example]]:
        """Training and validation examples; the latter drawn from the former where none given."""
        if not config.train:
            raise InputError("no training data. Give --train FILE ….")
        train = cls.read(config, config.train)
        if config.valid:
            return train, cls.read(config, config.valid)
        return hold_out(train, config.data.holdout, config.data.split_seed)

    def encode(self, examples: Sequence[Example]) -> Sequences:
        """Sequences and conditions as numbers."""
        ids = (np.append(self.vocabulary.encode(e.sequence), EOS) for e in examples)
        tokens = Ragged.of(ids)
        vectors = np.zeros((len(examples), self.conditions.size), np.float32)
        unseen = 0
        for i, example in enumerate(examples):
            try:
                known, new = self.conditions.known(example.condition)
                vectors[i] = self.conditions.encode(known)
            except InputError as error:
                raise InputError(f"{example.where}: {error}") from error
            unseen += new
        return Sequences(tokens, vectors, sum(len(e.sequence) for e in examples), unseen)

    def save(self, folder: RunFolder) -> None:
        """Write the vocabulary, the conditions, and the source of a cell of the user's own."""
        folder.keep(source_file(self.config.cell, folder.path))
        folder.save_text(folder.tokenizer, self.vocabulary.to_json())
        folder.save_text(folder.file("conditions.json"), self.conditions.to_json())

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the sequences."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of the training and validation data."""
        parts = (self.train, self.valid)
        return "-".join(
            p.tokens.fingerprint() + Ragged.of(p.conditions, np.float32).fingerprint()
            for p in parts
        )

    def summary(self) -> str:
        """The data in one line."""
        tokens = self.train.tokens
        kinds = ", ".join(f"{name} ({kind.size})" for name, kind in self.conditions.kinds.items())
        said = (
            f"{len(tokens):,} training sequences ({len(tokens.values):,} tokens), "
            f"{len(self.valid.tokens):,} for validation, conditions: {kinds or 'none'}; vocabulary "
            f"{len(self.vocabulary):,}"
        )
        if self.valid.unseen:
            said += f"; {self.valid.unseen} labels of validation never seen in training"
        return said

    def build_model(self) -> ConditionalModel:
        """The untrained network, on the device."""
        sizes = self.conditions.sizes
        model = ConditionalModel(self.cell, len(self.vocabulary), sizes, self.config.model)
        return model.to(self.device)

    def batch(self, epoch: int, i: int) -> tuple[Any, ...]:
        """Inputs and targets [T, B], lengths [B], conditions [B, n_v]; how many tokens count."""
        share = self.batches.share(epoch, i)
        padded = self.padded(self.train, share.examples)
        count = int(padded[2].sum()) if share.counts else 0
        return *(part.to(self.device) for part in padded), count

    @staticmethod
    def padded(sequences: Sequences, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Some sequences side by side: x<t> = y<t-1>, <bos> first."""
        targets, lengths = sequences.tokens.pad(chosen, PAD)
        inputs = torch.cat([torch.full_like(targets[:1], BOS), targets[:-1]])
        return inputs, targets, lengths, torch.from_numpy(sequences.conditions[chosen])

    def loss(self, model: Any, batch: tuple[Any, ...], carry: Any) -> Loss:
        """Mean nats over the tokens."""
        *inputs, count = batch
        return Loss(model(*inputs, self.config.loop.recompute), count)

    @torch.inference_mode()
    def nats(self, model: ConditionalModel, sequences: Sequences, limit: float = math.inf) -> Any:
        """Total nats and tokens, whatever the batch size; of evenly spaced sequences if limited."""
        training = model.training
        model.eval()
        lengths = sequences.tokens.lengths
        share = min(1.0, limit / max(int(lengths.sum()), 1))
        chosen = np.unique(
            np.linspace(0, len(lengths) - 1, max(1, int(len(lengths) * share)), dtype=int)
        )
        total = 0.0
        for some in by_length(lengths[chosen], EVALUATION_TOKENS):
            padded = self.padded(sequences, chosen[some])
            found = model.nats(*(part.to(self.device) for part in padded))
            total += float(found.sum(dtype=torch.float64))
        model.train(training)
        return total, int(lengths[chosen].sum())

    def validate(self, model: ConditionalModel, *, quick: bool) -> dict[str, float]:
        """Nats a token and perplexity."""
        nats, tokens = self.nats(model, self.valid, QUICK_TOKENS if quick else math.inf)
        loss = nats / tokens
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def describe(self, metrics: dict[str, float]) -> str:
        """Nats and perplexity."""
        return f"{metrics['loss']:.4f} nats/token, perplexity {metrics['perplexity']:.3f}"

    def describe_loss(self, loss: float) -> str:
        """Nats."""
        return f"loss {loss:.3f} nats"

    def sample(self, model: ConditionalModel, generator: torch.Generator) -> str:
        """A sequence for a condition drawn as the data have them."""
        random = np.random.default_rng(int(generator.initial_seed()))
        condition = self.conditions.complete({}, random)
        given = model.given(self.vector(condition))
        sampling = Sampling(temperature=0.8, forbidden=(PAD, UNK, BOS))
        ids = sample(given, [BOS], 300, sampling, eos=EOS, generator=generator)
        said = ", ".join(f"{name}: {value}" for name, value in condition.items())
        return f"{said}\n{self.vocabulary.decode(ids).strip()}"

    # ---- a finished run -----------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any, folder: RunFolder, device: torch.device) -> Conditional:
        """The task of a run, without its data."""
        level = cls.level(config)
        vocabulary = Vocabulary.load(folder.tokenizer, "word" if level == "event" else level)
        conditions = Conditions.load(folder.file("conditions.json"))
        return cls(config, vocabulary, conditions, device, folder)

    def to_measure(self, data: list[str] | None) -> Sequences:
        """The sequences of files; None: the run's own for validation."""
        c = self.config
        return self.encode(self.examples(c)[1] if data is None else self.read(c, data))

    def evaluate(self, model: Any, data: list[str] | None, options: Any = None) -> Evaluation:
        """The exact likelihood of sequences given their conditions."""
        sequences = self.to_measure(data)
        nats, tokens = self.nats(model, sequences)
        per_char = nats / max(sequences.characters, 1)
        return ConditionalEvaluation(
            nats_per_token=nats / tokens,
            perplexity=math.exp(min(nats / tokens, 700.0)),
            nats_per_char=per_char,
            bits_per_char=per_char / math.log(2),
            nats_per_sequence=nats / len(sequences.tokens),
            unk_rate=float((sequences.tokens.values == UNK).mean()),
            sequences=len(sequences.tokens),
            tokens=tokens,
            characters=sequences.characters,
            unseen_labels=sequences.unseen,
        )

    def vector(self, condition: Any) -> Tensor:
        """A condition as the model takes it, on the device."""
        return torch.from_numpy(self.conditions.encode(condition)).to(self.device)

    def generate(self, model: Any, options: ConditionalWritingOptions) -> Iterator[tuple[int, str]]:
        """A sequence for each sample, prime included."""
        condition = self.conditions.parse(options.condition)
        self.conditions.encode(condition)  # mistakes before anything is written
        for first, some in samples(options):
            drawn = self.conditions.complete(condition, np.random.default_rng(some.seed))
            for k, piece in self.write(model, drawn, options.prime, some):
                yield first + k, piece

    def write(
        self, model: Any, condition: Any, prime: str, options: Any
    ) -> Iterator[tuple[int, str]]:
        """One sequence for a condition, or the best of a beam search, in pieces."""
        ids = self.vocabulary.encode(prime).tolist() if prime else []
        if unknown := ids.count(UNK):
            terminal.warn(f"not in the vocabulary, read as <unk>: {unknown} of the prime's tokens.")
        no_unk = options.forbid_unk or self.level(self.config) not in ("word", "event")
        with torch.inference_mode():
            given = model.given(self.vector(condition))
        eos = None if options.ignore_eos else EOS
        forbidden = (PAD, BOS, *((UNK,) if no_unk else ()), *((EOS,) if eos is None else ()))
        yield from write(
            given, [BOS, *ids], self.vocabulary, replace(options, prime=prime), eos=eos,
            forbidden=forbidden,
        )  # fmt: skip


def samples(options: Any) -> Iterator[tuple[int, Any]]:
    """Options for each sample alone, with its number; sample k of a seed is the first of seed + k.

    Beam search writes all its samples at once, for one condition.
    """
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    if options.num_beams > 1:
        yield 0, replace(options, seed=seed)
        return
    for k in range(options.num_samples):
        yield k, replace(options, seed=seed + k, num_samples=1)
