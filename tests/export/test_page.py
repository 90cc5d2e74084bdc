"""The page's program in node: every cell, whole sequences, text, chance; and what the file is."""

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import throughtime as tt
from browsing import core, in_node, needs_node
from cases import ALL_CELLS
from exporting import TEXT, classifier, conditional, language, off, randomised, vocabulary
from throughtime import export
from throughtime.cells.zoo import ZOO
from throughtime.config import ModelConfig
from throughtime.data.vocabulary import Vocabulary
from throughtime.decoding import Sampling, Start, Writer
from throughtime.export import page
from throughtime.export.lowering import lowered
from throughtime.export.reference import Reference
from throughtime.ground import chance
from throughtime.ground.errors import InputError
from throughtime.models.language import LanguageModel
from throughtime.tasks.exported import Exported

BOUND = 2e-5
TOKENS = [2, *(4 + i % 20 for i in range(29))]
STEPS = """(c, tokens, v) => {
  const state = c.model.begin(v);
  return tokens.map((t) => Array.from(c.model.step(t, state)));
}"""
TRICKY = [
    TEXT, "", " ", "\n\n a  b\t\tc \n", "Zoë's naïve café — don't!", "\u2028x\u00a0y\u0085z\ufeff",
    "\r\nA\rB",
    "<unk> <eos> <pad>", "日本語 123 ½ a_b ٣", "😀👩‍👩‍👧 e\u0301", "</script><!--", "…'ll ''s  'S",
]  # fmt: skip


def each(programs):
    """What several programs say, in one process."""
    return in_node(f"console.log(JSON.stringify([{', '.join(programs)}]))")


def stepped(exported, precision="float32", v=None, tokens=TOKENS):
    """A program that reads tokens, step by step."""
    return f"({STEPS})({core(exported, precision)}, {json.dumps(tokens)}, {json.dumps(v)})"


def agree(models):
    """Pages of models against the float64 reference."""
    found = each([stepped(exported) for exported in models])
    for made, exported in zip(found, models, strict=True):
        right = np.array(list(Reference(exported.outline).run(TOKENS)))
        assert off(made, right) <= BOUND, exported.outline.layers[0].scans[0].cell


@needs_node
def test_steps_of_every_cell():
    stacks = [(tt.GRU(), tt.zoo.RHN(), tt.LSTM()), tt.zoo.LSTMP()]
    models = [language(cell)[1] for cell in ALL_CELLS]
    models += [language(stacks[0], hidden_size=[8, 6, 7])[1], language(stacks[1])[1]]
    models += [language(tt.LSTM(), num_layers=3, skips=True, embedding_size=9, tied=True)[1]]
    agree(models)


@needs_node
@pytest.mark.slow
def test_steps_of_the_zoo():
    agree([language(cell(), embedding_size=9)[1] for cell in ZOO.values()])


@needs_node
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_stored_precision_is_the_model_of_the_rounded_weights(precision):
    (folded, apart) = (language(tt.LSTM(), embedding_size=n)[1] for n in (40, 5))
    for exported, made in zip(
        (folded, apart), each([stepped(one, precision) for one in (folded, apart)]), strict=True
    ):
        right, whole = (
            np.array(list(Reference(lowered(exported.outline, one).outline).run(TOKENS)))
            for one in (precision, "float32")
        )
        assert off(made, right) <= BOUND
        assert off(made, whole) > BOUND


def test_what_float16_cannot_hold_is_refused():
    outline = language(tt.RNN())[1].outline
    *maps, last = outline.outputs
    large = replace(last, W=1e6 * last.W)
    with pytest.raises(InputError, match="65504"):
        lowered(replace(outline, outputs=(*maps, large)), "float16")


@needs_node
def test_conditions_begin_a_sequence():
    v = [0.5, -1.0, 0.0, 1.0, 0.0]
    models = [conditional(tt.LSTM(), condition_joins=how)[1] for how in ("state", "input", "both")]
    for made, exported in zip(each([stepped(e, v=v) for e in models]), models, strict=True):
        right = np.array(list(Reference(exported.outline, np.array(v)).run(TOKENS)))
        assert off(made, right) <= BOUND


@needs_node
def test_whole_sequences_in_both_directions_however_they_are_pooled():
    kinds = ["last", "mean", "max", "attention"]
    models = [
        classifier(tt.GRU(), pooling=kind, bidirectional=both, num_layers=2)[1]
        for kind in kinds
        for both in (False, True)
    ]
    program = "((c) => [[], {t}].map((s) => Array.from(c.softmax(c.model.result(s)))))({core})"
    tokens = [4, 9, 5, 1, 20]
    found = each([program.replace("{t}", str(tokens)).replace("{core}", core(e)) for e in models])
    for made, exported in zip(found, models, strict=True):
        right = [Reference(exported.outline).whole(some) for some in ([], tokens)]
        assert off(made, np.array(right)) <= BOUND


# ---- text and chance -----------------------------------------------------------------------------


TAKEN_APART = """
const v = new c.Vocabulary(c.spec.vocabulary);
const both = (text) => [false, true].map((lines) => {
  const ids = v.encode(text, lines), d = new c.Decoder(v);
  const back = ids.map((i) => d.push(i)).join('') + d.close();
  return [ids, back, ids.map((i) => v.label(i))];
});
console.log(JSON.stringify(texts.map(both)));
"""


@needs_node
@pytest.mark.parametrize(
    ("level", "options"),
    [
        ("char", {}), ("char", {"lowercase": True}), ("byte", {}), ("word", {}),
        ("word", {"words": "spaces", "lowercase": True}), ("subword", {"size": 300}),
    ],
)  # fmt: skip
def test_text_is_taken_apart_and_put_together_as_in_python(level, options):
    v = Vocabulary.of_texts([TEXT, "日本 naïve don't </script>", *TRICKY], level, **options)
    exported = replace(language(tt.RNN())[1], vocabulary=v)
    texts = json.dumps(TRICKY)
    program = f"const c = {core(exported)}, texts = {texts};{TAKEN_APART}"
    for text, made in zip(TRICKY, in_node(program), strict=True):
        for lines, (ids, back, labels) in zip((False, True), made, strict=True):
            right = v.encode(text, eos_at_lines=lines).tolist()
            assert ids == right, (text, lines)
            assert back == v.decode(right)
            assert labels == [v.label(i) for i in right]


@needs_node
def test_chance_is_that_of_generate():
    seeds = [0, 7, 2**31 - 1, 2**32 + 5, 2**53 - 1]
    places = [(s, k, t) for s in seeds for k in (0, 3) for t in (0, 1, 1000)]
    program = f"const c = {core(language(tt.RNN())[1])};"
    program += f"console.log(JSON.stringify({json.dumps(places)}.map((p) => c.chance(...p))))"
    right = [
        float(chance.shares(s, torch.tensor([k]), torch.tensor([t]))[0, 0]) for s, k, t in places
    ]
    assert in_node(program) == right


SAMPLINGS = [
    {"temperature": 0.0}, {"temperature": 1.0}, {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.3, "top_p": 0.6},
    {"temperature": 1.0, "min_p": 0.2, "top_k": 9, "top_p": 0.9},
]  # fmt: skip


WRITTEN = """
const made = samplings.map((how) => {
  const all = { top_k: 0, top_p: 1, min_p: 0, ...how };
  const reader = new c.Reader(c.model), never = new Set(c.spec.never), ids = [];
  let logits = reader.after([2, 5, 6]);
  for (let t = 0; t < 200; t++) {
    ids.push(c.draw(logits, all, never, c.chance(7, 2, t)));
    logits = reader.push(ids[t]);
  }
  return ids;
});
console.log(JSON.stringify(made));
"""


@needs_node
@pytest.mark.parametrize("level", ["char", "subword"])
def test_the_same_tokens_are_written(level):
    v = vocabulary(level, **({"size": 290} if level == "subword" else {}))
    config = ModelConfig(hidden_size=9, embedding_size=5)
    model = randomised(LanguageModel(tt.GRU(), len(v), config))
    exported = Exported(model.outline(), "token", v, opening=(2,), never=(0, 1, 2))
    program = f"const c = {core(exported)}, samplings = {json.dumps(SAMPLINGS)};{WRITTEN}"
    for how, ids in zip(SAMPLINGS, in_node(program), strict=True):
        sampling = Sampling(**how, forbidden=tuple(exported.never))
        writer = Writer(model, [Start([2, 5, 6], 2)], sampling, 7)
        assert ids == [writer.step()[0] for _ in range(200)], how


@needs_node
def test_going_back_reads_no_less():
    program = (
        f"const c = {core(language(tt.LSTM())[1])}; const r = new c.Reader(c.model);"
        "const ids = Array.from({ length: 300 }, (_, i) => 4 + i % 17);"
        "const alone = (n) => Array.from(new c.Reader(c.model).after(ids.slice(0, n)));"
        "const same = [300, 64, 65, 63, 1, 128, 128, 200].map((n) =>"
        "  JSON.stringify(Array.from(r.after(ids.slice(0, n)))) === JSON.stringify(alone(n)));"
        "console.log(JSON.stringify(same));"
    )
    assert all(in_node(program))


@needs_node
def test_the_error_function():
    x = torch.linspace(-7, 7, 201, dtype=torch.float64)
    made = in_node(
        f"const c = {core(language(tt.RNN())[1])};"
        f"console.log(JSON.stringify({x.tolist()}.map(c.erf)))"
    )
    assert np.abs(np.array(made) - torch.erf(x).numpy()).max() < 1e-14


# ---- the file ------------------------------------------------------------------------------------

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u2028",
    "&amp;",
    "<!--",
]


def test_nothing_of_a_vocabulary_is_read_as_html():
    v = Vocabulary.of_counts(dict.fromkeys(HOSTILE, 2) | {"a": 1}, "word")
    exported = replace(language(tt.RNN())[1], vocabulary=v, labels=HOSTILE)
    text = page.file(exported, "</title><b>", "float32", "<i>what</i>")
    assert text.count("<script") == text.count("</script>") == 3
    for tag in ("<img", "<b>", "<i>", "<!--", "\u2028", "alert(1)</"):
        assert tag not in text
    spec = json.loads(re.search(r'id="spec">(.*?)</script>', text, re.S)[1])
    assert spec["labels"] == HOSTILE
    assert set(spec["vocabulary"]["tokens"]) == {*HOSTILE, "a"}


def test_the_policy_allows_that_program_alone():
    text = page.file(language(tt.RNN())[1], "m", "float32", "A model")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    program = re.search(r"<script>(.*)</script>", text, re.S)[1]
    assert page.digest(program) in policy
    assert page.digest(re.search(r"<style>(.*)</style>", text, re.S)[1]) in policy
    program = program.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|innerHTML|insertAdjacent|\beval\b|\bimport\b", program)


@pytest.mark.parametrize("precision", page.PRECISIONS)
def test_the_file_is_small(precision):
    exported = language(tt.LSTM(), hidden_size=200)[1]
    size = {"float32": 4, "float16": 2, "int8": 1}[precision]
    stored = export.numbers_in(exported) * size
    assert len(page.file(exported, "m", precision, "A model")) <= 1.36 * stored + 130_000


def test_out_is_a_file_or_a_folder_and_is_never_replaced(tmp_path):
    exported = language(tt.RNN())[1]
    for out, made in (("a/b.html", "a/b.html"), ("c", "c/index.html")):
        export.write(exported, tmp_path / out, to="page", name="any name: 2")
        assert (tmp_path / made).read_text().startswith("<!doctype html>")
        with pytest.raises(InputError, match="not overwritten"):
            export.write(exported, tmp_path / out, to="page", name="m")
    with pytest.raises(InputError, match="float16"):
        export.write(exported, tmp_path / "d", to="page", name="m", precision="bf16")


def test_the_program_is_part_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "export/page/assets/*" in project["tool"]["setuptools"]["package-data"]["throughtime"]
