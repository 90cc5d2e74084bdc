"""The C of a model says what the model says, of any cell, however it is read."""

import ctypes
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

import throughtime as tt
from exporting import (
    COMPILERS,
    FEW,
    STRICT,
    TEXT,
    Text,
    compiled,
    language,
    needs_arm,
    needs_gcc,
    off,
    outputs,
    ran_on_arm,
    vocabulary,
    written,
)
from throughtime.cells.zoo import ZOO
from throughtime.export.c import kit
from throughtime.export.lowering import lowered
from throughtime.export.reference import Reference
from throughtime.tasks.exported import Exported

pytestmark = needs_gcc
BOUND = 2e-5


def single(model, tokens):
    """How far the equations themselves are off in float32: a cell may amplify rounding."""
    return max(map(off, outputs(model, tokens, torch.float32), outputs(model, tokens)))


def agrees(cell, folder, steps, **settings):
    """Step by step, in chunks of 7 and 64, with another text in between."""
    model, exported = language(cell, **settings)
    library = compiled(written(exported, folder))
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), steps)
    right, bound = outputs(model, tokens), BOUND
    if steps > 100:
        bound = max(BOUND, 3 * single(model, tokens))
    by_one, other = Text(library, exported), Text(library, exported)
    for t, token in enumerate(tokens):
        assert off(by_one.step(token), right[t]) < bound
        other.step(tokens[-1 - t])
    for chunk in (7, 64):
        text = Text(library, exported)
        for begin in range(0, steps, chunk):
            end = min(begin + chunk, steps) - 1
            text.read(tokens[begin:end].tolist())
            assert off(text.step(tokens[end]), right[end]) < bound


@pytest.mark.parametrize("cell", FEW, ids=repr)
def test_steps_are_those_of_the_reference(cell, tmp_path):
    agrees(cell, tmp_path, 70)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_a_thousand_steps_of_every_cell_of_the_zoo(name, tmp_path):
    agrees(ZOO[name](), tmp_path, 1000, embedding_size=9)


@pytest.mark.slow
@pytest.mark.parametrize("cell", FEW, ids=repr)
def test_a_thousand_steps(cell, tmp_path):
    agrees(cell, tmp_path, 1000)


SETTINGS = {
    "wide": {"hidden_size": 45},
    "deep, with skips": {"num_layers": 3, "skips": True},
    "several sizes": {"hidden_size": [8, 33]},
    "tied": {"embedding_size": 40, "tied": True},
    "output layers": {"output_layers": [6, 34]},
    "learned first state, zoneout": {"learned_initial_state": True, "zoneout": "0.2"},
    "a large embedding": {"embedding_size": 70, "hidden_size": 6},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_kind_of_stack(name, tmp_path):
    agrees(tt.LSTM(), tmp_path, 30, **SETTINGS[name])


def test_layers_of_different_cells(tmp_path):
    agrees((tt.GRU(), tt.zoo.RHN(), tt.LSTM()), tmp_path, 30, hidden_size=[8, 6, 7])


@pytest.mark.parametrize("cell", [tt.LSTM(), tt.zoo.MinimalRNN()], ids=repr)
def test_the_outline_is_the_model(cell):
    model, exported = language(cell, num_layers=2, skips=True, output_layers=[6])
    tokens = [2, 5, 9, 7, 7]
    right = outputs(model, tokens)
    assert off(list(Reference(exported.outline).run(tokens)), right) < 1e-13
    folded = lowered(exported.outline)
    assert off(list(Reference(folded.outline).run(tokens)), right) < 1e-13


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_program_agrees_without_a_warning_or_undefined_behaviour(compiler, precision, tmp_path):
    _, exported = language(tt.PeepholeLSTM(), num_layers=2, skips=True, hidden_size=40)
    folder = written(exported, tmp_path, precision)
    sanitizers = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    plus = [compiler, "-x", "c++", "-std=c++11", *STRICT[1:]]
    for command in (
        [compiler, *STRICT, "-DM_LIBM"] if precision == "int8" else plus,
        [compiler, *STRICT, *sanitizers],
    ):
        files = ["src/m.c", "test/m_test.c"]
        program = [*command, "-Isrc", *files, "-o", "m_test", "-lm"]
        subprocess.run(program, cwd=folder, check=True)
        said = subprocess.run([folder / "m_test"], capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr
        assert "largest error" in said.stdout


def test_the_program_tells_a_wrong_weight(tmp_path):
    folder = written(language(tt.LSTM())[1], tmp_path)
    path = folder / "src" / "m.c"
    path.write_text(path.read_text().replace("0x3e", "0x3f"))
    subprocess.run(["gcc", "-Isrc", "src/m.c", "test/m_test.c", "-o", "t"], cwd=folder, check=True)
    assert subprocess.run([folder / "t"], capture_output=True).returncode == 1


def test_int8_is_the_model_of_the_rounded_weights(tmp_path):
    model, exported = language(tt.GRU(), hidden_size=40, embedding_size=30)
    small = lowered(exported.outline, "int8")
    library = compiled(written(exported, tmp_path, "int8"))
    text, reference = Text(library, exported), Reference(small.outline)
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), 50)
    right = outputs(model, tokens)
    for t, token in enumerate(tokens):
        rounded = reference.step(token)
        assert off(text.step(token), rounded) < BOUND
        assert 1e-4 < off(rounded, right[t]) < 0.1


@pytest.mark.parametrize("function", sorted(kit.LIBRARY))
def test_functions_are_accurate_to_four_units_in_the_last_place(function, tmp_path):
    code = kit.functions(f"name_{function}(", "float32").replace("static float", "float")
    (tmp_path / "f.c").write_text(f"#include <stdint.h>\n{code}")
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "f.c", "-o", "f.so"], cwd=tmp_path, check=True
    )
    called = getattr(ctypes.CDLL(str(tmp_path / "f.so")), f"name_{function}")
    called.argtypes, called.restype = [ctypes.c_float], ctypes.c_float
    near = np.concatenate([np.linspace(-85, 85, 4001), np.logspace(-6, 1, 1000)])
    x = np.concatenate([near, -near]).astype(np.float32)
    exact = {
        "exp": np.exp, "expm1": np.expm1, "tanh": np.tanh, "sigmoid": lambda v: 1 / (1 + np.exp(-v))
    }[function](x.astype(np.float64))  # fmt: skip
    found = np.array([called(float(v)) for v in x])
    last_place = np.ldexp(1.0, np.frexp(exact)[1] - 24)  # of a float32, subnormal ones aside
    ulps = np.abs(found - exact) / last_place
    assert ulps.max() <= 4
    assert np.isnan(called(float("nan")))


# ---- text and drawing ---------------------------------------------------------------------------


def library_of(v, folder, **more):
    """The C around a vocabulary; its model says nothing."""
    _, like = language(tt.RNN())
    exported = Exported(like.outline, "token", v, opening=(2,), never=like.never, **more)
    table = np.zeros((len(v), 5))
    W = np.zeros((len(v), 9))
    last = replace(exported.outline.outputs[-1], W=W, b=np.zeros(len(v)))
    inputs = type(exported.outline.inputs)(table)
    outline = replace(exported.outline, inputs=inputs, outputs=(last,))
    return compiled(written(replace(exported, outline=outline), folder))


VOCABULARIES = {
    "characters": ("char", {}),
    "characters, small": ("char", {"lowercase": True}),
    "bytes": ("byte", {}),
    "words": ("word", {}),
    "words at spaces, small": ("word", {"words": "spaces", "lowercase": True}),
}


@pytest.mark.parametrize("line_ends", [False, True])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_text_becomes_the_tokens_of_the_vocabulary(name, line_ends, tmp_path):
    level, options = VOCABULARIES[name]
    v = vocabulary(level, **options)
    library = library_of(v, tmp_path, line_ends=line_ends)
    library.m_text.restype = ctypes.c_void_p
    text = TEXT.replace("Ä", "ä") + "A new; word (cat)?\n\n the end"
    text += "" if level == "word" else " €𝄞"  # no letters, which words of C cannot know
    data = ctypes.create_string_buffer(text.encode())
    place = ctypes.c_void_p(ctypes.addressof(data))
    found = []
    while (token := library.m_next(ctypes.byref(place))) >= 0:
        found.append(token)
    assert found == v.encode(text, eos_at_lines=line_ends).tolist()
    for token in range(4, len(v)):
        length = ctypes.c_int()
        at = library.m_text(token, ctypes.byref(length))
        spelled = ctypes.string_at(at, length.value)
        right = v._bytes[token] if level == "byte" else v.tokens[token].encode()
        assert spelled == right


class How(ctypes.Structure):
    _fields_ = [("temperature", ctypes.c_float), ("top_k", ctypes.c_int),
                ("top_p", ctypes.c_float), ("min_p", ctypes.c_float)]  # fmt: skip


def kept(p, top_k, top_p, min_p):
    """The probabilities that are drawn from, by sorting."""
    if top_k:
        p = np.where(p >= np.sort(p)[-top_k], p, 0)
        p = p / p.sum()
    if top_p < 1:
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]
        p = p.copy()
        p[order[before >= top_p]] = 0
    return np.where(p >= min_p * p.max(), p, 0)


@pytest.mark.parametrize(
    "how", [(1.0, 0, 1.0, 0.0), (0.5, 5, 1.0, 0.0), (2.0, 0, 0.7, 0.0), (1.0, 7, 0.9, 0.2)]
)
def test_tokens_are_drawn_where_the_sum_of_the_probabilities_passes_the_chance(how, tmp_path):
    v = vocabulary()
    library = library_of(v, tmp_path)
    random = np.random.default_rng(0)
    for _ in range(200):
        logits, chance = random.normal(size=len(v)).astype(np.float32) * 2, random.random()
        given = (ctypes.c_float * len(v))(*logits)
        found = library.m_draw(given, ctypes.byref(How(*how)), ctypes.c_double(chance))
        allowed = logits.astype(np.float64)
        allowed[[0, 1, 2]] = -np.inf
        p = np.exp((allowed - allowed.max()) / how[0])
        sums = np.cumsum(kept(p / p.sum(), *how[1:]))
        assert found == np.searchsorted(sums, sums[-1] * chance, side="right")
    given = (ctypes.c_float * len(v))(*logits)
    greedy = library.m_draw(given, ctypes.byref(How(0, 0, 1, 0)), ctypes.c_double(0.5))
    assert greedy == allowed.argmax()


# ---- other processors ---------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="there is no arm-none-eabi-gcc")
def test_a_character_model_fits_a_microcontroller(tmp_path):
    _, exported = language(tt.LSTM(), hidden_size=64, embedding_size=32)
    readme = (written(exported, tmp_path, measures=True) / "README.md").read_text()
    rows = [line.split("|")[1:-1] for line in readme.splitlines() if line.startswith("| Cortex")]
    assert len(rows) == 2
    weights = int(readme.split("| weights (float32) |")[1].split("|")[0].replace(",", ""))
    for _, *numbers in rows:
        code, constants, memory, stack = (int(number.replace(",", "")) for number in numbers)
        assert code + constants <= weights + 24 * 1024
        assert memory == 0
        assert stack <= 2048


@needs_arm
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_program_agrees_on_arm(precision, tmp_path):
    assert "largest error" in ran_on_arm(written(language(tt.GRU())[1], tmp_path, precision))
