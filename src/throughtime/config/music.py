"""Settings of music."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..ground.errors import SettingError
from .conditional import (
    ConditionalLoopConfig,
    ConditionalModelConfig,
    ConditionalWritingOptions,
    SequencesConfig,
)
from .run import BATCHES, RunConfig
from .settings import WIDEST, data_files, limited
from .values import shown

MUSIC_FORMATS = ("abc", "midi", "wav", "png")
"""What generated music is written as."""


@dataclass
class MusicDataConfig(SequencesConfig):
    """How music becomes tokens or frames.

    Args:
        representation: abc, the text of tune books; midi, events of MIDI files; frames, piano rolls
            of 88 keys from .mat, .npz or MIDI files; auto goes by the files' endings.
        conditions: What a tune is written for, of rhythm, metre, key and folder; not for frames.
        events: How MIDI becomes events (miditok): remi, tsd or midi-like.
        resolution: Steps of a quarter note between which events tell.
        frames_per_quarter: Frames of a quarter note, for MIDI files read as piano rolls and for
            rolls that are played.
        longest: Cut training sequences of frames into pieces of at most so many; 0: never. Many
            short pieces are learned from faster than a few long ones.
        transpose: Move training music up or down by up to so many semitones, anew each epoch; for
            frames only.
    """

    representation: Literal["auto", "abc", "midi", "frames"] = "auto"
    conditions: list[str] = field(default_factory=lambda: ["rhythm", "metre", "key"])
    events: Literal["remi", "tsd", "midi-like"] = "remi"
    resolution: int = limited(8, 1, 96)
    frames_per_quarter: int = limited(2, 1, 96)
    longest: int = limited(0, 0)
    transpose: int = limited(0, 0, 24)

    def check(self) -> None:
        """Known conditions."""
        for name in self.conditions:
            if name not in ("rhythm", "metre", "key", "folder"):
                raise SettingError(
                    f"data.conditions must be of rhythm, metre, key and folder, got {shown(name)}.",
                    "data.conditions",
                )


@dataclass
class MusicModelConfig(ConditionalModelConfig):
    """The network of music. For frames the conditions' settings do nothing.

    Args:
        embedding_size: Width of the token embedding, default that of the first layer; of a linear
            layer before the stack for frames, default none.
    """

    hidden_size: int | list[int] = limited(384, 1, WIDEST)
    condition_dropout: float = limited(0.1, 0, 0.999)


@dataclass
class MusicEvaluateOptions:
    """What is measured.

    Args:
        part: Which sequences of a file that has parts (.mat, .npz): test by default where it has
            them, else all.
    """

    part: Literal["auto", "train", "valid", "test", "all"] = "auto"


@dataclass
class MusicWritingOptions(ConditionalWritingOptions):
    """How a model writes music.

    Args:
        max_new_tokens: Longest tune or continuation; 0: 2000 characters or events, 128 frames.
        primer: A file to go on from: a tune book (its first tune), a MIDI file, or frames; its own
            rhythm, metre and key hold where --condition names none.
        primer_length: Use only so many characters, events or frames of the primer; 0: all.
        output: Folder for the files of each tune: 1.abc, 1.mid, 1.wav, 1.png …; without it ABC is
            printed. No file is overwritten.
        formats: Which files: abc midi wav png; all by default.
        soundfont: A soundfont (.sf2) to play with; default: the General MIDI one of pretty_midi.
        report: Print how many tunes parse and how many bars have the metre's length, and no tune.
    """

    max_new_tokens: int = limited(0, 0)
    primer: str | None = None
    primer_length: int = limited(0, 0)
    output: str | None = None
    formats: list[str] = field(default_factory=lambda: list(MUSIC_FORMATS))
    soundfont: str | None = None
    report: bool = False

    def check(self) -> None:
        """Known formats."""
        super().check()
        for name in self.formats:
            if name not in MUSIC_FORMATS:
                raise SettingError(
                    f"formats must be of {', '.join(MUSIC_FORMATS)}, got {shown(name)}.", "formats"
                )
        if self.primer and self.prime:
            raise SettingError("prime is text, primer a file: give one of them.", "prime", "primer")


@dataclass
class MusicConfig(RunConfig):
    """Train a model of music: tunes for a rhythm, metre and key, MIDI events, or frames of keys.

    Args:
        train: ABC tune books, MIDI files, or piano rolls (.mat, .npz); globs or directories.
        valid: Validation files; default: the file's own validation part, or a tenth of the tunes.
        data: How music becomes tokens or frames.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    data: MusicDataConfig = field(default_factory=MusicDataConfig)
    model: MusicModelConfig = field(default_factory=MusicModelConfig)
    loop: ConditionalLoopConfig = field(default_factory=ConditionalLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = (*RunConfig.fixed, *BATCHES)
    evaluate_options: ClassVar[type | None] = MusicEvaluateOptions
    generate_options: ClassVar[type | None] = MusicWritingOptions
    between_samples: ClassVar[str] = "\n"
