"""Language modelling: characters, bytes, words or subwords over one long stream."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..checkpoint import RunFolder
from ..config import LanguageConfig, seconds
from ..config.language import TextScoringOptions, WritingOptions
from ..data import corpus as corpora
from ..data.affixes import Spelling, affixes_of, lacking, reader_of
from ..data.corpus import Corpus
from ..data.prompts import read_prompts
from ..data.stored import KnownIds
from ..data.streams import Streams
from ..data.text import Text
from ..data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from ..decoding import Sampling, Start, sample
from ..ground import terminal
from ..ground.errors import InputError
from ..layers.states import each, like, tensors
from ..metrics.likelihood import scores
from ..models.language import LanguageModel
from .endings import RunningText
from .exported import Exported, tell_plain
from .likelihoods import LanguageEvaluation, evaluate_text, stream_nats
from .origin import Origin, require_language
from .scoring import Scored, scored
from .task import QUICK_TOKENS, Loss, Score, Task
from .writing import Opening, Piece, never_written, seed_of, tell_unknown, write

EVALUATION_WINDOW = 256
"""Steps read at a time when nothing is learned: it changes no result."""

FINAL_SECONDS = 30.0
"""The last evaluation sees all validation tokens, or as many as this time allows."""


class Language(Task):
    """A language model's data, loss, metrics and samples. `Task` says what each part is for."""

    score = Score(name="nats/token")
    judges_sentences = True
    kept: ClassVar = {"tokenizer.json": "vocabulary"}
    train: Corpus
    valid: Corpus
    streams: Streams
    vocabulary: Vocabulary

    config: LanguageConfig

    def settle(self) -> None:
        """What goes with a level and what does not."""
        config = self.config
        if config.model.affixes and config.level != "word":
            raise InputError(f"model.affixes are those of words: not with level {config.level}.")
        if config.model.head == "adaptive" and config.level != "word":
            raise InputError(
                "the adaptive softmax needs a vocabulary sorted by frequency: --level word."
            )
        if config.level == "byte" and config.data.column is not None:
            raise InputError("data.column reads text: it does not go with --level byte.")
        self.files, self.quick_tokens = 0, QUICK_TOKENS

    @property
    def unused_parameters(self) -> bool:
        """A cluster is used by its words, a first state that is learned where streams begin."""
        c = self.config.model
        cells = self.cell if isinstance(self.cell, tuple) else (self.cell,)
        learned = c.learned_initial_state or any(cell.start_reads_weights for cell in cells)
        return c.head == "adaptive" or learned

    def find_data(self, resumed: RunFolder | None) -> None:
        """The vocabulary is built, or read from a resumed run, and the text encoded.

        Sets `config.data.eos` to what auto comes to.
        """
        config, processes = self.config, self.processes
        train, valid = self.texts(quiet=self.quiet)
        config.data.eos = settle_eos(config, train)
        self.files = len(train.files)
        if resumed and resumed.trainer.exists():
            self.restore(resumed)
        else:
            by = config.data.vocabulary()
            self.vocabulary = Vocabulary.build(train, config.level, **by, quiet=self.quiet)
            if self.origin is not None:
                self.begin_from(self.origin)
        if not self.quiet:
            self.train = self.encoded(train)
            self.valid = self.encoded(valid)
        processes.wait()
        if self.quiet:  # the cache is filled by now
            self.train = self.encoded(train, quiet=True)
            self.valid = self.encoded(valid, quiet=True)
        self.streams = Streams(
            self.train.ids,
            config.loop.batch_size,
            config.loop.window,
            BOS,
            rank=processes.rank,
            world=processes.world,
        )

    def accept(self, origin: Origin) -> None:
        """A language model."""
        require_language(self.config, origin)

    def begin_from(self, origin: Origin) -> None:
        """Another language model's vocabulary, and what the text has besides."""
        self.vocabulary = origin.extend(self.vocabulary, quiet=self.quiet)

    def take_weights(self, origin: Origin, model: LanguageModel) -> None:
        """All of them."""
        origin.put_whole(model, self.vocabulary)

    @property
    def quiet(self) -> bool:
        """Whether another process is the one that tells."""
        return self.processes.rank > 0

    def restore(self, folder: RunFolder) -> None:
        """Read the vocabulary."""
        self.vocabulary = Vocabulary.load(folder.tokenizer, self.config.level)

    @property
    def steps_per_epoch(self) -> int:
        """Windows in a pass over the text."""
        return len(self.streams)

    @property
    def fingerprint(self) -> str:
        """Of the training and validation data."""
        return f"{self.train.counts.fingerprint}-{self.valid.counts.fingerprint}"

    def build_model(self) -> LanguageModel:
        """The untrained network, on the device."""
        c = self.config.model
        affixes = affixes_of(self.vocabulary, c.affixes, of_unknown=c.affixes_of_unknown)
        model = LanguageModel(self.cell, len(self.vocabulary), c, affixes)
        return model.to(self.device)

    def summary(self) -> str:
        """The data in one line."""
        c = self.train.counts
        text = f"{self.files} files, " if self.files > 1 else ""
        text += (
            f"{c.tokens:,} training tokens ({c.characters:,} characters), "
            f"{len(self.valid):,} for validation, vocabulary {len(self.vocabulary):,}"
        )
        if c.unknown:
            text += f", {c.unknown / c.tokens:.2%} <unk>"
        if self.streams.dropped:
            text += f"; the last {self.streams.dropped} fill no whole stream and are left out"
        return text

    def batch(self, epoch: int, i: int) -> tuple[Tensor, Tensor, bool]:
        """Inputs, targets [T, B] and whether the streams begin here."""
        tokens, targets = self.streams[i]
        return tokens.to(self.device), targets.to(self.device), i == 0

    def loss(self, model: Any, batch: tuple[Tensor, Tensor, bool], carry: Any) -> Loss:
        """Mean nats; the state is carried to the next window and cut from the graph."""
        tokens, targets, begins = batch
        if carry is None or begins:
            inner = getattr(model, "module", model)
            carry = inner.initial_state(tokens.shape[1])
        recompute = 0 if self.config.loop.window else self.config.loop.recompute
        loss, state = model(tokens, targets, carry, recompute)
        return Loss(loss, targets.numel(), each(Tensor.detach, state))

    def restore_carry(self, parts: list[Tensor], model: Any) -> Any:
        """The stack's state, or the last tokens that a fixed window looks back on."""
        fresh = model.initial_state(self.streams[0][0].shape[1])
        for part, other in zip(parts, tensors(fresh)):
            if part.shape != other.shape or part.is_floating_point() != other.is_floating_point():
                raise ValueError(f"a carry of {list(part.shape)}, expected {list(other.shape)}")
        return like(fresh, parts)

    def validate(self, model: Any, *, quick: bool) -> dict[str, float]:
        """Validation metrics over parallel streams, as many as in training."""
        streams = max(1, min(self.config.loop.batch_size, len(self.valid) // EVALUATION_WINDOW))
        window = min(EVALUATION_WINDOW, len(self.valid) // streams)
        if quick:
            # of a time budget, a twentieth; every later one looks at the same tokens as the first
            budget = self.config.max_time
            patience = 0.05 * seconds(budget) if budget else math.inf
            nats, tokens = stream_nats(
                model, self.valid, streams, window, limit=self.quick_tokens, patience=patience
            )
            self.quick_tokens = min(self.quick_tokens, tokens)
        else:
            with terminal.progress("evaluating", len(self.valid), self.quiet) as advance:
                nats, tokens = stream_nats(
                    model, self.valid, streams, window, advance=advance, patience=FINAL_SECONDS
                )
            if tokens < len(self.valid) // streams * streams and not self.quiet:
                terminal.say(
                    f"the last figures are over {tokens:,} of {len(self.valid):,} validation "
                    f"tokens, {FINAL_SECONDS:.0f} s; throughtime evaluate reads all"
                )
        counts = self.valid.counts
        return scores(nats / tokens, counts.tokens, counts.characters)

    def describe(self, metrics: dict[str, float]) -> str:
        """Word models speak perplexity, the others bits per character."""
        if self.config.level in ("word", "subword"):
            return f"{metrics['loss']:.4f} nats/token, perplexity {metrics['perplexity']:.2f}"
        return (
            f"{metrics['loss']:.4f} nats/{self.config.level}, "
            f"{metrics['bits_per_char']:.3f} bits per character"
        )

    def describe_loss(self, loss: float) -> str:
        """Nats and bits."""
        return f"loss {loss:.3f} nats ({loss / math.log(2):.3f} bits)"

    def sample(self, model: Any, generator: torch.Generator) -> str:
        """A little novel text."""
        length = 40 if self.config.level in ("word", "subword") else 200
        sampling = Sampling(temperature=0.8, forbidden=(PAD, UNK, BOS))
        ids = sample(model, self.beginning(), length, sampling, generator=generator)
        return self.vocabulary.decode(ids).strip()

    # ---- what inspect and compare ask ---------------------------------------------------------

    def texts(self, *, quiet: bool = True) -> tuple[Text, Text]:
        """Training and validation text; the end of the former is the latter where none is given."""
        config, text = self.config, self.text_of(self.config.train)
        if config.valid:
            return text, self.text_of(config.valid)
        at_lines = config.level in ("word", "subword") or config.data.eos == "line"
        return text.split(config.data.holdout, at_lines=at_lines, quiet=quiet)

    def valid_text(self, *, quiet: bool = True) -> Text:
        """The validation text; that of training is not looked at where it has files of its own."""
        given = self.config.valid
        return self.text_of(given) if given else self.texts(quiet=quiet)[1]

    def running_text(
        self, data: list[str] | None = None, *, quiet: bool = False
    ) -> RunningText | None:
        """The tokens of files; None: the run's own validation text."""
        config = self.config
        if data is None and hasattr(self, "valid"):  # in memory while it trains
            corpus = self.valid
        else:
            text = self.valid_text() if data is None else self.text_of(data)
            corpus = self.encoded(text, quiet=quiet)
        counts = corpus.counts
        where = "the run's validation text" if data is None else ", ".join(data)
        said = f"{len(corpus):,} tokens of {where}"
        if counts.unknown:
            said += f", {counts.unknown / counts.tokens:.2%} <unk>"
        return RunningText(self.known_ids(corpus), said, config.loop.window, config.model.context)

    def known_ids(self, corpus: Corpus) -> KnownIds:
        """Ids of the vocabulary alone: <unk> for words that are read by their affixes."""
        return KnownIds(corpus.ids, len(self.vocabulary), UNK)

    def encoded(self, text: Text, *, quiet: bool = False) -> Corpus:
        """A text as ids, turned round where the run reads backwards."""
        data = self.config.data
        return corpora.encode(text, self.reader, data.eos, backward=data.reversed, quiet=quiet)

    @property
    def reader(self) -> Vocabulary | Spelling:
        """What makes ids of text."""
        c = self.config.model
        return reader_of(self.vocabulary, c.affixes, of_unknown=c.affixes_of_unknown)

    def text_of(self, data: list[str]) -> Text:
        """Files, read as those of training were."""
        config = self.config
        return Text.of(data, raw=config.level == "byte", column=config.data.column)

    # ---- a finished run -----------------------------------------------------------------------

    def opening(self) -> list[int]:
        """What text begins after: <bos>, and an <eos> where those separate sequences."""
        return [BOS] if self.config.data.eos == "none" else [BOS, EOS]

    def beginning(self) -> list[int]:
        """What novel text begins after: the beginning of a line where nothing separates sequences,
        since only the very first text of training came after <bos> alone.
        """
        ids = self.opening()
        if self.config.data.eos == "none":
            ids += [i for i in self.vocabulary.encode("\n").tolist() if i != UNK]
        return ids

    def read_prime(self, prime: str) -> tuple[list[int], int]:
        """Ids to prime a model with, and how many of them are <unk>."""
        at_lines = self.config.data.eos == "line"
        if not prime:
            return self.beginning(), 0
        ids = self.reader.encode(prime, eos_at_lines=at_lines)
        return self.opening() + ids.tolist(), int(lacking(ids, self.vocabulary).sum())

    def evaluate(
        self, model: Any, data: list[str] | None, options: None = None
    ) -> LanguageEvaluation:
        """The exact likelihood of text, read as one stream with carried state.

        The result depends on no batch size. Characters never seen in training count as <unk>.
        """
        text = self.valid_text(quiet=False) if data is None else self.text_of(data)
        return evaluate_text(self, model, text)

    def generate(self, model: Any, options: WritingOptions) -> Iterator[Piece]:
        """Novel text after each prime, which is included."""
        if self.config.data.reversed:
            raise InputError(
                "this model reads backwards (data.reversed): it starts other runs "
                "(--init-backward-from), and writes nothing."
            )
        o, primes = options, [options.prime] if isinstance(options.prime, str) else options.prime
        if o.prompts is not None:
            primes = read_prompts(o.prompts)
        read = [self.read_prime(prime) for prime in primes]
        tell_unknown(sum(unknown for _, unknown in read), len(primes))
        has_eos = self.config.data.eos != "none"
        openings = (
            Opening(prime, Start(ids, k))
            for prime, (ids, _) in zip(primes, read)
            for k in range(o.num_samples if o.num_beams == 1 else 1)
        )
        yield from write(
            model, openings, self.vocabulary, o, seed=seed_of(o),
            eos=EOS if has_eos and not o.ignore_eos else None,
            forbidden=never_written(o, unknown=self.config.level == "word", eos=has_eos),
        )  # fmt: skip

    def exported(self, model: LanguageModel) -> Exported:
        """What an exporter writes."""
        tell_plain(self.reader)
        data = self.config.data
        has_eos = data.eos != "none"
        return Exported(
            model.outline(),
            "token",
            self.vocabulary,
            opening=self.opening(),
            never=(PAD, BOS, *((UNK,) * (self.config.level != "word")), *((EOS,) * (not has_eos))),
            eos=EOS if has_eos else None,
            line_ends=data.eos == "line",
            beginning=self.beginning(),
            calibration=self.for_calibration,
        )

    def for_calibration(self) -> list[KnownIds]:
        """The training text."""
        return [self.known_ids(self.encoded(self.texts(quiet=True)[0], quiet=True))]

    def score_texts(
        self, model: Any, texts: Iterable[Sequence[str]], options: TextScoringOptions
    ) -> Iterator[Scored]:
        """Each text as if nothing but the beginning of a text came before.

        A line ends with <eos> where lines of training do, and a document as in `evaluate`.
        """
        document = options.per == "document"
        opening = [BOS] if document else self.opening()
        for some in texts:
            ids = [self.ids_to_score(text, document) for text in some]
            yield from scored(model, self.vocabulary, some, ids, opening)

    def ids_to_score(self, text: str, document: bool) -> list[int]:
        """What is asked about, with the <eos> of its end."""
        eos = self.config.data.eos
        found = self.reader.encode(text, eos_at_lines=eos == "line")
        if self.config.data.reversed:
            found = corpora.backward_lines(found) if eos == "line" else found[::-1]
        ids = found.tolist() if text else []
        ends = eos == "file" if document else eos == "line"
        return [*ids, EOS] if ends else ids


def settle_eos(config: LanguageConfig, train: Text) -> Literal["line", "file", "none"]:
    """Where <eos> stands: auto is at line ends for words, at file ends for several files."""
    if config.data.eos != "auto":
        return config.data.eos
    if config.level == "word":
        return "line"
    return "file" if len(train.files) > 1 else "none"
