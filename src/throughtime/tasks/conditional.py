"""Sequences with a condition: one to many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint import RunFolder
from ..config.conditional import ConditionalScoringOptions, ConditionalWritingOptions
from ..data.batches import Ragged
from ..data.conditions import Conditions
from ..data.examples import Example, ExampleReader, hold_out
from ..data.limits import check_tokens
from ..data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from ..decoding import Sampling, Start, sample
from ..ground.errors import InputError
from ..ground.wording import plural
from ..metrics.likelihood import perplexity
from ..models.conditional import ConditionalModel
from .endings import Ends
from .example_task import Batch, Encoded, ExampleTask, at, shifted
from .exported import Exported, Writes
from .task import QUICK_TOKENS, Evaluation
from .writing import Opening, Piece, never_written, seed_of, tell_unknown, write


@dataclass(frozen=True)
class ConditionedSequences(Encoded):
    """Token ids of N sequences, each with its <eos>; conditions [N, n_v]; characters in all."""

    tokens: Ragged
    conditions: np.ndarray
    characters: int
    unseen: int

    @property
    def lengths(self) -> np.ndarray:
        """[N]."""
        return self.tokens.lengths

    def pad(self, some: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs and targets [T, B], lengths [B], conditions [B, n_v]."""
        targets, lengths = self.tokens.pad(some, PAD)
        return shifted(targets), targets, lengths, torch.from_numpy(self.conditions[some])

    def fingerprint(self) -> str:
        """Of tokens and conditions."""
        conditions = Ragged.of(self.conditions, np.float32)
        return self.tokens.fingerprint() + conditions.fingerprint()


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


class Conditional(ExampleTask):
    """Data, loss and metrics of sequences with a condition; as `ExampleTask` says."""

    kept: ClassVar = {"tokenizer.json": "vocabulary", "conditions.json": "conditions"}
    evaluation_tokens = 1 << 14
    loss_unit = "nats"
    form: Writes = "text"
    loss_at_end = "the loss of the last token"  # or of that where it is cut off
    longest_looked_at = 256
    train: ConditionedSequences
    valid: ConditionedSequences
    vocabulary: Vocabulary
    conditions: Conditions

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> list[Example]:
        """The examples of files."""
        return self.read_more(patterns)

    def read_more(
        self, patterns: list[str], options: ConditionalScoringOptions | None = None
    ) -> list[Example]:
        """The same, but for what `options` say of how files are read."""
        data = replace(self.config.data, **(options.changes() if options else {}))
        return ExampleReader(
            data.format, data.condition, data.sequence, data.max_bytes,
            options=vars(options) if options else (), left_out=self.left_out,
        ).read(patterns)  # fmt: skip

    def counted(self, examples: ConditionedSequences) -> str:
        """Sequences and tokens."""
        return (
            f"{plural(len(examples), 'sequence')}, {plural(len(examples.tokens.values), 'token')}"
        )

    @property
    def level(self) -> str:
        """What a token is."""
        return self.config.level

    def split(self, examples: list[Example]) -> tuple[list[Example], list[Example]]:
        """A share of the different sequences is held out."""
        return hold_out(examples, self.config.data.holdout, self.config.data.split_seed)

    def learn(self, train: list[Example]) -> None:
        """The vocabulary and the conditions."""
        level, data = self.level, self.config.data
        by = data.vocabulary(**{"words": "spaces"} if level == "event" else {})
        self.vocabulary = Vocabulary.of_texts(
            (example.sequence for example in train), "word" if level == "event" else level, **by
        )
        self.conditions = Conditions.of((example.condition, example.where) for example in train)

    def look_over(self, train: list[Example], valid: list[Example]) -> None:
        """A list of events is no text with spaces; runs of before go on."""
        events = next((example for example in [*train, *valid] if example.events), None)
        if events and self.is_new and self.level not in ("event", "word"):
            raise InputError(
                f"{events.where}: the sequence is a list of events, and --level {self.level} would "
                "read it as a text with spaces. Give --level event, or texts."
            )

    def encode(
        self, examples: Sequence[Example], *, training: bool = False
    ) -> ConditionedSequences:
        """Sequences and conditions as numbers."""
        ids = (np.append(self.vocabulary.encode(e.sequence), EOS) for e in examples)
        tokens = Ragged.of(ids)
        self.check_lengths(tokens.lengths, examples)
        vectors = np.zeros((len(examples), self.conditions.size), np.float32)
        unseen = 0
        for i, example in enumerate(examples):
            try:
                known, new = self.conditions.known(example.condition)
                vectors[i] = self.conditions.encode(known)
            except InputError as error:
                raise InputError(f"{example.where}: {error}") from error
            unseen += new
        characters = sum(len(e.sequence) for e in examples)
        return ConditionedSequences(tokens, vectors, characters, unseen)

    def check_lengths(self, lengths: np.ndarray, examples: Sequence[Example]) -> None:
        """Raise `InputError` for a sequence that is longer than the setting."""
        check_tokens(lengths, self.config.data.max_tokens, lambda i: examples[i].where)

    def restore(self, folder: RunFolder) -> None:
        """Read the vocabulary and the conditions."""
        level = "word" if self.level == "event" else self.level
        self.vocabulary = Vocabulary.load(folder.tokenizer, level)
        self.conditions = Conditions.load(folder.file("conditions.json"))

    # ---- training -----------------------------------------------------------------------------

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

    def batch(self, epoch: int, i: int) -> Batch:
        """Inputs, targets, lengths, conditions, and in how many steps activations are kept."""
        inputs, size = super().batch(epoch, i)
        return Batch((*inputs, self.config.loop.recompute), size)

    def nats(
        self, model: ConditionalModel, sequences: ConditionedSequences, limit: float = math.inf
    ) -> tuple[float, int]:
        """Total nats and tokens, whatever the batch size; of evenly spaced sequences if limited."""
        lengths = sequences.lengths
        share = min(1.0, limit / max(int(lengths.sum()), 1))
        chosen = np.unique(
            np.linspace(0, len(lengths) - 1, max(1, int(len(lengths) * share)), dtype=int)
        )
        return self.total_nats(model, sequences, chosen), int(lengths[chosen].sum())

    def validate(self, model: ConditionalModel, *, quick: bool) -> dict[str, float]:
        """Nats a token and perplexity."""
        nats, tokens = self.nats(model, self.valid, QUICK_TOKENS if quick else math.inf)
        loss = nats / tokens
        return {"loss": loss, "perplexity": perplexity(loss)}

    def describe(self, metrics: dict[str, float]) -> str:
        """Nats and perplexity."""
        return f"{metrics['loss']:.4f} nats/token, perplexity {metrics['perplexity']:.3f}"

    def sample(self, model: ConditionalModel, generator: torch.Generator) -> str:
        """A sequence for a condition drawn as the data have them."""
        random = np.random.default_rng(int(generator.initial_seed()))
        condition = self.conditions.complete({}, random)
        state = model.begin(self.vector(condition))
        sampling = Sampling(temperature=0.8, forbidden=(PAD, UNK, BOS))
        ids = sample(model, [BOS], 300, sampling, eos=EOS, generator=generator, state=state)
        said = ", ".join(f"{name}: {value}" for name, value in condition.items())
        return f"{said}\n{self.vocabulary.decode(ids).strip()}"

    def ends(self, model: Any, examples: ConditionedSequences, some: np.ndarray) -> Ends:
        """At the last token."""
        tokens, targets, lengths, conditions = self.inputs(examples, some)
        lengths, most = lengths.clamp(max=self.longest_looked_at), self.longest_looked_at
        tokens, targets = tokens[:most], targets[:most]

        def loss() -> Tensor:
            e = model.embed_condition(conditions)
            h, _ = model.hidden_after(tokens, model.state(e, tokens.shape[1]), e)
            logits = model.head.logits(at(lengths - 1, h))
            return F.cross_entropy(logits, at(lengths - 1, targets), reduction="sum")

        return Ends({"last": loss}, {"stack": lengths})

    # ---- a finished run -----------------------------------------------------------------------

    def evaluate(self, model: Any, data: list[str] | None, options: Any = None) -> Evaluation:
        """The exact likelihood of sequences given their conditions."""
        sequences = self.to_measure(data, options)
        nats, tokens = self.nats(model, sequences)
        per_char = nats / max(sequences.characters, 1)
        return ConditionalEvaluation(
            nats_per_token=nats / tokens,
            perplexity=perplexity(nats / tokens),
            nats_per_char=per_char,
            bits_per_char=per_char / math.log(2),
            nats_per_sequence=nats / len(sequences.tokens),
            unk_rate=float((sequences.tokens.values == UNK).mean()),
            sequences=len(sequences.tokens),
            tokens=tokens,
            characters=sequences.characters,
            unseen_labels=sequences.unseen,
        )

    def exported(self, model: ConditionalModel) -> Exported:
        """What an exporter writes."""
        words = self.level in ("word", "event")
        return Exported(
            model.outline(),
            "token",
            self.vocabulary,
            opening=(BOS,),
            never=(PAD, BOS, *((UNK,) * (not words))),
            eos=EOS,
            condition=self.conditions.said(),
            conditions=self.conditions,
            form=self.form,
        )

    def vector(self, condition: Any) -> Tensor:
        """A condition as the model takes it, on the device."""
        return torch.from_numpy(self.conditions.encode(condition)).to(self.device)

    def generate(self, model: Any, options: ConditionalWritingOptions) -> Iterator[Piece]:
        """A sequence for each sample, prime included."""
        condition = self.conditions.parse(options.condition)
        self.conditions.encode(condition)  # mistakes before anything is written
        for _, piece in self.drawn(model, condition, options.prime, options):
            yield piece

    def drawn(
        self, model: Any, condition: Any, prime: str, options: Any
    ) -> Iterator[tuple[Any, Piece]]:
        """Pieces of each sample in turn, with its condition: what is not said is drawn for each
        sample, by the seed and its number.

        The best of a beam search are all for one condition.
        """
        ids = self.vocabulary.encode(prime).tolist() if prime else []
        tell_unknown(ids.count(UNK))
        ids, seed, conditions = [BOS, *ids], seed_of(options), {}

        def openings() -> Iterator[Opening]:
            for k in range(options.num_samples if options.num_beams == 1 else 1):
                random = np.random.default_rng([seed, k])
                conditions[k] = self.conditions.complete(condition, random)
                with torch.inference_mode():
                    state = model.begin(self.vector(conditions[k]))
                yield Opening(prime, Start(ids, k, state))

        eos = None if options.ignore_eos else EOS
        words = self.level in ("word", "event")
        forbidden = never_written(options, unknown=words, eos=eos is not None)
        for piece in write(
            model, openings(), self.vocabulary, options, seed=seed, eos=eos, forbidden=forbidden
        ):
            yield conditions[piece.number if options.num_beams == 1 else 0], piece
