"""Translation: a sequence for each sequence, of another length (many-to-many, T_x ≠ T_y)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..cells.names import find_cell, source_file
from ..checkpoint import RunFolder
from ..config.translation import ScoringOptions, SearchOptions, TranslatingOptions, TranslatorConfig
from ..data.batches import Batches, Ragged, by_length
from ..data.lines import Inputs
from ..data.parallel import read_parallel
from ..data.vocabulary import BOS, EOS, PAD, UNK, Decoder, Vocabulary
from ..decoding import BeamSearch, Hypothesis
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.machine import Processes
from ..metrics.translation import score
from ..models.translator import Translator
from .alignment import Alignment, Plots
from .task import Loss, Prediction, Score, Task, batches_of
from .translated import Pairs, TranslationEvaluation, prediction, read, vocabularies

EVALUATION_TOKENS = 1 << 13
"""Tokens looked at together when nothing is learned, padding included."""

QUICK_TOKENS = 200_000
"""Validation tokens whose loss is looked at during training."""

MORE = 10
"""Tokens that a translation may have beyond `max_length` times those of its source."""

GREEDY = SearchOptions(beam_size=1, batch_size=128)


class Batch(NamedTuple):
    """What `Translator` takes, and whether it counts."""

    source: Tensor
    source_lengths: Tensor
    tokens: Tensor
    targets: Tensor
    lengths: Tensor
    sampled: float
    counts: bool


class Translation(Task):
    """A translator's data, loss and metrics. `Task` says what each part is for."""

    train: Pairs
    valid: Pairs
    batches: Batches
    left_out = 0
    """Training pairs longer than `data.max_length`."""

    def __init__(
        self,
        config: TranslatorConfig,
        source: Vocabulary,
        target: Vocabulary,
        device: torch.device | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.config, self.source, self.target = config, source, target
        where = folder.path if folder else None
        self.cell = find_cell(config.cell, where)
        self.decoder_cell = find_cell(config.model.decoder_cell or config.cell, where)
        self.device = device or torch.device("cpu")
        self.score = Score(config.score, higher_is_better=config.score == "bleu")

    # ---- training -----------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls,
        config: TranslatorConfig,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
    ) -> Translation:
        """The task with its data: the vocabularies are those of the training pairs."""
        processes = processes or Processes()
        if config.loop.valid_sentences:
            score(["a"], ["a"])  # where sacrebleu is missing, say so before training
        train, valid = read(config)
        task = cls(config, *vocabularies(config, *train), device, resumed)
        task.train, task.valid = task.encode(*train, cut=True), task.encode(*valid)
        task.batches = batches_of(task.train.longest, config, processes)
        return task

    def encode(self, sources: list[str], references: list[str], *, cut: bool = False) -> Pairs:
        """Sentences as ids; with `cut`, without the pairs that `data.max_length` leaves out."""
        source = [self.source.encode(text).astype(np.int64) for text in sources]
        target = [np.append(self.target.encode(text).astype(np.int64), EOS) for text in references]
        limit = self.config.data.max_length
        if cut and limit is not None:
            keep = [
                i
                for i, (x, y) in enumerate(zip(source, target))
                if max(len(x), len(y) - 1) <= limit
            ]
            if not keep:
                raise InputError(f"no training pair has at most {limit} tokens (data.max_length).")
            self.left_out = len(source) - len(keep)
            source, target = ([side[i] for i in keep] for side in (source, target))
            sources, references = ([side[i] for i in keep] for side in (sources, references))
        return Pairs(Ragged.of(source), Ragged.of(target), sources, references)

    def save(self, folder: RunFolder) -> None:
        """Write the vocabularies, and a user's cells."""
        for cell in filter(None, (self.config.cell, self.config.model.decoder_cell)):
            folder.keep(source_file(cell, folder.path))
        folder.save_text(folder.file("source.json"), self.source.to_json())
        folder.save_text(folder.file("target.json"), self.target.to_json())

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of the token ids."""
        return " ".join(
            side.fingerprint() for pairs in (self.train, self.valid) for side in pairs[:2]
        )

    def summary(self) -> str:
        """How much there is."""
        train, valid = self.train, self.valid
        sides = zip((train.source, train.target), (self.source, self.target))
        counts = " → ".join(
            f"{len(ids.values):,} tokens (vocabulary {len(vocabulary):,}"
            + (f", {(ids.values == UNK).mean():.2%} <unk>)" if UNK in ids.values else ")")
            for ids, vocabulary in sides
        )
        text = f"{len(train.source):,} training pairs: {counts}"
        text += ", one vocabulary for both" if self.config.data.joint else ""
        text += f"; {len(valid.source):,} pairs for validation"
        if self.left_out:
            limit = self.config.data.max_length
            text += f"; {self.left_out:,} training pairs of more than {limit} tokens left out"
        return text

    def build_model(self) -> Translator:
        """The untrained network, on the device."""
        model = Translator(
            self.cell, self.decoder_cell, len(self.source), len(self.target), self.config.model,
            unknown=UNK,
        )  # fmt: skip
        return model.to(self.device)

    def batch(self, epoch: int, i: int) -> Batch:
        """Both sides of a batch of pairs."""
        share = self.batches.share(epoch, i)
        model = self.config.model
        passed = epoch + i / len(self.batches)
        risen = min(1.0, passed / model.sampling_epochs) if model.sampling_epochs else 1.0
        source, source_lengths, tokens, targets, lengths = self.tensors(self.train, share.examples)
        return Batch(
            *(source, source_lengths, tokens, targets, lengths),
            model.scheduled_sampling * risen,
            share.counts,
        )

    def tensors(self, pairs: Pairs, some: np.ndarray) -> list[Tensor]:
        """Source and lengths; the decoder's inputs (<bos> first), targets and lengths."""
        source, source_lengths = pairs.source.pad(some, PAD)
        targets, lengths = pairs.target.pad(some, PAD)
        tokens = torch.cat([torch.full_like(targets[:1], BOS), targets[:-1]])
        return [part.to(self.device) for part in (source, source_lengths, tokens, targets, lengths)]

    def loss(self, model: Any, batch: Batch, carry: Any) -> Loss:
        """Mean nats over the target's tokens, <eos> included, with label smoothing."""
        *inputs, counts = batch
        return Loss(model(*inputs), int(batch.lengths.sum()) if counts else 0)

    def validate(self, model: Translator, *, quick: bool) -> dict[str, float]:
        """Loss without smoothing, perplexity, and BLEU of greedy translations of the first few."""
        nats, tokens = self.nats(model, self.valid, QUICK_TOKENS if quick else math.inf)
        found = {"loss": nats / tokens, "perplexity": math.exp(min(nats / tokens, 700.0))}
        if count := self.config.loop.valid_sentences:
            texts = self.best(model, self.valid.sources[:count], GREEDY)
            found["bleu"] = score(texts, self.valid.references[:count]).bleu
        return found

    def describe(self, metrics: dict[str, float]) -> str:
        """BLEU, where it is measured, and perplexity."""
        text = f"loss {metrics['loss']:.4f}, perplexity {metrics['perplexity']:.3f}"
        return f"BLEU {metrics['bleu']:.2f} (greedy), {text}" if "bleu" in metrics else text

    def describe_loss(self, loss: float) -> str:
        """Nats."""
        return f"loss {loss:.3f} nats"

    def sample(self, model: Translator, generator: torch.Generator) -> str:
        """A sentence, the translation asked for, and the model's."""
        i = int(np.random.default_rng(generator.initial_seed()).integers(len(self.valid.sources)))
        source, reference = self.valid.sources[i], self.valid.references[i]
        return f"{source}\n= {reference}\n→ {self.best(model, [source], GREEDY)[0]}"

    @torch.inference_mode()
    def nats(self, model: Translator, pairs: Pairs, most: float = math.inf) -> tuple[float, int]:
        """Summed nats and tokens of the targets, whatever the batch size; about `most` of them."""
        training = model.training
        model.eval()
        fits = pairs.target.lengths.cumsum() - pairs.target.lengths < most
        nats, lengths = 0.0, pairs.longest[fits]
        for some in by_length(lengths, EVALUATION_TOKENS):
            found = model.nats(*self.tensors(pairs, some))
            nats += float(found.sum(dtype=torch.float64))
        model.train(training)
        return nats, int(pairs.target.lengths[fits].sum())

    # ---- translating --------------------------------------------------------------------------

    @torch.inference_mode()
    def search(
        self, model: Translator, sources: Sequence[str], options: SearchOptions, n_best: int = 1
    ) -> list[list[Hypothesis]]:
        """The best translations of each sentence; none but the empty one for an empty sentence."""
        training = model.training
        model.eval()
        ids = Ragged.of(self.source.encode(text).astype(np.int64) for text in sources)
        unknown = (UNK,) if options.forbid_unk else ()
        search = BeamSearch(
            options.beam_size,
            n_best=n_best,
            eos=EOS,
            forbidden=(PAD, BOS, *unknown, *self.target.line_breaks()),
            length_penalty=options.alpha,
            no_repeat_ngram=options.no_repeat_ngram,
        )
        found: list[list[Hypothesis]] = [[Hypothesis([], 0.0)] for _ in sources]
        order = np.argsort(ids.lengths, kind="stable")
        order = order[ids.lengths[order] > 0]
        for k in range(0, len(order), options.batch_size):
            some = order[k : k + options.batch_size]
            source, lengths = (part.to(self.device) for part in ids.pad(some, PAD))
            limits = [int(options.max_length * length) + MORE for length in lengths.tolist()]
            first = torch.full_like(lengths, BOS)
            for i, best in zip(
                some, search(model.step, model.read(source, lengths), first, limits)
            ):
                found[i] = best
        model.train(training)
        return found

    def best(self, model: Translator, sources: Sequence[str], options: SearchOptions) -> list[str]:
        """The best translation of each sentence."""
        found = self.search(model, sources, options)
        return [
            self.text(model, source, hypotheses[0].tokens, options)
            for source, hypotheses in zip(sources, found)
        ]

    def text(
        self, model: Translator, source: str, tokens: list[int], options: SearchOptions
    ) -> str:
        """A translation as text, <unk> replaced where asked for."""
        if not (options.unk_replace and UNK in tokens):
            return self.target.decode(tokens)
        weights = self.align(model, source, tokens)
        words = self.source.surfaces(source)
        decoder, text = Decoder(self.target), ""
        for t, token in enumerate(tokens):
            piece = decoder.push(token)
            if token == UNK:
                word = words[int(weights[t].argmax())]
                piece = piece.replace("<unk>", word).replace("\N{REPLACEMENT CHARACTER}", word)
            text += piece
        return text + decoder.close()

    @torch.inference_mode()
    def align(self, model: Translator, source: str, tokens: list[int]) -> np.ndarray:
        """Attention's weights [T_y + 1, T_x] as the translation is written, <eos> last."""
        ids = torch.from_numpy(self.source.encode(source).astype(np.int64)).to(self.device)
        lengths = torch.tensor([len(ids)], device=self.device)
        written = torch.tensor([BOS, *tokens], device=self.device)
        return model.align(ids[:, None], lengths, written[:, None])[:, 0].float().cpu().numpy()

    # ---- a finished run -----------------------------------------------------------------------

    @classmethod
    def load(cls, config: TranslatorConfig, folder: RunFolder, device: torch.device) -> Translation:
        """The task of a run, without its data."""
        source = Vocabulary.load(folder.file("source.json"), config.level)
        target = Vocabulary.load(folder.file("target.json"), config.target_level or config.level)
        return cls(config, source, target, device, folder)

    def texts_to_measure(self, data: list[str] | None) -> tuple[list[str], list[str]]:
        """Sources and references of files; None: the run's own for validation."""
        if data is None:
            return read(self.config)[1]
        return read_parallel(data, self.config.data.encoding)

    def to_measure(self, data: list[str] | None) -> Pairs:
        """The same as numbers."""
        return self.encode(*self.texts_to_measure(data))

    def evaluate(
        self, model: Translator, data: list[str] | None, options: ScoringOptions | None
    ) -> TranslationEvaluation:
        """Likelihood of the references, BLEU and chrF of translations."""
        o = options or ScoringOptions()
        self.check_options(model, o)
        sources, references = self.texts_to_measure(data)
        pairs = self.encode(sources, references)
        score(["a"], ["a"], tokenize=o.bleu_tokenize)  # mistakes before the work
        nats, tokens = self.nats(model, pairs)
        words = sum(len(text.split()) + 1 for text in references)
        with terminal.progress("translating", len(sources)) as advance:
            texts = []
            for k in range(0, len(sources), 1024):
                texts += self.best(model, sources[k : k + 1024], o)
                advance(len(sources[k : k + 1024]))
        scores = score(texts, references, tokenize=o.bleu_tokenize, lowercase=o.bleu_lowercase)
        return TranslationEvaluation(
            **scores._asdict(),
            loss=nats / tokens,
            perplexity=math.exp(min(nats / tokens, 700.0)),
            perplexity_per_word=math.exp(min(nats / words, 700.0)),
            unk_rate=float((pairs.target.values == UNK).mean()),
            sentences=len(sources),
            tokens=tokens,
        )

    def check_options(self, model: Translator, options: SearchOptions) -> None:
        """Raise `InputError` where attention is asked for and there is none."""
        asked = options.unk_replace or getattr(options, "attention_plot", None)
        if asked and model.attention is None:
            raise InputError(
                "this model has no attention (model.attention none): nothing tells which source "
                "token a word comes from, so there is no --unk-replace and no --attention-plot."
            )

    def predict(
        self, model: Translator, inputs: Inputs, options: TranslatingOptions
    ) -> Iterator[Prediction]:
        """The best translation of each line, or several."""
        self.check_options(model, options)
        plots = Plots(options.attention_plot) if options.attention_plot else None
        number = 0
        for lines in inputs.chunks(options.batch_size):
            sources = [line.text for line in lines]
            for source, found in zip(sources, self.search(model, sources, options, options.n_best)):
                texts = [(self.text(model, source, h.tokens, options), h.score) for h in found]
                if plots:
                    plots.draw(self.alignment(model, source, found[0].tokens))
                yield prediction(number, texts, several=options.n_best > 1)
                number += 1

    def alignment(self, model: Translator, source: str, tokens: list[int]) -> Alignment | None:
        """What to draw of a translation; None of an empty sentence."""
        columns = self.source.surfaces(source)
        if not columns:
            return None
        rows = [self.target.decode([token]).strip() or "·" for token in tokens]
        return Alignment(columns, [*rows, "<eos>"], self.align(model, source, tokens))
