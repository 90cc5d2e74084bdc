"""Music as sequences with conditions: ABC tunes as text, MIDI files as events.

The text of a tune is its M:, L: and K: and its music; titles, sources and comments are left out,
lines that continue are joined, and fields with which the body begins are folded into the header.
Its rhythm is R:, or else what the file's name says (jigs.abc).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..data.examples import Example
from ..ground.errors import InputError
from ..ground.paths import typed_path
from . import abc
from .abc.book import uncomment
from .abc.notation import NO_KEY, tonic_and_mode
from .midi import Events, key_of, metre_of, read_pieces

DANCES = {
    "slip jig": r"slip",
    "hornpipe": r"hornp|hpp",
    "jig": r"jig|dblejig|double",
    "reel": r"reel",
    "waltz": r"waltz|walz",
    "polka": r"polka",
    "march": r"march",
    "strathspey": r"strath",
    "slide": r"slide",
    "mazurka": r"mazurka|mazurek",
    "schottische": r"schott",
    "barndance": r"barn",
    "minuet": r"minuet|menuet",
    "morris": r"morris",
}
"""Rhythms, and how the name of a file of them may begin."""

CONTINUED = re.compile(r"\\\n(?!\s*[A-Za-z]:(?![|:]))\s*")
"""The end of a line that goes on in the next; before a field the backslash stays."""


def rhythm_of(field: str | None, path: Path | None) -> str | None:
    """R: in lower case, or the dance that the file's name begins with."""
    if field and field.strip():
        return re.sub(r"[\s_-]+", " ", field).strip().lower()
    stem = (path.name if path else "").lower()
    return next((dance for dance, names in DANCES.items() if re.match(names, stem)), None)


def key_name(value: str) -> str:
    """A key as D, Bm, Gmix: K:D major, K:Dmaj and K:D clef=treble are the same."""
    found = tonic_and_mode(value)
    if found is None:
        words = value.split()
        return (
            words[0]
            if words and words[0].lower() in ("hp", "none")
            else ("" if NO_KEY.match(value) else value.strip())
        )
    tonic, mode = found
    return tonic + {"min": "m", "aeo": "m", "maj": "", "ion": ""}.get(mode, mode)


def metre_name(value: str) -> str:
    """C as 4/4, C| as 2/2; no spaces."""
    text = value.replace(" ", "")
    return {"C": "4/4", "C|": "2/2", "": "none"}.get(text, text)


def tune_example(tune: abc.Tune, conditions: list[str]) -> Example:
    """A tune as text, with those of its conditions that are asked for and known."""
    fields, body = fold(tune)
    all_of_them = {
        "rhythm": rhythm_of(tune.first("R"), tune.path),
        "metre": metre_name(fields["M"]),
        "key": key_name(fields["K"]),
        "folder": tune.path.parent.name if tune.path else None,
    }
    condition = {name: all_of_them[name] for name in conditions}
    head = f"M:{metre_name(fields['M'])}\nL:{fields['L']}\nK:{fields['K']}\n"
    return Example(condition, head + body, tune.where)


def fold(tune: abc.Tune) -> tuple[dict[str, str], str]:
    """M:, L: and K: as the first note finds them, and the rest of the body as one text."""
    fields = {letter: tune.first(letter) for letter in "MLK"}
    lines = [text for _, text in tune.body]
    while lines and (field := re.fullmatch(r"([MLK]):(.*)", lines[0])):
        fields[field[1]] = uncomment(field[2])
        del lines[0]
    metre = fields["M"] or "none"
    if fields["L"] is None:
        fields["L"] = default_unit(metre)
    text = CONTINUED.sub("", "\n".join(lines) + "\n")
    return {"M": metre, "L": fields["L"] or "1/8", "K": fields["K"] or ""}, text


def default_unit(metre: str) -> str:
    """L: where a tune has none: 1/16 for metres below 3/4, else 1/8."""
    match = re.fullmatch(r"(\d+)/(\d+)", metre_name(metre))
    return "1/16" if match and int(match[1]) / int(match[2]) < 0.75 else "1/8"


def midi_condition(score: Any, path: Path, names: list[str]) -> dict[str, str | None]:
    """What a MIDI file says of itself: first time and key signature, its name, its folder."""
    found = {
        "rhythm": rhythm_of(None, path),
        "metre": metre_of(score),
        "key": key_of(score),
        "folder": path.parent.name,
    }
    return {name: found[name] for name in names}


def midi_examples(
    patterns: list[str], conditions: list[str], events: Events, advance: Any
) -> tuple[list[Example], list[tuple[Path, str]]]:
    """Pieces as lines of events, and the files that were skipped, with the reason."""
    pieces = read_pieces(patterns)
    found, skipped = [], pieces.skipped
    for piece in pieces.found:
        condition = midi_condition(piece.score, piece.path, conditions)
        try:
            found.append(Example(condition, events.encode(piece.score), str(piece.path)))
        except InputError as error:
            skipped.append((piece.path, str(error)))
        advance(1)
    if not found:
        path, reason = skipped[-1]
        raise InputError(f"{path}: {reason} (no other of the {len(skipped)} files can be used).")
    return found, skipped


def representation_of(patterns: list[str]) -> str:
    """abc, midi or frames, by the endings of the files; `InputError` where they tell nothing."""
    for pattern in patterns:
        path = typed_path(pattern)
        if path.is_dir():
            names = {p.suffix.lower() for p in path.rglob("*") if p.is_file()}
        else:
            names = {Path(pattern.removesuffix(".gz")).suffix.lower()}
        for suffixes, name in (
            ((".abc",), "abc"), ((".mat", ".npz"), "frames"), ((".mid", ".midi"), "midi"),
        ):  # fmt: skip
            if names & set(suffixes):
                return name
    raise InputError(
        f"{patterns[0]}: neither ABC (.abc), MIDI (.mid) nor piano rolls (.mat, .npz) by its name. "
        "Say which when training: --data.representation."
    )
