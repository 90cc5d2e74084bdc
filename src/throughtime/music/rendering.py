"""Music to hear and to see: ABC to MIDI, MIDI to WAV, a piano roll as PNG.

abc2midi, which symusic ships, plays ABC, chord symbols included; symusic's synthesizer plays MIDI
with the General MIDI soundfont that pretty_midi ships, unless another is named; matplotlib draws.
Nothing is fetched. A file that exists is never overwritten.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..ground.errors import InputError
from ..ground.extras import need
from ..ground.output import new_path

SOUNDFONT = "TimGM6mb.sf2"
LONGEST_SOUND = 30 * 60.0
"""Seconds of sound at most."""

ROW, MOST_ROWS = 32.0, 24
"""Quarter notes in a row of a piano roll, more where there would be too many rows."""


def abc_to_score(text: str) -> tuple[Any, list[str]]:
    """The score of an ABC tune, or None, and the errors that abc2midi found."""
    symusic = need("symusic", "music")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "tune.abc", Path(folder) / "tune.mid"
        source.write_text(text, "utf-8")
        command = [os.environ["SYMUSIC_ABC2MIDI"], str(source), "-o", str(target)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            return None, ["abc2midi did not end within a minute"]
        said = (done.stdout + done.stderr).decode("latin-1")
        errors = re.findall(r"^Error in line-char .*?: *(.*)$", said, re.M)
        if not target.exists():
            return None, errors or [f"abc2midi ended with code {done.returncode} and wrote nothing"]
        try:
            score = symusic.Score(target)
        except (RuntimeError, ValueError) as error:
            return None, [*errors, str(error)]
    return (score if score.note_num() else None), errors


def write_midi(score: Any, path: Path) -> None:
    """Write a MIDI file."""
    with new_path(path) as temporary:
        score.dump_midi(temporary)


def write_wav(score: Any, path: Path, soundfont: Path | None = None) -> None:
    """Play a score into a WAV file: 44.1 kHz, stereo, 16 bits."""
    symusic = need("symusic", "music")
    length = score.to("second").end()
    if length > LONGEST_SOUND:
        raise InputError(
            f"{path}: {length / 60:.0f} minutes of sound; at most {LONGEST_SOUND / 60:.0f}."
        )
    player = symusic.Synthesizer(str(soundfont or bundled_soundfont()), sample_rate=44_100)
    sound = player.render(score, stereo=True)
    peak = float(abs(sound).max(initial=0.0))
    sound = sound * (0.9 / peak) if peak else sound
    with new_path(path) as temporary:
        symusic.dump_wav(str(temporary), sound, 44_100, use_int16=True)


def bundled_soundfont() -> Path:
    """The soundfont that pretty_midi brings."""
    found = importlib.util.find_spec("pretty_midi")  # not imported: only its file is wanted
    if found is None or found.origin is None:
        need("pretty_midi", "music")
        raise InputError("pretty_midi has no folder to read its soundfont from.")
    path = Path(found.origin).parent / SOUNDFONT
    if not path.exists():
        raise InputError(
            f"{path}: pretty_midi brings no soundfont here. Name one with --soundfont."
        )
    return path


def draw_roll(score: Any, path: Path, title: str = "") -> None:
    """Draw a piano roll: rows of so many quarter notes, a colour for each track, bar lines."""
    need("matplotlib", "music")
    figures, canvases = (
        need("matplotlib.figure", "music"),
        need("matplotlib.backends.backend_agg", "music"),
    )
    end = max(score.end() / score.ticks_per_quarter, 1.0)
    width = max(ROW, end / MOST_ROWS)
    rows = math.ceil(end / width)
    figure = figures.Figure(figsize=(12, 1.2 + 1.7 * rows), layout="constrained")
    canvases.FigureCanvasAgg(figure)
    all_axes = figure.subplots(rows, sharey=True, squeeze=False)[:, 0]
    for row, axes in enumerate(all_axes):
        draw_row(axes, score, row * width, (row + 1) * width)
    pitches = [note.pitch for track in score.tracks for note in track.notes] or [60, 72]
    octaves = range(min(pitches) // 12 * 12, max(pitches) + 12, 12)
    all_axes[0].set_yticks(list(octaves), [f"C{pitch // 12 - 1}" for pitch in octaves])
    all_axes[0].set_ylim(min(pitches) - 1.5, max(pitches) + 1.5)
    all_axes[0].set_title(title, loc="left", parse_math=False)
    all_axes[-1].set_xlabel("quarter notes")
    notes, names = all_axes[0].get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(notes, names, loc="outside upper right", fontsize="small", ncols=len(names))
    with new_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_row(axes: Any, score: Any, begin: float, end: float) -> None:
    """The notes and bar lines between two moments, in quarter notes."""
    quarter = score.ticks_per_quarter
    for k, track in enumerate(t for t in score.tracks if len(t.notes)):
        spans = [(n.start / quarter, n.duration / quarter, n.pitch) for n in track.notes]
        spans = [span for span in spans if span[0] < end and span[0] + span[1] > begin]
        label = track.name or ("drums" if track.is_drum else f"track {k + 1}")
        axes.barh(
            [pitch for _, _, pitch in spans],
            [length for _, length, _ in spans],
            0.8,
            left=[start for start, _, _ in spans],
            color=f"C{k % 10}",
            label=label,
        )
    lines = [at for at in bar_lines(score) if begin <= at < end]
    axes.vlines(lines, 0, 127, color="0.85", linewidth=0.6, zorder=0)
    axes.set_xlim(begin, end)


def bar_lines(score: Any) -> list[float]:
    """Where bars begin, in quarter notes, by the score's time signatures; 4/4 without any."""
    quarter, end = score.ticks_per_quarter, score.end() / score.ticks_per_quarter
    signatures = {s.time: (s.numerator, s.denominator) for s in score.time_signatures}
    changes = sorted({0: (4, 4), **signatures}.items())
    lines: list[float] = []
    for (time, (above, below)), following in zip(
        changes, [*changes[1:], (int(end * quarter), None)]
    ):
        at, until = time / quarter, following[0] / quarter
        while at < until:
            lines.append(at)
            at += 4 * above / below
    return lines
