"""Pages as a reader has them: opened in chromium, typed into, looked at."""

import json
from dataclasses import replace

import pytest

import throughtime as tt
from browsing import Browser, needs_chromium
from exporting import (
    ModelConfig,
    classifier,
    conditional,
    forecaster,
    frames,
    language,
    randomised,
    regressor,
    step_tagger,
    tagger,
    translator,
)  # fmt: skip
from throughtime.data.conditions import Choice, Conditions, Numbers
from throughtime.data.vocabulary import Vocabulary
from throughtime.decoding import Sampling, Start, Writer
from throughtime.export import page
from throughtime.models.language import LanguageModel
from throughtime.tasks.exported import Exported

pytestmark = needs_chromium
HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\u2028", "&lt;"]
AREA = "document.querySelector('textarea')"
STATUS = "document.querySelector('[role=status]').textContent"


@pytest.fixture(scope="module")
def browser():
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens the page of a model; at the end nothing was asked for, and nothing complained."""

    def opens(exported, **window):
        path = tmp_path / "page.html"
        path.write_text(page.file(exported, "m", "float32", "A model"), encoding="utf-8")
        browser.open(path, **window)
        return browser

    yield opens
    assert browser.outside() == []
    assert browser.said == []


def set_to(browser, label, value):
    """A field by its label."""
    browser.run(
        "(() => { const l = [...document.querySelectorAll('label')].find((l) => "
        f"l.textContent.startsWith({json.dumps(label)})), i = document.getElementById(l.htmlFor);"
        f"i.value = {json.dumps(str(value))}; i.dispatchEvent(new Event('input')); "
        "i.dispatchEvent(new Event('change')); })()"
    )


def written(browser, count):
    browser.click("Write")
    browser.wait(f"{STATUS}.startsWith('{count} tokens')")
    return browser.run(f"{AREA}.value")


def test_it_writes_what_generate_writes(show):
    model, exported = language(tt.LSTM())
    browser = show(exported)
    browser.type("textarea", "The cat")
    set_to(browser, "Temperature", 0)
    set_to(browser, "Tokens to write", 120)
    v = exported.vocabulary
    ids = [*exported.opening, *v.encode("The cat").tolist()]
    writer = Writer(model, [Start(ids)], Sampling(0.0, forbidden=tuple(exported.never)), 0)
    assert written(browser, 120) == "The cat" + v.decode(writer.step()[0] for _ in range(120))
    browser.click("Undo")
    assert browser.run(f"{AREA}.value") == "The cat"
    set_to(browser, "Temperature", 1)
    set_to(browser, "Seed", 11)
    writer = Writer(model, [Start(ids)], Sampling(1.0, forbidden=tuple(exported.never)), 11)
    assert written(browser, 120) == "The cat" + v.decode(writer.step()[0] for _ in range(120))
    browser.click("Another")
    browser.wait(f"{STATUS}.startsWith('120 tokens')")
    writer = Writer(model, [Start(ids, 1)], Sampling(1.0, forbidden=tuple(exported.never)), 11)
    right = "The cat" + v.decode(writer.step()[0] for _ in range(120))
    assert browser.run(f"{AREA}.value") == right


def test_another_token_is_taken_at_the_cursor(show):
    browser = show(language(tt.GRU())[1])
    browser.type("textarea", "The cat was")
    browser.run(f"{AREA}.setSelectionRange(3, 3); {AREA}.dispatchEvent(new Event('select'))")
    browser.wait("document.querySelector('.chances button') !== null")
    browser.wait("document.querySelector('main').textContent.includes('At the cursor:')")
    label = browser.run("document.querySelectorAll('.chances .says')[1].textContent")
    browser.run("document.querySelectorAll('.chances button')[1].click()")
    value = browser.run(f"{AREA}.value")
    assert len(value) == 4
    assert value.startswith("The")
    assert value[3] in (label, " ", "\n")
    browser.click("Undo")
    assert browser.run(f"{AREA}.value") == "The cat was"


def test_a_hostile_vocabulary_is_text(show):
    v = Vocabulary.of_counts(dict.fromkeys(HOSTILE, 2) | {"a": 1}, "word")
    config = ModelConfig(hidden_size=9, embedding_size=5)
    model = randomised(LanguageModel(tt.RNN(), len(v), config))
    browser = show(Exported(model.outline(), "token", v, opening=(2,), never=(0, 2)))
    browser.wait("document.querySelectorAll('.chances button').length >= 5")
    says = browser.run("[...document.querySelectorAll('.says')].map((s) => s.textContent)")
    assert set(HOSTILE) <= set(says)
    assert browser.run("document.querySelectorAll('img').length") == 0
    browser.type("textarea", " ".join(HOSTILE))
    written(browser, 500)


def test_labels_follow_what_is_typed(show):
    browser = show(classifier(tt.LSTM(), bidirectional=True)[1])
    assert "Nothing to label" in browser.run("document.querySelector('main').innerText")
    browser.type("textarea", "The dog")
    browser.wait("document.querySelectorAll('.chances li').length === 3")
    assert 'a "quoted"' in browser.run("document.querySelector('.chances').innerText")


def test_conditions_are_chosen(show):
    kinds = {"form": Choice(("a", "<b>")), "numbers": Numbers((0.0, 1.0, 2.0), (1.0, 2.0, 3.0))}
    known = vars(conditional(tt.GRU())[1])
    exported = Exported(**{**known, "conditions": Conditions(kinds, {("a",): 2, ("<b>",): 1})})
    browser = show(exported, width=390, height=800, dark=True)
    set_to(browser, "form", 1)
    set_to(browser, "numbers", "1, 2, 3")
    browser.type("textarea", "The")
    browser.click("Write")
    browser.wait(f"{STATUS}.includes('characters a second')")
    assert browser.run(f"{AREA}.value").startswith("The")


@pytest.mark.parametrize("dark", [False, True])
def test_narrow_screens_hold_it_and_all_has_a_name(show, dark):
    for exported in (language(tt.LSTM())[1], classifier(tt.LSTM())[1]):
        browser = show(exported, width=390, height=800, dark=dark)
        assert browser.overflow() <= 0
        nameless = (
            "[...document.querySelectorAll('input, select, textarea, button')].filter((e) => "
            "!(e.labels && e.labels.length) && !e.textContent && !e.ariaLabel).length"
        )
        assert browser.run(nameless) == 0
        colour = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(20, 23, 26)") == dark


# ---- the other tasks -----------------------------------------------------------------------------


def text_of(browser, selector="main"):
    return browser.run(f"document.querySelector({json.dumps(selector)}).innerText")


def rows(count, columns):
    return "\n".join(
        ", ".join(f"{(t * 7 + c) % 5:.1f}" for c in range(columns)) for t in range(count)
    )


def test_spans_are_drawn_as_they_are_typed(show):
    browser = show(tagger(head="crf")[1])
    assert "It knows: x, y" in text_of(browser)
    browser.type("textarea", "The cat , which\nÄrger <b>")
    browser.wait("document.querySelectorAll('.spans > div').length === 2")
    assert text_of(browser, ".spans").replace("\n", " ").count("Ärger") == 1
    assert browser.run("document.querySelectorAll('.spans b').length") == 0


@pytest.mark.parametrize("make", [lambda: classifier(tt.LSTM(), 3), regressor, step_tagger])
def test_numbers_are_pasted(show, make):
    browser = show(make()[1], width=390, height=800)
    browser.type("textarea", rows(6, 3))
    browser.wait(f"{STATUS} === '6 steps'")
    assert browser.run("document.querySelectorAll('.chances li, td').length") >= 2
    browser.type("textarea", "\n1, two")
    browser.wait(f"{STATUS}.startsWith('Line 7: expected 3 numbers')")
    assert browser.overflow() <= 0


def test_numbers_are_drawn(show):
    browser = show(classifier(tt.LSTM(), 3)[1])
    browser.run("document.querySelector('details').open = true")
    box = browser.run(
        "(({x, y}) => [x, y])(document.querySelector('canvas').getBoundingClientRect())"
    )
    for kind, x in (("mousePressed", 30), ("mouseMoved", 90), ("mouseReleased", 90)):
        browser.ask(
            "Input.dispatchMouseEvent", type=kind, x=box[0] + x, y=box[1] + 50, button="left",
            buttons=1, clickCount=1,
        )  # fmt: skip
    browser.wait(f"{STATUS} === '60 steps'")
    assert browser.run("document.querySelectorAll('.chances li').length") == 3


def test_a_forecast_is_drawn(show):
    _, exported = forecaster(output="quantiles", observed=1, calendar=(1.0,))
    browser = show(exported, width=390, height=800, dark=True)
    browser.type("textarea", rows(9, 5))
    browser.run("document.querySelectorAll('textarea')[1].focus()")
    browser.ask("Input.insertText", text=rows(3, 2))
    browser.wait("document.querySelectorAll('svg polyline').length === 4")
    assert text_of(browser, "table").count("+") == 3
    assert browser.overflow() <= 0
    set_to(browser, "When the first line was", "")
    browser.wait(f"{STATUS} === 'When was the first line?'")
    assert browser.run("document.querySelectorAll('svg polyline').length") == 0


def test_a_translation_comes_with_its_alignment(show):
    browser = show(translator()[1])
    browser.type("textarea", "The cat")
    browser.wait("document.querySelectorAll('.align thead th').length === 7")
    assert "Nothing to translate" not in text_of(browser)


def test_tunes_are_drawn_and_played(show):
    _, exported = language(tt.GRU())
    browser = show(replace(exported, form="abc"))
    browser.type("textarea", "M:6/8\nK:D\n|:d2A f3|[1 D6:|[2 [DF]6|]\n")
    browser.wait("document.querySelectorAll('svg .note').length === 6")
    assert "6 notes, 3 bars, metre 6/8, key D" in text_of(browser)
    set_to(browser, "Tempo", 400)
    browser.click("Play")
    browser.wait("document.querySelector('.cursor').getAttribute('visibility') === 'visible'")
    browser.wait("document.querySelector('.cursor').getAttribute('visibility') === 'hidden'")
    browser.type("textarea", "=C,,,,, |]\n")
    browser.wait("document.querySelectorAll('svg .note').length === 7")
    assert browser.said == []


def test_piano_rolls_are_written_and_played(show):
    browser = show(frames()[1], width=390, height=800)
    set_to(browser, "Frames", 40)
    browser.click("Write")
    browser.wait(f"{STATUS} === '40 frames.'")
    assert browser.run("document.querySelectorAll('svg .note').length") > 40
    assert browser.overflow() <= 0
    browser.click("Play")
    browser.wait("document.querySelector('.cursor').getAttribute('visibility') === 'visible'")
    browser.click("Stop playing")
