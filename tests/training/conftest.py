"""A small language model to train."""

import pytest

import throughtime as tt
from throughtime.config import from_dict

TEXT = "the cat, which already ate a lot, was full. the cats, which ate, were full.\n"


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "text.txt"
    lines = [TEXT.replace("cat", word) for word in ("cat", "dog", "bird", "fox")]
    path.write_text("".join(lines) * 12)
    return path


@pytest.fixture
def settings(corpus, tmp_path):
    """A small run; change what a test is about."""

    def settings(out="run", **sections):
        values = {
            "train": [str(corpus)],
            "out": str(tmp_path / out),
            "max_steps": 12,
            "device": "cpu",
            "threads": 1,
            "model": {"hidden_size": 16, "dropout": 0.2},
            "optim": {"lr": 0.01, "warmup": 0},
            "loop": {"batch_size": 4, "window": 16, "sample_every": "0", "eval_every": "4"},
        }
        for name, value in sections.items():
            both = isinstance(value, dict)
            values[name] = {**values.get(name, {}), **value} if both else value
        return from_dict(tt.LanguageConfig, values)

    return settings
