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

import throughtime as tt
from cases import ALL_CELLS
from throughtime.config import (
    ClassifierModelConfig,
    ConditionalModelConfig,
    DecoderConfig,
    ModelConfig,
    TaggerModelConfig,
    TranslatorModelConfig,
)
from throughtime.config.forecast import ForecastModelConfig
from throughtime.config.regression import RegressionModelConfig
from throughtime.data.vocabulary import BOS, PAD, UNK, Vocabulary
from throughtime.export import c
from throughtime.layers.inputs import NumberInput, TokenInput
from throughtime.models.classifier import Classifier
from throughtime.models.conditional import ConditionalModel
from throughtime.models.forecaster import Forecaster, Sizes
from throughtime.models.frames import FrameModel
from throughtime.models.language import LanguageModel
from throughtime.models.regressor import Regressor
from throughtime.models.step_tagger import StepTagger
from throughtime.models.tagger import Tagger
from throughtime.models.translator import Translator
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


ARM = "arm-none-eabi-gcc"
needs_arm = pytest.mark.skipif(
    not (shutil.which(ARM) and shutil.which("qemu-arm")), reason=f"needs {ARM} and qemu-arm"
)


def ran_on_arm(folder):
    """What the test program says on an ARM processor, which qemu-arm plays."""
    core = ["-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-mfloat-abi=hard", "--specs=rdimon.specs"]
    files = ["-Isrc", "src/m.c", "test/m_test.c", "-o", "t.elf", "-lm"]
    subprocess.run([ARM, *core, "-O2", "-std=c99", *files], cwd=folder, check=True)
    command = ["qemu-arm", "-cpu", "cortex-a7", folder / "t.elf"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def put(files, folder):
    for path, text in files.items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def written(exported, folder, precision="float32", measures=False):
    """The folder of an export, called m."""
    put(c.files(exported, "m", precision, "A model", measures=measures), folder)
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


# ---- models of the other tasks ------------------------------------------------------------------

ONE = tt.GRU()
NARROW = {"hidden_size": 9, "output_layers": [6], "num_layers": 2}
SPELLED = vocabulary("char")


def tagger(cell=ONE, characters="recurrent", head="softmax", both=True, legal=None, **sizes):
    """A tagger of words, and what an exporter is told of it."""
    v, labels = vocabulary("word"), ["O", "B-x", "I-x", "B-y"]
    values = {"embedding_size": 5, "char_embedding_size": 4, "char_size": 6, **NARROW, **sizes}
    config = TaggerModelConfig(characters=characters, head=head, bidirectional=both, **values)
    model = randomised(Tagger(cell, tt.LSTM(), (len(v), len(SPELLED), 4), config, legal))
    return model, Exported(model.outline(), "tag", v, labels, characters=SPELLED)


def step_tagger(cell=ONE, head="softmax", both=False, **settings):
    """A tagger of steps of three numbers."""
    inputs = NumberInput(3, standardises=True)
    config = TaggerModelConfig(head=head, bidirectional=both, **{**NARROW, **settings})
    model = randomised(StepTagger(cell, inputs, 3, config))
    inputs.mean += torch.arange(3) + 3.0
    inputs.deviation *= 2.5
    return model, Exported(model.outline(), "tag", labels=("up", "down", "flat"))


def regressor(cell=ONE, both=False, **settings):
    """Two targets of sequences of three numbers."""
    inputs = NumberInput(3)
    config = RegressionModelConfig(bidirectional=both, **{**NARROW, **settings})
    model = randomised(Regressor(cell, inputs, 2, config))
    quantiles = tuple(config.quantiles) if config.loss == "quantiles" else ()
    return model, Exported(model.outline(), "numbers", labels=("a", "b"), quantiles=quantiles)


def frames(cell=ONE, **settings):
    """A model of frames of 88 keys."""
    config = DecoderConfig(**{**NARROW, "embedding_size": 5, **settings})
    model = randomised(FrameModel(cell, 88, config))
    return model, Exported(model.outline(), "frame")


def forecaster(cell=ONE, observed=0, known=2, calendar=(), **settings):
    """Three steps ahead of a window of eight, two targets."""
    config = ForecastModelConfig(**{**NARROW, **settings})
    features = known + 2 * len(calendar)
    model = randomised(Forecaster(cell, Sizes(8, 3, 2, 2 + observed, features, 0), config))
    scale = np.array([3.0, -2.0]), np.array([2.0, 0.5])
    names = ["load", "heat", *"opqr"[:observed], *"uvw"[:known]]
    others = np.arange(observed + known) + 1.0, np.full(observed + known, 1.5)
    return model, Exported(
        model.outline(), "forecast", labels=names[:2], columns=names, series={"one": scale},
        others=others, calendar=calendar, step=1 / 24, quantiles=model.outline().window.quantiles,
    )  # fmt: skip


def translator(cell=ONE, decoder=None, levels=("char", "word"), **settings):
    """From characters to words."""
    source, target = map(vocabulary, levels)
    sizes = {"hidden_size": 8, "embedding_size": 8, "encoder_layers": 2, **settings}
    config = TranslatorModelConfig(**sizes)
    made = Translator(cell, decoder or cell, len(source), len(target), config)
    model = randomised(made)
    return model, Exported(
        model.outline(), "translation", source, opening=(BOS,), never=(PAD, BOS), eos=3,
        target=target,
    )  # fmt: skip


FORECASTS = {
    "direct": {},
    "quantiles": {"output": "quantiles", "anchor": "mean", "scale": "window", "observed": 1},
    "latest steps alone": {"reads": 5, "linear": False, "anchor": "none", "known": 0},
    "step by step": {"decoding": "step", "scale": "window"},
}
"""Forecasters of all kinds, as `forecaster` takes them."""

TRANSLATIONS = {
    "multiplicative": {},
    "additive, fed": {"attention": "additive", "input_feeding": True, "num_layers": 2},
    "without": {"attention": "none", "bidirectional": False, "decoder": (tt.LSTM(), tt.GRU())},
    "tied": {"tied": "all", "levels": ("char", "char"), "cell": tt.zoo.LSTMP()},
}
"""Translators of all kinds, as `translator` takes them."""
