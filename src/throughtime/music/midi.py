"""MIDI files through symusic, as events through miditok.

A file that does not parse, or holds no note, is skipped and kept in the list of those, with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.files import find_files
from ..ground.errors import InputError, one_of
from ..ground.extras import need
from ..ground.paths import typed_path

TOKENIZERS = {"remi": "REMI", "tsd": "TSD", "midi-like": "MIDILike"}
"""What an event is, and miditok's name for it."""


MOST_QUARTERS = 1 << 17
"""Of a piece: eighteen hours of music; one of more has a damaged time in it."""


@dataclass(frozen=True)
class Piece:
    """A MIDI file and its score."""

    path: Path
    score: Any


@dataclass
class Pieces:
    """The scores of many files, and the files that were skipped, with the reason."""

    found: list[Piece] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def midi_files(patterns: list[str]) -> list[Path]:
    """The MIDI files that names, globs and directories stand for."""
    files = []
    for pattern in patterns:
        inside = find_files([pattern])
        if typed_path(pattern).is_dir():
            inside = [f for f in inside if f.suffix.lower() in (".mid", ".midi")]
            if not inside:
                raise InputError(f"{pattern}: no file that ends in .mid or .midi in it.")
        files += inside
    return list(dict.fromkeys(files))


def read_pieces(
    patterns: list[str], advance: Callable[[float], None] = lambda amount: None
) -> Pieces:
    """Read all files; `InputError` where none can be used."""
    pieces = Pieces()
    for path in midi_files(patterns):
        score, reason = read_score(path)
        if score is None:
            pieces.skipped.append((path, reason))
        else:
            pieces.found.append(Piece(path, score))
        advance(1)
    if not pieces.found:
        path, reason = pieces.skipped[0]
        raise InputError(
            f"{path}: {reason} (no other of the {len(pieces.skipped)} files can be used)."
        )
    return pieces


def read_score(path: Path) -> tuple[Any, str]:
    """The score of a file; None and the reason where there is none."""
    symusic = need("symusic", "music")
    try:
        score = symusic.Score(path)
    except (
        RuntimeError,
        ValueError,
        OSError,
    ) as error:  # symusic raises RuntimeError for bad bytes
        return None, f"not a MIDI file: {str(error).splitlines()[0]}"
    if score.ticks_per_quarter <= 0:
        return None, f"{score.ticks_per_quarter} ticks per quarter note"
    if not score.note_num():
        return None, "no note in it"
    if not 0 <= score.end() / score.ticks_per_quarter <= MOST_QUARTERS:
        return None, f"a time in it beyond {MOST_QUARTERS:,} quarter notes, which is damaged"
    return score, ""


def metre_of(score: Any) -> str | None:
    """The first time signature, as 6/8."""
    signatures = score.time_signatures
    return f"{signatures[0].numerator}/{signatures[0].denominator}" if signatures else None


MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
MINOR_KEYS = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")


def key_of(score: Any) -> str | None:
    """The first key signature, as D or Bm."""
    signatures = score.key_signatures
    if not signatures or not -7 <= signatures[0].key <= 7:
        return None
    first = signatures[0]
    return f"{MINOR_KEYS[first.key + 7]}m" if first.tonality else MAJOR_KEYS[first.key + 7]


class Events:
    """Scores to events and back. An event is a word such as Pitch_60; a piece is a line of them.

    remi counts positions within bars, tsd and midi-like the time between events; midi-like has
    note-off events in place of durations. Programs, tempos and time signatures are events too, all
    tracks in one stream.
    """

    def __init__(self, kind: str, resolution: int = 8) -> None:
        """`resolution`: steps of a quarter note."""
        miditok = need("miditok", "music")
        name = TOKENIZERS[one_of("kind of event", kind, TOKENIZERS)]
        config = miditok.TokenizerConfig(
            beat_res={(0, 4): resolution, (4, 12): max(1, resolution // 2)},
            num_velocities=8,
            use_programs=True,
            one_token_stream_for_programs=True,
            use_time_signatures=True,
            use_tempos=True,
            use_chords=False,
            use_rests=False,
        )
        self.tokenizer = getattr(miditok, name)(config)

    def encode(self, score: Any) -> str:
        """A piece as a line of events; `InputError` where it has none."""
        try:
            tokens = self.tokenizer(score).tokens
        except (ArithmeticError, LookupError, ValueError) as error:
            raise InputError(f"miditok makes no events of it: {error!r}") from error
        if not any(token.startswith(("Pitch", "NoteOn")) for token in tokens):
            raise InputError("no note in it that an event can tell")
        return " ".join(tokens)

    def decode(self, line: str) -> Any:
        """The score of a line of events; events that are none of this kind are an `InputError`."""
        tokens = line.split()
        if unknown := [t for t in tokens if t not in self.tokenizer.vocab]:
            raise InputError(f"not an event: {unknown[0]}.")
        return self.tokenizer(self.sequence(tokens))

    def misplaced(self, line: str) -> float:
        """The share of events that may not follow the one before (miditok's token syntax error)."""
        return float(self.tokenizer.tokens_errors(self.sequence(line.split())))

    def sequence(self, tokens: list[str]) -> Any:
        """miditok's sequence."""
        miditok = need("miditok", "music")
        ids = [self.tokenizer.vocab[token] for token in tokens]
        return miditok.TokSequence(tokens=tokens, ids=ids)
