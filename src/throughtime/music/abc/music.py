"""The music of a tune: its bars, how long each is, and what in it is not ABC.

Lengths are exact fractions of a whole note. The written note lengths count in units of L:; a broken
rhythm a>b gives the first (2 - 2^-k) and the second 2^-k of its length for k signs; a tuplet (p:q:r
plays p notes in the time of q, for the next r; a chord lasts as its first note does; grace notes
take no time; Z n is n bars of rest.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from .book import KNOWN_FIELDS, Tune
from .durations import broken_first, factor, is_compound, metre_of, unit_of
from .notation import IN_CHORD, IN_GRACE, ITEM, ITEM_KINDS, NO_KEY, tonic_and_mode

BODY_FIELDS = frozenset("IKLMNPQRrsTUVWwm+")
"""Fields that ABC 2.1 allows in a tune's body."""

TUPLET_TIME = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
"""p → q of a tuplet (p; for the other p, q is 3 in compound metres and 2 in simple ones."""


@dataclass(frozen=True)
class Fault:
    """Something that is not ABC: the line in the file, the column from 1, and what is wrong."""

    line: int
    column: int
    message: str


@dataclass
class Bar:
    """A bar as it is written.

    `length` and `metre` are in whole notes; `metre` is None where the metre is free. `unit` is L:.
    `left` and `right` are the bar lines around it, empty where the tune begins or ends without
    one. `ending` is the number of a first or second ending that begins here. `part` is true where
    a P: or a new metre begins. `overlays` are the lengths of further voices (&) in the bar.
    `bars` is above 1 for bars of rest written as one.
    """

    line: int
    unit: Fraction
    metre: Fraction | None
    left: str = ""
    right: str = ""
    length: Fraction = Fraction(0)
    ending: str = ""
    part: bool = False
    overlays: list[Fraction] = field(default_factory=list)
    bars: int = 1

    @property
    def units(self) -> Fraction:
        """The length in units of L:."""
        return self.length / self.unit


@dataclass
class Music:
    """What `parse` found: bars by voice, notes, unknown fields of the body, problems."""

    voices: dict[str, list[Bar]]
    notes: int
    unknown: Counter[str]
    problems: list[Fault]

    @property
    def parses(self) -> bool:
        """Whether the tune is ABC throughout and holds a note."""
        return not self.problems


def parse(tune: Tune) -> Music:
    """Read a tune's body. What is not ABC is listed with its place, never raised."""
    return MusicReader(tune).read()


class Voice:
    """The bars of one voice and the bar being read; its metre and unit, which are its own."""

    def __init__(self, reader: MusicReader) -> None:
        self.bars: list[Bar] = []
        self.metre, self.compound, self.unit = reader.metre, reader.compound, reader.unit
        self.new_bar("")
        self.broken = ""
        self.last: Fraction | None = None  # the last note's length, for a broken rhythm after it
        self.tuplet: tuple[Fraction, int] | None = None

    def new_bar(self, left: str) -> None:
        """Begin a bar after the bar line `left`."""
        self.bar = Bar(0, self.unit, self.metre, left)
        self.overlay: Fraction | None = None


class MusicReader:
    """Reads one tune, item by item."""

    def __init__(self, tune: Tune) -> None:
        self.tune = tune
        self.problems: list[Fault] = []
        self.unknown: Counter[str] = Counter()
        self.notes = 0
        self.line, self.column = tune.line, 1
        self.marks = ""
        self.metre: Fraction | None = None
        self.compound = False
        self.unit = Fraction(1, 8)
        self.read_header()
        self.voices = {"": Voice(self)}
        self.voice = self.voices[""]

    def problem(self, message: str) -> None:
        """List a problem here."""
        self.problems.append(Fault(self.line, self.column, message))

    # ---- fields -------------------------------------------------------------------------------

    def read_header(self) -> None:
        """Settle metre, unit and key; the tune's own fields after the file's."""
        header = self.tune.header
        own = [f for f in header if f.line >= self.tune.line]
        letters = [f.letter for f in own]
        if letters.count("X") != 1 or not own[0].value.isdigit():
            self.problem("expected one field X: with a number first")
        if "K" not in letters:
            self.problem("no field K: ends the header")
        for f in sorted(header, key=lambda f: f.line >= self.tune.line):
            self.line = f.line
            if f.letter in "MKU":
                self.set_field(f.letter, f.value, header=True)
        if "M" in {f.letter for f in header} and self.metre is not None:
            self.unit = Fraction(1, 16) if self.metre < Fraction(3, 4) else Fraction(1, 8)
        for f in sorted(header, key=lambda f: f.line >= self.tune.line):
            self.line = f.line
            if f.letter == "L":
                self.set_field("L", f.value, header=True)
            elif f.letter == "m":
                self.problem("macros (m:) are not expanded")

    def set_field(self, letter: str, value: str, *, header: bool = False) -> None:
        """A field that changes how music is read; one of the body that of its voice alone.

        What the body says before any V: and any note is said of all voices, as in the header.
        """
        of_all = header or (list(self.voices) == [""] and self.is_untouched(self.voice))
        changed = ([self] if of_all else []) + ([] if header else [self.voice])
        try:
            if letter == "M":
                for one in changed:
                    one.metre, one.compound = metre_of(value), is_compound(value)
            elif letter == "L":
                for one in changed:
                    one.unit = unit_of(value)
            elif letter == "K" and not (tonic_and_mode(value) or NO_KEY.match(value)):
                self.problem(f"not a key: {value!r}; expected K:D, K:Am, K:G dor …")
            elif letter == "U":
                self.marks += value[:1]
        except ValueError as error:
            self.problem(str(error))
        if header:
            return
        if letter == "V":
            name = value.split()[0] if value.split() else ""
            if name not in self.voices:
                # what came before any V: belongs to the first voice
                untouched = list(self.voices) == [""] and self.is_untouched(self.voice)
                self.voices[name] = self.voices.pop("") if untouched else Voice(self)
            self.voice = self.voices[name]
        elif letter in "MLP":
            self.change(letter)

    @staticmethod
    def is_untouched(voice: Voice) -> bool:
        return not voice.bars and not voice.bar.length

    def change(self, letter: str) -> None:
        """M: or L: takes effect in the voice's bar that begins here, P: in every voice's."""
        for voice in self.voices.values() if letter == "P" else [self.voice]:
            if not voice.bar.length:
                if letter == "P" or voice.bar.metre != voice.metre:
                    voice.bar.part = True
                voice.bar.metre, voice.bar.unit = voice.metre, voice.unit

    def body_field(self, text: str) -> bool:
        """Whether a line of the body is a field; notes such as A:| are none."""
        match = re.match(r"([A-Za-z+]):(?![|:])(.*)", text)
        if not match or match[1] in "ABCDEFGabcdefgxyz":
            return False
        letter, value = match[1], match[2]
        if letter not in KNOWN_FIELDS:
            self.unknown[letter] += 1
        elif letter == "m":
            self.problem("macros (m:) are not expanded")
        elif letter in BODY_FIELDS:
            self.set_field(letter, value.strip())
        return True

    # ---- music --------------------------------------------------------------------------------

    def read(self) -> Music:
        """All lines of the body."""
        for line, text in self.tune.body:
            self.line, self.column = line, 1
            if not self.body_field(text):
                self.read_line(text.rstrip("\\!"))
        for voice in self.voices.values():
            self.voice = voice
            if voice.broken:
                self.problem(f"a note is missing after {voice.broken}")
            self.end_tuplet()
            if voice.bar.length or voice.bar.overlays:
                self.end_overlay()
                voice.bars.append(voice.bar)
        if not self.notes:
            self.problem("no note")
        voices = {name: voice.bars for name, voice in self.voices.items() if voice.bars}
        return Music(voices, self.notes, self.unknown, self.problems)

    def read_line(self, text: str) -> None:
        """A line of music."""
        at = 0
        while at < len(text):
            self.column = at + 1
            item = ITEM.match(text, at)
            if item is None:
                if text[at] not in self.marks:
                    self.problem(f"not ABC: {text[at : at + 12]!r}")
                at += 1
                continue
            at = item.end()
            kind = next(kind for kind in ITEM_KINDS if item[kind] is not None)
            if read := getattr(self, f"read_{kind}", None):
                read(item)

    def read_inline(self, item: re.Match[str]) -> None:
        """[M:3/4] inside a line."""
        letter = item["letter"]
        if letter not in KNOWN_FIELDS:
            self.unknown[letter] += 1
        elif letter in BODY_FIELDS:
            self.set_field(letter, item["value"].strip())

    def read_bar(self, item: re.Match[str]) -> None:
        """A bar line ends the bar; two in a row are one."""
        voice, text = self.voice, item["bar"].removesuffix(item["volta"] or "")
        if voice.broken:
            self.problem(f"a note is missing after {voice.broken}")
            voice.broken = ""
        self.end_tuplet()
        voice.last = None
        if voice.bar.length or voice.bar.overlays:
            self.end_overlay()
            voice.bar.right = text
            voice.bars.append(voice.bar)
            voice.new_bar(text)
        else:
            voice.bar.left += text
            if voice.bars:
                voice.bars[-1].right += text
        if item["volta"]:
            voice.bar.ending = item["volta"]

    def read_ending(self, item: re.Match[str]) -> None:
        """[1, [2: the bar before it ends here, with or without a bar line."""
        voice = self.voice
        if voice.bar.length:
            self.end_overlay()
            voice.bars.append(voice.bar)
            voice.new_bar("")
        voice.bar.ending = item["numbers"] or "0"

    def read_chord(self, item: re.Match[str]) -> None:
        """[CEG]2: as long as its first note, times what follows."""
        at, first = 0, None
        while at < len(item["inside"]):
            note = IN_CHORD.match(item["inside"], at)
            if note is None:
                self.problem(f"not a chord: {item['chord']!r}")
                return
            at = note.end()
            first = first or self.factor(note[2])
            self.notes += 1
        if first is None:
            self.problem("an empty chord: []")
            return
        self.add(first * self.factor(item["chord_length"]))

    def read_note(self, item: re.Match[str]) -> None:
        """One note."""
        self.notes += 1
        self.add(self.factor(item["note_length"]))

    def read_rest(self, item: re.Match[str]) -> None:
        """A rest, visible or not."""
        self.add(self.factor(item["rest_length"]))

    def read_bars_of_rest(self, item: re.Match[str]) -> None:
        """Z4: four bars."""
        bar, count = self.voice.bar, int(item["count"] or 1)
        if bar.length or self.voice.metre is None or not count:
            self.problem(f"{item[0]} stands for whole bars of a metre")
            return
        bar.bars = count
        self.add_time(count * self.voice.metre)

    def read_tuplet(self, item: re.Match[str]) -> None:
        """(3abc, (3:2:4abcd."""
        self.end_tuplet()
        p = int(item["p"])
        q = int(item["q"] or TUPLET_TIME.get(p, 3 if self.voice.compound else 2))
        r = int(item["r"] or p)
        if p < 2 or q < 1 or r < 1:
            self.problem(f"not a tuplet: {item[0]!r}")
        else:
            self.voice.tuplet = Fraction(q, p), r

    def end_tuplet(self) -> None:
        """A tuplet must be complete."""
        if self.voice.tuplet:
            self.problem(f"a tuplet lacks its last {self.voice.tuplet[1]} notes")
            self.voice.tuplet = None

    def read_grace(self, item: re.Match[str]) -> None:
        """{gab}: no time."""
        at = 0
        while at < len(item["graces"]):
            note = IN_GRACE.match(item["graces"], at)
            if note is None:
                self.problem(f"not grace notes: {item['grace']!r}")
                return
            at = note.end()

    def read_broken(self, item: re.Match[str]) -> None:
        """a>b: the first note is lengthened, the next will be shortened."""
        voice, signs = self.voice, item["broken"]
        if voice.last is None or voice.broken or len(signs) > 3:
            self.problem(f"{signs} must stand between two notes")
            return
        self.add_time(voice.last * (broken_first(signs) - 1))
        voice.broken = signs

    def read_overlay(self, item: re.Match[str]) -> None:
        """&: another voice from the bar's beginning on."""
        self.end_overlay()
        self.voice.overlay, self.voice.last = Fraction(0), None

    def end_overlay(self) -> None:
        """Keep the length of an overlay."""
        voice = self.voice
        if voice.overlay is not None:
            voice.bar.overlays.append(voice.overlay)
            voice.overlay = None

    def factor(self, length: str) -> Fraction:
        """A written length; one with a zero in it is a problem."""
        try:
            value = factor(length)
        except ZeroDivisionError:
            value = Fraction(0)
        if not value:
            self.problem(f"a note of length {length!r}")
            return Fraction(1)
        return value

    def add(self, written: Fraction) -> None:
        """A note, chord or rest of so many units."""
        voice = self.voice
        length = written * voice.unit
        if voice.tuplet:
            ratio, left = voice.tuplet
            length *= ratio
            voice.tuplet = (ratio, left - 1) if left > 1 else None
        plain = length
        if voice.broken:
            length *= 2 - broken_first(voice.broken)
            voice.broken = ""
        self.add_time(length)
        voice.last = plain

    def add_time(self, length: Fraction) -> None:
        """Time passes in the bar, or in its overlay."""
        self.voice.bar.line = self.voice.bar.line or self.line
        if self.voice.overlay is None:
            self.voice.bar.length += length
        else:
            self.voice.overlay += length
