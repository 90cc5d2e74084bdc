"""Translation: a sequence for each sequence, of another length (many-to-many, T_x ≠ T_y)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..cells.base import Cell
from ..checkpoint import RunFolder
from ..config.translation import ScoringOptions, SearchOptions, TranslatingOptions, TranslatorConfig
from ..data.batches import Ragged
from ..data.limits import check_tokens
from ..data.lines import Inputs
from ..data.parallel import hold_out, read_parallel
from ..data.vocabulary import BOS, EOS, PAD, UNK, Decoder, Vocabulary
from ..decoding import BeamSearch, Hypothesis
from ..ground import terminal
from ..ground.errors import InputError
from ..layers.mode import evaluating, frozen
from ..metrics.likelihood import perplexity
from ..metrics.translation import score
from ..models.translator import Translator
from .alignment import Alignment, Plots
from .endings import Ends
from .example_task import Batch, ExampleTask, at
from .exported import Exported
from .origin import Origin
from .task import QUICK_TOKENS, Prediction, Score
from .translated import BothSides, Pairs, TranslationEvaluation, prediction, vocabularies

MORE = 10
"""Tokens that a translation may have beyond `max_length` times those of its source."""

GREEDY = SearchOptions(beam_size=1, batch_size=128)


class Translation(ExampleTask):
    """A translator's data, loss and metrics. `ExampleTask` says what each part is for."""

    kept: ClassVar = {"source.json": "source", "target.json": "target"}
    from_language: ClassVar = ("source", "source", "encoder")
    train: Pairs
    valid: Pairs
    decoder_cell: Cell
    source: Vocabulary
    target: Vocabulary
    too_long = 0
    """Training pairs longer than `data.max_length`."""

    config: TranslatorConfig
    loss_unit = "nats"
    cell_options: ClassVar = {"decoder": "--model.decoder_cell"}

    def settle(self) -> None:
        """The score."""
        self.score = Score(self.config.score, higher_is_better=self.config.score == "bleu")

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> BothSides:
        """Sources and references."""
        data = self.config.data
        return read_parallel(patterns, data.encoding, data.max_bytes)

    def doubt(self, examples: BothSides) -> None:
        """Where sacrebleu is missing, say so before training."""
        if self.config.loop.valid_sentences:
            score(["a"], ["a"])

    def split(self, examples: BothSides) -> tuple[BothSides, BothSides]:
        """A share of the sources is held out."""
        return hold_out(examples, self.config.data.holdout, self.config.data.split_seed)

    def learn(self, train: BothSides) -> None:
        """The vocabularies."""
        self.source, self.target = vocabularies(self.config, *train)

    def begin_from(self, origin: Origin) -> None:
        """A language model's vocabulary for the source; of one for both sides, for both. Those of a
        translator for theirs; and what these sentences have besides."""
        joint, theirs = self.source is self.target, origin.forward.task
        if origin.is_like(self):
            self.source = origin.extend(self.source, theirs.source)
            self.target = self.source if joint else origin.extend(self.target, theirs.target)
            return
        super().begin_from(origin)
        self.target = self.source if joint else self.target

    def encode(self, examples: BothSides, *, training: bool = False) -> Pairs:
        """Sentences as ids; in training without the pairs that `data.max_length` leaves out."""
        sources, references = examples
        source = [self.source.encode(text).astype(np.int64) for text in sources]
        target = [np.append(self.target.encode(text).astype(np.int64), EOS) for text in references]
        limit = self.config.data.max_length
        if training and limit is not None:
            keep = [
                i
                for i, (x, y) in enumerate(zip(source, target))
                if max(len(x), len(y) - 1) <= limit
            ]
            if not keep:
                raise InputError(f"no training pair has at most {limit} tokens (data.max_length).")
            self.too_long = len(source) - len(keep)
            source, target = ([side[i] for i in keep] for side in (source, target))
            sources, references = ([side[i] for i in keep] for side in (sources, references))
        pairs = Pairs(Ragged.of(source), Ragged.of(target), sources, references)
        most = self.config.data.max_tokens
        check_tokens(pairs.lengths, most, lambda i: f"pair {i + 1}, {sources[i][:40]!r}")
        return pairs

    def restore(self, folder: RunFolder) -> None:
        """Read the vocabularies."""
        level = self.config.level
        self.source = Vocabulary.load(folder.file("source.json"), level)
        self.target = Vocabulary.load(folder.file("target.json"), self.config.target_level or level)

    @property
    def fingerprint(self) -> str:
        """Of the token ids."""
        return f"{self.train.fingerprint()} {self.valid.fingerprint()}"

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
        if self.too_long:
            limit = self.config.data.max_length
            text += f"; {self.too_long:,} training pairs of more than {limit} tokens left out"
        return text

    def build_model(self) -> Translator:
        """The untrained network, on the device."""
        model = Translator(
            self.cell, self.decoder_cell, len(self.source), len(self.target), self.config.model,
            unknown=UNK,
        )  # fmt: skip
        return model.to(self.device)

    def batch(self, epoch: int, i: int) -> Batch:
        """Both sides of a batch of pairs, and what share of the inputs the model draws itself."""
        inputs, size = super().batch(epoch, i)
        model = self.config.model
        passed = epoch + i / len(self.batches)
        risen = min(1.0, passed / model.sampling_epochs) if model.sampling_epochs else 1.0
        return Batch((*inputs, model.scheduled_sampling * risen), size)

    def size(self, examples: Pairs, some: np.ndarray) -> float:
        """Tokens of the target, <eos> included."""
        return int(examples.target.lengths[some].sum())

    def validate(self, model: Translator, *, quick: bool) -> dict[str, float]:
        """Loss without smoothing, perplexity, and BLEU of greedy translations of the first few."""
        nats, tokens = self.nats(model, self.valid, QUICK_TOKENS if quick else math.inf)
        found = {"loss": nats / tokens, "perplexity": perplexity(nats / tokens)}
        if count := self.config.loop.valid_sentences:
            texts = self.best(model, self.valid.sources[:count], GREEDY)
            found["bleu"] = score(texts, self.valid.references[:count]).bleu
        return found

    def describe(self, metrics: dict[str, float]) -> str:
        """BLEU, where it is measured, and perplexity."""
        text = f"loss {metrics['loss']:.4f}, perplexity {metrics['perplexity']:.3f}"
        return f"BLEU {metrics['bleu']:.2f} (greedy), {text}" if "bleu" in metrics else text

    def sample(self, model: Translator, generator: torch.Generator) -> str:
        """A sentence, the translation asked for, and the model's."""
        i = int(np.random.default_rng(generator.initial_seed()).integers(len(self.valid.sources)))
        source, reference = self.valid.sources[i], self.valid.references[i]
        return f"{source}\n= {reference}\n→ {self.best(model, [source], GREEDY)[0]}"

    def nats(self, model: Translator, pairs: Pairs, most: float = math.inf) -> tuple[float, int]:
        """Summed nats and tokens of the targets, whatever the batch size; about `most` of them."""
        counts = pairs.target.lengths
        fits = (counts.cumsum() - counts < most).nonzero()[0]
        return self.total_nats(model, pairs, fits), int(counts[fits].sum())

    def looked_into(self) -> dict[str, str]:
        """Decoder: the loss of the last target token, <eos>. Encoder: of the whole translation."""
        return {
            "encoder": "the loss of the whole translation",
            "decoder": "the loss of the last token, <eos>",
        }

    def steps(self, examples: Pairs) -> np.ndarray:
        """Of the longer side; pairs without a source are passed over."""
        return np.where(examples.source.lengths > 0, examples.lengths, 0)

    def ends(self, model: Any, examples: Pairs, some: np.ndarray) -> Ends:
        """Of the last token and of the whole."""
        source, source_lengths, tokens, targets, lengths = self.inputs(examples, some)

        def nats(of: Callable[[Tensor], Tensor]) -> Tensor:
            h, _ = model.hidden(tokens, model.read(source, source_lengths))
            return F.cross_entropy(model.head.logits(of(h)), of(targets), reduction="sum")

        keep = torch.arange(len(targets), device=targets.device)[:, None] < lengths
        return Ends(
            {
                "last": lambda: nats(lambda values: at(lengths - 1, values)),
                "whole": lambda: nats(lambda values: values[keep]),
            },
            {"encoder": source_lengths, "decoder": lengths},
            apart=("encoder",),
        )

    # ---- translating --------------------------------------------------------------------------

    def search(
        self, model: Translator, sources: Sequence[str], options: SearchOptions, n_best: int = 1
    ) -> list[list[Hypothesis]]:
        """The best translations of each sentence; none but the empty one for an empty sentence."""
        ids = Ragged.of(self.source.encode(text).astype(np.int64) for text in sources)
        most = self.config.data.max_tokens
        check_tokens(ids.lengths, most, lambda i: f"sentence {sources[i][:40]!r}")
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
        with evaluating(model), frozen(model):
            for k in range(0, len(order), options.batch_size):
                some = order[k : k + options.batch_size]
                source, lengths = (part.to(self.device) for part in ids.pad(some, PAD))
                limits = [int(options.max_length * length) + MORE for length in lengths.tolist()]
                first = torch.full_like(lengths, BOS)
                best = search(model.step, model.read(source, lengths), first, limits)
                for i, hypotheses in zip(some, best):
                    found[i] = hypotheses
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

    def evaluate(
        self, model: Translator, data: list[str] | None, options: ScoringOptions | None
    ) -> TranslationEvaluation:
        """Likelihood of the references, BLEU and chrF of translations."""
        o = options or ScoringOptions()
        self.check_options(model, o)
        sources, references = texts = self.raw_to_measure(data)
        pairs = self.encode(texts)
        self.tell_read(data, pairs)
        score(["a"], ["a"], tokenize=o.bleu_tokenize)  # mistakes before the work
        nats, tokens = self.nats(model, pairs)
        words = sum(len(text.split()) + 1 for text in references)
        with terminal.progress("translating", len(sources)) as advance:
            found = []
            for k in range(0, len(sources), 1024):
                found += self.best(model, sources[k : k + 1024], o)
                advance(len(sources[k : k + 1024]))
        scores = score(found, references, tokenize=o.bleu_tokenize, lowercase=o.bleu_lowercase)
        return TranslationEvaluation(
            **scores._asdict(),
            loss=nats / tokens,
            perplexity=perplexity(nats / tokens),
            perplexity_per_word=perplexity(nats / words),
            unk_rate=float((pairs.target.values == UNK).mean()),
            sentences=len(sources),
            tokens=tokens,
        )

    def check_options(self, model: Translator, options: SearchOptions) -> None:
        """Raise `InputError` where attention is asked for and there is none."""
        asked = {"unk-replace": options.unk_replace}
        asked |= {"attention-plot": getattr(options, "attention_plot", None)}
        if model.attention is None and any(asked.values()):
            option = next(name for name, value in asked.items() if value)
            raise InputError(
                "this model has no attention (model.attention none): nothing tells which source "
                f"token a word comes from, so there is no --{option}."
            )

    def exported(self, model: Translator) -> Exported:
        """What an exporter writes."""
        never = (PAD, BOS, *self.target.line_breaks())
        return Exported(
            model.outline(), "translation", self.source, opening=(BOS,), never=never, eos=EOS,
            target=self.target,
        )  # fmt: skip

    def predict(
        self, model: Translator, inputs: Inputs, options: TranslatingOptions
    ) -> Iterator[Prediction]:
        """The best translation of each line, or several."""
        self.check_options(model, options)
        plots = Plots(options.attention_plot) if options.attention_plot else None
        number = 0
        data = self.config.data
        for lines in inputs.read_as(data.encoding, data.max_bytes).chunks(options.batch_size):
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
