"""What the tests of exports share: small models, their C compiled and called."""

import copy
import ctypes
import functools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from cases import ALL_CELLS
from throughtime.config import ClassifierModelConfig, ConditionalModelConfig, ModelConfig
from throughtime.data.vocabulary import BOS, PAD, UNK, Vocabulary
from throughtime.export import c
from throughtime.layers.inputs import NumberInput, TokenInput
from throughtime.models.classifier import Classifier
from throughtime.models.conditional import ConditionalModel
from throughtime.models.language import LanguageModel
from throughtime.tasks.exported import Exported

TEXT = "The cat, which already ate, was full; the dog? Not yet. Ärger\n"
FEW = ALL_CELLS
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc here")
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


@functools.cache
def vocabulary(level="char", **options):
    return Vocabulary.of_texts([TEXT], level, **options)


def randomised(model, seed=0):
    """Every parameter random, the biases too, so that nothing is hidden by a zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = noise / max(parameter.shape[-1], 1) ** 0.5
    return model.eval()


def language(cell, level="char", **settings):
    """A language model and what an exporter is told of it."""
    values = {"hidden_size": 9, "embedding_size": 5, **settings}
    v = vocabulary(level)
    model = randomised(LanguageModel(cell, len(v), ModelConfig(**values)))
    never = (PAD, BOS, UNK)
    return model, Exported(model.outline(), "token", v, opening=(BOS,), never=never)


def precise(model, dtype=torch.float64):
    """The same in float64 on the reference: the oracle."""
    model = copy.deepcopy(model).to(dtype)
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = "reference"
    return model


def put(files, folder):
    for path, text in files.items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def written(exported, folder, precision="float32"):
    """The folder of an export, called m."""
    put(c.files(exported, "m", precision, "A model"), folder)
    return Path(folder)


def compiled(folder, *flags):
    """The model as a library."""
    made = folder / "m.so"
    command = [
        "gcc",
        "-std=c99",
        "-O1",
        *flags,
        "-shared",
        "-fPIC",
        "-Isrc",
        "src/m.c",
        "-o",
        made,
        "-lm",
    ]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(made))


class Text:
    """A text that the C reads, in a state of its own."""

    def __init__(self, library, exported):
        self.library, self.count = library, len(exported.vocabulary)
        parts = sum(s.n * len(s.first) for layer in exported.outline.layers for s in layer.scans)
        self.state = (ctypes.c_float * (parts + 1024))()
        library.m_init(self.state)

    def read(self, tokens):
        self.library.m_read(self.state, (ctypes.c_int * len(tokens))(*tokens), len(tokens))

    def step(self, token):
        logits = (ctypes.c_float * self.count)()
        self.library.m_step(self.state, int(token), logits)
        return np.array(logits, np.float64)


def outputs(model, tokens, dtype=torch.float64):
    """[T, V] of a model's equations."""
    oracle, state, found = precise(model, dtype), None, []
    with torch.inference_mode():
        state = oracle.initial_state(1)
        for token in tokens:
            logits, state = oracle.step(torch.tensor([token]), state)
            found.append(logits[0].numpy())
    return np.array(found)


def off(found, right):
    """The largest difference over the largest number."""
    return float(np.abs(np.asarray(found) - right).max() / np.abs(right).max())


def classifier(cell, numbers=0, level="char", **settings):
    """A classifier of tokens, or of so many numbers a step, and what an exporter is told of it."""
    values = {"hidden_size": 9, "embedding_size": 5, **settings}
    v = None if numbers else vocabulary(level)
    inputs = NumberInput(numbers, standardises=True) if numbers else TokenInput(len(v), 5)
    model = randomised(Classifier(cell, inputs, 3, ClassifierModelConfig(**values)))
    if numbers:
        inputs.mean += torch.arange(numbers) + 3.0
        inputs.deviation *= 2.5
    return model, Exported(model.outline(), "label", v, ("no", 'a "quoted"', "ja"))


def conditional(cell, **settings):
    """A conditional model of two conditions, of two and three numbers."""
    values = {"hidden_size": 9, "embedding_size": 5, "condition_size": 6, **settings}
    v = vocabulary()
    model = randomised(ConditionalModel(cell, len(v), [2, 3], ConditionalModelConfig(**values)))
    names = ["mood: calm", "mood: short", "a", "b", "c"]
    return model, Exported(
        model.outline(), "token", v, opening=(BOS,), never=(PAD, BOS), eos=3, condition=names
    )


def ran(folder, *flags):
    """What the test program says, compiled strictly."""
    files = ["src/m.c", "test/m_test.c", "-o", "t", "-lm"]
    subprocess.run(["gcc", *STRICT, *flags, "-Isrc", *files], cwd=folder, check=True)
    said = subprocess.run([folder / "t"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout
