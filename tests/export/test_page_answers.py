"""The page's program in node: tags, numbers, forecasts, translations, piano rolls, tunes."""

import json
from fractions import Fraction

import numpy as np
import pytest

import throughtime as tt
from browsing import core, in_node, needs_node
from exporting import (
    FORECASTS,
    TRANSLATIONS,
    classifier,
    forecaster,
    frames,
    language,
    off,
    regressor,
    step_tagger,
    tagger,
    translator,
)  # fmt: skip
from throughtime.export.answers import Translating, forecast, scores, tags
from throughtime.export.reference import Reference
from throughtime.music import abc

pytestmark = needs_node
BOUND = 2e-5
SENTENCE = [(4, [5, 6, 7]), (1, [8]), (5, []), (9, [4, 4, 9, 12, 3]), (4, [5, 6, 7])]
NUMBERS = np.random.default_rng(0).normal(size=(11, 3)) * 2.5 + 3


def of(exported, expression, given):
    """The value of an expression of `c`, the page's program, and of `given`."""
    program = f"const c = {core(exported)}, given = {json.dumps(given)};"
    program += "const list = (y) => Array.from(y);"
    return in_node(program + f"console.log(JSON.stringify({expression}))")


@pytest.mark.parametrize("characters", ["recurrent", "convolutional", "none"])
@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_tags_of_words(characters, head):
    _, exported = tagger(characters=characters, head=head, both=characters != "none")
    given = SENTENCE if characters != "none" else [word for word, _ in SENTENCE]
    said = (
        "[c.tagsOf(c.model, given), c.tagsOf(c.model, []), c.model.each(given).map((y) => [...y])]"
    )
    made, nothing, found = of(exported, said, given)
    assert made == tags(Reference(exported.outline), given)
    assert nothing == []
    assert off(found, scores(Reference(exported.outline), given)) <= BOUND


def test_a_chain_of_tags_is_the_best_of_all():
    _, exported = tagger(characters="none", head="crf")
    given = [[4, 5, 9], [7], [4, 4, 4, 8, 9, 10, 11, 4, 5]]
    made = of(exported, "given.map((one) => c.tagsOf(c.model, one))", given)
    assert made == [tags(Reference(exported.outline), one) for one in given]


@pytest.mark.parametrize(
    "make",
    [
        lambda: classifier(tt.LSTM(), 3),
        lambda: regressor(both=True),
        lambda: regressor(loss="quantiles"),
    ],
    ids=["label", "numbers", "quantiles"],
)
def test_numbers_are_read(make):
    _, exported = make()
    made = of(exported, "Array.from(c.model.result(given))", NUMBERS.tolist())
    assert off(made, Reference(exported.outline).result(NUMBERS)) <= BOUND


@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_tags_of_steps(head):
    _, exported = step_tagger(head=head)
    made = of(exported, "c.tagsOf(c.model, given)", NUMBERS.tolist())
    assert made == tags(Reference(exported.outline), NUMBERS)


@pytest.mark.parametrize("name", FORECASTS)
def test_forecasts(name):
    _, exported = forecaster(**FORECASTS[name])
    about, random = exported.outline.window, np.random.default_rng(0)
    past = random.normal(size=(8, about.targets + about.observed))
    known = random.normal(size=(8 + 3, about.known))
    made = of(exported, "c.forecastOf(c.model, ...given)", [past.tolist(), known.tolist()])
    assert off(made, forecast(Reference(exported.outline), past, known)) <= BOUND


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_translations(name):
    _, exported = translator(**TRANSLATIONS[name])
    source, tokens = [4, 7, 7, 5, 9, 6], [2, 5, 8, 5]
    said = (
        "(() => { const t = new c.Translating(c.model, given[0]);"
        "const never = new Set(c.spec.never), again = new c.Translating(c.model, given[0]);"
        "return [given[1].map((id) => Array.from(t.step(id))),"
        "again.greedy(2, 9, 3, never).map((one) => one[0])]; })()"
    )
    steps, greedy = of(exported, said, [source, tokens])
    written = Translating(Reference(exported.outline), source)
    assert off(steps, np.array([written.step(token) for token in tokens])) <= BOUND
    again = Translating(Reference(exported.outline), source)
    assert [id for id in greedy if id != 3] == again.greedy(2, 9, 3, (0, 2))


def test_frames_of_keys():
    _, exported = frames()
    given = (np.random.default_rng(0).random((7, 88)) < 0.1).astype(float)
    said = "((s) => given.map((x) => list(c.model.step(x, s))))(c.model.begin(null))"
    made = of(exported, said, given.tolist())
    assert off(made, np.array(list(Reference(exported.outline).run(given)))) <= BOUND


# ---- music ---------------------------------------------------------------------------------------

TUNE = "M:6/8\nL:1/8\nQ:3/8=100\nK:D\n"


def scored(text):
    return of(language(tt.RNN())[1], "c.scoreOfAbc(given)", text)


@pytest.mark.parametrize(
    ("music", "right"),
    [
        ("A2B c3|", [(69, 0, 1), (71, 1, 0.5), (73, 1.5, 1.5)]),  # K:D sharpens c
        ("=c^c _B|B", [(72, 0, 0.5), (73, 0.5, 0.5), (70, 1, 0.5), (71, 1.5, 0.5)]),
        ("A,a'|", [(57, 0, 0.5), (93, 0.5, 0.5)]),
        ("A>B A<B|", [(69, 0, 0.75), (71, 0.75, 0.25), (69, 1, 0.25), (71, 1.25, 0.75)]),
        ("(3ABA B|", [(69, 0, 1 / 3), (71, 1 / 3, 1 / 3), (69, 2 / 3, 1 / 3), (71, 1, 0.5)]),
        ("[DA]2 z A/|", [(62, 0, 1), (69, 0, 1), (69, 1.5, 0.25)]),
        ("A3-|A2 B|", [(69, 0, 2.5), (71, 2.5, 0.5)]),
        ('"Am"A {g}B !trill!A [M:3/4]|', [(69, 0, 0.5), (71, 0.5, 0.5), (69, 1, 0.5)]),
        ("[K:F]B [L:1/4]B|", [(70, 0, 0.5), (70, 0.5, 1)]),
    ],
)  # fmt: skip
def test_notes_of_abc(music, right):
    found = [(n["pitch"], n["start"], n["length"]) for n in scored(TUNE + music)["notes"]]
    assert np.allclose(sorted(found), sorted(right))


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("A3|B3|c3|", [0, 1, 2]),
        ("|:A3|B3:|c3|", [0, 1, 0, 1, 2]),
        ("A3|B3:|c3:|", [0, 1, 0, 1, 2, 2]),
        ("|:A3|[1B3:|[2c3||d3|", [0, 1, 0, 2, 3]),
        ("|:A3|1B3:|2c3:|:d3:|", [0, 1, 0, 2, 3, 3]),
        ("A3|:B3::c3:|", [0, 1, 1, 2, 2]),
    ],
)
def test_repeats_are_played(music, order):
    played = scored(TUNE + music)["order"]
    assert [round(begin / 1.5) for begin, _ in played] == order


def test_what_a_tune_says_of_itself():
    score = scored(TUNE + "V:1\nA3|\nV:2\nD3|\n")
    assert (score["tempo"], score["metre"], score["key"]) == (150, "6/8", "D")
    assert {(n["pitch"], n["voice"], n["start"]) for n in score["notes"]} == {
        (69, 0, 0),
        (62, 1, 0),
    }


def test_lengths_of_tunes_are_those_of_the_parser():
    tune = TUNE + 'f|"A"ecc c2f|d/2c/2B>A (3fed|[1a2:|\n[2ag=g||\nK:G\n"G"d2d {a}G3|z6|[GB]2 A4|]\n'
    bars = abc.parse(abc.read_tune(f"X:1\n{tune}")).voices[""]
    score = scored(tune)
    starts = np.cumsum([0, *(float(4 * bar.length / Fraction(1)) for bar in bars)])
    assert np.allclose(score["bars"], starts[:-1])
    assert abs(score["length"] - starts[-1]) < 1e-9


EVENTS = """Bar_None TimeSig_3/4 Position_0 Tempo_90.0 Program_0 Pitch_60 Velocity_79 Duration_1.0.8
Position_4 Program_5 Pitch_64 Velocity_79 Duration_0.4.8 Bar_None Position_8 Program_0 Pitch_62
Velocity_79 Duration_2.0.4"""


def test_events_are_notes():
    words = EVENTS.split()
    score = of(language(tt.RNN())[1], "c.scoreOfEvents(given)", words)
    found = [(n["pitch"], n["start"], n["length"], n["voice"]) for n in score["notes"]]
    assert found == [(60, 0, 1, 0), (64, 0.5, 0.5, 1), (62, 4, 2, 0)]
    assert (score["bars"], score["tempo"]) == ([0, 3], 90)
