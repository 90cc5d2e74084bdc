"""The notes' case as a grammar: a subject, something in between, and the verb.

    The cat, which already ate the apples of the farmers, was full.

The verb agrees with the subject's head alone. In between stand k nouns whose numbers are drawn at
random (attractors, of either number) and verbs of the past tense, which show no number. The
distance d counts words from the head to the verb: 1 is the next word; commas do not count.

    adverbs   k = 0    The small cats often were happy.
    phrase    k ≥ 1    The cat near the old houses of the farmer was happy.
    clause    k ≥ 0    The cat, which already ate and then saw the dogs, was happy.
    object    k ≥ 1    The cat that the dogs near the house followed yesterday was happy.

k attractors need d ≥ 3k + 1. A beginning, up to the verb, is the test's or the corpus's, never
both: a hash of its words decides, whatever the seed. (Were it a hash of the whole sentence, the
corpus would show which of the few short sentences it lacks: whoever has counted "The cat was …"
finds just those improbable that are tested.) Source: the case is that of the lecture notes;
attractors as in Linzen, Dupoux & Goldberg 2016, who count those of the other number alone.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple

from ...ground.errors import InputError

TEST_SHARE = 8
"""One beginning in so many is kept for the test."""

TRIES = 1000
"""Sentences drawn in vain before the grammar counts as having no other."""


def forms(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs from "cat/cats dog/dogs"."""
    return tuple((a, b) for a, _, b in (entry.partition("/") for entry in text.split()))


def words(text: str) -> tuple[str, ...]:
    """Words from "saw found"."""
    return tuple(text.split())


@dataclass(frozen=True)
class Lexicon:
    """The grammar's words; those that show number as (singular, plural)."""

    nouns: tuple[tuple[str, str], ...] = forms(
        "cat/cats dog/dogs horse/horses bird/birds boy/boys girl/girls farmer/farmers "
        "doctor/doctors teacher/teachers student/students writer/writers actor/actors "
        "friend/friends brother/brothers sister/sisters king/kings queen/queens driver/drivers "
        "soldier/soldiers lawyer/lawyers house/houses garden/gardens car/cars book/books "
        "picture/pictures letter/letters table/tables window/windows tree/trees town/towns "
        "river/rivers boat/boats road/roads school/schools story/stories song/songs movie/movies "
        "game/games key/keys apple/apples"
    )
    copulas: tuple[tuple[str, str], ...] = forms("was/were is/are seems/seem looks/look")
    verbs: tuple[tuple[str, str], ...] = forms(
        "sleeps/sleep works/work waits/wait smiles/smile comes/come goes/go stays/stay moves/move"
    )
    saw: tuple[str, ...] = words("saw found liked followed remembered loved noticed helped")
    ate: tuple[str, ...] = words("ate slept ran waited worked sang stopped smiled moved")
    adjectives: tuple[str, ...] = words(
        "old young small big new good happy full strange famous poor quiet beautiful dark"
    )
    adverbs: tuple[str, ...] = words(
        "already often then never always still soon really quickly finally almost once"
    )
    later: tuple[str, ...] = words("yesterday there again quickly slowly outside alone")
    prepositions: tuple[str, ...] = words("of near behind with from by")
    function: tuple[str, ...] = ("the", "which", "that", "and")

    @property
    def size(self) -> int:
        """How many words, both forms of a pair counted as one."""
        return sum(len(getattr(self, field.name)) for field in fields(self))

    def known(self, knows: Callable[[str], bool]) -> Lexicon:
        """What of it is known; of words with two forms, both."""
        kept: dict[str, Any] = {
            field.name: tuple(
                entry
                for entry in getattr(self, field.name)
                if all(map(knows, [entry] if isinstance(entry, str) else entry))
            )
            for field in fields(self)
        }
        return Lexicon(**kept)


class BuiltSentence(NamedTuple):
    """A sentence's parts; `between` may begin and end with commas, `verbs` are (right, wrong)."""

    subject: tuple[str, ...]
    between: tuple[str, ...]
    verbs: tuple[str, str]
    rest: tuple[str, ...]
    construction: str
    plural: bool
    distance: int
    attractors: int
    opposed: int
    """How many attractors are of the other number than the head."""

    def words(self, right: bool = True) -> tuple[str, ...]:
        """Words and commas, without the full stop."""
        return (*self.subject, *self.between, self.verbs[not right], *self.rest)

    @property
    def for_test(self) -> bool:
        """Whether its beginning, up to the verb, is kept for the test."""
        beginning = " ".join(word for word in (*self.subject, *self.between) if word != ",")
        return zlib.crc32(beginning.encode()) % TEST_SHARE == 0


class Plan(NamedTuple):
    """Where extra words go: adverbs before and after each verb, adjectives before each noun."""

    before: list[int]
    after: list[int]
    adjectives: list[int]


class Grammar:
    """Sentences made of a lexicon's words; the same seed draws the same ones.

    Errors: `InputError` where the lexicon has no "the", or no noun or verb in both numbers.
    """

    def __init__(self, lexicon: Lexicon, seed: int) -> None:
        self.lexicon, self.random = lexicon, random.Random(seed)
        self.predicates = [(verb, ()) for verb in lexicon.verbs]
        if lexicon.adjectives:
            self.predicates += [(verb, lexicon.adjectives) for verb in lexicon.copulas]
        if "the" not in lexicon.function or not lexicon.nouns or not self.predicates:
            raise InputError(
                'the vocabulary has too few words for the built-in sentences: "the", and a noun '
                "and a verb in both numbers are needed. Give --pairs FILE."
            )

    def possible(self, distance: int, attractors: int) -> list[str]:
        """The constructions that have so many nouns between head and verb at that distance."""
        words, k, lexicon = distance - 1, attractors, self.lexicon
        found = []
        if k == 0 and words <= min(2, len(lexicon.adverbs)):
            found.append("adverbs")
        if k and lexicon.prepositions and 0 <= words - 3 * k <= k * self.room:
            found.append("phrase")
        chain = k < 2 or bool(lexicon.prepositions)
        fills = {"and"} <= set(lexicon.function) and lexicon.adverbs and lexicon.later
        if fills and "which" in lexicon.function and lexicon.ate and (lexicon.saw or not k):
            found += ["clause"] * (words >= max(2, 3 * k + 1) and chain)
        if fills and "that" in lexicon.function and lexicon.saw and k:
            found += ["object"] * (words >= 3 * k + 1 and chain)
        return found

    def sentence(self, distance: int, attractors: int, plural: bool) -> BuiltSentence:
        """One sentence; the construction is drawn among the possible ones."""
        draw = self.random
        construction = draw.choice(self.possible(distance, attractors))
        numbers = [draw.random() < 0.5 for _ in range(attractors)]
        between = getattr(self, construction)(distance - 1, numbers)
        verb, complements = draw.choice(self.predicates)
        adjectives = self.some(self.lexicon.adjectives, draw.randint(0, self.room))
        return BuiltSentence(
            subject=("the", *adjectives, draw.choice(self.lexicon.nouns)[plural]),
            between=tuple(between),
            verbs=(verb[plural], verb[not plural]),
            rest=(draw.choice(complements),) if complements else (),
            construction=construction,
            plural=plural,
            distance=distance,
            attractors=attractors,
            opposed=sum(number != plural for number in numbers),
        )

    # ---- what stands in between: so many words, among them nouns of these numbers ---------------

    def adverbs(self, words: int, numbers: list[bool]) -> list[str]:
        """ADV*."""
        return self.random.sample(self.lexicon.adverbs, words)

    def phrase(self, words: int, numbers: list[bool]) -> list[str]:
        """(P the A* N)+."""
        plan = self.plan(words - 3 * len(numbers), 0, len(numbers))
        return [self.random.choice(self.lexicon.prepositions), *self.chain(numbers, plan)]

    def clause(self, words: int, numbers: list[bool]) -> list[str]:
        """, which VP (and VP)* , where VP = ADV* V (the A* N (P the A* N)*)? ADV*."""
        draw, lexicon, k = self.random, self.lexicon, len(numbers)
        least = 1 + 3 * k if k else 2
        # nouns in how many groups, each the object of a verb of its own; all but one cost an "and"
        groups = (
            draw.randint(1 if lexicon.prepositions else k, min(k, words - least + 1)) if k else 0
        )
        spare = words - least - max(0, groups - 1)
        extra = self.extra_verbs(spare, max(1, groups), k)
        verbs = max(1, groups) + extra
        plan = self.plan(spare - 2 * extra, verbs, k)
        cuts = [0, *sorted(draw.sample(range(1, k), groups - 1)), k] if k else []
        objects = [numbers[a:b] for a, b in pairwise(cuts)]
        transitive = set(draw.sample(range(verbs), groups))
        said = ["which"]
        for i in range(verbs):
            said += ["and"] * (i > 0) + self.some(lexicon.adverbs, plan.before[i])
            if i in transitive:
                said += [draw.choice(lexicon.saw), *self.chain(objects.pop(0), plan)]
            else:
                said.append(draw.choice(lexicon.ate))
            said += self.some(lexicon.later, plan.after[i])
        return [",", *said, ","]

    def object(self, words: int, numbers: list[bool]) -> list[str]:
        """that the A* N (P the A* N)* ADV* V ADV* (and ADV* V ADV*)*."""
        spare = words - 3 * len(numbers) - 1
        extra = self.extra_verbs(spare, 1, len(numbers))
        plan = self.plan(spare - 2 * extra, 1 + extra, len(numbers))
        said = ["that", *self.chain(numbers, plan)]
        for i in range(1 + extra):
            said += ["and"] * (i > 0) + self.some(self.lexicon.adverbs, plan.before[i])
            said.append(self.random.choice(self.lexicon.saw))
            said += self.some(self.lexicon.later, plan.after[i])
        return said

    # ---- the pieces ------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Adjectives that a noun can take."""
        return min(2, len(self.lexicon.adjectives))

    def extra_verbs(self, spare: int, verbs: int, nouns: int) -> int:
        """How many "and V" go into spare words, so that the rest fits as adverbs and adjectives."""
        return self.random.choice(
            [
                extra
                for extra in range(spare // 2 + 1)
                if spare - 2 * extra <= 2 * (verbs + extra) + self.room * nouns
            ]
        )

    def plan(self, spare: int, verbs: int, nouns: int) -> Plan:
        """Spare words in places drawn at random."""
        plan = Plan([0] * verbs, [0] * verbs, [0] * nouns)
        places = [(part, i) for part in plan[:2] for i in range(verbs)]
        places += [(plan.adjectives, i) for i in range(nouns)] * self.room
        for part, i in self.random.sample(places, spare):
            part[i] += 1
        return plan

    def chain(self, numbers: list[bool], plan: Plan) -> list[str]:
        """the A* N (P the A* N)*; takes its adjectives from the plan."""
        said: list[str] = []
        for i, plural in enumerate(numbers):
            said += [self.random.choice(self.lexicon.prepositions)] if i else []
            said += ["the", *self.some(self.lexicon.adjectives, plan.adjectives.pop(0))]
            said.append(self.random.choice(self.lexicon.nouns)[plural])
        return said

    def some(self, words: tuple[str, ...], count: int) -> list[str]:
        """So many different ones."""
        return self.random.sample(words, count)


def draw_sentences(
    grammar: Grammar, cells: list[tuple[int, int]], count: int, *, for_test: bool
) -> Iterator[BuiltSentence]:
    """`count` sentences for each (distance, attractors), half of them plural; none twice.

    A cell that has fewer gives what it has.
    """
    for distance, attractors in cells:
        for plural in (False, True):
            seen: set[tuple[str, ...]] = set()
            tries = 0
            while len(seen) < (count + (not plural)) // 2 and tries < TRIES:
                sentence = grammar.sentence(distance, attractors, plural)
                tries += 1
                if sentence.for_test == for_test and sentence.words() not in seen:
                    seen.add(sentence.words())
                    tries = 0
                    yield sentence


def corpus(grammar: Grammar, cells: list[tuple[int, int]], count: int) -> Iterator[BuiltSentence]:
    """`count` sentences of the corpus, some perhaps more than once.

    A distance d is drawn as often as 1/d says, since long ones are rare in text too and teach
    nothing before short ones have; then the attractors among those possible, then the number.
    """
    draw = grammar.random
    at: dict[int, list[int]] = {}
    for distance, attractors in cells:
        at.setdefault(distance, []).append(attractors)
    chances = [1 / distance for distance in at]
    for _ in range(count):
        while True:
            (distance,) = draw.choices(list(at), chances)
            sentence = grammar.sentence(distance, draw.choice(at[distance]), draw.random() < 0.5)
            if not sentence.for_test:
                yield sentence
                break


def possible_cells(
    grammar: Grammar, distances: list[int], attractors: list[int]
) -> list[tuple[int, int]]:
    """The (distance, attractors) that the grammar has sentences for; `InputError` if none."""
    cells = [(d, k) for d in distances for k in attractors if grammar.possible(d, k)]
    if not cells:
        raise InputError(
            f"no built-in sentence has {' or '.join(map(str, attractors))} nouns between words "
            f"{min(distances)} to {max(distances)} apart: k attractors need a distance of 3k + 1."
        )
    return cells


def spelled(words: tuple[str, ...], knows: Callable[[str], bool], *, spaced: bool) -> str:
    """A sentence as text: a capital, commas and a full stop where those are known.

    `spaced`: with a space before punctuation, as text that is split at spaces has it.
    """
    first = words[0].capitalize()
    said = [first if knows(first) else words[0], *(w for w in words[1:] if w != "," or knows(","))]
    text = " ".join(said) + (" ." if knows(".") else "")
    return text if spaced else text.replace(" ,", ",").replace(" .", ".")
