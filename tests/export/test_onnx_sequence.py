"""Whole sequences as ONNX are the model's, of any cell, direction and length, zero among them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import throughtime as tt
from cases import ALL_CELLS
from exporting import classifier, conditional, language, off, precise
from throughtime import export
from throughtime.cells.zoo import ZOO
from throughtime.export.lowering import lowered
from throughtime.export.onnx.fused import OPERATORS
from throughtime.export.reference import Reference
from throughtime.ground.errors import InputError

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
BOUND = 1e-5
LENGTHS = [4, 0, 7, 1]


def session(exported, folder, **options):
    export.write(exported, folder, to="onnx", name="m", **options)
    return onnxruntime.InferenceSession(str(folder / "m.onnx"))


def operators(folder):
    return {node.op_type for node in onnx.load(folder / "m.onnx").graph.node}


def first_states(model, batch):
    about = json.loads(model.get_modelmeta().custom_metadata_map["first_state"])
    parts = [one for one in model.get_inputs() if one.name.startswith("state_")]
    first = {one.name: about.get(one.name) or [np.zeros(one.shape[1])] for one in parts}
    return {name: np.repeat(np.array(v, np.float32), batch, 0) for name, v in first.items()}


def truth(model, tokens, lengths, state=None):
    """Logits of every step of each sequence by itself, and the last states, in float64."""
    oracle = precise(model)
    with torch.inference_mode():
        for b, length in enumerate(lengths):
            state, logits = oracle.initial_state(1), []
            for token in tokens[b, :length]:
                one, state = oracle.step(torch.tensor([int(token)]), state)
                logits.append(one[0].numpy())
            yield np.array(logits), state


def agrees(cell, folder, **settings):
    model, exported = language(cell, **{"hidden_size": 7, "num_layers": 2, **settings})
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), (4, 7))
    made = session(exported, folder)
    given = {"tokens": tokens, "lengths": np.array(LENGTHS), **first_states(made, 4)}
    logits, *states = made.run(None, given)
    for b, (right, state) in enumerate(truth(model, tokens, LENGTHS)):
        if LENGTHS[b]:
            assert off(logits[b, : LENGTHS[b]], right) < BOUND
        parts = np.concatenate([part[:, 0].reshape(-1) for part in state])
        # of a part all layers stand together there, of a layer all parts here
        found = np.concatenate(
            [new[b] for k in range(len(state)) for new in states[k :: len(state)]]
        )
        assert np.abs(found - parts).max() < BOUND * max(1.0, np.abs(parts).max())


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_every_cell(cell, tmp_path):
    agrees(cell, tmp_path / "m", learned_initial_state=True)
    fused = {one.name for known, one in OPERATORS.items() if known == cell}
    assert fused <= operators(tmp_path / "m")
    assert ("Scan" in operators(tmp_path / "m")) == (not fused)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name, tmp_path):
    sizes = {"embedding_size": 9, "hidden_size": 9, "num_layers": 1}
    if not ZOO[name].sizes:
        agrees(ZOO[name](), tmp_path / "m", **sizes)
        return
    with pytest.raises(InputError, match="not exported to ONNX"):
        session(language(ZOO[name](), **sizes)[1], tmp_path / "m")


def test_a_sequence_goes_on_from_call_to_call(tmp_path):
    model, exported = language(tt.GRU())
    made = session(exported, tmp_path / "m")
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), (1, 9))
    state, found = first_states(made, 1), []
    for some in np.split(tokens, [1, 5], 1):
        logits, *new = made.run(
            None, {"tokens": some, "lengths": np.array([some.shape[1]]), **state}
        )
        state = dict(zip(state, new))
        found.append(logits[0])
    ((right, _),) = truth(model, tokens, [9])
    assert off(np.concatenate(found), right) < BOUND


def test_a_deep_stack_with_all_that_stands_around_it(tmp_path):
    settings = {"num_layers": 2, "skips": True, "output_layers": [6], "zoneout": "0.2"}
    agrees(tt.LSTM(), tmp_path / "a", **settings)
    agrees(tt.GRU(), tmp_path / "b", embedding_size=70, tied=True, num_layers=1)


@pytest.mark.parametrize("cell", [tt.LSTM(), tt.GRUResetAfter(), tt.SimpleGRU()], ids=repr)
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_a_classifier_in_both_directions(cell, pooling, tmp_path):
    settings = {"pooling": pooling, "num_layers": 2, "skips": True, "hidden_size": 7}
    model, exported = classifier(cell, 4, bidirectional=True, **settings)
    x = np.random.default_rng(0).normal(size=(4, 7, 4)).astype(np.float32)
    (logits,) = session(exported, tmp_path / "m").run(None, {"x": x, "lengths": np.array(LENGTHS)})
    with torch.inference_mode():
        given = torch.from_numpy(x.astype(np.float64)).transpose(0, 1)
        right = precise(model).logits(given, torch.tensor(LENGTHS)).numpy()
    assert off(logits, right) < BOUND


@pytest.mark.parametrize("cell", [tt.GRU(), tt.SimpleGRU()], ids=repr)
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_int8_is_the_model_of_the_rounded_weights(cell, pooling, tmp_path):
    _, exported = classifier(cell, bidirectional=True, pooling=pooling, hidden_size=20)
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), 6)
    folds = cell not in OPERATORS
    right = Reference(lowered(exported.outline, "int8", folds=folds).outline).whole(tokens)
    made = session(exported, tmp_path / "m", precision="int8")
    (logits,) = made.run(None, {"tokens": tokens[None], "lengths": np.array([6])})
    p = np.exp(logits[0] - logits[0].max())
    assert off(p / p.sum(), right) < BOUND
    assert (tmp_path / "m" / "m.onnx").stat().st_size < 20_000


@pytest.mark.parametrize("joins", ["input", "state", "both"])
@pytest.mark.parametrize("form", ["sequence", "step"])
def test_a_condition(joins, form, tmp_path):
    model, exported = conditional(tt.LSTM(), condition_joins=joins, num_layers=2)
    made = session(exported, tmp_path / "m", form=form)
    v = np.random.default_rng(0).normal(size=(1, 5)).astype(np.float32)
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), 6)
    first = tmp_path / "m" / "m_first.onnx"
    state = first_states(made, 1)
    if first.exists():
        state = dict(
            zip(state, onnxruntime.InferenceSession(str(first)).run(None, {"condition": v}))
        )
    assert first.exists() == (joins != "input")
    more = {"condition": v} if joins != "state" else {}
    if form == "sequence":
        given = {"tokens": tokens[None], "lengths": np.array([6])}
        found = made.run(None, {**given, **state, **more})[0][0]
    else:
        found = []
        for one in tokens:
            logits, *new = made.run(None, {"token": np.array([one]), **state, **more})
            state = dict(zip(state, new))
            found.append(logits[0])
    oracle, right = precise(model), []
    with torch.inference_mode():
        at = oracle.begin(torch.from_numpy(v[0]).double())
        for one in tokens:
            logits, at = oracle.step(torch.tensor([one]), at)
            right.append(logits[0].numpy())
    assert off(found, np.array(right)) < BOUND


def test_the_file_says_what_it_is(tmp_path):
    _, exported = language(tt.LSTM(), num_layers=2)
    export.write(exported, tmp_path / "m", to="onnx", name="m", kind="lm")
    said = {p.key: p.value for p in onnx.load(tmp_path / "m" / "m.onnx").metadata_props}
    assert said["task"] == "lm"
    assert said["form"] == "sequence"
    assert json.loads(said["cells"]) == ["LSTM(output='tanh')"] * 2
    sizes = {f"state_layer{k}_{part}": 9 for k in (1, 2) for part in "ac"}
    assert json.loads(said["states"]) == sizes
    assert len(said["vocabulary_sha256"]) == 64


def program(folder, *words):
    command = [sys.executable, "run_onnx.py", *words]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout.rstrip("\n")


@pytest.mark.parametrize("form", ["sequence", "step"])
@pytest.mark.parametrize("condition", [False, True])
def test_the_program_writes(form, condition, tmp_path):
    _, exported = conditional(tt.GRU()) if condition else language(tt.GRU())
    session(exported, tmp_path / "m", form=form)
    said = program(tmp_path / "m", "The", "10")
    assert said.startswith("The")
    assert len(said) > 3
    assert len((tmp_path / "m" / "run_onnx.py").read_text().splitlines()) < 40


def test_the_program_labels(tmp_path):
    for form in ("sequence", "step"):
        _, texts = classifier(tt.GRU(), bidirectional=False, pooling="last")
        session(texts, tmp_path / form, form=form)
        assert program(tmp_path / form, "The cat") in texts.labels
    _, numbers = classifier(tt.GRU(), 4, bidirectional=True)
    session(numbers, tmp_path / "numbers")
    np.save(tmp_path / "numbers" / "one.npy", np.zeros((5, 4)))
    assert program(tmp_path / "numbers", "one.npy") in numbers.labels


def test_a_form_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="sequence, step"):
        session(language(tt.GRU())[1], tmp_path / "m", form="loop")
    assert not (tmp_path / "m").exists()
