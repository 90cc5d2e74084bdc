"""A text with a word in it that occurs once, and one that training has not."""

import numpy as np
import pytest

WORDS = ["cat", "dogs", "ate", "the", "which", "already", "was", "full", "sees", "bird"]


@pytest.fixture
def corpus(tmp_path):
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS, 8)) for _ in range(200)]
    lines[100] = "the one-off word sees zebras"
    lines[-1] = "the ünseen zebras ate"
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return path
