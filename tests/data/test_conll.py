"""CoNLL columns, CoNLL-U and word vectors: what is read, what is written, what is refused."""

import gzip
import re

import numpy as np
import pytest

from throughtime.data.conll import SentenceReader, read_tagged
from throughtime.data.lines import Line
from throughtime.data.vectors import read_vectors
from throughtime.data.vocabulary import Vocabulary
from throughtime.ground.errors import InputError

EWT = """# newdoc id = one
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
3.1\tgone\tgo\tVERB\tVB\t_\t_\t_\t0:root\t_

# only a comment

1\tNew York\t_\tPROPN\t_\t_\t0\troot\t_\t_
"""


def read(text, **settings):
    lines = [Line(line, "f", i) for i, line in enumerate(text.splitlines(), 1)]
    return list(SentenceReader(**settings).read(lines))


def test_conllu_has_ranges_empty_nodes_and_words_with_spaces():
    first, second, third = read(EWT, format="conllu")
    assert (first.words, first.tags) == (["Do", "n't", "go"], ["AUX", "PART", "VERB"])
    assert (second.words, len(second.rows)) == ([], 1)
    assert (third.words, third.tags) == (["New York"], ["PROPN"])
    assert first.places == ["f:4", "f:5", "f:6"]
    (of_heads, *_) = read(EWT, format="conllu", tag="DEPREL", word="LEMMA")
    assert (of_heads.words, of_heads.tags) == (["do", "not", "go"], ["aux", "advmod", "root"])


def test_what_is_written_is_what_was_read_and_a_column():
    sentences = read(EWT, format="conllu")
    text = "\n\n".join(s.written([t + "!" for t in s.tags]) for s in sentences) + "\n\n"
    assert text.splitlines()[0].endswith("DEPS MISC PREDICTED:UPOS")
    assert "1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_\t_\n" in text
    again = read(text, format="conllu", tag="PREDICTED:UPOS")
    assert [s.tags for s in again] == [[t + "!" for t in s.tags] for s in sentences]
    kept = "\n\n".join(s.written(s.tags, replace=True) for s in sentences) + "\n"
    assert kept == EWT


@pytest.mark.parametrize("between", ["\t", " "])
def test_columns_comments_and_documents(between):
    text = (
        "-DOCSTART- O\n\n# a comment that is none of a word\nU.N. I-ORG\n# O\n\n\n#tag O\n"
    ).replace(" O", f"{between}O").replace(" I-", f"{between}I-")  # fmt: skip
    sentences = read(text)
    assert [s.words for s in sentences] == [[], ["U.N.", "#"], [], ["#tag"]]
    assert sentences[1].tags == ["I-ORG", "O"]
    written = [s.written(["X"] * len(s.words)) for s in sentences]
    assert written[0] == f"-DOCSTART-{between}O{between}O"
    assert written[1].splitlines()[1:] == [
        f"U.N.{between}I-ORG{between}X", f"#{between}O{between}X"
    ]  # fmt: skip


@pytest.mark.parametrize("text", [
    "John\tB-PER \nSmith\tI-PER\t\n\nMary \tB-PER\n",
    "John\tB-PER\t\nSmith\tI-PER\t\n\nMary\tB-PER\t\n",
    "John B-PER\t\nSmith  I-PER \n \t\nMary  B-PER\n",
])  # fmt: skip
def test_blanks_around_fields_are_no_part_of_them(text):
    first, second = read(text)
    assert (first.words, first.tags) == (["John", "Smith"], ["B-PER", "I-PER"])
    assert (second.words, second.tags) == (["Mary"], ["B-PER"])
    between = first.separator
    for sentence in (first, second):
        kept = sentence.written(["X"] * len(sentence.words), replace=True)
        assert kept == "\n".join(f"{word}{between}X" for word in sentence.words)
        (again,) = read(sentence.written(["X"] * len(sentence.words)))
        assert (again.words, set(again.tags)) == (sentence.words, {"X"})


def test_a_column_that_is_often_empty_stays_where_columns_are_counted_from_the_first():
    (sentence,) = read("a\tN\t\nb\tV\tnote\n", tag="2")
    assert sentence.tags == ["N", "V"]
    assert sentence.written(["X", "Y"], replace=True) == "a\tX\t\nb\tY\tnote"


def test_columns_by_name_and_number():
    text = "He PRP B-NP\nsaw VBD B-VP\n"
    for word, tag in (("1", "2"), ("-3", "-2"), ("w", "p")):
        (sentence,) = read(text, word=word, tag=tag, columns=["w", "p", "chunk"])
        assert (sentence.words, sentence.tags) == (["He", "saw"], ["PRP", "VBD"])
    (sentence,) = read(f"# global.columns = FORM UPOS X\n{text}")
    assert sentence.tags == ["PRP", "VBD"]
    (sentence,) = read("He\nsaw\n", tagged=False)
    assert sentence.written(["A", "B"]) == "He A\nsaw B"
    with pytest.raises(InputError, match=r"f:1: there is no column of tags to replace"):
        sentence.written(["A", "B"], replace=True)
    (sentence,) = read("1\N{NO-BREAK SPACE}000 NUM\n\N{NO-BREAK SPACE} X\n")
    assert sentence.words == ["1\N{NO-BREAK SPACE}000", "\N{NO-BREAK SPACE}"]


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("a O\nb\n", {}, r"f:2: expected 2 columns separated by spaces, as line 1 has, got 1"),
        ("a\tO\nb\tO\tO\n", {}, r"f:2: expected 2 columns separated by tabs, .* got 3"),
        ("a\tO\n\tO\n", {}, r"f:2: the word \(column 1\) is empty"),
        ("a\n", {}, r"f:1: words and tags are both in column 1 of 1"),
        ("a O\n", {"tag": "ner"}, r"f:1: no column 'ner' for the tag.*Found 2"),
        ("a O\n", {"tag": "3"}, r"f:1: no column '3'"),
        ("a O\n", {"tag": "nre", "columns": ["w", "ner"]}, r"Did you mean 'ner'"),
        ("1\tx\n", {"format": "conllu"}, r"f:1: expected 10 columns .* as CoNLL-U has, got 2"),
        ("\t".join("x" * 10), {"format": "conllu"}, r"f:1: expected an ID as in 1, 1-2 or 1.1"),
        ("\t".join("1xxxxxxxxx\n1xxxxxxxxx").replace("\t\n\t", "\n"), {"format": "conllu"},
         r"f:2: expected the ID 2, got 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(text, settings, said):
    with pytest.raises(InputError, match=said):
        read(text, **settings)


def test_numbers_of_words_count_up_in_conllu_alone():
    lines = ["0 a O", "7 b O"]
    (sentence,) = read("\n".join(lines), columns=["ID", "w", "ner"], word="w", tag="ner")
    assert sentence.words == ["a", "b"]


def test_files_are_read_compressed_and_an_empty_one_is_told(tmp_path):
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(EWT.encode()))
    assert [
        len(s.words) for s in read_tagged([str(tmp_path / "a.conllu.gz")], SentenceReader())
    ] == [3, 1]
    (tmp_path / "empty.conll").write_text("\n\n")
    with pytest.raises(InputError, match="no sentences"):
        read_tagged([str(tmp_path / "empty.conll")], SentenceReader())


# ---- vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["3 2\n", ""])
def test_vectors_of_word2vec_and_glove(header, tmp_path):
    path = tmp_path / "v.txt"
    path.write_text(f"{header}The 1 2\nthe 3 -4e-1\n. . 0.5 0\n", "utf-8")
    vectors = read_vectors(path)
    assert vectors.words == ["The", "the", ". ."]
    np.testing.assert_array_equal(
        vectors.values, np.array([[1, 2], [3, -0.4], [0.5, 0]], np.float32)
    )
    assert vectors.by_word() == {"The": 0, "the": 1, ". .": 2}
    assert vectors.by_word(lowercase=True) == {"the": 1, ". .": 2}
    words = Vocabulary.of_texts(["the cat"], "word")
    assert vectors.covering(words) == "vectors for 1 of 2 words (50.0%)"
    assert read_vectors(path, limit=1).words == ["The"]


@pytest.mark.parametrize(("text", "said"), [
    ("3 2\na 1 2\nb 1 2\n", "the first line says 3 vectors, the file has 2"),
    ("a 1 2\nb 1 2\na 3 4\n", r"1 vector of a word that had one before, the first at .*v.txt:3;"),
    ("2 2\na 1 2\nb 1 2\n", ""),
])  # fmt: skip
def test_vectors_that_are_missing_or_come_twice_are_told(text, said, tmp_path, capsys):
    (tmp_path / "v.txt").write_text(text)
    assert read_vectors(tmp_path / "v.txt").words == ["a", "b"]
    err = " ".join(capsys.readouterr().err.split())
    assert re.search(said, err) if said else not err


def test_vectors_of_other_words_are_told(tmp_path, capsys):
    (tmp_path / "v.txt").write_text("a 1 2\n")
    read_vectors(tmp_path / "v.txt").covering(Vocabulary.of_texts(["the cat"], "word"))
    assert "no word of the training data has a vector" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 2\nb 1\n", r"v.txt:2: expected a word and 2 numbers, as line 1 has, got 1"),
        ("a 1 2\nb 1.0 2 3\n", r"v.txt:2: expected 2 numbers, as line 1 has, got 3"),
        ("2 3\na 1 2\n", r"v.txt:2: expected a word and 3 numbers, as the first line says, got 2"),
        ("a 1 x\n", r"v.txt:1: in the vector of 'a': could not convert"),
        ("a 1 nan\n", r"v.txt:1: the vector of 'a' holds NaN"),
        ("\n", "no word vectors"),
    ],
)
def test_vectors_that_cannot_be_read(text, said, tmp_path):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        read_vectors(tmp_path / "v.txt")
