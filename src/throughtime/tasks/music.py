"""Music: tunes in ABC, MIDI events, or frames of keys behind one task."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint import RunFolder
from ..config.located import lost
from ..config.music import MusicConfig, MusicWritingOptions
from ..data.conditions import Condition
from ..data.examples import Example
from ..data.lines import split_lines
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.paths import typed_path
from ..music import abc, rendering, tunes
from ..music.midi import Events, midi_files, read_score
from ..music.recital import Recital
from .conditional import Conditional
from .frames import Frames
from .task import Evaluation, Task, figures
from .writing import Piece

TUNE_LENGTH = 2000
"""The longest tune in characters or events, where nothing else is said."""


class MusicTask(Task):
    """The task of a configuration, by its representation: it is prepared or loaded as one of
    `Tunes`, `MidiPieces` and `Frames`.
    """

    @staticmethod
    def kind(config: MusicConfig) -> type[Any]:
        """Which; settles `data.representation` where it is auto."""
        data = config.data
        if data.representation == "auto":
            if not config.train:
                raise InputError("no training data. Give --train FILE ….")
            data.representation = tunes.representation_of(config.train)  # type: ignore[assignment]
        return {"abc": Tunes, "midi": MidiPieces, "frames": Frames}[data.representation]

    @classmethod
    def prepare(cls, config: MusicConfig, **rest: Any) -> Any:
        """The task with its data."""
        return cls.kind(config).prepare(config, **rest)

    @classmethod
    def load(cls, config: MusicConfig, folder: RunFolder, device: torch.device) -> Any:
        """The task of a run, without its data."""
        return cls.kind(config).load(config, folder, device)


class Written(Conditional):
    """What tunes and pieces share: whole ones are written, for a condition or from a primer."""

    between = ""
    """What stands between the tokens of a sequence."""

    def read_more(self, patterns: list[str], options: Any = None) -> list[Example]:
        """Music has no columns."""
        return self.read(patterns)

    def check_lengths(self, lengths: np.ndarray, examples: Sequence[Example]) -> None:
        """Files of music are small."""

    @abstractmethod
    def primer(self, path: Path) -> tuple[Condition, Sequence[str]]:
        """The condition of a file's first tune or piece, and its tokens."""

    def evaluate(self, model: Any, data: list[str] | None, options: Any = None) -> Evaluation:
        """The exact likelihood of sequences given their conditions."""
        if options and options.part not in ("auto", "all"):
            raise InputError("--part is for piano rolls in .mat or .npz files.")
        self.refuse_without_data(data, options)
        return super().evaluate(model, data)

    def opening(self, options: MusicWritingOptions) -> tuple[Condition, str]:
        """The condition and the text to go on from."""
        asked = self.conditions.parse(options.condition)
        condition, prime = {}, options.prime
        if options.primer:
            path = typed_path(options.primer)
            of_file, tokens = self.primer(path)
            condition, unseen = self.conditions.known(of_file)
            if unseen:
                terminal.warn(f"{path}: {unseen} of its conditions never seen in training.")
            prime = self.between.join(tokens[: options.primer_length or None]).rstrip("\n")
        condition = {**condition, **asked}
        self.conditions.encode(condition)
        return condition, prime

    def whole(
        self, model: Any, condition: Any, prime: str, options: Any
    ) -> Iterator[tuple[int, Any, str]]:
        """Each sample when it is finished: its number, its condition, its text."""
        pieces = self.drawn(model, condition, prime, options)
        for k, group in groupby(pieces, key=lambda one: one[1].number):
            several = list(group)
            yield k, several[0][0], "".join(piece.text for _, piece in several)


class Tunes(Written):
    """ABC tunes, character by character, for a rhythm, metre and key."""

    form = "abc"

    def read(self, patterns: list[str]) -> list[Example]:
        """The tunes of tune books; fields that ABC does not have are counted."""
        found = abc.read_tunes(patterns)
        unknown = sum((tune.unknown for tune in found), Counter())
        if unknown:
            said = ", ".join(f"{letter}: {count}" for letter, count in unknown.most_common())
            terminal.say(f"fields that ABC 2.1 does not have, in {len(found):,} tunes: {said}")
        return [tunes.tune_example(tune, self.config.data.conditions) for tune in found]

    @property
    def level(self) -> str:
        """Characters."""
        return "char"

    def generate(self, model: Any, options: Any) -> Iterator[Piece]:
        """Whole tunes, or their report."""
        condition, prime = self.opening(options)
        recital = Recital.of(options, ("abc", "midi", "wav", "png"))
        report = TuneReport(originals(self) if options.report else None)
        longest = options.max_new_tokens or TUNE_LENGTH
        options = replace(options, max_new_tokens=longest)
        with terminal.progress("writing", options.num_samples, not options.report) as advance:
            for k, drawn, text in self.whole(model, condition, prime, options):
                tune = whole_tune(k, text, drawn)
                report.add(tune, text, drawn, ended=len(text) - len(prime) < longest)
                if recital.folder:
                    score, errors = rendering.abc_to_score(tune)
                    if score is None:
                        why = errors[0] if errors else "it has no notes"
                        terminal.warn(f"tune {k + 1} cannot be played ({why}); its ABC is kept.")
                    recital.write(k, score, title_of(k, drawn), tune)
                if not options.report:
                    yield Piece(k, tune)
                advance(1)
        if options.report:
            yield Piece(0, report.text())

    def primer(self, path: Path) -> tuple[Condition, Sequence[str]]:
        """A tune book's first tune, character by character."""
        tune = abc.read_book(path).tunes[0]
        example = tunes.tune_example(tune, self.config.data.conditions)
        return example.condition, example.sequence


def title_of(k: int, condition: Any) -> str:
    """What a generated tune is called."""
    rhythm, key = condition.get("rhythm") or "tune", condition.get("key")
    return f"{str(rhythm).capitalize()}{f' in {key}' if key else ''}, number {k + 1}"


def whole_tune(k: int, text: str, condition: Any) -> str:
    """A generated text as a tune: X: and T:, R: where there is one, then the text."""
    rhythm = condition.get("rhythm")
    head = f"X:{k + 1}\nT:{title_of(k, condition)}\n" + (f"R:{rhythm}\n" if rhythm else "")
    return head + text.rstrip("\n") + "\n"


def originals(task: Tunes) -> set[str] | None:
    """The music of the training tunes, to know copies by; None, and said, where there is none."""
    try:
        if said := lost(task.config.train):
            raise InputError(f"{said}.")
        examples = task.read(task.config.train)
    except InputError as error:
        terminal.warn(f"copies of training tunes are not counted: {error}")
        return None
    return {music_alone(example.sequence) for example in examples} - {""}


def music_alone(text: str) -> str:
    """The notes and bar lines of a tune's text: no fields, chord symbols or spaces."""
    lines = [line for line in split_lines(text) if line[1:2] != ":" or line[2:3] in ("|", ":")]
    return "".join("".join(line.split('"')[::2]) for line in lines).replace(" ", "")


@dataclass
class TuneReport:
    """How good generated tunes are as ABC."""

    originals: set[str] | None
    tunes: int = 0
    parse: int = 0
    play: int = 0
    bars: int = 0
    right: int = 0
    free: int = 0
    ended: int = 0
    as_asked: int = 0
    asked: int = 0
    copies: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, tune: str, text: str, condition: Any, *, ended: bool) -> None:
        """Read a generated tune back and count."""
        self.tunes += 1
        self.ended += ended
        read = abc.read_tune(tune)
        music = abc.parse(read)
        self.parse += music.parses and bool(read.number)
        if music.problems:
            self.problems.append(f"tune {self.tunes}: {music.problems[0].message}")
        score, errors = rendering.abc_to_score(tune)
        self.play += score is not None and not errors
        for voice in music.voices.values():
            judged = abc.judge(voice)
            self.bars += judged.judged
            self.right += judged.right
            self.free += judged.free
        found = tunes.tune_example(read, ["metre", "key"]).condition
        for name in found.keys() & condition.keys():
            if condition[name] is not None:
                self.asked += 1
                self.as_asked += found[name] == condition[name]
        if self.originals is not None:
            self.copies += music_alone(text) in self.originals

    def text(self) -> str:
        """As a person reads it."""

        def line(name: str, count: int, of: int) -> str:
            return f"{name:34} {count:>8,} of {of:>8,}  {count / max(of, 1):7.2%}"

        lines = [
            line("tunes that parse", self.parse, self.tunes),
            line("that abc2midi plays without error", self.play, self.tunes),
            line("bars of the metre's length", self.right, self.bars),
            line("headers of metre and key as asked", self.as_asked, self.asked),
            line("tunes that end by themselves", self.ended, self.tunes),
        ]
        if self.originals is not None:
            lines.append(line("whole tunes copied from training", self.copies, self.tunes))
        if self.free:
            lines.append(f"bars without a metre, not judged: {self.free}")
        lines += [f"does not parse: {problem}" for problem in self.problems[:10]]
        if len(self.problems) > 10:
            lines.append(f"… and {len(self.problems) - 10} more")
        return "\n".join(lines)


class MidiPieces(Written):
    """MIDI files, event by event."""

    between = " "
    form = "midi"

    def read(self, patterns: list[str]) -> list[Example]:
        """The pieces of MIDI files; files that do not parse are skipped, named and counted."""
        conditions = self.config.data.conditions
        with terminal.progress("reading MIDI", len(midi_files(patterns))) as advance:
            found, skipped = tunes.midi_examples(patterns, conditions, self.events, advance)
        for path, reason in skipped:
            terminal.warn(f"skipped {path}: {reason}")
        if skipped:
            terminal.warn(f"skipped {len(skipped)} of {len(skipped) + len(found)} MIDI files.")
        return found

    @property
    def level(self) -> str:
        """Events."""
        return "event"

    @cached_property
    def events(self) -> Events:
        """The events of this run."""
        return Events(self.config.data.events, self.config.data.resolution)

    def generate(self, model: Any, options: Any) -> Iterator[Piece]:
        """Pieces as files; the events as a line where there is no --output."""
        condition, prime = self.opening(options)
        recital = Recital.of(options, ("midi", "wav", "png"))
        length = options.max_new_tokens or TUNE_LENGTH
        options = replace(options, max_new_tokens=length, forbid_unk=True)
        counts = {"pieces": 0, "events": 0, "misplaced events": 0.0, "notes": 0}
        counts |= {"quarter notes": 0.0, "ended by themselves": 0}
        for k, drawn, text in self.whole(model, condition, prime, options):
            score, number = self.events.decode(text), len(text.split())
            counts["pieces"] += 1
            counts["events"] += number
            counts["misplaced events"] += self.events.misplaced(text) * number
            counts["notes"] += score.note_num()
            counts["quarter notes"] += score.end() / score.ticks_per_quarter
            counts["ended by themselves"] += number - len(prime.split()) < length
            paths = recital.write(k, score, title_of(k, drawn)) if score.note_num() else []
            if not options.report:
                said = "\n".join(map(str, paths)) if recital.folder else text
                yield Piece(k, said or f"piece {k + 1} has no note")
        if options.report:
            counts["misplaced events"] /= max(counts["events"], 1)
            yield Piece(0, figures(counts))

    def primer(self, path: Path) -> tuple[Condition, Sequence[str]]:
        """A MIDI file's events."""
        score, reason = read_score(path)
        if score is None:
            raise InputError(f"{path}: {reason}.")
        condition = tunes.midi_condition(score, path, self.config.data.conditions)
        return condition, self.events.encode(score).split()
