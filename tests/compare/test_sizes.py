"""Widths that give cells the same number of parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import throughtime as tt
from comparing import SMALL, compare
from throughtime.compare import sizes
from throughtime.config import from_dict, to_dict
from throughtime.tasks import task_class

# ---- widths -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=3, max_size=40), st.integers(0, 2000))
def test_the_nearest_width_is_that_of_looking_at_all(steps, wanted):
    counts = np.cumsum([1, *steps]).tolist()

    def count(n):
        return counts[n - 1] if n <= len(counts) else counts[-1] + 100 * (n - len(counts))

    every = [n for n in range(1, len(counts) + 60) if count(n) <= wanted]
    found = sizes.nearest(count, wanted)
    if not every:
        assert found is None
    else:
        best = min(abs(count(n) - wanted) for n in range(1, len(counts) + 60))
        assert abs(count(found) - wanted) == best


@pytest.mark.parametrize("extra", [
    {}, {"num_layers": 2, "embedding_size": 7}, {"tied": True, "output_layers": [9]},
    {"context": 3},
])  # fmt: skip
def test_counts_are_those_of_the_built_model_and_no_width_is_nearer(corpus, tmp_path, extra):
    config = from_dict(tt.LanguageConfig, {
        "train": [str(corpus)], "out": str(tmp_path / "run"), "device": "cpu",
        "model": {"hidden_size": 40, **extra}, "loop": {"batch_size": 4, "window": 16},
    })  # fmt: skip
    task = task_class("lm").prepare(config)
    wanted = sum(p.numel() for p in task.build_model().parameters())
    assert sizes.parameters(task, config) == wanted
    assert task.device.type == "cpu"  # the prepared task is as it was
    cells = ("lstm", "rnn", "gru", "simple-gru", "peephole-lstm", "gru-reset-after")
    for cell in cells if not extra else cells[:2]:
        matched = from_dict(tt.LanguageConfig, {**to_dict(config), "cell": cell})
        count = sizes.match(task, matched, wanted, cell)
        built = task_class("lm").prepare(matched).build_model()
        assert sum(p.numel() for p in built.parameters()) == count
        n = matched.model.hidden_size
        if cell == "lstm":
            assert (n, count) == (40, wanted)
        for other in (n - 1, n + 1):
            matched.model.hidden_size = other
            assert abs(sizes.parameters(task, matched) - wanted) >= abs(count - wanted)


@pytest.mark.parametrize(
    ("cell", "given"), [("gru,lstm", [40, 20]), ("lstm", [12, 24, 9]), ("[rnn,gru]", [30, 30])]
)
def test_layers_of_several_sizes_keep_their_proportions(corpus, tmp_path, cell, given):
    config = from_dict(tt.LanguageConfig, {
        "train": [str(corpus)], "out": str(tmp_path / "run"), "device": "cpu", "cell": cell,
        "model": {"hidden_size": given, "embedding_size": 7},
        "loop": {"batch_size": 4, "window": 16},
    })  # fmt: skip
    task = task_class("lm").prepare(config)
    built = task.build_model()
    assert built.stack.hidden_sizes == tuple(given)
    wanted = sizes.parameters(task, config)
    assert sum(p.numel() for p in built.parameters()) == wanted
    assert sizes.match(task, config, wanted, cell) == wanted
    assert config.model.hidden_size == given
    double = sizes.match(task, config, 2 * wanted, cell)
    assert abs(double - 2 * wanted) < 0.1 * wanted
    widest = max(config.model.hidden_size)
    for n, was in zip(config.model.hidden_size, given):
        assert abs(n - was * widest / max(given)) <= 0.5


def test_a_second_cell_is_counted_as_the_one_that_it_follows(tmp_path):
    data = tmp_path / "train.conll"
    data.write_text("Ada\tB-person\nsees\tO\na\tO\nbear\tO\n\n" * 30)
    values = {"train": [str(data)], "out": "run", "model": {"hidden_size": 10}, "device": "cpu"}
    config = from_dict(tt.TaggerConfig, values)
    task = task_class("tag").prepare(config)
    wanted = sizes.parameters(task, config)
    matched = from_dict(tt.TaggerConfig, {**values, "cell": "rnn"})
    count = sizes.match(task, matched, wanted, "rnn")
    built = task_class("tag").prepare(matched).build_model()
    assert sum(p.numel() for p in built.parameters()) == count != wanted


def test_parameters_that_cannot_be_matched_are_told(corpus, tmp_path, capsys):
    where = ["--train", corpus, *SMALL, "--out", tmp_path / "run", "--max-steps", 1]
    assert compare("lm", "--levels", "char,subword", "--data.vocab_size", 300,
                   "--model.embedding_size", 64, "--model.hidden_size", 2, *where) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "subword has" in said or "lstm has" in said
    assert "--equal parameters cannot be" in said
    assert not (tmp_path / "run").exists()
