import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from throughtime.config.agreement import numbers
from throughtime.ground.errors import InputError
from throughtime.inspect.agreement.grammar import (
    Grammar,
    Lexicon,
    corpus,
    draw_sentences,
    possible_cells,
    spelled,
)

ALL = Lexicon()
CELLS = possible_cells(Grammar(ALL, 0), list(range(1, 31)), list(range(5)))
SINGULAR, PLURAL = ({pair[n] for pair in ALL.nouns} for n in (0, 1))
VERBS = {pair: n for pair in (*ALL.verbs, *ALL.copulas) for n in (0, 1)}
PRESENT = {form for pair in VERBS for form in pair}


def everything(word):
    return True


@given(cell=st.sampled_from(CELLS), plural=st.booleans(), seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_distance_attractors_and_agreement_are_exact(cell, plural, seed):
    distance, attractors = cell
    sentence = Grammar(ALL, seed).sentence(distance, attractors, plural)
    good, bad = (spelled(sentence.words(right), everything, spaced=True) for right in (True, False))
    # read as words alone, as anybody would: commas do not count, only the verb differs
    good, bad = ([w for w in text.lower().split() if w not in ",."] for text in (good, bad))
    assert len(good) == len(bad)
    (at,) = [t for t, (a, b) in enumerate(zip(good, bad)) if a != b]
    head = next(t for t, word in enumerate(good) if word in SINGULAR | PLURAL)
    assert good[0] == "the"
    assert good[head] in (PLURAL if plural else SINGULAR)
    assert at - head == distance
    between = good[head + 1 : at]
    nouns = [w for w in between if w in SINGULAR | PLURAL]
    assert len(nouns) == attractors
    assert sentence.opposed == sum((w in PLURAL) != plural for w in nouns)
    assert not PRESENT & set(between)  # nothing in between shows the subject's number
    (pair,) = [p for p in (*ALL.verbs, *ALL.copulas) if good[at] in p]
    assert (good[at], bad[at]) == (pair[plural], pair[not plural])


@given(
    kept=st.sets(st.sampled_from(sorted({w for f in vars(ALL).values() for e in f for w in
                                         ([e] if isinstance(e, str) else e)})), min_size=60),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_any_vocabulary_gives_exact_sentences_of_its_own_words_or_a_reason(kept, seed):
    lexicon = ALL.known(kept.__contains__)
    if "the" not in kept or not lexicon.nouns:
        with pytest.raises(InputError, match="too few words"):
            Grammar(lexicon, seed)
        return
    assume(lexicon.verbs)
    grammar = Grammar(lexicon, seed)
    cells = possible_cells(grammar, list(range(1, 31)), list(range(5)))
    for distance, attractors in cells[:: max(1, len(cells) // 10)]:
        sentence = grammar.sentence(distance, attractors, True)
        said = [w for w in (*sentence.words(), sentence.verbs[1]) if w != ","]
        assert set(said) <= kept
        assert len([w for w in sentence.between if w != ","]) == distance - 1


def test_every_cell_that_can_be_is_there():
    assert [(d, k) for d in range(1, 31) for k in range(5) if d >= (3 * k + 1 if k else 1)] == CELLS


def test_attractors_are_of_either_number_as_often_and_no_sentence_is_on_both_sides():
    grammar = Grammar(ALL, 3)
    test = list(draw_sentences(grammar, [(1, 0), (12, 3), (20, 2)], 60, for_test=True))
    assert len(test) == len({s.words() for s in test}) == 180
    assert sum(s.plural for s in test) == 90
    train = list(corpus(Grammar(ALL, 4), CELLS, 3000))
    beginnings = [{(*s.subject, *s.between) for s in side} for side in (test, train)]
    assert not beginnings[0] & beginnings[1]
    assert all(s.for_test for s in test)
    several = [s for s in train if s.attractors]
    share = sum(s.opposed for s in several) / sum(s.attractors for s in several)
    assert share == pytest.approx(0.5, abs=0.04)  # four deviations
    assert sum(s.plural for s in train) / 3000 == pytest.approx(0.5, abs=0.04)
    assert {s.distance for s in train} == set(range(1, 31))


def test_the_same_seed_gives_the_same_sentences():
    def drawn(seed):
        return [s.words() for s in draw_sentences(Grammar(ALL, seed), CELLS, 1, for_test=True)]

    assert drawn(5) == drawn(5) != drawn(6)


def test_spelling():
    words = ("the", "cat", ",", "which", "ate", ",", "sleeps")
    assert spelled(words, everything, spaced=False) == "The cat, which ate, sleeps."
    assert spelled(words, everything, spaced=True) == "The cat , which ate , sleeps ."
    lower = spelled(words, lambda w: w.islower(), spaced=True)
    assert lower == "the cat which ate sleeps"


def test_a_cell_with_few_sentences_gives_what_it_has():
    few = Lexicon(
        nouns=(("cat", "cats"),), copulas=(), verbs=(("sleeps", "sleep"),),
        saw=(), ate=(), adjectives=(), adverbs=("often", "soon"), later=(), prepositions=(),
        function=("the",),
    )  # fmt: skip
    grammar = Grammar(few, 1)
    cells = possible_cells(grammar, [1, 2, 3, 4], [0, 1])
    assert cells == [(1, 0), (2, 0), (3, 0)]
    found = [
        s.words()
        for side in (True, False)
        for s in draw_sentences(grammar, cells, 50, for_test=side)
    ]
    assert len(found) == len(set(found)) == 2 * (1 + 2 + 2)


def test_numbers():
    assert numbers("d", "1-3,8", 1, 30) == [1, 2, 3, 8]
    for wrong in ("0-3", "5-2", "", "a", "1-31", "3-"):
        with pytest.raises(InputError, match="from 1 to 30"):
            numbers("d", wrong, 1, 30)
    with pytest.raises(InputError, match="3k \\+ 1"):
        possible_cells(Grammar(ALL, 0), [3], [1])
    with pytest.raises(InputError, match="too few words"):
        Grammar(ALL.known(lambda w: w != "the"), 1)
