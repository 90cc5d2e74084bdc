"""Spans in tags: schemes, repair, and precision, recall and F1 as seqeval has them."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from throughtime.data.spans import (
    SCHEMES,
    Span,
    legal,
    read_spans,
    scheme_of,
    spans_of,
    tag_names,
    tags_of,
)
from throughtime.ground.errors import InputError
from throughtime.metrics.spans import measure_spans

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from seqeval.metrics import classification_report
    from seqeval.metrics.sequence_labeling import get_entities
    from seqeval.scheme import BILOU, IOB2, IOBES, Entities

ANY = st.lists(st.sampled_from(tag_names(["x", "y"], "BIOES")), min_size=1, max_size=12)


@st.composite
def sentences(draw):
    """Spans that do not overlap, and a length."""
    spans, end = [], 0
    for kind in draw(st.lists(st.sampled_from(["x", "y", "z-z"]), max_size=5)):
        start = end + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 3))
        spans.append(Span(kind, start, end))
    return spans, end + draw(st.integers(0, 2))


@given(sentences(), st.sampled_from(SCHEMES))
def test_every_scheme_tells_all_spans(sentence, scheme):
    spans, length = sentence
    tags = tags_of(spans, length, scheme)
    assert spans_of(tags) == spans
    assert read_spans(tags, [""] * length, scheme) == (spans, 0)


def test_the_schemes_by_example():
    spans = [Span("x", 0, 2), Span("x", 2, 3), Span("y", 4, 5), Span("x", 5, 8)]
    assert {s: " ".join(tags_of(spans, 8, s)) for s in SCHEMES} == {
        "IOB1": "I-x I-x B-x O I-y I-x I-x I-x",
        "IOB2": "B-x I-x B-x O B-y B-x I-x I-x",
        "BIOES": "B-x E-x S-x O S-y B-x I-x E-x",
        "BILOU": "B-x L-x U-x O U-y B-x I-x L-x",
        "BMES": "B-x E-x S-x O S-y B-x M-x E-x",
    }
    for scheme in SCHEMES:
        assert scheme_of([tags_of(spans, 8, scheme), ["O"]]) == scheme


def test_what_is_not_of_spans():
    assert scheme_of([["NOUN", "O"]]) is None
    assert scheme_of([["O", "O"], []]) is None
    assert scheme_of([["B-x", "O", "I-x"]]) == "IOB2"  # one that begins inside, repaired


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("stray", ["B-x I-x O", "I-x I-x O", "B-x E-x O S-x"])
def test_the_scheme_of_most_tags_is_the_scheme(scheme, stray):
    spans = [Span("x", 0, 3), Span("x", 3, 4), Span("y", 5, 8)]
    sentences = [tags_of(spans, 9, scheme)] * 10
    assert scheme_of([stray.split(), *sentences, stray.split()]) == scheme


def test_of_schemes_that_fit_alike_the_likely_one_is_taken():
    tags = ["B-x", "E-x", "O", "S-y"]
    assert scheme_of([tags]) == "BIOES"
    assert scheme_of([tags], "BMES") == "BMES"
    assert scheme_of([tags], "IOB2") == "BIOES"


def test_spans_need_no_type():
    words = ["B", "M", "E", "S", "B", "E"]  # words of Chinese, by their characters
    assert scheme_of([words, ["S"]]) == "BMES"
    assert read_spans(words, [""] * 6, "BMES") == (
        [Span("_", 0, 3), Span("_", 3, 4), Span("_", 4, 6)], 0
    )  # fmt: skip
    assert tags_of(spans_of(words), 6, "IOB2") == ["B", "I", "I", "B", "B", "I"]
    assert tag_names(["_", "x"], "IOB2") == ["O", "B", "I", "B-x", "I-x"]
    assert scheme_of([["B", "I", "O", "B"]]) == "IOB2"
    assert scheme_of([["S", "E", "I", "E", "M", "O"]]) is None  # classes of single letters


@given(sentences())
def test_bilou_is_that_of_seqeval(sentence):
    spans, length = sentence
    found = Entities([tags_of(spans, length, "BILOU")], BILOU).entities[0]
    assert [(e.tag, e.start, e.end) for e in found] == spans


def test_a_span_that_begins_inside_is_repaired_and_counted():
    tags = ["O", "I-x", "I-x", "O", "B-x", "I-y"]
    spans, repaired = read_spans(tags, [""] * 6, "IOB2")
    assert tags_of(spans, 6, "IOB2") == ["O", "B-x", "I-x", "O", "B-x", "B-y"]
    assert repaired == 2
    with pytest.raises(InputError, match=r"f:3: expected a tag of IOB2.*got 'E-x'"):
        read_spans(["O", "B-x", "E-x"], ["f:1", "f:2", "f:3"], "IOB2")


@given(ANY)
def test_any_tags_are_read_as_conlleval_does(tags):
    assert [(s.type, s.start, s.end - 1) for s in spans_of(tags)] == get_entities(tags)


@given(st.lists(sentences(), min_size=1, max_size=4), st.data(), st.sampled_from(["IOB2", "BIOES"]))
def test_precision_recall_and_f1_are_those_of_seqeval(true, data, scheme):
    truth, found = [], []
    for spans, length in true:
        truth.append(tags_of(spans, length, scheme))
        kept = [s for s in spans if data.draw(st.booleans())]
        tags = tags_of(kept, length, scheme)
        if tags and tags[-1] == "O" and data.draw(st.booleans()):
            tags[-1] = "B-x" if scheme == "IOB2" else "S-x"
        found.append(tags)
    ours = measure_spans(map(spans_of, truth), map(spans_of, found))
    if not ours.types:
        return
    for mode in ({}, {"mode": "strict", "scheme": IOB2 if scheme == "IOB2" else IOBES}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = classification_report(truth, found, output_dict=True, zero_division=0, **mode)
        micro = theirs["micro avg"]
        assert ours.precision == pytest.approx(micro["precision"], abs=1e-12)
        assert ours.recall == pytest.approx(micro["recall"], abs=1e-12)
        assert ours.f1 == pytest.approx(micro["f1-score"], abs=1e-12)
        assert ours.macro_f1 == pytest.approx(theirs["macro avg"]["f1-score"], abs=1e-12)
        for each in ours.types:
            row = theirs[each["type"]]
            wanted = (row["precision"], row["recall"], row["f1-score"], row["support"])
            found_row = (each["precision"], each["recall"], each["f1"], each["spans"])
            assert found_row == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("scheme", ["IOB2", "BIOES"])
def test_what_is_legal_is_what_the_scheme_writes(scheme):
    names = tag_names(["x", "y"], scheme)
    may = legal(names, scheme)
    for i, a in enumerate(names):
        alone = tags_of(spans_of([a]), 1, scheme) == [a]
        assert alone == (may.start[i] and may.end[i])
        for k, b in enumerate(names):
            inner = [a, b]
            before = [f"B-{a[2:]}"] if a[0] in "IE" else []
            after = [f"E-{b[2:]}"] if b[0] in "BI" and scheme == "BIOES" else []
            tags = [*before, *inner, *after]
            as_written = tags_of(spans_of(tags), len(tags), scheme) == tags
            assert as_written == may.transitions[i, k], (a, b)
