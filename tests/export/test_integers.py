"""int8-full: C and its Python arithmetic agree to the last bit, whatever the compiler does."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

import throughtime as tt
from exporting import (
    COMPILERS,
    STRICT,
    classifier,
    forecaster,
    language,
    needs_arm,
    needs_gcc,
    off,
    ran,
    ran_on_arm,
    tagger,
    translator,
    written,
)  # fmt: skip
from throughtime.cells.zoo import ZOO
from throughtime.export.c.calibration import calibrated
from throughtime.export.c.integers import Exact
from throughtime.export.lowering import lowered
from throughtime.export.reference import Reference
from throughtime.ground.errors import InputError

pytestmark = needs_gcc
FAST = ("-O3", "-march=native", "-ffp-contract=fast")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    cells = tt.PeepholeLSTM(), tt.zoo.LSTMP()
    _, exported = language(cells, hidden_size=[40, 8], output_layers=[6])
    return written(exported, tmp_path_factory.mktemp("full"), "int8-full")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_products_and_the_sums_around_them(compiler, folder):
    fast = FAST if compiler == "gcc" else FAST[:2]  # Clang's fast takes no word of the file
    for how in ([*STRICT, *fast], ["-x", "c++", "-std=c++11", *STRICT[1:], "-O1"]):
        files = ["-Isrc", "src/m.c", "test/m_test.c", "-o", "t", "-lm"]
        subprocess.run([compiler, *how, *files], cwd=folder, check=True)
        said = subprocess.run([folder / "t"], capture_output=True, text=True)
        assert said.returncode == 0, said.stdout
        assert "largest error 0 " in said.stdout


@needs_arm
def test_the_same_bits_on_arm(folder):
    assert "largest error 0 " in ran_on_arm(folder)


TASKS = {
    "pooling by attention": lambda: classifier(tt.GRU(), 4, pooling="attention"),
    "probabilities of tags": lambda: tagger(characters="convolutional", both=False),
    "forecasts": lambda: forecaster(decoding="step", scale="window", calendar=(1.0,)),
    "translations": lambda: translator(num_layers=1, encoder_layers=1, input_feeding=True),
}


@pytest.mark.parametrize("name", TASKS)
def test_other_tasks(name, tmp_path):
    folder = written(TASKS[name]()[1], tmp_path, "int8-full")
    assert "largest error 0 " in ran(folder, *FAST)


def test_the_training_data_of_a_tagger_are_words_and_their_characters():
    _, exported = tagger(characters="convolutional", both=False)
    sentence = [(5, [4, 6]), (7, [5, 5, 9]), (4, [8])]
    given = replace(exported, calibration=lambda: [sentence, sentence[:2]])
    ranges, said = calibrated(given, lowered(exported.outline, "int8-full"))
    assert said == "5 steps of the training data"
    assert ranges
    assert all(largest > 0 for largest in ranges.values())


def test_it_is_near_the_model(tmp_path):
    _, exported = language(tt.GRU(), hidden_size=40, embedding_size=30)
    model = lowered(exported.outline, "int8-full")
    ranges, said = calibrated(exported, model)
    assert "no training data" in said
    tokens = np.random.default_rng(1).integers(0, len(exported.vocabulary), 40)
    exact, right = Exact(model, ranges), Reference(model.outline)
    differences = [off(exact.step(t), right.step(t)) for t in tokens.tolist()]
    assert 1e-4 < max(differences) < 0.1


def test_it_is_calibrated_on_the_training_data_where_that_is_there():
    _, exported = language(tt.GRU())
    model = lowered(exported.outline, "int8-full")
    few = replace(exported, calibration=lambda: [np.array([5, 6, 7])])
    assert calibrated(few, model)[1] == "3 steps of the training data"

    def gone():
        raise InputError("no such file")

    assert "no training data" in calibrated(replace(exported, calibration=gone), model)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_every_cell_of_the_zoo(name, tmp_path):
    folder = written(language(ZOO[name](), embedding_size=9)[1], tmp_path, "int8-full")
    assert "largest error 0 " in ran(folder, *FAST)
