"""Lines and where they stand: files, pipes, encodings; labels; new files."""

import gzip
import io
import json
import math
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import throughtime
from throughtime.data.conll import SentenceReader, read_tagged
from throughtime.data.labelled import Rows, read_labelled
from throughtime.data.labels import UNSEEN, Labels
from throughtime.data.lines import (
    Inputs,
    arriving_lines,
    check_encoding,
    read_lines,
    split_lines,
    whole_lines,
    with_line_feeds,
)
from throughtime.data.parallel import read_parallel
from throughtime.data.text import Text
from throughtime.data.vectors import read_vectors
from throughtime.data.vocabulary import EOS, Vocabulary
from throughtime.ground.errors import InputError
from throughtime.ground.output import json_text, new_file, new_folder
from throughtime.music.abc.book import read_tunes


def test_files_are_read_line_by_line_with_their_places(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\nfour")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"five\n"))
    found = list(Inputs.files([str(tmp_path / "*.*")]).lines())
    assert [line.text for line in found] == ["one", "two", "", "four", "five"]
    assert found[3].where.endswith("a.txt:4")
    assert found[4].where.endswith("b.txt.gz:1")


def test_chunks_are_full_but_the_last_of_each_file(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join("abcde"))
    chunks = list(Inputs.files([str(tmp_path / "a.txt")]).chunks(2))
    assert [[line.text for line in chunk] for chunk in chunks] == [["a", "b"], ["c", "d"], ["e"]]
    assert [len(c) for c in Inputs(given=["x"] * 5).chunks(2)] == [2, 2, 1]


def test_a_line_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("fine\ncafé\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.txt:2: not UTF-8 at byte 3 .*0xe9"):
        list(read_lines(path))
    assert [line.text for line in read_lines(path, "latin-1")] == ["fine", "café"]
    check_encoding("cp1252")
    with pytest.raises(InputError, match="unknown encoding"):
        check_encoding("latin-77")


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"text\n" * 9999)[:-20])
    with pytest.raises(InputError, match=r"a\.gz: cannot be read"):
        list(read_lines(path))


def test_lines_of_a_pipe_come_when_they_are_there():
    reader, writer = os.pipe()
    heard = threading.Event()

    def write():
        with open(writer, "wb", 0) as file:
            file.write(b"first\nsec")
            assert heard.wait(10)  # the first line came although the second is not whole
            file.write(b"ond\nthird")

    thread = threading.Thread(target=write)
    thread.start()
    with open(reader, "rb") as file:
        lines = arriving_lines(file, "standard input", "utf-8")
        assert [line.text for line in next(lines)] == ["first"]
        heard.set()
        rest = [line for chunk in lines for line in chunk]
    thread.join()
    assert [(line.text, line.number) for line in rest] == [("second", 2), ("third", 3)]


@pytest.mark.parametrize(("data", "lines"), [
    (b"", []), (b"\n", [""]), (b"a", ["a"]), (b"a\n", ["a"]), (b"a\n\nb\n", ["a", "", "b"]),
])  # fmt: skip
def test_standard_input_has_as_many_lines_as_a_file(data, lines, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [line.text for line in Inputs().lines()] == lines
    (tmp_path / "f").write_bytes(data)
    assert [line.text for line in read_lines(tmp_path / "f")] == lines


SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1e"
ENDS = {"LF": "\n", "CR LF": "\r\n", "CR": "\r"}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


@every_end
def test_lines_end_at_lf_cr_lf_or_cr_and_nowhere_else(end, tmp_path, monkeypatch):
    lines = ["one", SEPARATORS, "", "four"]
    text = end.join(lines)
    (tmp_path / "f").write_bytes(text.encode())
    for size in (1, 2, 1 << 16):  # a CR and its LF may come apart
        monkeypatch.setattr("throughtime.data.lines.AT_ONCE", size)
        found = list(read_lines(tmp_path / "f"))
        assert [line.text for line in found] == lines
        assert [line.end for line in found] == [end, end, end, ""]
        assert found[3].where.endswith("f:4")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert list(map(str, (line.text for line in Inputs().lines()))) == lines
    assert split_lines(text) == lines
    assert "".join(split_lines(text, keepends=True)) == text
    assert with_line_feeds(text) == "\n".join(lines)


@given(st.text(st.sampled_from("ab\r\n\u2028")), st.integers(1, 5))
def test_splitting_loses_nothing(text, size):
    data = text.encode()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    found = [line for lines in whole_lines(pieces) for line in lines]
    assert b"".join(found) == data
    assert [line.decode() for line in found] == split_lines(text, keepends=True)
    assert "\n".join(split_lines(text)) == with_line_feeds(text).removesuffix("\n")
    assert found == data.splitlines(keepends=True)


@every_end
def test_every_reader_has_the_same_lines(end, tmp_path):
    """Each row: a reader, the lines of its file, what is found, with a separator within."""
    text, odd = tmp_path / "f.txt", "x\u2028y\x85z"

    def write(name, *lines):
        (tmp_path / name).write_bytes(end.join([*lines, ""]).encode())
        return str(tmp_path / name)

    (sentence,) = read_tagged([write("f.conll", f"{odd} A", "b B")], SentenceReader())
    assert (sentence.words, sentence.tags) == ([odd, "b"], ["A", "B"])
    path = write("f.jsonl", json_text({"text": odd, "label": "A"}))
    rows = read_labelled([path], Rows("auto"))
    assert [(r.content, r.label) for r in rows] == [(odd, "A")]
    rows = read_labelled([write("f.tsv", "text\tlabel", f"{odd}\tA", "b\tB")], Rows("auto"))
    assert [(r.content, r.label) for r in rows] == [(odd, "A"), ("b", "B")]
    rows = read_labelled([write("f.lines", f"A {odd}", "B b")], Rows())
    assert [(r.content, r.label) for r in rows] == [(odd, "A"), ("b", "B")]
    assert read_vectors(write("f.vec", f"{odd} 1 2", "b 3 4")).words == [odd, "b"]
    assert read_parallel([write("f.x", odd, "b"), write("f.y", "c", "d")])[0] == [odd, "b"]
    write("f.txt", odd, "b")
    corpus = Text.of([str(text)])
    words = Vocabulary.build(corpus, "word", words="spaces")
    assert words.encode(text.read_bytes().decode(), eos_at_lines=True).tolist().count(EOS) == 2
    column = Text.of([write("f2.tsv", f"1\t{odd}\t3", "1\tb\t3")], column=2)
    assert "".join(str(chunk) for chunk, _ in column.chunks()) == f"{odd}\nb\n"
    tune = read_tunes([write("f.abc", "X:1", f"T:{odd}", "K:G", "GAB|")])[0]
    assert (tune.title, tune.first("K")) == (odd, "G")


def test_an_archive_s_lines_and_those_of_one_end_alone_hold_out_whole_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one two\rthree\rfour five\rsix seven eight\r" * 5)
    train, valid = Text.of([str(tmp_path / "a.txt")]).split(0.3, at_lines=True)
    first, last = ("".join(str(c) for c, _ in part.chunks()) for part in (train, valid))
    assert first.endswith("\r")
    assert first + last == "one two\rthree\rfour five\rsix seven eight\r" * 5


def test_text_is_split_into_lines_in_one_place():
    """`str.splitlines` is for messages that a person reads, and for old vocabularies."""
    allowed = {
        *("training/monitor.py", "scans/compiled/build.py", "music/midi.py", "pool/process.py"),
        *("checkpoint.py", "ground/errors.py", "data/lines.py", "data/vocabulary.py"),
    }
    source = Path(throughtime.__file__).parent
    found = {p.relative_to(source).as_posix() for p in source.rglob("*.py")
             if "splitlines(" in p.read_text("utf-8")}  # fmt: skip
    assert found <= allowed


def test_labels_are_sorted_numbers_by_value_and_know_what_they_do_not_know(tmp_path):
    labels = Labels.of(["10", "9", "nan", "b", "a", "9", "-1.5"])
    assert labels.names == ["-1.5", "9", "10", "a", "b", "nan"]
    assert labels.encode(["b", "new"]).tolist() == [4, UNSEEN]
    path = tmp_path / "labels.json"
    path.write_text(labels.to_json())
    assert Labels.load(path).names == labels.names
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"labels\.json"):
        Labels.load(path)


def test_a_folder_made_for_nothing_does_not_stay(tmp_path):
    tmp_path = tmp_path / "mine"
    (tmp_path / "there").mkdir(parents=True)

    def write(name, what):
        with new_folder(tmp_path / name) as folder:
            if what:
                (folder / "found.txt").write_text(what)
            raise ZeroDivisionError

    for name, what in (("a/b/c", ""), ("there", ""), ("d/e", "kept")):
        with pytest.raises(ZeroDivisionError):
            write(name, what)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "d", "d/e", "d/e/found.txt", "there"
    ]  # fmt: skip


def test_json_has_null_for_what_is_not_finite():
    values = {"a": [math.nan, 1.5, (math.inf, 2)], "b": {"c": -math.inf, "d": None}}
    assert json.loads(json_text(values)) == {
        "a": [None, 1.5, [None, 2]],
        "b": {"c": None, "d": None},
    }


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_whole_or_not_there_and_never_over_another(tmp_path, monkeypatch, links):
    if not links:  # as on FAT

        def link(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.link", link)
    tmp_path = tmp_path / "mine"
    tmp_path.mkdir()
    path = tmp_path / "found.txt"

    def write(path, before_it_ends):
        with new_file(path) as file:
            file.write("ours")
            before_it_ends()

    with pytest.raises(ZeroDivisionError):
        write(path, lambda: 1 / 0)
    assert not list(tmp_path.iterdir())
    write(path, lambda: None)
    with pytest.raises(InputError, match="not overwritten"):
        write(path, lambda: None)
    other = tmp_path / "late.txt"
    with pytest.raises(InputError, match="not overwritten"):
        write(other, lambda: other.write_text("theirs"))
    assert (path.read_text(), other.read_text()) == ("ours", "theirs")
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(InputError, match="no such folder"):
        write(tmp_path / "none/f", lambda: None)
