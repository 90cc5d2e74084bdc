"""Sentences in NAME.text and the forms of their verbs in NAME.gold, line by line.

So Gulordava et al. 2018 release their own items and those of Linzen et al. 2016:

Linzen     place, good form, bad form, attractors; the good form stands in the sentence there
Gulordava  pattern, construction, item, place, tag, features, good form, bad form, lemma, place of
           the cue, its tag, the original's words; the word of the sentence at the place is another
           one, which is not read; item 0 is the original, the others are nonce sentences

Places count words from 0; a sentence ends with <eos>, which is no word of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from ...data.lines import Line, read_lines
from ...ground.errors import InputError
from .pair import Found, Pair

PAIRED = (".text", ".gold", ".eval", ".tab")
TABLE_ENDINGS = (".tsv", ".txt")
"""What a file with the columns of a .gold one may be called too."""


def stem(path: Path) -> Path:
    """The path without .gz and without what tells the aligned files apart."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    return plain.with_suffix("") if plain.suffix in (*PAIRED, *TABLE_ENDINGS) else plain


def aligned_suffix(path: Path) -> str:
    """.text, .gold, .eval or .tab; "" of other files."""
    name = path.with_suffix("") if path.suffix == ".gz" else path
    return name.suffix if name.suffix in PAIRED else ""


def aligned_with(path: Path, suffix: str) -> Path | None:
    """The file of another ending beside this one, compressed or not; None where there is none."""
    base = stem(path)
    names = [base.with_name(base.name + suffix + gz) for gz in ("", ".gz")]
    return next((name for name in names if name.exists()), None)


def is_gold(fields: list[str]) -> bool:
    """Whether the columns are those of a .gold file, of either kind."""
    if len(fields) == 4:
        place, good, bad, attractors = fields
        words = len(good.split()) == len(bad.split()) == 1
        return words and place.isdecimal() and attractors.strip().isdecimal()
    return len(fields) == 12 and all(fields[i].isdecimal() for i in (1, 2, 3, 9))


def aligned_pairs(gold: Path, golds: Iterator[Line], longest: int | None = None) -> Found:
    """The pairs of a .gold file and the .text beside it, each with its place in the former."""
    text = aligned_with(gold, ".text")
    if text is None or text == gold:
        raise InputError(
            f"{gold}: it holds the forms of verbs; expected their sentences in {stem(gold)}.text."
        )
    sentences = (
        line
        for line in read_lines(text, longest=longest, option="--max-bytes")
        if line.text.strip()
    )
    for line, sentence in zip_longest(golds, sentences):
        if line is None or sentence is None:
            more, short = (line, text) if line is not None else (sentence, gold)
            where = more.where if more is not None else gold
            raise InputError(f"{where}: {short} has no line for this one: it ends before.")
        fields = line.text.split("\t")
        if not is_gold(fields):
            raise InputError(
                f"{line.where}: expected place, good form, bad form and attractors, or the 12 "
                f"columns of Gulordava's, tabs between; got {line.text[:80]!r}."
            )
        words = sentence.text.split()
        if words[-1:] == ["<eos>"]:
            words.pop()
        read = linzen_pair if len(fields) == 4 else gulordava_pair
        yield read(fields, words, line, sentence), line.where


def linzen_pair(fields: list[str], words: list[str], line: Line, sentence: Line) -> Pair:
    """The sentence, and the same with the bad form in the place of the good one."""
    at, good, bad = int(fields[0]), fields[1], fields[2]
    there = words[at] if at < len(words) else "nothing"
    if there.lower() != good.lower():
        raise InputError(
            f"{line.where}: word {at}, counted from 0, of {sentence.where} should be {good!r}, "
            f"got {there!r}. Do the two files belong together?"
        )
    if there != good:  # the text may be lower-cased where the forms are not
        bad = bad.lower() if there == there.lower() else bad.capitalize()
    return Pair(
        " ".join(words),
        " ".join([*words[:at], bad, *words[at + 1 :]]),
        stem(Path(line.source)).name,
        opposed=int(fields[3]),
    )


def gulordava_pair(fields: list[str], words: list[str], line: Line, sentence: Line) -> Pair:
    """What stands before the verb, with either form after it."""
    at, good, bad = int(fields[3]), fields[6], fields[7]
    if at >= len(words):
        raise InputError(
            f"{line.where}: expected a verb after {at} words; {sentence.where} has {len(words)}."
        )
    prefix = " ".join(words[:at])
    origin = "original" if fields[2] == "0" else "nonce"
    return Pair(
        f"{prefix} {good}",
        f"{prefix} {bad}",
        fields[0],
        origin,
        distance=at - int(fields[9]),
        whole=False,
        choice=(prefix, good, bad),
        origin=origin,
    )
