"""A step as ONNX is a step of the model, of any cell."""

import json

import numpy as np
import pytest

import throughtime as tt
from cases import ALL_CELLS
from exporting import classifier, language, off, outputs, precise
from throughtime import export
from throughtime.cells.zoo import ZOO
from throughtime.export.lowering import lowered
from throughtime.export.onnx.graph import TABLE
from throughtime.export.reference import Reference
from throughtime.ground.errors import InputError
from throughtime.scans.compiled.walk import NUMBERS, REDUCTIONS, TRUTHS

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
BOUND = 2e-5


def session(exported, folder, **options):
    export.write(exported, folder, to="onnx", name="m", **{"form": "step", **options})
    return onnxruntime.InferenceSession(str(folder / "m.onnx"))


def run(model, inputs, batch=1):
    """Outputs of the steps of one sequence, the others of its batch reading something else."""
    about = json.loads(model.get_modelmeta().custom_metadata_map["first_state"])
    x, *parts = model.get_inputs()
    state = {}
    for part in parts:
        first = about.get(part.name) or [np.zeros(part.shape[1])]
        state[part.name] = np.repeat(np.array(first, np.float32), batch, 0)
    for t in range(len(inputs)):
        given = np.stack([inputs[t], *[inputs[-1 - t]] * (batch - 1)])
        given = given.astype(np.int64 if x.name == "token" else np.float32)
        found, *new = model.run(None, {x.name: given, **state})
        state = dict(zip(state, new))
        yield found[0]


def agrees(cell, folder, steps=40, **settings):
    model, exported = language(cell, **settings)
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), steps)
    found = list(run(session(exported, folder / "onnx"), tokens, batch=3))
    for one, right in zip(found, outputs(model, tokens), strict=True):
        assert off(one, right) < BOUND


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_a_step_of_every_cell(cell, tmp_path):
    agrees(cell, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_a_step_of_the_zoo(name, tmp_path):
    if not ZOO[name].sizes:
        agrees(ZOO[name](), tmp_path, 100, embedding_size=9)


def test_a_deep_stack_with_all_that_stands_around_it(tmp_path):
    settings = {"num_layers": 2, "skips": True, "output_layers": [6], "zoneout": "0.2"}
    agrees(tt.LSTM(), tmp_path / "a", learned_initial_state=True, **settings)
    agrees((tt.GRU(), tt.zoo.RHN()), tmp_path / "b", hidden_size=[8, 6])
    agrees(tt.GRU(), tmp_path / "c", embedding_size=70, tied=True)


def test_every_weight_that_is_there_is_read(tmp_path):
    import onnx

    export.write(language(tt.LSTM())[1], tmp_path / "m", to="onnx", name="m", form="step")
    graph = onnx.load(tmp_path / "m" / "m.onnx").graph
    read = {name for node in graph.node for name in node.input}
    assert {one.name for one in graph.initializer} <= read


def test_int8_is_the_model_of_the_rounded_weights(tmp_path):
    _, exported = language(tt.GRU(), hidden_size=40)
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), 20)
    right = list(Reference(lowered(exported.outline, "int8").outline).run(tokens))
    found = list(run(session(exported, tmp_path / "m", precision="int8"), tokens))
    assert max(map(off, found, right)) < BOUND


@pytest.mark.parametrize("numbers", [0, 4])
def test_a_classifier_says_its_label_at_every_step(numbers, tmp_path):
    model, exported = classifier(tt.LSTM(), numbers, bidirectional=False, pooling="last")
    random = np.random.default_rng(0)
    steps = random.normal(size=(9, 4)) if numbers else random.integers(0, 20, 9)
    *_, last = run(session(exported, tmp_path / "m"), steps)
    right = Reference(exported.outline).whole(steps)
    p = np.exp(last - last.max())
    assert off(p / p.sum(), right) < BOUND
    assert precise(model)


def test_what_has_no_step_is_refused(tmp_path):
    for settings, said in (
        ({"bidirectional": True}, "has no step"),
        ({"bidirectional": False, "pooling": "max"}, "pooling max looks at all"),
    ):
        with pytest.raises(InputError, match=said):
            session(classifier(tt.GRU(), **settings)[1], tmp_path / "m")
        assert not (tmp_path / "m").exists()


def test_the_table_has_every_operation_but_one():
    assert {*NUMBERS, *TRUTHS, *REDUCTIONS} - TABLE.keys() == {"atan2"}
