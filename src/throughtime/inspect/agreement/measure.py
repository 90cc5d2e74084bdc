"""The agreement test of a language model: which pairs, their scores, the n-gram beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...config.agreement import (
    FARTHEST,
    MOST_ATTRACTORS,
    AgreementOptions,
    CorpusOptions,
    GrammarOptions,
    numbers,
)
from ...config.located import lost
from ...data import corpus as corpora
from ...data.vocabulary import EOS, UNK
from ...ground import terminal
from ...ground.errors import InputError
from ...ground.wording import plural
from ...models.language import LanguageModel
from ...ngram import WittenBell, largest_order
from ...tasks import entry, name_of
from .grammar import (
    TEST_SHARE,
    BuiltSentence,
    Grammar,
    Lexicon,
    corpus,
    draw_sentences,
    possible_cells,
    spelled,
)
from .pair import Pair
from .pairs import read_pairs
from .results import Agreement
from .scoring import Distinct, PairReader, model_scores, ngram_scores

ITEMS = 25
"""Built-in sentences for each distance and number of attractors."""

ORDER = 5
"""Of the n-gram, where the vocabulary allows."""


def measure(task: Any, model: LanguageModel, options: AgreementOptions) -> Agreement:
    """How often the model finds the good version of a pair the more probable one.

    Errors: `InputError` for a model that is no language model, files without pairs, pairs of which
    the vocabulary knows no word, and a lexicon too small for the built-in sentences.
    """
    if not task.judges_sentences:
        raise InputError(
            f"agreement needs a language model (throughtime train lm); this is "
            f"{entry(name_of(task.config)).noun}."
        )
    pairs, source = file_pairs(options) if options.pairs else built_in_pairs(task, options)
    reader = PairReader(task, options.scoring, options.end, not options.no_eos)
    both = [reader.readings(pair) for pair in pairs]
    readings = Distinct([reading for pair in both for reading in pair], reader.word_ends)
    opening = len(task.opening())
    known = [[i != UNK for i in reading.ids[opening:]] for reading in readings.readings]
    if not any(i not in (UNK, EOS) for r in readings.readings for i in r.ids[opening:]):
        raise InputError(
            f"the model's vocabulary knows no word of {plural(len(pairs), 'pair')}, as in "
            f"{pairs[0].good!r}. Are they in the language and the spelling it was trained on?"
        )
    index = readings.index.reshape(-1, 2)
    covered = np.array([all(ids) for ids in known])
    whole = covered[index[:, 0]] & covered[index[:, 1]]
    if not whole.any():
        terminal.warn(
            f"of {plural(len(pairs), 'pair')} none has all its words in the vocabulary: the "
            "accuracy says little about the model."
        )
    counts = count_ngrams(task, options.ngram)
    scores = model_scores(model, task.vocabulary, readings)
    return Agreement(
        pairs=pairs,
        model=scores[index],
        ngram=ngram_scores(counts, task.vocabulary, readings)[index] if counts else None,
        covered=whole,
        same=index[:, 0] == index[:, 1],
        source=source,
        scoring=options.scoring,
        ends=said_ends(reader),
        order=counts.order if counts else 0,
        beyond=sum(beyond_target(pair) for pair in pairs) if options.scoring == "target" else 0,
    )


def file_pairs(options: AgreementOptions) -> tuple[list[Pair], str]:
    """The pairs of the files; of each construction `items` at most, drawn."""
    read = read_pairs(options.pairs, options.form, options.max_bytes)
    pairs = read.pairs
    total = len(pairs)
    if options.items:
        kept: dict[str, list[int]] = {}
        order = list(range(total))
        random.Random(options.seed).shuffle(order)
        for i in order:
            chosen = kept.setdefault(pairs[i].construction, [])
            if len(chosen) < options.items:
                chosen.append(i)
        pairs = [pairs[i] for i in sorted(i for chosen in kept.values() for i in chosen)]
    source = f"{', '.join(options.pairs)}, read as {' and '.join(read.forms)}"
    if len(pairs) < total:
        source += f" ({total:,} pairs, of each construction {options.items} at most, drawn)"
    if read.identical:
        source += f"; left out, both sentences the same: {plural(read.identical, 'pair')}"
    return pairs, source


def built_in_pairs(task: Any, options: AgreementOptions) -> tuple[list[Pair], str]:
    """Test items of the grammar, of the words that the vocabulary has."""
    vocabulary = task.vocabulary

    def knows(word: str) -> bool:
        ids = vocabulary.encode(word)
        return bool(len(ids)) and UNK not in ids

    everything = Lexicon()
    lexicon = everything.known(knows)
    grammar = Grammar(lexicon, options.seed)
    cells = asked_cells(grammar, options)
    count = options.items or ITEMS
    drawn = list(draw_sentences(grammar, cells, count, for_test=True))
    if not drawn:
        raise InputError("the vocabulary has too few words for built-in sentences of that kind.")
    if len(drawn) < count * len(cells):
        terminal.warn(
            f"{len(drawn):,} built-in sentences instead of {count * len(cells):,}: there are no "
            "more of some kinds with the words that the vocabulary has."
        )
    spaced = task.config.level == "word"
    pairs = [as_pair(s, [spelled(s.words(r), knows, spaced=spaced) for r in (True, False)])
             for s in drawn]  # fmt: skip
    missing = everything.size - lexicon.size
    unknown = f", without {missing} of its {everything.size} words" if missing else ""
    return pairs, (
        f"built-in sentences, distance {options.distances}, attractors {options.attractors}, seed "
        f"{options.seed}{unknown}"
    )


def as_pair(sentence: BuiltSentence, texts: Sequence[str]) -> Pair:
    """A sentence of the grammar as an item."""
    return Pair(
        *texts,
        construction=sentence.construction,
        condition="plural" if sentence.plural else "singular",
        distance=sentence.distance,
        attractors=sentence.attractors,
        opposed=sentence.opposed,
    )


def asked_cells(grammar: Grammar, options: GrammarOptions) -> list[tuple[int, int]]:
    """The distances and attractors that the options ask for and the grammar has."""
    return possible_cells(
        grammar,
        numbers("distances", options.distances, 1, FARTHEST),
        numbers("attractors", options.attractors, 0, MOST_ATTRACTORS),
    )


def write_corpus(file: Any, options: CorpusOptions) -> str:
    """A training text of the grammar, one sentence a line; says in a line what it holds."""
    grammar = Grammar(Lexicon(), options.seed)
    cells = asked_cells(grammar, options)
    words = 0
    with terminal.progress("writing sentences", options.sentences) as advance:
        for sentence in corpus(grammar, cells, options.sentences):
            print(spelled(sentence.words(), lambda word: True, spaced=False), file=file)
            words += sum(word != "," for word in sentence.words())
            advance(1)
    return (
        f"{options.sentences:,} sentences, {words:,} words; distance {options.distances}, "
        f"drawn as 1/d, attractors {options.attractors}, seed {options.seed}; "
        f"one beginning in {TEST_SHARE} is kept for the test"
    )


def count_ngrams(task: Any, order: int | None) -> WittenBell | None:
    """The n-gram model of the run's training text; None where none is asked for or can be."""
    if order == 0:
        return None
    V = len(task.vocabulary)
    try:
        if said := lost(task.config.train):
            raise InputError(f"{said}.")
        train, _ = task.texts()
        ids = corpora.encode(train, task.vocabulary, task.config.data.eos).ids
        with terminal.progress("counting n-grams", 1) as advance:
            chosen = order or max(1, min(ORDER, largest_order(V), len(ids)))
            counts = WittenBell(np.asarray(ids, np.int64), chosen, V)
            advance(1)
        return counts
    except InputError as error:
        if order:
            raise InputError(f"--ngram {order}: {error}") from error
        terminal.warn(f"no n-gram beside the model: {error}")
        return None


def said_ends(reader: PairReader) -> str:
    """What counts besides the words, as the report says it."""
    if reader.scoring == "target":
        return ", the end of the word included" if reader.word_ends else ""
    end = reader.line_end() if reader.eos else []
    names = {True: ", <eos> counted", False: ", the line's end counted"}
    said = names[reader.task.config.data.eos == "line"] if end else ", no end of a line counted"
    return said + (f", {reader.final!r} put at ends without punctuation" if reader.final else "")


def beyond_target(pair: Pair) -> bool:
    """Whether the two versions differ in more than the word that target scoring looks at."""
    if pair.choice:
        return False
    prefix, *words = pair.target()
    t = len(prefix.split())
    return pair.good.split()[t + 1 :] != pair.bad.split()[t + 1 :] or "" in words
