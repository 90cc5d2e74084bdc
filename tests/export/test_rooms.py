"""The C of every task agrees with the reference, compiled strictly, under the sanitizers."""

import pytest
import torch

import throughtime as tt
from exporting import (
    classifier,
    forecaster,
    frames,
    needs_gcc,
    ran,
    regressor,
    step_tagger,
    tagger,
    translator,
    written,
)  # fmt: skip

pytestmark = needs_gcc
SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")
LEGAL = (torch.tensor([True, True, False, True]), torch.ones(4, 4).bool(), torch.ones(4).bool())

ROOMS = {
    "tags": lambda cell: tagger(cell),
    "tags, a convolution": lambda cell: tagger(cell, "convolutional", both=False),
    "tags, an even convolution, a chain": lambda cell: tagger(
        cell, "convolutional", "crf", False, char_width=4
    ),
    "tags of words alone": lambda cell: tagger(cell, "none", both=False),
    "tags, folded, a chain": lambda cell: tagger(
        cell, "none", "crf", False, LEGAL, embedding_size=40
    ),
    "tags of numbers": lambda cell: step_tagger(cell),
    "tags of numbers, a chain": lambda cell: step_tagger(cell, "crf", True),
    "quantiles": lambda cell: regressor(cell, loss="quantiles", pooling="max"),
    "numbers": lambda cell: regressor(cell, True, pooling="mean"),
    "frames": lambda cell: frames(cell),
    "frames as they are": lambda cell: frames(cell, embedding_size=0),
    "forecasts": lambda cell: forecaster(cell),
    "forecasts with a calendar": lambda cell: forecaster(
        cell, 1, 2, (1.0, 7.0), output="quantiles", anchor="mean", scale="window"
    ),
    "forecasts of the latest": lambda cell: forecaster(
        cell, known=0, reads=5, linear=False, anchor="none"
    ),
    "forecasts step by step": lambda cell: forecaster(cell, decoding="step", scale="window"),
    "translations": lambda cell: translator(cell),
    "translations, fed": lambda cell: translator(
        cell, attention="additive", input_feeding=True, num_layers=2
    ),
    "translations without attention": lambda cell: translator(
        cell, (tt.LSTM(), tt.GRU()), attention="none", bidirectional=False
    ),
    "labels": lambda cell: classifier(cell, 4, pooling="attention", bidirectional=True),
}


@pytest.mark.parametrize("name", ROOMS)
def test_every_task(name, tmp_path):
    _, exported = ROOMS[name](tt.GRU())
    precision = ("float32", "int8")[len(name) % 2]
    ran(written(exported, tmp_path, precision), *SANITIZERS)


def test_a_wrong_weight_is_told(tmp_path):
    folder = written(ROOMS["forecasts"](tt.GRU())[1], tmp_path)
    path = folder / "src" / "m.c"
    path.write_text(path.read_text().replace("0x3e", "0x3f"))
    with pytest.raises(AssertionError, match="largest error"):
        ran(folder)


def test_cells_of_sizes_of_their_own(tmp_path):
    cells = tt.zoo.LSTMP(), tt.zoo.LSTMP(projection=0.4)
    _, exported = translator(cells, tied="all", levels=("char", "char"))
    ran(written(exported, tmp_path), *SANITIZERS)
