import json
import os

import numpy as np
import pytest
import torch

from throughtime.data import corpus as corpora
from throughtime.data.streams import Streams
from throughtime.data.text import Text
from throughtime.data.vocabulary import EOS, UNK, Vocabulary
from throughtime.ground.cache import cache_folder
from throughtime.ground.errors import InputError, ThroughtimeError


@pytest.fixture
def text(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(f"{name} text\nof two lines é\n")
    return Text.of([str(tmp_path / "a"), str(tmp_path / "b")])


def test_the_corpus_is_the_text(text):
    vocabulary = Vocabulary.build(text, "char")
    corpus = corpora.encode(text, vocabulary, "none")
    whole = "".join(chunk for chunk, _ in text.chunks())
    assert vocabulary.decode(np.asarray(corpus.ids).tolist()) == whole
    assert corpus.counts.characters == len(whole)
    assert corpus.counts.bytes == len(whole.encode())


def test_eos_stands_at_file_ends_or_line_ends(text):
    vocabulary = Vocabulary.build(text, "char")
    for eos, expected in (("none", 0), ("file", 2), ("line", 4)):
        ids = np.asarray(corpora.encode(text, vocabulary, eos).ids)
        assert (ids == EOS).sum() == expected


def test_unknown_tokens_are_counted(text, tmp_path):
    vocabulary = Vocabulary.build(text, "char")
    (tmp_path / "c").write_text("a 猫 t\n")
    other = corpora.encode(Text.of([str(tmp_path / "c")]), vocabulary, "none")
    assert other.counts.unknown == 1
    assert np.asarray(other.ids)[2] == UNK


def test_characters_are_counted_at_byte_level(text):
    raw = Text(text.files, raw=True)
    vocabulary = Vocabulary.build(raw, "byte")
    counts = corpora.encode(raw, vocabulary, "none").counts
    assert counts.characters == counts.bytes - 2


def test_it_is_encoded_once_and_again_when_a_file_changes(text, monkeypatch):
    vocabulary = Vocabulary.build(text, "char")
    first = corpora.encode(text, vocabulary, "none")
    with monkeypatch.context() as m:
        m.setattr(Vocabulary, "encode", None)
        assert corpora.encode(text, vocabulary, "none").counts == first.counts
    text.files[0].write_text("other text\nof two lines é\n")
    os.utime(text.files[0], ns=(1, 1))
    assert corpora.encode(text, vocabulary, "none").counts.fingerprint != first.counts.fingerprint


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damage", {
    "short": lambda data: data[:-2],
    "longer": lambda data: data + b"xx",
    "empty": lambda data: b"",
    "a bit": lambda data: flip(data, len(data) // 2),
    "the last bit": lambda data: flip(data, len(data) - 2),
    "other": lambda data: bytes(len(data)),
    "null": lambda data: b"null".ljust(len(data)),
}.values())  # fmt: skip
@pytest.mark.parametrize("kind", ["ids", "json"])
def test_a_damaged_cache_is_told_and_made_again(text, kind, damage, capsys):
    vocabulary = Vocabulary.build(text, "char")
    first = corpora.encode(text, vocabulary, "none")
    whole = np.asarray(first.ids).tolist()
    (path,) = (cache_folder() / "corpora").glob(f"*.{kind}")
    path.write_bytes(damage(path.read_bytes()))
    again = corpora.encode(text, vocabulary, "none")
    assert "damaged" in capsys.readouterr().err
    assert np.asarray(again.ids).tolist() == whole
    assert again.counts == first.counts
    corpora.encode(text, vocabulary, "none")
    assert not capsys.readouterr().err


def test_a_folder_that_others_may_write_is_not_believed(text, tmp_path, monkeypatch, capsys):
    vocabulary = Vocabulary.build(text, "char")
    right = np.asarray(corpora.encode(text, vocabulary, "none").ids)
    shared = tmp_path / "shared" / "corpora"
    monkeypatch.setenv("THROUGHTIME_CACHE", str(shared.parent))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    corpora.encode(text, vocabulary, "none")
    shared.chmod(0o777)  # whoever may write could have put other ids there, and their checksum
    found = corpora.encode(text, vocabulary, "none")
    assert shared not in found.ids.path.parents
    assert (np.asarray(found.ids) == right).all()
    assert "the cache is not trusted: others may write" in capsys.readouterr().err


def test_counts_of_an_earlier_release_are_counted_anew_without_a_word(text, capsys):
    vocabulary = Vocabulary.build(text, "char")
    first = corpora.encode(text, vocabulary, "none")
    (path,) = (cache_folder() / "corpora").glob("*.json")
    said = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in said.items() if k != "checksum"}))
    assert corpora.encode(text, vocabulary, "none").counts == first.counts
    assert not capsys.readouterr().err
    assert "checksum" in json.loads(path.read_text())


def test_a_corpus_cut_short_while_it_is_read_is_told(text):
    vocabulary = Vocabulary.build(text, "char")
    corpus = corpora.encode(text, vocabulary, "none")
    streams = Streams(corpus.ids, 2, 5, first=2)
    os.truncate(corpus.ids.path, 40)
    with pytest.raises(ThroughtimeError, match=r"\.ids: cut short at byte 40 .*--resume"):
        streams[len(streams) - 1]
    with pytest.raises(ThroughtimeError, match="cut short"):
        np.asarray(corpus.ids)


def test_a_corpus_stays_the_file_that_was_opened(text):
    vocabulary = Vocabulary.build(text, "char")
    corpus = corpora.encode(text, vocabulary, "none")
    whole = np.asarray(corpus.ids)
    corpus.ids.path.unlink()
    assert (np.asarray(corpus.ids) == whole).all()


def test_streams_on_disk_are_those_in_memory(text):
    ids = corpora.encode(text, Vocabulary.build(text, "char"), "none").ids
    disk, memory = (Streams(of, 3, 4, first=2) for of in (ids, np.asarray(ids)))
    assert len(disk) == len(memory) > 1
    for i in range(len(disk)):
        assert all((a == b).all() for a, b in zip(disk[i], memory[i]))


def test_a_failed_write_leaves_nothing_behind(text, monkeypatch):
    vocabulary = Vocabulary.build(text, "char")

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as m:
        m.setattr("os.replace", fail)
        with pytest.raises(ThroughtimeError, match=r"disk full.*THROUGHTIME_CACHE"):
            corpora.encode(text, vocabulary, "none")
    assert not list((cache_folder() / "corpora").iterdir())


# ---- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "batch", "window"), [(100, 4, 7), (103, 4, 25), (64, 1, 10), (30, 3, 0)]
)
def test_every_token_is_a_target_once_and_its_input_is_the_one_before(n, batch, window):
    ids = np.arange(10, 10 + n)
    streams = Streams(ids, batch, window, first=2)
    inputs = torch.cat([streams[i][0] for i in range(len(streams))])
    targets = torch.cat([streams[i][1] for i in range(len(streams))])
    length = n // batch
    assert streams.dropped == n - batch * length
    assert targets.T.flatten().tolist() == ids[: batch * length].tolist()
    assert (inputs[0] == 2).all()
    assert (inputs[1:] == targets[:-1]).all()


def test_processes_share_the_joint_batch():
    ids = np.arange(1000)
    joint = Streams(ids, 6, 10, first=2)
    parts = [Streams(ids, 6, 10, first=2, rank=r, world=3) for r in range(3)]
    for i in range(len(joint)):
        assert (torch.cat([p[i][1] for p in parts], 1) == joint[i][1]).all()
    with pytest.raises(InputError, match="multiple of the 4 processes"):
        Streams(ids, 6, 10, first=2, world=4)


def test_a_text_shorter_than_a_window_says_what_would_do():
    with pytest.raises(
        InputError, match=r"100 tokens: too short for 32 streams .* \(2048 tokens\)"
    ):
        Streams(np.arange(100), 32, 64, first=2)
    with pytest.raises(InputError, match="at least 1"):
        Streams(np.arange(100), 0, 64, first=2)
