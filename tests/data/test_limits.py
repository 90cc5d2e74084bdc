"""How much readers take: long lines, bombs, encodings that are none of text, JSON without end."""

import gzip
import io

import pytest

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import from_dict
from throughtime.data.conditions import Conditions
from throughtime.data.conll import SentenceReader, read_tagged
from throughtime.data.examples import ExampleReader
from throughtime.data.labelled import Rows, read_labelled
from throughtime.data.labels import Labels
from throughtime.data.lines import Inputs, check_encoding, read_lines
from throughtime.data.numbers import Columns, read_numbers
from throughtime.data.parallel import read_parallel
from throughtime.data.text import Text
from throughtime.data.vectors import read_vectors
from throughtime.data.vocabulary import Vocabulary
from throughtime.ground.errors import InputError
from throughtime.inspect.agreement.pairs import read_pairs
from throughtime.music.abc.book import read_tunes

LONG = "x" * 3000
DIGITS = "9" * 5000
NESTED = "[" * 100_000


@pytest.mark.parametrize("name", ["f.txt", "f.txt.gz"])
@pytest.mark.parametrize("at_once", [64, 1 << 16])
def test_a_line_that_is_too_long_is_named(name, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.lines.AT_ONCE", at_once)
    path = tmp_path / name
    data = f"short\n{LONG}\nshort\n".encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    said = rf"{name}:2: a line of more than 2,000 bytes.*--data.max_bytes"
    with pytest.raises(InputError, match=said):
        list(read_lines(path, longest=2000))
    assert [len(line.text) for line in read_lines(path, longest=3001)] == [5, 3000, 5]
    monkeypatch.setattr("throughtime.data.limits.LONGEST_LINE", 2000)
    monkeypatch.setattr("throughtime.data.lines.LONGEST_LINE", 2000)
    with pytest.raises(InputError, match=r":2: a line of more than 2,000 bytes. Is it a text"):
        list(read_lines(path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(InputError, match=r"standard input:2: a line of more than 2,000 bytes"):
        list(Inputs(longest=2000).lines())


def test_every_reader_with_a_setting_names_its_long_line(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    for read in (
        lambda: read_tagged([write("a.conll", f"b O\n{LONG} O\n")], SentenceReader(longest=2000)),
        lambda: read_labelled([write("a.txt", f"A b\nA {LONG}\n")], Rows(longest=2000)),
        lambda: read_parallel([write("a.x", f"b\n{LONG}\n"), write("a.y", "b\nc\n")],
                              longest=2000),
        lambda: read_vectors(write("a.vec", f"b 1\n{LONG} 1\n"), longest=2000),
        lambda: read_numbers([write("a.csv", f"x,label\n1,{LONG}\n")],
                             Columns("sequence", "label", longest=2000)),
        lambda: ExampleReader(longest=2000).read([write("b.txt", f"b\n{LONG}\n")]),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r":2: a line of more than 2,000 bytes"):
            read()
    long = f"the cat is\tthe cat are\n{LONG}\t{LONG}\n"
    with pytest.raises(InputError, match=r":2: a line of .* bytes.*say --max-bytes NUMBER"):
        read_pairs([write("pairs.tsv", long)], longest=2000)
    corpus = Text.of([write("c.tsv", f"{LONG}\t{LONG}\n")], column=2)
    assert sum(len(chunk) for chunk, _ in corpus.chunks()) == 3001  # of a corpus there is none


def test_a_word_of_two_million_characters_is_one_line_of_an_error(tmp_path, capsys):
    (tmp_path / "a.conll").write_text("b O\n" + "x" * 2_000_000 + " B-X\n\nb O\n")
    (tmp_path / "b.conll").write_text("b B-X\n\n" * 5 + "c O\n\n" * 5)
    out = str(tmp_path / "run")
    options = ["train", "tag", "--device", "cpu", "--threads", "1", "--max-steps", "2"]
    sizes = ["--model.hidden_size", "4", "--model.char_size", "4", "--out", out]
    assert main([*options, *sizes, "--train", str(tmp_path / "a.conll")]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "65,536" in line]
    assert "a.conll:2: a line of more than 65,536 bytes" in said
    assert main([*options, *sizes, "--train", str(tmp_path / "b.conll")]) == 0
    capsys.readouterr()
    with pytest.raises(InputError, match=r"a.conll:2: a line of more than 65,536 bytes"):
        list(tt.predict(out, str(tmp_path / "a.conll")))


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.limits.UNPACKED", 1 << 16)
    for name, line in (("a.txt.gz", b"A b\n"), ("b.txt.gz", b"\0"), ("c.txt.gz", b"\n")):
        (tmp_path / name).write_bytes(gzip.compress(line * (1_000_000 // len(line))))
        with pytest.raises(InputError, match=rf"{name}: unpacks to more than 100 times .*gunzip"):
            list(read_lines(tmp_path / name))
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"A b\n" * 10_000))  # small: let through
    assert len(list(read_lines(tmp_path / "d.txt.gz"))) == 10_000


def test_a_tune_book_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.limits.WHOLE_FILE", 1000)
    (tmp_path / "a.abc.gz").write_bytes(gzip.compress(b"X:1\nK:G\n" + b"GAB|\n" * 1000))
    with pytest.raises(InputError, match=r"a\.abc\.gz: more than 1,000 bytes"):
        read_tunes([str(tmp_path / "a.abc.gz")])


@pytest.mark.parametrize("name", ["hex", "rot13", "zip", "undefined", "latin-77", "a\0b", ""])
def test_what_is_no_encoding_of_text_is_told(name, tmp_path):
    with pytest.raises(InputError, match="unknown encoding"):
        check_encoding(name)
    (tmp_path / "f").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError):
        list(read_lines(tmp_path / "f", name))


@pytest.mark.parametrize("name", ["utf-16", "utf-32-le", "cp037", "unicode_escape", "punycode"])
def test_an_encoding_with_other_line_ends_is_told_with_what_to_do(name):
    with pytest.raises(InputError, match=f"{name}.*iconv"):
        check_encoding(name)


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "shift_jis", "gb18030",
                                  "koi8-r", "big5", "ascii"])  # fmt: skip
def test_encodings_of_text_are_known(name):
    check_encoding(name)


@pytest.mark.parametrize("task", ["tag", "classify", "translate"])
def test_no_training_reads_text_as_hex(task, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("61 62\n\n")
    files = [str(tmp_path / "a.txt")] * (2 if task == "translate" else 1)
    assert main(["train", task, "--train", *files, "--out", str(tmp_path / "run"),
                 "--data.encoding", "hex"]) == 2  # fmt: skip
    assert "unknown encoding 'hex'" in capsys.readouterr().err


@pytest.mark.parametrize("value", [DIGITS, NESTED, "[" + DIGITS + "]", '{"a":' * 100_000])
def test_json_without_end_is_told_by_its_file(value, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(value + "\n")
    good = Vocabulary.of_texts(["a b"], "word").to_json()
    (tmp_path / "t.json").write_text(good.replace('"a": 4', f'"a": {value}'))
    for read, where in (
        (lambda: read_labelled([str(path)], Rows("jsonl")), r"a\.jsonl:1: "),
        (lambda: ExampleReader().read([str(path)]), r"a\.jsonl:1: "),
        (lambda: Labels.load(path), r"a\.jsonl: "),
        (lambda: Conditions.load(path), r"a\.jsonl: "),
        (lambda: Vocabulary.load(path, "word"), r"a\.jsonl: "),
        (lambda: Vocabulary.load(tmp_path / "t.json", "word"), r"t\.json: "),
    ):
        with pytest.raises(InputError, match=where):
            read()


def test_vectors_of_a_line_without_end_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.limits.LONGEST_LINE", 1000)
    monkeypatch.setattr("throughtime.data.lines.LONGEST_LINE", 1000)
    (tmp_path / "v.txt").write_text("a 1 2\nb " + "1 " * 1000)
    with pytest.raises(InputError, match=r"v\.txt:2: a line of more than 1,000 bytes"):
        read_vectors(tmp_path / "v.txt")


def test_a_run_s_setting_holds_for_its_other_verbs(tmp_path):
    (tmp_path / "a.txt").write_text("A b c\nB d e\n" * 20)
    values = {"train": [str(tmp_path / "a.txt")], "out": str(tmp_path / "run"), "max_steps": 2,
              "device": "cpu", "threads": 1, "data": {"max_bytes": 100},
              "model": {"hidden_size": 4, "embedding_size": 4}}  # fmt: skip
    tt.train(from_dict(tt.ClassifierConfig, values))
    (tmp_path / "long.txt").write_text("A b c\nB " + "d " * 100 + "\n")
    with pytest.raises(InputError, match=r"long\.txt:2: a line of more than 100 bytes"):
        tt.evaluate(tmp_path / "run", str(tmp_path / "long.txt"))
    with pytest.raises(InputError, match=r"long\.txt:2: a line of more than 100 bytes"):
        list(tt.predict(tmp_path / "run", str(tmp_path / "long.txt")))
