"""Labelled texts and sequences of numbers: every format gives the same, bad input is named."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from throughtime.config.classification import ClassifierDataConfig
from throughtime.data.labelled import Record, Rows, read_labelled
from throughtime.data.lines import Inputs, Line, line_of, split_lines
from throughtime.data.numbers import Columns, Scale, read_numbers
from throughtime.data.records import CsvRecords
from throughtime.data.splits import also_in, hold_out
from throughtime.ground.errors import InputError

TEXTS = [("good", "a fine film"), ("bad", "dull , and long"), ("good", "")]


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return str(path)


def rows_of(separator):
    return "".join(f"{separator.join(row)}\n" for row in [("label", "text"), *TEXTS])


# ---- texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), [
    ("a.txt", "".join(f"{label} {text}\n" for label, text in TEXTS)),
    ("b.txt", "".join(f"{label}\t{text}\n" for label, text in TEXTS)),
    ("a.tsv", rows_of("\t")),
    ("a.csv", 'text,label\n"a fine film",good\n"dull , and long",bad\n"",good\n'),
    ("a.jsonl", "".join(json.dumps({"text": t, "label": la, "id": 1}) + "\n" for la, t in TEXTS)),
])  # fmt: skip
def test_formats_give_the_same_records(tmp_path, name, text):
    path = write(tmp_path, name, text)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    for given_path in (path, path + ".gz"):
        found = read_labelled([given_path], Rows("auto"))
        assert [(r.label, r.content) for r in found] == TEXTS
        first = 1 if name.endswith(("txt", "jsonl")) else 2
        assert [r.where for r in found] == [f"{given_path}:{first + i}" for i in range(3)]


def test_a_file_a_class_is_named_by_what_tells_it_from_the_others(tmp_path):
    paths = [write(tmp_path, f"films.{name}.txt", f"{name} text\n") for name in ("neg", "pos")]
    assert [r.label for r in read_labelled(paths, Rows("files"))] == ["neg", "pos"]
    assert [r.label for r in read_labelled(paths[1:], Rows("files"), ["neg", "pos"])] == ["pos"]
    other = write(tmp_path, "ABOUT", "text\n")
    found = read_labelled([*paths, other], Rows("files"))
    assert [r.label for r in found] == ["neg", "pos", "ABOUT"]


def test_columns_by_number_and_fields_over_several_lines(tmp_path):
    path = write(tmp_path, "a.csv", 'good,7,"one\ntwo ""three"""\n\nbad,8,four\n')
    found = read_labelled([path], Rows("auto", text="3", label="1", header=False))
    assert [r[:2] for r in found] == [('one\ntwo "three"', "good"), ("four", "bad")]
    assert found[0].where == f"{path}:1"


def test_blank_lines_are_left_out_and_counted(tmp_path):
    path, rows = write(tmp_path, "a.txt", "good x\n\n  \nbad y\n"), Rows()
    assert len(read_labelled([path], rows)) == 2
    assert rows.left_out.warning() == f"{path}: 2 blank lines left out."
    other = write(tmp_path, "b.txt", "good x\n\nbad y\n")
    assert len(read_labelled([other], rows)) == 2
    assert rows.left_out.warning() == f"2 files ({path}, {other}): 3 blank lines left out."


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_is_what_the_standard_library_reads(end, tmp_path):
    text = end.join(['text,label', '5" disk,pos', '"a ""b""', 'c",neg', 'x"y"z,pos', '"q"r,neg',
                     '"",pos', '"two', '', 'ends"" , ""here",neg', ""])  # fmt: skip
    (tmp_path / "a.csv").write_bytes(text.encode())
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    found = read_labelled([str(tmp_path / "a.csv")], Rows("auto"))
    assert [[r.content, r.label] for r in found] == rows
    assert found[1].content == f'a "b"{end}c'
    assert [r.where.rpartition(":")[2] for r in found] == ["2", "3", "5", "6", "7", "8"]


@given(st.lists(st.lists(st.text(st.sampled_from('ab,"\n\r \u2028')), min_size=2, max_size=2),
                min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))  # fmt: skip
def test_what_is_written_as_csv_comes_back(rows, end):
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    records, found = CsvRecords(), []
    for number, text in enumerate(split_lines(file.getvalue(), keepends=True), 1):
        line = line_of(text.encode(), "f", number)
        if (fields := records.push(line)) is not None:
            found.append(fields)
    records.close()
    assert found == rows


def test_a_record_of_csv_is_answered_when_it_is_whole_and_has_a_longest():
    rows = Rows("csv", "1", "2", False, longest=100)
    assert rows.push(line_of(b'5" disk,x\n', "f", 1)).content == '5" disk'
    assert rows.push(line_of(b'"a\r\n', "f", 2)) is None
    assert rows.unfinished
    assert rows.push(line_of(b'b",y\n', "f", 3)).content == "a\r\nb"
    long = [line_of(b'"' if number == 4 else b"abc def\n", "f", number) for number in range(4, 50)]
    with pytest.raises(InputError, match=r"f:4: a line of more than 100 bytes"):
        list(map(rows.push, long))


@pytest.mark.parametrize("half", [r"\ud83d", r"\uDE00", r"\ude00\ud83d"])
def test_half_a_surrogate_is_told_by_file_and_line(half, tmp_path):
    path = tmp_path / "a.jsonl"
    whole = r'{"text": "\ud83d\ude00", "label": "x"}'
    path.write_text(whole + '\n{"text": "a ' + half + ' b", "label": "y"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:2: not JSON: .ud[8e].* is half a surrogate"):
        read_labelled([str(path)], Rows("auto"))
    path.write_text(whole)
    assert read_labelled([str(path)], Rows("auto"))[0].content == "\U0001f600"
    with pytest.raises(InputError, match=r"line 2: .ud83d is half a surrogate pair"):
        list(Inputs(given=["a", "\ud83d"]).lines())


def test_columns_told_by_number_imply_that_there_is_no_header(tmp_path):
    texts = "".join(f"{'ab'[i % 2]}\t{i}\t0\tdocument {i} {'word ' * 200}\n" for i in range(2500))
    data = ClassifierDataConfig(text="4", label="1")
    rows = Rows("auto", data.text, data.label, data.has_header, implied=data.header is None)
    found = read_labelled([write(tmp_path, "a.tsv", texts)], rows)
    assert (len(found), found[0].label, found[0].where[-2:]) == (2500, "a", ":1")
    path = write(tmp_path, "b.tsv", f"class\tid\tx\ttext\n{texts}")
    with pytest.raises(InputError, match=r"b.tsv:1: is this a header.*'class'.*--data.header"):
        read_labelled([path], rows)
    assert len(read_labelled([path], Rows("auto", "4", "1", True))) == 2500
    assert len(read_labelled([path], Rows("auto", "4", "1", False))) == 2501
    assert ClassifierDataConfig().has_header
    assert ClassifierDataConfig(text="2").has_header
    assert ClassifierDataConfig(text="2", label="1", header=True).has_header


def test_a_document_may_be_longer_than_any_limit_of_csv(tmp_path):
    long = "word " * 100_000
    path = write(tmp_path, "a.csv", f"text,label\n{long},good\n")
    assert read_labelled([path], Rows("auto"))[0].content == long


@pytest.mark.parametrize(("name", "text", "said"), [
    ("a.csv", "texts,label\nx,y\n", r"a.csv:1: no column 'text'. Did you mean 'texts'"),
    ("a.csv", "text,label\nx,y\nx,y,z\n", "a.csv:3: expected 2 columns, as the header has, got 3"),
    ("a.csv", "text,label\nx\n", "a.csv:2: expected 2 columns, as the header has, got 1"),
    ("a.csv", "text,label\nx,y\n\"x,y\nx,y\n", "a.csv:3: a quoted field begins here"),
    ("a.csv", "text,label\nx\rz,y\n", "a.csv:2: expected 2 columns"),
    ("a.tsv", "text\tlabel\nx\t\n", r"a.tsv:2: the label \(column label\) is empty"),
    ("a.jsonl", '{"text": "x", "label": "y"}\nnot\n', "a.jsonl:2: not JSON"),
    ("a.jsonl", '{"text": "x"}\n', "a.jsonl:1: no 'label'"),
    ("a.jsonl", '{"text": 3, "label": "y"}\n', "a.jsonl:1: 'text' must be a text, got 3"),
    ("a.jsonl", '{"text": "x", "label": ["y"]}\n', "a.jsonl:1: 'label' must be a label"),
    ("a.txt", "", "no examples"),
    ("a.npz", "", "--level numbers"),
])  # fmt: skip
def test_bad_texts_are_named_with_file_and_line(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=said):
        read_labelled([str(path)], Rows("auto"))


def test_another_encoding_is_told_how_to_say(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("good café\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a.txt:1: not UTF-8 .*--data.encoding latin-1"):
        read_labelled([str(path)], Rows())
    assert read_labelled([str(path)], Rows(encoding="latin-1"))[0].content == "café"


# ---- numbers ------------------------------------------------------------------------------------

SEQUENCES = [np.arange(6.0).reshape(3, 2), np.ones((1, 2)), np.full((2, 2), -0.5)]
LABELS = ["up", "flat", "flat"]


def read(path):
    return read_numbers([str(path)], Columns("sequence", "label"))


def test_arrays_padded_or_end_to_end_and_csv_give_the_same_sequences(tmp_path):
    padded = np.full((3, 4, 2), 7.0)
    for row, sequence in zip(padded, SEQUENCES):
        row[: len(sequence)] = sequence
    lengths = [len(sequence) for sequence in SEQUENCES]
    np.savez(tmp_path / "padded.npz", x=padded, y=LABELS, lengths=lengths)
    np.savez(tmp_path / "joined.npz", x=np.concatenate(SEQUENCES), y=LABELS, lengths=lengths)
    rows = [
        f"{i},{step[0]},{label},{step[1]}\n"
        for i, (sequence, label) in enumerate(zip(SEQUENCES, LABELS))
        for step in sequence
    ]
    write(tmp_path, "steps.csv", "".join(["sequence,a,label,b\n", *rows, "\n"]))
    for name in ("padded.npz", "joined.npz", "steps.csv"):
        found = read(tmp_path / name)
        assert [record.label for record in found] == LABELS
        for record, sequence in zip(found, SEQUENCES):
            np.testing.assert_array_equal(record.content, sequence)


def test_a_csv_without_a_column_of_sequences_is_one(tmp_path):
    (found,) = read(write(tmp_path, "a.csv", "a,label\n1,x\n2,x\n"))
    assert found.content.tolist() == [[1], [2]]


@pytest.mark.parametrize(("text", "said"), [
    ("sequence,a,label\n1,2,x\n1,nan,x\n", "a.csv:3: column 'a': no value. Say.*--data.missing"),
    ("sequence,a,label\n1,,x\n", "a.csv:2: column 'a': no value"),
    ("sequence,a,label\n1,inf,x\n", "a.csv:2: column 'a': expected a number, got 'inf'"),
    ("sequence,a,label\n1,1e39,x\n", r"a.csv:2: column 'a': too large, beyond ±3.4e\+38, got"),
    ("sequence,a,label\n1,-1e400,x\n", "a.csv:2: column 'a': too large, beyond"),
    ("sequence,a,label\n1,2,x\n1,2,y\n", "a.csv:3: sequence 1 has the label 'y' here and 'x' at"),
    ("sequence,a,label\n1,2\n", "a.csv:2: expected 3 columns, got 2"),
    ("sequence,a,labels\n1,2,x\n", "a.csv:1: no column 'label'. Did you mean 'labels'"),
    ("sequence,label\n1,x\n", "a.csv:1: no columns of numbers"),
    ("sequence,a,a,label\n1,2,3,x\n", "a.csv:1: 2 columns are named 'a'"),
    ("", "a.csv: empty"),
])  # fmt: skip
def test_bad_rows_of_numbers_are_named_with_file_and_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read(write(tmp_path, "a.csv", text))


@pytest.mark.parametrize(("arrays", "said"), [
    ({"x": np.ones((2, 3, 1))}, "no array 'y'; found x"),
    ({"x": np.ones((2, 3, 1)), "y": ["a"]}, "y must be 2 labels"),
    ({"x": np.array([[[1.0], [np.nan]]]), "y": ["a"]}, "sequence 0, step 1, number 0 is nan"),
    ({"x": np.array([[[1.0], [1e39]]]), "y": ["a"]}, r"sequence 0, step 1, number 0 is 1e\+39"),
    ({"x": np.ones((2, 3, 1)), "y": ["a", "b"], "lengths": [4, 1]}, "lengths must be 2 numbers"),
    ({"x": np.ones((5, 1)), "y": ["a", "b"], "lengths": [2, 2]}, "lengths sum to 4, x has 5 steps"),
    ({"x": np.array(["a"]), "y": ["a"]}, "x must be numbers"),
])  # fmt: skip
def test_bad_arrays_are_named(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=f"a.npz: {said}"):
        read(tmp_path / "a.npz")


def test_files_may_have_their_columns_in_another_order(tmp_path):
    write(tmp_path, "a.csv", "b,label, a ,sequence\n1,x,2,s\n")
    write(tmp_path, "b.csv", "a,label,sequence,b\n2,x,t,1\n")
    found = read(tmp_path)
    assert [record.content.tolist() for record in found] == [[[1, 2]], [[1, 2]]]
    assert [(record.name, record.columns) for record in found] == [
        ("s", ("b", "a")),
        ("t", ("b", "a")),
    ]
    write(tmp_path, "b.csv", "a,label,c,b\n2,x,t,1\n")
    with pytest.raises(InputError, match=r"b.csv:1: columns of numbers with c; expected b, a"):
        read(tmp_path)


def test_columns_that_do_not_count_may_be_anything(tmp_path):
    path = write(tmp_path, "a.csv", "time,a,note,note,label\n12:00,1,,x,up\n")
    (found,) = read_numbers([str(path)], Columns("sequence", "label", ["a"]))
    assert found.content.tolist() == [[1]]
    with pytest.raises(InputError, match=r"a.csv:2: column 'time'.*--data.features"):
        read(write(tmp_path, "a.csv", "time,a,label\n12:00,1,up\n"))
    with pytest.raises(InputError, match=r"no column of numbers 'label'\. Found time, a\."):
        read_numbers([str(path)], Columns("sequence", "label", ["label"]))
    np.savez(tmp_path / "a.npz", x=np.ones((1, 2, 1)), y=["a"])
    with pytest.raises(InputError, match=r"a.npz: arrays have no names"):
        read_numbers([str(tmp_path / "a.npz")], Columns("sequence", "label", ["a"]))


def test_numbers_are_standardised_in_float64_whatever_their_offset():
    random = np.random.default_rng(0)
    small = [random.normal(size=(n, 2)) * (1, 1e-3) for n in (5, 0, 3)]
    large = [one + np.array([1.7e9, 5.0]) for one in small]
    together = np.concatenate(large)
    scale = Scale.of(large)
    np.testing.assert_allclose(scale.mean, together.mean(0), rtol=1e-15)
    np.testing.assert_allclose(scale.deviation, together.std(0), rtol=1e-12)
    for one, other in zip(small, large):
        expected = (one - np.concatenate(small).mean(0)) / np.concatenate(small).std(0)
        np.testing.assert_allclose(scale(other, "a"), expected, atol=1e-6)
    constant = Scale.of([np.full((7, 1), 1.7e9 + 0.1)])
    assert (constant.mean.tolist(), constant.deviation.tolist()) == ([1.7e9 + 0.1], [1.0])
    with pytest.raises(InputError, match=r"a:7: step 1, number 0 .* is 3e\+38: too far from"):
        Scale(np.zeros(1), np.full(1, 1e-3))(np.array([[0.0], [3e38]]), "a:7")


def test_a_sequence_that_comes_in_is_there_as_soon_as_the_next_begins():
    rows = ["sequence,a", "s,1", "s,2", "t,3", "u,4", "u,5"]
    lines = [Line(text, "pipe", n) for n, text in enumerate(rows, 1)]
    columns = Columns("sequence", "label", labelled=False)
    found = columns.arriving(([line] for line in lines), "pipe")
    assert [[(r.name, r.content.tolist()) for r in some] for some in found] == [
        [("s", [[1], [2]])], [("t", [[3]])], [("u", [[4], [5]])]
    ]  # fmt: skip
    back = [*lines, Line("s,6", "pipe", 7)]
    with pytest.raises(InputError, match="pipe:7: sequence s goes on after another has begun"):
        list(columns.arriving(([line] for line in back), "pipe"))


def test_files_must_agree_on_the_width(tmp_path):
    for n in (1, 2):
        np.savez(tmp_path / f"{n}.npz", x=np.ones((1, 2, n)), y=["a"])
    with pytest.raises(InputError, match=r"1\.npz\[0\]: 1, .*2\.npz\[0\]: 2"):
        read(tmp_path)


# ---- the split ----------------------------------------------------------------------------------

records = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z"]), st.sampled_from("ab")), min_size=8, max_size=40
).map(lambda pairs: [Record(text, label, str(i)) for i, (text, label) in enumerate(pairs)])


@given(records, st.integers(0, 9), st.randoms(), st.booleans())
def test_the_split_depends_on_the_seed_alone(found, seed, random, together):
    def split(some):
        parts = hold_out(some, 0.4, seed, equal_together=together)
        return [sorted(record[:2] for record in part) for part in parts]

    train, valid = split(found)
    assert sorted(train + valid) == sorted(record[:2] for record in found)
    for label in {record.label for record in found}:
        count = sum(record.label == label for record in found)
        assert sum(record[1] == label for record in valid) == round(0.4 * count)
    assert split(random.sample(found, len(found))) == [train, valid]


def test_other_seeds_hold_other_examples_out_and_equal_ones_stay_together():
    found = [Record(str(i // 2), "a", "") for i in range(200)]
    first, second = (hold_out(found, 0.1, seed, equal_together=True) for seed in (0, 1))
    assert first[1] != second[1]
    assert also_in(*first) == 0
    assert also_in(*hold_out(found, 0.1, 0)) > 10
