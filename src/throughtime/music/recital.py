"""Generated music written as files: ABC, MIDI, WAV and a piano roll for each tune."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.music import MusicWritingOptions
from ..ground.errors import InputError
from ..ground.extras import need
from ..ground.output import new_file, refuse_existing
from ..ground.paths import typed_path
from . import rendering

ENDINGS = {"abc": ".abc", "midi": ".mid", "wav": ".wav", "png": ".png"}


@dataclass(frozen=True)
class Recital:
    """The folder and the formats of generated music; no folder: nothing is written."""

    folder: Path | None
    formats: tuple[str, ...]
    soundfont: Path | None

    @classmethod
    def of(cls, options: MusicWritingOptions, formats: tuple[str, ...]) -> Recital:
        """What the options ask for, checked before anything is generated.

        `formats` are those that this kind of music has. The folder is made where it is not there.
        """
        soundfont = typed_path(options.soundfont) if options.soundfont else None
        if soundfont and not soundfont.is_file():
            raise InputError(f"{soundfont}: no such soundfont.")
        if options.output is None:
            return cls(None, (), soundfont)
        need("symusic", "music")
        chosen = tuple(name for name in options.formats if name in formats)
        folder = typed_path(options.output)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; --output names a folder.")
        folder.mkdir(parents=True, exist_ok=True)
        recital = cls(folder, chosen, soundfont)
        for k in range(options.num_samples):
            for name in chosen:
                refuse_existing(recital.path(k, name))
        return recital

    def path(self, k: int, name: str) -> Path:
        """The file of tune k, from 0, in a format."""
        assert self.folder is not None
        return self.folder / f"{k + 1}{ENDINGS[name]}"

    def write(self, k: int, score: Any, title: str, text: str | None = None) -> list[Path]:
        """Write tune k; `score` None: only its text. The files written."""
        written = []
        for name in self.formats:
            if name != "abc" and score is None:
                continue
            path = self.path(k, name)
            if name == "abc":
                with new_file(path) as file:
                    file.write(text or "")
            elif name == "midi":
                rendering.write_midi(score, path)
            elif name == "wav":
                rendering.write_wav(score, path, self.soundfont)
            else:
                rendering.draw_roll(score, path, title)
            written.append(path)
        return written
