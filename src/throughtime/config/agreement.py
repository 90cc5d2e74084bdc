"""Settings of the agreement test."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from ..ground.errors import SettingError
from .settings import SEEDS, limited
from .values import shown

FORMS = Literal["auto", "syneval", "blimp", "linzen", "gulordava", "gold", "pairs"]
"""What a file of minimal pairs can be."""

FARTHEST, MOST_ATTRACTORS = 30, 4


@dataclass
class GrammarOptions:
    """The built-in sentences: a subject, what stands in between, the verb.

    Args:
        distances: How many words after the subject's head the verb comes; 1 is the next word. As in
            1-30, or 1,5,20.
        attractors: How many nouns, of either number, stand in between.
        seed: The same seed gives the same sentences.
    """

    distances: str = f"1-{FARTHEST}"
    attractors: str = f"0-{MOST_ATTRACTORS}"
    seed: int = limited(1, 0, SEEDS)

    def check(self) -> None:
        """Both are numbers within what the grammar makes."""
        numbers("distances", self.distances, 1, FARTHEST)
        numbers("attractors", self.attractors, 0, MOST_ATTRACTORS)


@dataclass
class CorpusOptions(GrammarOptions):
    """A training text of the built-in sentences, one a line, none of them a test item.

    Args:
        sentences: How many.
    """

    sentences: int = limited(100_000, 1)


@dataclass
class AgreementOptions(GrammarOptions):
    """What is measured, on what, and how.

    Args:
        pairs: Files of minimal pairs, .gz too, instead of the built-in sentences.
        form: What the files are, --format too: LM_syneval's TSV, BLiMP's JSONL, Linzen's or
            Gulordava's tab-separated form, gold for their .text and .gold, or two columns, good and
            bad; auto looks at what the first line holds.
        max_bytes: Most bytes of a line of those files; a longer one is an error that names it.
        scoring: Compare the whole sentences, or only the first word that differs, given what both
            have before it.
        items: Most items of each construction, or of each distance and number of attractors;
            default all, 25 of the built-in sentences.
        end: What to put after a sentence that ends without punctuation, such as ".".
        no_eos: Leave out <eos> at the end of a sentence where the model was trained on one a line.
        ngram: Order of the n-gram beside the model, counted on the run's training text; 0 for none;
            default 5, or as long as the vocabulary allows.
        seed: Of the built-in sentences, and of the choice where items are fewer than there are.
    """

    pairs: list[str] = field(default_factory=list)
    form: FORMS = field(default="auto", metadata={"also": ("format",)})
    max_bytes: int = limited(1 << 20, 1)
    scoring: Literal["sentence", "target"] = "sentence"
    items: int | None = limited(None, 1)
    end: str = ""
    no_eos: bool = False
    ngram: int | None = limited(None, 0)

    def check(self) -> None:
        """What chooses among the built-in sentences does not go with files."""
        super().check()
        if self.pairs:
            for name in ("distances", "attractors"):
                if getattr(self, name) != getattr(GrammarOptions, name):
                    raise SettingError(
                        f"{name} chooses among the built-in sentences: not with pairs.",
                        name,
                        "pairs",
                    )


def numbers(what: str, text: str, low: int, high: int) -> list[int]:
    """The numbers that "1-5,8" stands for, in rising order; `InputError` outside low … high."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        first = int(match[1]) if match else -1
        last = int(match[2]) if match and match[2] else first
        if not low <= first <= last <= high:
            raise SettingError(
                f"{what} must be numbers from {low} to {high}, as in {low}-{high} or "
                f"{low},{low + 2}; got {shown(text)}.",
                what,
            )
        found.update(range(first, last + 1))
    return sorted(found)
