"""Minimal pairs: two sentences of which one is right; and the files that they come in.

syneval    LM_syneval (Marvin & Linzen 2018): template, condition, good, bad [, bad …], tabs
blimp      BLiMP (Warstadt et al. 2020): JSON lines with sentence_good and sentence_bad
linzen     Linzen et al. 2016: a header with orig_sentence, verb, verb_pos, verb_index …, tabs
gulordava  Gulordava et al. 2018: a header with prefix, form, class …; one row for each form, tabs
gold       the same two in Gulordava's release: sentences in .text, forms in .gold, line by line
pairs      good and bad, a tab between

A form is told by what the first line holds; where that could be another thing, it is asked for.
Every error names the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ...data.files import find_files
from ...data.lines import Line, csv_fields, json_object, read_lines
from ...ground.errors import InputError
from .line_aligned import aligned_pairs, aligned_suffix, aligned_with, is_gold, stem
from .pair import Found, Pair, bare

LINZEN = ("verb", "verb_pos", "verb_index")
GULORDAVA = ("pattern", "constr_id", "sent_id", "form", "class", "prefix")
SYNEVAL = ["template", "condition"]


@dataclass(frozen=True, slots=True)
class Collection:
    """The pairs of some files, what the files are, and how many identical ones were left out."""

    pairs: list[Pair]
    forms: list[str]
    identical: int


def read_pairs(patterns: list[str], form: str = "auto", longest: int | None = None) -> Collection:
    """The pairs of files, globs and directories; two sentences that are the same are no pair.

    A line has at most `longest` bytes. Errors: `InputError` for a file without pairs, and for one
    that could be read in several ways.
    """
    found: list[Pair] = []
    forms: dict[str, None] = {}
    identical = 0
    for path in sources(find_files(patterns), form):
        before = len(found)
        chosen, pairs = open_pairs(path, form, longest)
        forms[chosen] = None
        for pair, where in pairs:
            if not pair.good.strip() or not pair.bad.strip():
                raise InputError(f"{where}: an empty sentence.")
            if pair.good == pair.bad:
                identical += 1
            else:
                found.append(pair)
        if len(found) == before:
            raise InputError(f"{path}: no pairs: expected sentences, good and bad.")
    return Collection(found, list(forms), identical)


def sources(paths: list[Path], form: str) -> list[Path]:
    """The files that pairs are read from: of .text and .gold the latter, which leads to both."""
    chosen: dict[Path, None] = {}
    given = set(paths)
    for path in paths:
        kind = aligned_suffix(path)
        gold = aligned_with(path, ".gold") if kind in (".text", ".eval") else None
        if kind == ".eval" and (gold in given or aligned_with(path, ".text") in given):
            continue  # the positions, which .gold has too
        if kind == ".text" and gold is None:
            raise InputError(f"{path}: expected {stem(path)}.gold beside it, with the forms.")
        chosen[gold if kind == ".text" and gold else path] = None
    for path in chosen if form == "auto" else ():
        table = aligned_with(path, ".tab") if aligned_suffix(path) == ".gold" else None
        if table in chosen:
            raise InputError(
                f"{path} and {table} hold the same items in two forms. Name one of the files, or "
                "--format gold or gulordava."
            )
    if form in ("gold", "gulordava"):
        named = [p for p in chosen if (aligned_suffix(p) == ".gold") == (form == "gold")]
        return named or list(chosen)
    return list(chosen)


def open_pairs(path: Path, form: str, longest: int | None = None) -> tuple[str, Found]:
    """What a file is, and its pairs with the place of each."""
    read = read_lines(path, longest=longest, option="--max-bytes")
    lines = (line for line in read if line.text.strip())
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: no pairs: the file is empty.")
    chosen = detect(first) if form == "auto" else form
    lines = chain([first], lines)
    if chosen == "gold":
        return chosen, aligned_pairs(path, lines, longest)
    return chosen, READERS[chosen](lines, path.name.removesuffix(".gz"))


def detect(first: Line) -> str:
    """The form of a file from its first line; `InputError` where there is doubt."""
    if first.text.lstrip().startswith("{"):
        return "blimp"
    fields = first.text.split("\t")
    if set(LINZEN) <= set(fields):
        return "linzen"
    if set(GULORDAVA) <= set(fields):
        return "gulordava"
    if is_gold(fields):
        return "gold"
    if len(fields) == 2 and (is_header(fields) or alike(*fields)):
        return "pairs"
    if len(fields) >= 4 and (fields[:2] == SYNEVAL or alike(*fields[2:4])):
        return "syneval"
    held = " | ".join(field[:30] for field in fields[:6])
    raise InputError(
        f"{first.where}: not a form of minimal pairs that is known by its first line: expected "
        "JSON, a header of Linzen's or Gulordava's, a .gold file, or two sentences with words in "
        "common in columns 1 and 2 of 2, or 3 and 4 of 4 or more; got "
        f"{len(fields)} column{'s' * (len(fields) != 1)}: {held!r}. Name the form with --format."
    )


def alike(good: str, bad: str) -> bool:
    """Whether two texts can be the readings of one sentence: they have a word in common."""
    return not set(good.split()).isdisjoint(bad.split())


def is_header(fields: list[str]) -> bool:
    """Whether the columns are named good and bad."""
    return [f.strip().lower().removeprefix("sentence_") for f in fields] == ["good", "bad"]


def two_columns(lines: Iterator[Line], name: str) -> Found:
    """Good, tab, bad; a header of such names is passed over."""
    for line in lines:
        fields = line.text.split("\t")
        if len(fields) != 2:
            raise InputError(f"{line.where}: expected good, tab, bad; got {len(fields)} columns.")
        if is_header(fields):
            continue
        yield Pair(*fields, construction=name), line.where


def syneval(lines: Iterator[Line], name: str) -> Found:
    """Template, condition, good, bad; further bad sentences make pairs of their own."""
    for line in lines:
        fields = line.text.split("\t")
        if len(fields) < 4:
            raise InputError(
                f"{line.where}: expected template, condition, good and bad, tabs between; got "
                f"{len(fields)} columns."
            )
        template, condition, good, *bad = fields
        if [template, condition] == SYNEVAL:
            continue
        for k, sentence in enumerate(bad, 1):
            if not alike(good, sentence):
                raise InputError(
                    f"{line.where}: expected two readings of one sentence in columns 3 and "
                    f"{k + 3}; got {good[:60]!r} and {sentence[:60]!r}. Is this another form "
                    "(--format)?"
                )
            construction = template if k == 1 else f"{template} (bad {k})"
            yield Pair(good, sentence, construction, condition), line.where


def blimp(lines: Iterator[Line], name: str) -> Found:
    """One JSON object a line; one_prefix_prefix and its two words where they are there."""
    for line in lines:
        item = json_object(line)
        good, bad = (text(item, f"sentence_{which}", line) for which in ("good", "bad"))
        named = [f"one_prefix_{part}" for part in ("prefix", "word_good", "word_bad")]
        choice = None
        if all(part in item for part in named):
            prefix, *words = (text(item, part, line) for part in named)
            choice = (prefix.strip(), bare(words[0].strip()), bare(words[1].strip()))
        construction = str(item.get("UID", name))
        yield (
            Pair(
                good,
                bad,
                construction,
                str(item.get("linguistics_term", "")),
                choice=choice,
                field=str(item.get("field", "")),
                phenomenon=str(item.get("linguistics_term", "")),
            ),
            line.where,
        )


def text(item: dict[str, Any], key: str, line: Line) -> str:
    """A field that must be text."""
    if not isinstance(item.get(key), str):
        raise InputError(f"{line.where}: expected {key!r} with a text; got {item.get(key)!r}.")
    return item[key]


def rows(lines: Iterator[Line], needed: tuple[str, ...]) -> Iterator[tuple[dict[str, str], Line]]:
    """Rows of tab-separated values, quoted as in CSV, by the names in the header."""
    header: list[str] = []
    for line in lines:
        fields = csv_fields(line.text, line, "\t")
        if not header:
            if missing := [name for name in needed if name not in fields]:
                raise InputError(f"{line.where}: the header lacks {', '.join(missing)}.")
            header = fields
            continue
        if len(fields) != len(header):
            raise InputError(
                f"{line.where}: expected {len(header)} columns as in the header, got {len(fields)}."
            )
        yield dict(zip(header, fields)), line


def whole_number(row: dict[str, str], key: str, line: Line) -> int | None:
    """A column's number; None where the file has no such column."""
    if key not in row:
        return None
    try:
        return int(row[key])
    except ValueError:
        raise InputError(f"{line.where}: {key} must be a number, got {row[key]!r}.") from None


def linzen(lines: Iterator[Line], name: str) -> Found:
    """A sentence and the place of its verb, which is given the other number for the bad one."""
    for row, line in rows(lines, LINZEN):
        words = (row.get("orig_sentence") or row.get("sentence", "")).split()
        at = (whole_number(row, "verb_index", line) or 0) - 1
        if not 0 <= at < len(words) or words[at] != row["verb"]:
            found = words[at] if 0 <= at < len(words) else "nothing"
            raise InputError(
                f"{line.where}: word {at + 1} should be the verb {row['verb']!r}, got {found!r}."
            )
        bad = [*words[:at], other_number(row["verb"], row["verb_pos"], line), *words[at + 1 :]]
        clause = row.get("has_rel") == "True"
        yield (
            Pair(
                " ".join(words),
                " ".join(bad),
                "with a relative clause" if clause else "without a relative clause",
                "plural" if row["verb_pos"] == "VBP" else "singular",
                whole_number(row, "distance", line),
                whole_number(row, "n_intervening", line),
                whole_number(row, "n_diff_intervening", line),
            ),
            line.where,
        )


IRREGULAR = {
    **{"is": "are", "has": "have", "does": "do", "goes": "go", "'s": "'re", "was": "were"},
    **{"aches": "ache", "caches": "cache", "shoes": "shoe", "canoes": "canoe", "quizzes": "quiz"},
    **{"underlies": "underlie", "belies": "belie", "unties": "untie", "psyches": "psyche"},
    **{"waltzes": "waltz", "avalanches": "avalanche", "tiptoes": "tiptoe"},
    **{"focuses": "focus", "biases": "bias", "canvases": "canvas", "gases": "gas", "buses": "bus"},
}
"""Some that the rules of spelling get wrong, singular to plural."""
TO_SINGULAR = {"am": "is", "'m": "'s", "'ve": "'s"}
"""Forms that no singular one leads to."""


def other_number(verb: str, tag: str, line: Line) -> str:
    """A present tense in the other number, by the rules of English spelling."""
    if tag == "VBZ":
        if verb in IRREGULAR:
            return IRREGULAR[verb]
        if verb.endswith("ies") and len(verb) > 4:
            return verb[:-3] + "y"
        if re.search(r"(ss|sh|ch|x|zz|o)es$", verb):
            return verb[:-2]
        if verb.endswith("s"):
            return verb[:-1]
    elif tag == "VBP":
        if verb in TO_SINGULAR:
            return TO_SINGULAR[verb]
        for singular, plural in IRREGULAR.items():
            if verb == plural:
                return singular
        if re.search(r"[^aeiou]y$", verb):
            return verb[:-1] + "ies"
        return verb + ("es" if re.search(r"(s|sh|ch|x|z|o)$", verb) else "s")
    raise InputError(
        f"{line.where}: expected a verb of the present tense, VBZ ending in s, or VBP; got "
        f"{verb!r}, {tag}."
    )


def gulordava(lines: Iterator[Line], name: str) -> Found:
    """Two rows for an item, its correct and its wrong form; the sentence ends with the form."""
    waiting: dict[tuple[str, ...], tuple[dict[str, str], Line]] = {}
    for row, line in rows(lines, GULORDAVA):
        key = (
            *(row[k] for k in ("pattern", "constr_id", "sent_id", "prefix")),
            row.get("type", ""),
        )
        if key not in waiting:
            waiting[key] = row, line
            continue
        forms = {r["class"]: r["form"] for r in (waiting.pop(key)[0], row)}
        if set(forms) != {"correct", "wrong"}:
            raise InputError(f"{line.where}: expected a correct and a wrong form for this prefix.")
        prefix, good, bad = row["prefix"], forms["correct"], forms["wrong"]
        yield (
            Pair(
                f"{prefix} {good}",
                f"{prefix} {bad}",
                row["pattern"],
                row.get("type", ""),
                whole_number(row, "len_context", line),
                opposed=whole_number(row, "n_attr", line),
                whole=False,
                choice=(prefix, good, bad),
                origin={"generated": "nonce"}.get(row.get("type", ""), row.get("type", "")),
            ),
            line.where,
        )
    if waiting:
        _, line = next(iter(waiting.values()))
        raise InputError(f"{line.where}: this prefix has one form, expected two.")


READERS: dict[str, Callable[[Iterator[Line], str], Found]] = {
    "syneval": syneval,
    "blimp": blimp,
    "linzen": linzen,
    "gulordava": gulordava,
    "pairs": two_columns,
}
