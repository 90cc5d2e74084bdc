"""Piano rolls: sequences of frames, each 88 keys on or off.

Read from MATLAB files (Boulanger-Lewandowski's: traindata, validdata, testdata), from NumPy .npz
(one array [T, 88] for each sequence; its name may begin with train, valid or test), and from MIDI
files, sampled at so many frames a quarter note. Key 0 is A0, MIDI pitch 21; key 87 is C8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.archives import read_arrays
from ..data.files import find_files
from ..ground.errors import InputError
from ..ground.extras import need
from ..ground.paths import typed_path
from .midi import midi_files, read_pieces

KEYS = 88
LOWEST = 21
"""MIDI pitch of the first key."""

MOST_FRAMES = 1 << 20
"""Of a piece; one of more has a damaged time in it."""

PARTS = ("train", "valid", "test")


@dataclass
class Rolls:
    """Sequences [T, 88] of 0 and 1 by part; those of a file that has no parts are in "all".

    `outside` counts notes beyond the 88 keys, `skipped` names files that do not parse.
    """

    parts: dict[str, list[np.ndarray]] = field(default_factory=dict)
    outside: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, part: str, sequence: Any, where: str) -> None:
        """Check a sequence and keep it."""
        self.parts.setdefault(part, []).append(check(sequence, where))


def read_rolls(patterns: list[str], frames_per_quarter: int = 4) -> Rolls:
    """All sequences of .mat, .npz and MIDI files. Errors: `InputError` names file and sequence."""
    rolls = Rolls()
    for pattern in patterns:
        if typed_path(pattern).is_dir():
            read_midi(midi_files([pattern]), frames_per_quarter, rolls)
            continue
        for path in find_files([pattern]):
            if path.suffix == ".mat":
                read_mat(path, rolls)
            elif path.suffix == ".npz":
                read_npz(path, rolls)
            else:
                read_midi([path], frames_per_quarter, rolls)
    return rolls


def check(sequence: Any, where: str) -> np.ndarray:
    """A sequence as uint8 [T, 88]; `InputError` for another shape or another number in it."""
    array = np.asarray(sequence)
    if array.ndim != 2 or array.shape[1] != KEYS:
        raise InputError(f"{where}: expected an array [T, {KEYS}], got {list(array.shape)}.")
    if array.dtype.kind not in "buif" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{where}: expected frames of 0 and 1 (NaN is neither).")
    return array.astype(np.uint8)


def part_of(name: str) -> str:
    """The part that a name begins with."""
    return next((part for part in PARTS if name.lower().startswith(part)), "all")


def read_mat(path: Path, rolls: Rolls) -> None:
    """A MATLAB file of cells of arrays."""
    scipy_io = need("scipy.io", "music")
    try:
        found = scipy_io.loadmat(path)
    except Exception as error:  # what SciPy's readers meet in damage is of any kind
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a MATLAB file: {what}.") from error
    names = [name for name in found if part_of(name) != "all"]
    if not names:
        shown = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
        raise InputError(f"{path}: expected traindata, validdata, testdata; it has {shown}.")
    for name in names:
        for i, sequence in enumerate(np.asarray(found[name]).ravel()):
            rolls.add(part_of(name), sequence, f"{path}: {name}[{i}]")


def read_npz(path: Path, rolls: Rolls) -> None:
    """A NumPy archive of arrays."""
    for name, array in read_arrays(path).items():
        rolls.add(part_of(name), array, f"{path}: {name}")


def read_midi(paths: list[Path], frames_per_quarter: int, rolls: Rolls) -> None:
    """MIDI files, sampled."""
    pieces = read_pieces([str(path) for path in paths])
    rolls.skipped += pieces.skipped
    for piece in pieces.found:
        if frames_in(piece.score, frames_per_quarter) > MOST_FRAMES:
            rolls.skipped.append((piece.path, f"a piece of more than {MOST_FRAMES:,} frames"))
            continue
        frames, outside = frames_of(piece.score, frames_per_quarter)
        if not len(frames):
            rolls.skipped.append((piece.path, f"no note within the {KEYS} keys"))
            continue
        rolls.outside += outside
        rolls.add(part_of(piece.path.parent.name), frames, str(piece.path))


def frames_in(score: Any, frames_per_quarter: int) -> float:
    """About how many frames a score has."""
    ends = (note.end for track in score.tracks for note in track.notes)
    return max(ends, default=0) * frames_per_quarter / score.ticks_per_quarter


def frames_of(score: Any, frames_per_quarter: int) -> tuple[np.ndarray, int]:
    """A score's frames, and how many notes lie beyond the keys. Drums are left out."""
    step = score.ticks_per_quarter / frames_per_quarter
    notes = [note for track in score.tracks if not track.is_drum for note in track.notes]
    inside = [note for note in notes if LOWEST <= note.pitch < LOWEST + KEYS]
    spans = []
    for note in inside:
        start = round(note.start / step)
        spans.append((start, max(start + 1, round(note.end / step)), note.pitch - LOWEST))
    frames = np.zeros((max((end for _, end, _ in spans), default=0), KEYS), np.uint8)
    for start, end, key in spans:
        frames[start:end, key] = 1
    return frames, len(notes) - len(inside)


def score_of(frames: np.ndarray, frames_per_quarter: float = 4, tempo: float = 120.0) -> Any:
    """Frames [T, 88] as a score: a key held over several frames is one note."""
    symusic = need("symusic", "music")
    ticks = 480
    step = ticks / frames_per_quarter
    score = symusic.Score(ticks)
    score.tempos.append(symusic.Tempo(0, tempo))
    track = symusic.Track("piano", program=0)
    padded = np.pad(frames.astype(np.int8), ((1, 1), (0, 0)))
    change = np.diff(padded, axis=0)
    for key in np.flatnonzero(change.any(axis=0)):
        starts, ends = (change[:, key] == 1).nonzero()[0], (change[:, key] == -1).nonzero()[0]
        for start, end in zip(starts.tolist(), ends.tolist()):
            at, until = round(start * step), round(end * step)
            track.notes.append(symusic.Note(at, until - at, int(key) + LOWEST, 80))
    track.notes.sort(key=lambda note: (note.start, note.pitch))
    score.tracks.append(track)
    return score
