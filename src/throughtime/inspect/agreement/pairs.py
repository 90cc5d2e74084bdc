"""Minimal pairs: two sentences of which one is right; and the files that they come in.

syneval    LM_syneval (Marvin & Linzen 2018): template, condition, good, bad [, bad …], tabs
blimp      BLiMP (Warstadt et al. 2020): JSON lines with sentence_good and sentence_bad
linzen     Linzen et al. 2016: a header with orig_sentence, verb, verb_pos, verb_index …, tabs
gulordava  Gulordava et al. 2018: a header with prefix, form, class …; one row for each form, tabs
pairs      good and bad, a tab between

Every error names the file and the line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ...data.lines import Line, read_lines
from ...data.text import find_files
from ...ground.errors import InputError

LINZEN = ("verb", "verb_pos", "verb_index")
GULORDAVA = ("pattern", "constr_id", "sent_id", "form", "class", "prefix")


@dataclass(frozen=True, slots=True)
class Pair:
    """One item.

    Between subject and verb stand `attractors` nouns, `opposed` of them of the other number.
    `whole` says that the sentences end where the text ends, so that their end counts; `choice` is
    (prefix, good word, bad word) where the file names them itself.
    """

    good: str
    bad: str
    construction: str
    condition: str = ""
    distance: int | None = None
    attractors: int | None = None
    opposed: int | None = None
    whole: bool = True
    choice: tuple[str, str, str] | None = None

    def target(self) -> tuple[str, str, str]:
        """What both share before the first word that differs, and the two words.

        Punctuation at the end of those words is no part of them, unless it is all that differs. A
        sentence that ends where the other goes on has the word "".
        """
        if self.choice:
            return self.choice
        good, bad = self.good.split(), self.bad.split()
        t = next((t for t, (a, b) in enumerate(zip(good, bad)) if a != b), min(len(good), len(bad)))
        a, b = (words[t] if t < len(words) else "" for words in (good, bad))
        if bare(a) != bare(b):
            a, b = bare(a), bare(b)
        return " ".join(good[:t]), a, b


def bare(word: str) -> str:
    """A word without the punctuation after it; punctuation alone stays."""
    return word.rstrip(".,;:!?\"')]»”’") or word


def read_pairs(patterns: list[str], form: str = "auto") -> list[Pair]:
    """The pairs of files, globs and directories; `InputError` if there are none."""
    found: list[Pair] = []
    for path in find_files(patterns):
        before = len(found)
        found += read_file(path, form)
        if len(found) == before:
            raise InputError(f"{path}: no pairs: expected sentences, good and bad.")
    return found


def read_file(path: Path, form: str) -> Iterator[Pair]:
    """The pairs of one file."""
    lines = (line for line in read_lines(path) if line.text.strip())
    first = next(lines, None)
    if first is None:
        return
    reader = READERS[detect(first) if form == "auto" else form]
    for pair, where in reader(chain([first], lines), path.name.removesuffix(".gz")):
        if not pair.good.strip() or not pair.bad.strip():
            raise InputError(f"{where}: an empty sentence.")
        if pair.good == pair.bad:
            raise InputError(f"{where}: both sentences are the same: {pair.good!r}.")
        yield pair


def detect(first: Line) -> str:
    """The form of a file from its first line."""
    if first.text.lstrip().startswith("{"):
        return "blimp"
    fields = first.text.split("\t")
    if set(LINZEN) <= set(fields):
        return "linzen"
    if set(GULORDAVA) <= set(fields):
        return "gulordava"
    if len(fields) == 2:
        return "pairs"
    if len(fields) >= 4:
        return "syneval"
    raise InputError(
        f"{first.where}: not a form of minimal pairs that is known by its first line: expected "
        "JSON, a header of Linzen's or Gulordava's, or 2 or at least 4 tab-separated columns; got "
        f"{len(fields)} column{'s' * (len(fields) != 1)}. Name the form with --form."
    )


Found = Iterator[tuple[Pair, str]]


def two_columns(lines: Iterator[Line], name: str) -> Found:
    """Good, tab, bad; a header of such names is passed over."""
    for line in lines:
        fields = line.text.split("\t")
        if len(fields) != 2:
            raise InputError(f"{line.where}: expected good, tab, bad; got {len(fields)} columns.")
        if [f.strip().lower().removeprefix("sentence_") for f in fields] == ["good", "bad"]:
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
        if (template, condition) == ("template", "condition"):
            continue
        for k, sentence in enumerate(bad, 1):
            construction = template if k == 1 else f"{template} (bad {k})"
            yield Pair(good, sentence, construction, condition), line.where


def blimp(lines: Iterator[Line], name: str) -> Found:
    """One JSON object a line; one_prefix_prefix and its two words where they are there."""
    for line in lines:
        try:
            item = json.loads(line.text)
        except ValueError as error:
            raise InputError(f"{line.where}: not JSON: {error}.") from error
        if not isinstance(item, dict):
            raise InputError(f"{line.where}: expected a JSON object.")
        good, bad = (text(item, f"sentence_{which}", line) for which in ("good", "bad"))
        named = [f"one_prefix_{part}" for part in ("prefix", "word_good", "word_bad")]
        choice = None
        if all(part in item for part in named):
            prefix, *words = (text(item, part, line) for part in named)
            choice = (prefix.strip(), bare(words[0].strip()), bare(words[1].strip()))
        construction = str(item.get("UID", name))
        yield (
            Pair(good, bad, construction, str(item.get("linguistics_term", "")), choice=choice),
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
        fields = next(csv.reader([line.text], delimiter="\t"))
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
