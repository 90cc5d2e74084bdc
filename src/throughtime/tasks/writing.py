"""Novel text as it is written, from whatever model steps: sampled, or the best of a beam search."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ..config.language import DrawingOptions
from ..data.vocabulary import BOS, EOS, PAD, UNK, Decoder, Vocabulary
from ..decoding import NativeWriter, Sampling, Start, Writer, beam_search, writer_of
from ..decoding.writer import Likely
from ..ground import terminal


class Chosen(NamedTuple):
    """A token that was written, the natural log-probability that the model gave it, and the
    likeliest tokens in its place with theirs."""

    token: str
    log_probability: float
    instead: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"token": self.token, "log_probability": self.log_probability}
        return found | ({"instead": [list(one) for one in self.instead]} if self.instead else {})


class WrittenText(str):
    """A text that was written, its prime included, and what is known of it.

    `prompt` is the number of its prime and `sample` that of the text among those after the same
    prime; `ended` says why it ended: eos, stop or length ("" where a task does not tell); `tokens`
    are those that were written, where `logprobs` asks for them.
    """

    prompt: int
    sample: int
    ended: str
    tokens: tuple[Chosen, ...]

    @classmethod
    def of(cls, pieces: Sequence[Piece], samples: int) -> WrittenText:
        """All pieces of one sequence, `samples` of which follow each prime."""
        found = cls("".join(piece.text for piece in pieces))
        found.prompt, found.sample = divmod(pieces[0].number, samples)
        found.ended = pieces[-1].ended
        found.tokens = tuple(token for piece in pieces for token in piece.tokens)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"prompt": self.prompt, "sample": self.sample, "text": str(self)}
        found |= {"ended": self.ended} if self.ended else {}
        return found | ({"tokens": [one.to_dict() for one in self.tokens]} if self.tokens else {})


class Piece(NamedTuple):
    """A piece of text: the number of its sequence, what it says, its tokens where these were asked
    for; and with the last of a sequence what ended it: eos, stop or length."""

    number: int
    text: str
    tokens: tuple[Chosen, ...] = ()
    ended: str = ""


class Opening(NamedTuple):
    """What a sequence begins with: the text of its prime and what the model goes on from."""

    prime: str
    start: Start


def write(
    model: Any,
    openings: Iterable[Opening],
    vocabulary: Vocabulary,
    options: DrawingOptions,
    *,
    seed: int,
    eos: int | None,
    forbidden: Sequence[int],
) -> Iterator[Piece]:
    """Each sequence after the other, in pieces, `batch_size` of them written side by side.

    The first of them comes as it is written. The same seed gives the same text: that of sample k
    depends on seed, prime and k alone. Writing stops at `eos`, before a text of `options.stop`, and
    at `max_new_tokens`. Beam search is deterministic and gives its `num_samples` best.
    """
    o = options
    if o.num_beams > 1:
        for i, (prime, start) in enumerate(openings):
            found = beam_search(
                model, start.ids, o.max_new_tokens, o.num_beams, eos=eos, forbidden=forbidden,
                length_penalty=1.0, state=start.state,
            )  # fmt: skip
            for k, (tokens, _) in enumerate(found[: o.num_samples]):
                after = Decoder(vocabulary, after=prime)
                said = "".join([*map(after.push, tokens), after.close()])
                short = len(tokens) < o.max_new_tokens
                yield Piece(i * o.num_samples + k, prime + said, (), "eos" if short else "length")
        return
    coming, first = iter(openings), 0
    while some := list(islice(coming, o.batch_size)):
        texts = [Growing(first + k, vocabulary, one.prime, o.stop) for k, one in enumerate(some)]
        starts = [one.start for one in some]
        writer = writer_of(
            model, starts, sampling_of(o, forbidden), seed,
            tops=o.logprobs, eos=eos, limit=o.max_new_tokens,
        )  # fmt: skip
        yield from in_order(texts, writing(writer, texts, o.max_new_tokens, eos))
        first += len(some)


def sampling_of(options: DrawingOptions, forbidden: Sequence[int]) -> Sampling:
    """How tokens are drawn."""
    o = options
    return Sampling(
        o.temperature, o.top_k, o.top_p, tuple(forbidden), o.min_p, o.repetition_penalty,
        o.presence_penalty, o.frequency_penalty,
    )  # fmt: skip


class Growing:
    """A text as its tokens come: what is said of it, but for what may be the beginning of a text to
    stop at; without that text itself."""

    def __init__(
        self, number: int, vocabulary: Vocabulary, prime: str, stop: Sequence[str]
    ) -> None:
        self.number, self.vocabulary, self.stop = number, vocabulary, stop
        self.decoder = Decoder(vocabulary, after=prime)
        self.held, self.ended = "", ""
        self.pieces = [Piece(number, prime)]

    def push(self, token: int, likely: Likely | None = None) -> None:
        """One more token."""
        tokens = () if likely is None else (self.named(token, likely),)
        text, self.held = self.safe(self.held + self.decoder.push(token))
        if text or tokens or self.ended:
            self.pieces.append(Piece(self.number, text, tokens, self.ended))

    def close(self, why: str) -> None:
        """The text has ended, not at a text to stop at."""
        if not self.ended:
            text, rest = self.safe(self.held + self.decoder.close())
            self.ended = self.ended or why
            self.pieces.append(Piece(self.number, text + rest, (), self.ended))

    def safe(self, text: str) -> tuple[str, str]:
        """What can be said, and what may yet be the beginning of a text to stop at."""
        places = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        if places:
            self.ended = "stop"
            return text[: min(places)], ""
        longest = min(max(map(len, self.stop), default=1) - 1, len(text))
        for k in range(longest, 0, -1):
            if any(stop.startswith(text[-k:]) for stop in self.stop):
                return text[:-k], text[-k:]
        return text, ""

    def named(self, token: int, likely: Likely) -> Chosen:
        """A token by what it says."""
        name = self.vocabulary.label
        instead = tuple((name(i), value) for i, value in likely.instead)
        return Chosen(name(token), likely.log_probability, instead)


def writing(
    writer: Writer | NativeWriter, texts: Sequence[Growing], max_new_tokens: int, eos: int | None
) -> Iterator[None]:
    """Let the texts grow to their ends, a token at each step."""
    yield
    for _ in range(max_new_tokens):
        on = []
        tokens = writer.step()
        likely = writer.likely or [None] * len(tokens)
        for place, (row, token, chances) in enumerate(zip(writer.rows, tokens, likely)):
            if token == eos:
                texts[row].close("eos")
                continue
            texts[row].push(token, chances)
            if not texts[row].ended:
                on.append(place)
        yield
        if len(on) < len(tokens):
            writer.keep(on)
        if not on:
            return
    for row in writer.rows:
        texts[row].close("length")


def in_order(texts: Sequence[Growing], steps: Iterator[None]) -> Iterator[Piece]:
    """The pieces of each text in turn; those of the first one that has not ended as they come."""
    at = 0
    for _ in steps:
        while at < len(texts):
            yield from texts[at].pieces
            texts[at].pieces = []
            if not texts[at].ended:
                break
            at += 1
    for text in texts[at:]:
        yield from text.pieces


def seed_of(options: Any) -> int:
    """The seed that is asked for, or one that is drawn."""
    return secrets.randbelow(2**31) if options.seed is None else options.seed


def never_written(options: DrawingOptions, *, unknown: bool, eos: bool) -> tuple[int, ...]:
    """Special tokens that are not drawn: <unk> only where it is one of the text's own words
    (`unknown`) and not refused, <eos> only where it ends something."""
    no_unk = options.forbid_unk or not unknown
    return (PAD, BOS, *((UNK,) if no_unk else ()), *(() if eos else (EOS,)))


def tell_unknown(count: int, prompts: int = 1) -> None:
    """Say how many tokens of primes are not in the vocabulary, if any."""
    if count:
        of = "the prime's tokens" if prompts == 1 else f"the tokens of {prompts:,} prompts"
        terminal.warn(f"not in the vocabulary, read as <unk>: {count} of {of}.")
