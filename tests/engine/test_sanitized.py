"""The engine built with $THROUGHTIME_SANITIZE: `make sanitize`."""

import pytest
import torch

import throughtime as tt
from cases import TwoMemories
from compiling import Back, Through, sanitized, sanitizers_only  # noqa: F401
from throughtime.config import ModelConfig
from throughtime.decoding import NativeWriter, Sampling, Start, writer_of
from throughtime.engine import engine_of
from throughtime.layers.mode import frozen
from throughtime.models.language import LanguageModel

pytestmark = [sanitizers_only, pytest.mark.usefixtures("sanitized")]
CELLS = (tt.GRU(), tt.LayerNormLSTM(0.1), TwoMemories(), tt.zoo.LSTMP(5), Back(), Through())
SAMPLING = [
    Sampling(),
    Sampling(0),
    Sampling(0.7, top_k=5, top_p=0.9, min_p=0.01, forbidden=(1, 2), repetition_penalty=1.2,
             presence_penalty=0.1, frequency_penalty=0.1),
]  # fmt: skip


def model_of(n, V, **settings):
    torch.manual_seed(1)
    sizes = [n] * len(CELLS)
    config = ModelConfig(hidden_size=sizes, num_layers=None, embedding_size=n, **settings)
    return LanguageModel(CELLS, V, config).eval()


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float32", "bf16", "int8"])
def test_steps_and_texts(weights):
    for n, V, settings in (
        (1, 5, {}),
        (19, 3, {"output_layers": [7]}),
        (48, 500, {"skips": True, "learned_initial_state": True}),
    ):
        model = model_of(n, V, **settings)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with frozen(model, weights):
                engine = engine_of(model)
                assert not isinstance(engine, str), engine
                for B in (1, 3, 40):
                    state = engine.apart(model.initial_state(B))
                    logits, _ = engine.step(torch.arange(B) % V, state)
                    assert logits.shape == (B, V)
                for sampling in SAMPLING:
                    starts = [Start([k % V, *range(min(V, k % 5))], k) for k in range(30)]
                    writer = writer_of(model, starts, sampling, 1, tops=2, eos=2, limit=9)
                    assert isinstance(writer, NativeWriter)
                    writer.step()


def test_in_float64():
    model = model_of(21, 33).double()
    with frozen(model):
        writer = writer_of(model, [Start([1, 2, 3], k) for k in range(20)], SAMPLING[2], 1)
        assert isinstance(writer, NativeWriter)
        assert all(0 <= token < 33 for token in writer.step())
