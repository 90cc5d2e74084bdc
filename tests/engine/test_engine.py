"""Steps of whole models in native code: every cell, any batch, the same bits in any company."""

import copy

import pytest
import torch

import throughtime as tt
from cases import ALL_CELLS
from compiling import Back, Poles, Still, Through
from throughtime.cells.zoo import ZOO
from throughtime.config import ModelConfig
from throughtime.engine import engine_of, layers, program, why_not
from throughtime.engine.engine import Engine
from throughtime.layers.mode import frozen
from throughtime.layers.states import each
from throughtime.models.language import LanguageModel

V, STEPS = 30, 5
BESIDE = (1, 3, 17)


class Mixing(tt.Cell):
    """No compiled program takes a cumulative sum."""

    gates = ("a",)
    state = ("a",)

    def step(self, w, x, s):
        return self.State(a=torch.tanh(w.a(s.a, x).cumsum(-1)))


def model_of(cell, dtype=torch.float64, vocabulary=V, **settings):
    """In evaluation mode, every parameter random."""
    torch.manual_seed(5)
    settings = {"hidden_size": 19, "num_layers": 2, "init_range": 0.5} | settings
    model = LanguageModel(cell, vocabulary, ModelConfig(**settings)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5)
    return model


def logits_of(step, state, tokens):
    """Step by step, and the last state's numbers."""
    found = []
    for row in tokens:
        logits, state = step(row, state)
        found.append(logits)
    return torch.stack(found)


def native(engine):
    return lambda tokens, parts: engine.step(tokens, parts)


def drawn(B, T=STEPS, vocabulary=V):
    return torch.randint(vocabulary, (T, B), generator=torch.Generator().manual_seed(B))


def assert_near_the_reference(model, engine, roundings=1e-10, B=3):
    exact = copy.deepcopy(model).double()
    exact.stack.backend = "reference"
    state = each(
        lambda part: torch.randn(part.shape, generator=torch.Generator().manual_seed(3)).to(part),
        model.initial_state(B),
    )
    tokens = drawn(B)
    ours = logits_of(native(engine), engine.apart(state), tokens)
    theirs = logits_of(exact.step, each(torch.Tensor.double, state), tokens)
    assert torch.isfinite(ours).all()
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < roundings


# ---- every cell ---------------------------------------------------------------------------------


SOME = [*ALL_CELLS, Back(), Poles(), Through(), Still()]
FEW = ["lstmp", "rhn", "cornn", "tau-gru"]


def compiled(cells):
    """One library for all cells, compiled once; and of each a model and what the engine reads."""
    found = {}
    for cell in cells:
        model = model_of(cell, num_layers=1, embedding_size=19)
        with frozen(model), torch.no_grad():
            assert layers.why_not(model.stack._frozen) is None, cell
            of = model.stack._frozen
            even = layers.Even.of(of.layout.cells[0], of.weights[0], of.layout.widths[0])
            found.setdefault(even.program, []).append((cell, model, even))
    programs = list(found)
    assert program.why_not(programs, torch.float64, "all cells") is None
    made = program.Library(programs, torch.float64, "all cells")
    return made, [one for some in found.values() for one in some]


@torch.no_grad()
@pytest.mark.parametrize(
    "names", [FEW, pytest.param([*ZOO], marks=pytest.mark.slow)], ids=["some", "zoo"]
)
def test_every_cell_and_the_zoo_agree_with_the_float64_reference(names):
    cells = [*SOME, *(ZOO[name]() for name in names)]
    made, found = compiled(cells)
    assert len(found) == len(cells)
    for _, model, even in found:
        with frozen(model):
            engine = Engine(model.written(), model.stack._frozen, [even], made)
            assert_near_the_reference(model, engine)


MODELS = {
    "deep": {"cell": tt.LSTM, "num_layers": 3, "output_layers": [40, 7], "skips": True},
    "mixed": {"cell": (tt.GRU, tt.LSTM), "hidden_size": [19, 33], "num_layers": None},
    "learned, tied, wider": {"cell": tt.GRU, "tied": True, "embedding_size": 40,
                             "learned_initial_state": True},
    "normalised": {"cell": tt.LayerNormLSTM, "hidden_size": 50},
    "expectation": {"cell": tt.GRU, "zoneout": "0.2"},
}  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("kind", MODELS)
def test_models_agree_with_the_reference_and_rows_with_themselves(kind):
    model = model_of(dtype=torch.float32, **MODELS[kind])
    with frozen(model):
        engine = engine_of(model)
        assert not isinstance(engine, str)
        assert_near_the_reference(model, engine, 1e-5)
        tokens = drawn(64)
        whole = logits_of(native(engine), engine.apart(model.initial_state(64)), tokens)
        for B in BESIDE:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                begin = engine.apart(model.initial_state(B))
                assert torch.equal(logits_of(native(engine), begin, tokens[:, :B]), whole[:, :B])


@torch.no_grad()
@pytest.mark.parametrize("n", [48, 700])
def test_threads_that_share_the_units_of_a_wide_step_make_the_same_bits(n):
    model = model_of(tt.LSTM, torch.float32, hidden_size=n, num_layers=1)
    with frozen(model):
        engine, found = engine_of(model), []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            begin = engine.apart(model.initial_state(2))
            found.append(logits_of(native(engine), begin, drawn(2)))
    assert all(torch.equal(one, found[0]) for one in found)


@torch.no_grad()
@pytest.mark.parametrize("stored", ["bf16", "int8"])
def test_weights_stored_otherwise_are_those_that_are_rounded_first(stored):
    model = model_of((tt.LSTM, tt.GRU), torch.float32, hidden_size=37, embedding_size=21)
    tokens = drawn(7)
    with frozen(model, stored):
        engine = engine_of(model)
        ours = logits_of(native(engine), engine.apart(model.initial_state(7)), tokens)
        for layer in engine.layers:
            assert layer.products[0].kind == {"bf16": 1, "int8": 2}[stored]
        theirs = logits_of(model.step, model.initial_state(7), tokens)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    plain = logits_of(model.step, model.initial_state(7), tokens)
    assert 1e-5 < float((plain - theirs).abs().max()) < 0.3


def test_a_step_takes_no_other_states_or_tokens():
    model = model_of(tt.GRU, torch.float32)
    with frozen(model), torch.no_grad():
        engine = engine_of(model)
        begin = engine.apart(model.initial_state(2))
        assert engine.step(torch.tensor([1, V]), begin) is None
        assert engine.step(torch.tensor([1, -1]), begin) is None
        assert engine.step(torch.tensor([1, 2, 3]), begin) is None
        assert engine.step(torch.tensor([1.0, 2.0]), begin) is None
        assert engine.step(torch.tensor([1, 2]), [part.double() for part in begin]) is None


# ---- why not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"cell": Mixing()}, "Mixing"),
        ({"cell": tt.LSTM, "context": 3}, "a window has no state"),
        ({"cell": tt.LSTM, "backend": "reference"}, "the backend is 'reference'"),
        (
            {"cell": tt.LSTM, "head": "adaptive", "hidden_size": 64, "vocabulary": 9000},
            "adaptive softmax",
        ),
    ],
)
def test_reasons(settings, reason):
    model = model_of(dtype=torch.float32, **settings)
    assert why_not(model) == "its weights are not frozen." or "window" in why_not(model)
    with frozen(model):
        assert reason in why_not(model)


def test_without_a_compiler_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(program, "why_not", lambda *_: "there is no C++ compiler")
    model = model_of(tt.LSTM, torch.float32)
    with frozen(model):
        assert why_not(model) == "there is no C++ compiler"
