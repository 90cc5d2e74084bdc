"""Texts by the engine: those of torch's path, alone and beside others, whoever comes and goes."""

import math
import time

import numpy as np
import pytest
import torch

import throughtime as tt
from throughtime.config import ConditionalModelConfig, ModelConfig
from throughtime.decoding import NativeWriter, Sampling, Start, Writer, native, writer_of
from throughtime.engine import engine_of
from throughtime.engine.structs import ROW
from throughtime.ground import chance
from throughtime.ground.errors import InputError, ThroughtimeError
from throughtime.layers.mode import frozen
from throughtime.models.conditional import ConditionalModel
from throughtime.models.language import LanguageModel
from writing import left_one_by_one

V = 30
PRIMES = [[2], [2, 5, 6, 7], [2] + [4, 5, 6] * 100, [2, 9], [2, *range(4, 20)]]
STARTS = [Start(ids, k) for k in range(5) for ids in PRIMES]
DRAWN = {
    "plain": {},
    "greedy": {"temperature": 0.0},
    "cold": {"temperature": 1e-40},
    "top k": {"temperature": 1.3, "top_k": 5},
    "top p": {"top_p": 0.7, "forbidden": (3, 4)},
    "min p": {"temperature": 2.0, "min_p": 0.05},
    "penalties": {"repetition_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.3},
    "all": {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "forbidden": (0,),
            "repetition_penalty": 0.9},
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    config = ModelConfig(hidden_size=24, num_layers=2, init_range=0.8, output_layers=[40])
    return LanguageModel(tt.LSTM, V, config).eval()


def texts(model, starts, length=40, kind=NativeWriter, seed=7, **sampling):
    """The tokens after each start, all written side by side."""
    with frozen(model):
        make = writer_of if kind is NativeWriter else Writer
        writer = make(model, starts, Sampling(**sampling), seed)
        assert type(writer) is kind
        return [list(row) for row in zip(*(writer.step() for _ in range(length)))]


@pytest.mark.parametrize("how", DRAWN)
def test_texts_are_those_of_torchs_path(model, how):
    assert texts(model, STARTS, **DRAWN[how]) == texts(model, STARTS, kind=Writer, **DRAWN[how])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_text_does_not_depend_on_those_beside_it_or_on_threads(model, threads):
    torch.set_num_threads(1)
    options = {"temperature": 1.3, "min_p": 0.01, "repetition_penalty": 1.1}
    beside = texts(model, STARTS, 300, **options)
    assert len(set(map(tuple, beside))) == len(STARTS)
    torch.set_num_threads(threads)
    assert texts(model, STARTS, 300, **options) == beside
    for k in (0, 1, 2, 13):
        assert texts(model, [STARTS[k]], 300, **options) == [beside[k]]


def test_a_large_vocabulary_is_searched_in_parts():
    torch.manual_seed(1)
    config = ModelConfig(hidden_size=16, num_layers=1)
    model = LanguageModel(tt.GRU, 5000, config).eval()
    starts = [Start([2], k) for k in range(4)]
    for options in ({"top_p": 0.3}, {"top_p": 0.999, "temperature": 0.2}, {"top_k": 3000}):
        ours = texts(model, starts, **options)
        assert ours == texts(model, starts, kind=Writer, **options)


def test_who_goes_on_writes_what_it_would_have(model):
    starts = [Start([2], k) for k in range(20)]
    expected = texts(model, starts, 30)
    with frozen(model):
        found = left_one_by_one(writer_of(model, starts, Sampling(), 7))
    assert found == [one[: 4 * (k + 1)] for k, one in enumerate(expected)]


def test_rows_end_at_eos_and_at_the_limit(model):
    plain = texts(model, STARTS[:6], 60)
    eos = plain[0][20]
    with frozen(model):
        writer = writer_of(model, STARTS[:6], Sampling(), 7, eos=eos, limit=60)
        writer.step()
        for row, text in enumerate(plain):
            expected = text[: text.index(eos) + 1] if eos in text else text
            assert [text[0], *writer.coming[row]] == expected
            assert int(writer.native["ended"][row]) == (eos in text)
        for _ in range(min(map(len, writer.coming))):
            writer.step()
        with pytest.raises(RuntimeError, match="keep"):
            writer.step()


def test_log_probabilities_are_those_of_torchs_path(model):
    with frozen(model):
        both = [
            kind(model, STARTS[:3], Sampling(temperature=3, forbidden=(1,)), 1, tops=4)
            for kind in (writer_of, Writer)
        ]
        for _ in range(5):
            assert both[0].step() == both[1].step()
            for ours, theirs in zip(both[0].likely, both[1].likely, strict=True):
                assert ours.log_probability == pytest.approx(theirs.log_probability, abs=1e-5)
                assert [i for i, _ in ours.instead] == [i for i, _ in theirs.instead]
                found = [p for _, p in theirs.instead]
                assert [p for _, p in ours.instead] == pytest.approx(found, abs=1e-5)


def test_the_states_of_conditions_and_what_joins_x():
    torch.manual_seed(3)
    for joins in ("state", "input", "both"):
        config = ConditionalModelConfig(hidden_size=20, num_layers=2, condition_joins=joins)
        model = ConditionalModel(tt.LSTM, V, [5], config).eval()
        with torch.inference_mode():
            starts = [Start([2], k, model.begin(torch.eye(5)[k % 5])) for k in range(7)]
        assert texts(model, starts) == texts(model, starts, kind=Writer)


def test_chances_are_those_of_python(model):
    """Uniform logits: the token says which share of one was drawn."""
    torch.manual_seed(5)
    uniform = LanguageModel(tt.RNN, 1000, ModelConfig(hidden_size=8, num_layers=1)).eval()
    with torch.no_grad():
        uniform.head.weight.zero_()
        uniform.head.bias.zero_()
    for seed, sample in ((0, 0), (7, 3), (2**40 + 5, 2**31 + 9), (-3, 12)):
        found = texts(uniform, [Start([2], sample)], 50, seed=seed)[0]
        shares = chance.shares(seed, torch.tensor([sample]), torch.arange(50))[0]
        assert max(abs(token / 1000 - share) for token, share in zip(found, shares)) <= 0.00101


def test_rows_join_and_leave_at_any_step(model):
    """What a server does: slots are taken and given back while others write."""
    alone = texts(model, STARTS[:6], 50)
    with frozen(model):
        engine = engine_of(model)
        drawing, _ = native.drawing_of(Sampling(), 7, engine)
        rows, slots = native.begun(engine, model, STARTS[:6])
        home = engine.slots(9)
        written = np.zeros((6, 50), np.int64)
        rows["written"] = native.addresses(written, np.arange(6))
        rows["drawing"], rows["eos"] = native.ctypes.addressof(drawing), -1
        place = [5, 2, 8, 0, 7, 1]
        home[place] = slots
        rows["slot"], rows["left"] = place, 50
        made = np.zeros(6, int)
        for t in range(150):
            here = [k for k in range(6) if t >= 7 * k and made[k] < 50 and (t + k) % 3]
            some = rows[here]
            engine.write(some, home, steps=1, seconds=0, threads=1)
            rows[here], made[here] = some, made[here] + some["made"]
    assert made.tolist() == [50] * 6
    assert written.tolist() == alone


def test_a_call_gives_up_after_its_time():
    torch.manual_seed(1)
    model = LanguageModel(tt.LSTM, V, ModelConfig(hidden_size=512, num_layers=2)).eval()
    with frozen(model):
        writer = writer_of(model, [Start([2], k) for k in range(8)], Sampling(), 1)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            writer._write()
            took.append(time.perf_counter() - began)
        assert sorted(took)[2] < 0.05
        assert len(writer.coming[0]) > 0


def test_numbers_that_are_none_end_with_one_line(model):
    torch.manual_seed(1)
    broken = LanguageModel(tt.GRU, V, ModelConfig(hidden_size=8, num_layers=1)).eval()
    with torch.no_grad():
        broken.head.bias[3] = math.nan
    with frozen(broken):
        writer = writer_of(broken, [Start([2])], Sampling(), 1)
        with pytest.raises(ThroughtimeError, match="NaN or infinite"):
            writer.step()


def test_mistakes(model):
    with frozen(model):
        with pytest.raises(InputError, match="at least one token"):
            writer_of(model, [Start([])], Sampling(), 1)
        with pytest.raises(InputError, match="none of the 30 tokens"):
            writer_of(model, [Start([2, V])], Sampling(), 1)


def test_a_row_is_as_large_as_in_c():
    assert ROW.itemsize == 19 * 8
