"""Piano rolls: readers, the frame model, MIDI and back."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import throughtime as tt
from throughtime.config import DecoderConfig
from throughtime.ground.errors import InputError
from throughtime.models.frames import FrameModel
from throughtime.music.rolls import KEYS, frames_of, read_rolls, score_of
from throughtime.tasks.frames import transpose

symusic = pytest.importorskip("symusic", reason="symusic is in the extra music")


def roll(T, seed=0, density=0.04):
    return (np.random.default_rng(seed).random((T, KEYS)) < density).astype(np.uint8)


# ---- files --------------------------------------------------------------------------------------


def test_matlab_and_numpy_files_hold_the_same(tmp_path):
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is in the extra music")
    parts = {"train": [roll(5, 1), roll(3, 2)], "valid": [roll(4, 3)], "test": [roll(2, 4)]}
    cells = {}
    for name, sequences in parts.items():
        cells[f"{name}data"] = np.empty((1, len(sequences)), object)
        for i, sequence in enumerate(sequences):
            cells[f"{name}data"][0, i] = sequence
    scipy_io.savemat(tmp_path / "a.mat", cells)
    arrays = {f"{n}_{i}": s for n, seqs in parts.items() for i, s in enumerate(seqs)}
    np.savez(tmp_path / "a.npz", **arrays)
    for name in ("a.mat", "a.npz"):
        found = read_rolls([str(tmp_path / name)]).parts
        assert found.keys() == parts.keys()
        for part, sequences in parts.items():
            for a, b in zip(sequences, found[part], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 87)), r"a: expected an array \[T, 88\], got \[3, 87\]"),
        (np.full((3, 88), np.nan), "frames of 0 and 1"),
        (np.full((3, 88), 2), "frames of 0 and 1"),
    ],
)
def test_arrays_that_are_no_rolls_are_named(tmp_path, array, message):
    np.savez(tmp_path / "bad.npz", a=array)
    with pytest.raises(InputError, match=rf"bad\.npz: {message}|bad\.npz: a: .*{message}"):
        read_rolls([str(tmp_path / "bad.npz")])


def test_files_that_are_no_rolls_are_named(tmp_path):
    for name in ("a.mat", "a.npz", "a.mid"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match=rf"{name}: not a "):
            read_rolls([str(tmp_path / name)])


@given(st.integers(1, 30), st.integers(0, 1000), st.sampled_from([1, 2, 4]))
def test_frames_survive_midi(T, seed, frames_per_quarter):
    frames = roll(T, seed)
    frames[-1, 40] = 1  # MIDI does not hold the silence at the end
    again, outside = frames_of(score_of(frames, frames_per_quarter), frames_per_quarter)
    np.testing.assert_array_equal(frames, again)
    assert outside == 0


def test_notes_beyond_the_keys_and_drums_are_left_out():
    score = score_of(roll(4), 4)
    score.tracks[0].notes.append(symusic.Note(0, 120, 5, 80))
    drums = symusic.Track("drums", is_drum=True)
    drums.notes.append(symusic.Note(0, 4800, 60, 80))
    score.tracks.append(drums)
    frames, outside = frames_of(score, 4)
    assert outside == 1
    assert len(frames) <= 4


# ---- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("embedding_size", [None, 7])
def test_the_likelihood_is_that_of_independent_keys(embedding_size):
    torch.manual_seed(1)
    config = DecoderConfig(hidden_size=5, embedding_size=embedding_size, backend="reference")
    model = FrameModel(tt.GRU, KEYS, config).double().eval()
    lengths = torch.tensor([6, 2])
    frames = torch.from_numpy(np.stack([roll(6, 1), roll(6, 2)], 1)).double()
    nats = model.nats(frames, lengths)
    for b, length in enumerate(lengths.tolist()):
        state = model.stack.initial_state(1)
        x = torch.zeros(1, KEYS, dtype=torch.float64)
        for t in range(length):
            y, state = model.stack.step(model.embedding(x), state)
            p = torch.sigmoid(model.head(y))
            x = frames[t, b : b + 1]
            expected = -(x * p.log() + (1 - x) * (1 - p).log()).sum()
            torch.testing.assert_close(nats[t, b], expected)
        assert not nats[length:, b].any()
    torch.testing.assert_close(model(frames, lengths), nats.sum() / 8)
    garbage = frames.clone()
    garbage[2:, 1] = 1
    torch.testing.assert_close(model(garbage, lengths), model(frames, lengths))


def test_transposing_moves_all_keys_together_and_loses_none():
    frames = torch.from_numpy(np.stack([roll(9, 1, 0.02), roll(9, 2, 0.02)], 1))
    frames[0, 0, 1] = 1
    frames[:, 1] = 0
    moved = transpose(frames, np.array([-5, 3]))
    torch.testing.assert_close(
        moved[:, 0], frames[:, 0].roll(-int(frames[:, 0].any(0).nonzero()[0]), 1)
    )
    assert not moved[:, 1].any()
    up = transpose(frames, np.array([1, 0]))
    assert up.sum() == frames.sum()


# ---- the task -----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A run on rolls that repeat four chords."""
    chords = np.zeros((4, KEYS), np.uint8)
    for i in range(4):
        chords[i, [30 + 5 * i, 34 + 5 * i, 37 + 5 * i]] = 1
    arrays = {}
    for k, part in enumerate(("train", "valid", "test")):
        for i in range(8):
            arrays[f"{part}{i}"] = np.roll(np.tile(chords, (5 + i, 1)), k + i, 0)
    np.savez(tmp_path / "chords.npz", **arrays)
    config = tt.MusicConfig(
        train=[str(tmp_path / "chords.npz")], out=str(tmp_path / "run"), max_steps=150,
        device="cpu", threads=1,
    )  # fmt: skip
    config.model.hidden_size, config.optim.lr, config.loop.batch_size = 24, 0.02, 4
    config.loop.sample_every = "0"
    tt.train(config)
    return config


def test_it_learns_and_counts_as_published(run, tmp_path):
    found = tt.evaluate(run.out, run.train)
    assert found.sequences == 8
    assert found.nll_per_frame < 1.0
    assert found.nll_with_first > found.nll_per_frame  # the first chord cannot be known
    _, model = tt.load(run.out)
    sequences = read_rolls(run.train).parts["test"]
    total, means, frames = 0.0, [], 0
    for sequence in sequences:
        x = torch.from_numpy(sequence).float()[:, None]
        logits, _ = model.logits(x[:-1], model.logits(torch.zeros_like(x[:1]), None)[1])
        nats = F.binary_cross_entropy_with_logits(logits, x[1:], reduction="sum").item()
        total, frames = total + nats, frames + len(sequence) - 1
        means.append(nats / (len(sequence) - 1))
    assert found.nll_per_frame == pytest.approx(total / frames, rel=1e-5)
    assert found.nll_per_sequence == pytest.approx(np.mean(means), rel=1e-5)
    assert found.frames == frames + len(sequences)
    assert tt.evaluate(run.out, run.train, part="all").sequences == 24
    assert tt.evaluate(run.out).sequences == 8
    np.savez(tmp_path / "b.npz", train0=roll(3))
    with pytest.raises(InputError, match="no part"):
        tt.evaluate(run.out, str(tmp_path / "b.npz"), part="test")


def test_it_goes_on_from_a_primer_and_overwrites_nothing(run, tmp_path):
    out = tmp_path / "out"
    options = {"output": str(out), "primer": run.train[0], "primer_length": 8, "seed": 1}
    tt.generate(run.out, **options, max_new_tokens=12, formats=["midi"], temperature=0.1)
    (path,) = out.iterdir()
    frames, _ = frames_of(symusic.Score(path), 2)
    primer = read_rolls(run.train).parts["train"][0][:8]
    np.testing.assert_array_equal(frames[:8], primer)
    np.testing.assert_array_equal(frames[8:12], primer[:4])  # four chords in turn
    with pytest.raises(InputError, match="not overwritten"):
        tt.generate(run.out, **options)
    with pytest.raises(InputError, match="give --output"):
        tt.generate(run.out)
    with pytest.raises(InputError, match="key by key"):
        tt.generate(run.out, condition=["x"], output=str(out))


@pytest.mark.skipif(
    "THROUGHTIME_DATA" not in os.environ, reason="THROUGHTIME_DATA names no folder of data sets"
)
def test_the_published_rolls():
    folder = Path(os.environ["THROUGHTIME_DATA"]) / "polymusic"
    for name, counts in (("JSB_Chorales", (229, 76, 77)), ("Nottingham", (694, 173, 170))):
        found = read_rolls([str(folder / f"{name}.mat")]).parts
        assert tuple(len(found[part]) for part in ("train", "valid", "test")) == counts
