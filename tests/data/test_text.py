import gzip
import time

import pytest

from throughtime.data.files import find_files
from throughtime.data.text import Text
from throughtime.ground.errors import InputError


def whole(text):
    return "".join(chunk for chunk, _ in text.chunks())


def test_files_globs_and_directories_are_found_once_and_in_order(tmp_path):
    for name in ("b.txt", "a.txt", "c.md", ".hidden"):
        (tmp_path / name).write_text(name)
    found = find_files([str(tmp_path / "c.md"), str(tmp_path / "*.txt"), str(tmp_path)])
    assert [f.name for f in found] == ["c.md", "a.txt", "b.txt"]


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match="nothing-here"):
        Text.of(["nothing-here"])


def test_gzip_is_read_as_its_content(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("Γ_u\nline\n".encode()))
    assert whole(Text.of([str(tmp_path / "a.txt.gz")])) == "Γ_u\nline\n"


def test_a_damaged_gzip_is_an_input_error(tmp_path):
    data = gzip.compress(b"some text\n" * 1000)
    (tmp_path / "a.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.gz: cannot be read"):
        Text.of([str(tmp_path / "a.gz")])


@pytest.mark.parametrize("content", [b"", b"\n"[:0]])
def test_an_empty_file_is_an_error(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match="empty"):
        Text.of([str(tmp_path / "a.txt")])


def test_text_that_is_not_utf8_is_refused_at_its_byte(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * 10 + b"\n" + b"ab\xff\n")
    with pytest.raises(InputError, match=r"a\.txt: not UTF-8 at byte 13 \(0xff\).*--level byte"):
        Text.of([str(tmp_path / "a.txt")])


def test_the_offset_counts_from_the_start_of_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.text.CHUNK", 64)
    (tmp_path / "a.txt").write_bytes(b"line\n" * 100 + b"\xc3(")
    text = Text((tmp_path / "a.txt",))
    with pytest.raises(InputError, match="byte 500 "):
        whole(text)


def test_bytes_are_read_as_they_are(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    text = Text.of([str(tmp_path / "a.bin")], raw=True)
    assert b"".join(chunk for chunk, _ in text.chunks()) == bytes(range(256))


def test_chunks_are_whole_lines_and_tell_where_a_file_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.text.CHUNK", 7)
    for name in "ab":
        (tmp_path / name).write_text(f"{name} first\n{name} second\n{name} no newline")
    chunks = list(Text.of([str(tmp_path / "a"), str(tmp_path / "b")]).chunks())
    assert [c for c, ends in chunks if ends] == ["a no newline", "b no newline"]
    assert all(c.endswith("\n") for c, ends in chunks if not ends)


def test_a_line_longer_than_a_chunk_is_cut_after_a_space(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.text.CHUNK", 64)
    content = "né " * 200 + "\n" + "猫" * 500
    (tmp_path / "a").write_text(content)
    chunks = [chunk for chunk, _ in Text.of([str(tmp_path / "a")]).chunks()]
    assert "".join(chunks) == content
    assert max(map(len, chunks)) < 200
    assert chunks[0].endswith(" ")
    (tmp_path / "a").write_bytes(content.encode() + b"\xc3")
    with pytest.raises(InputError, match=f"byte {len(content.encode())} "):
        whole(Text.of([str(tmp_path / "a")]))


def test_hidden_folders_are_left_out(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/objects").write_bytes(b"\xff")
    (tmp_path / "a").write_text("a")
    assert [f.name for f in find_files([str(tmp_path)])] == ["a"]


def test_a_column_of_tab_separated_lines(tmp_path):
    (tmp_path / "a.tsv").write_text("1\tfirst text\n2\tsecond\n")
    assert whole(Text.of([str(tmp_path / "a.tsv")], column=2)) == "first text\nsecond\n"
    with pytest.raises(InputError, match=r"a\.tsv:1: expected at least 3 .* got 2"):
        Text.of([str(tmp_path / "a.tsv")], column=3)


def test_the_last_share_is_held_out_without_loss_or_overlap(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.text.CHUNK", 16)
    content = "".join(f"line {i} é\n" for i in range(50))
    (tmp_path / "a").write_text(content[:200])
    (tmp_path / "b").write_text(content[200:])
    text = Text.of([str(tmp_path / "a"), str(tmp_path / "b")])
    train, valid = text.split(0.1, at_lines=False)
    assert whole(train) + whole(valid) == content
    assert len(whole(train)) == int(len(content) * 0.9)
    train, valid = text.split(0.1, at_lines=True)
    assert whole(train) + whole(valid) == content
    assert whole(train).endswith("\n")
    assert whole(valid).startswith("line")


def test_a_text_too_short_to_hold_out_is_refused(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(InputError, match="too short"):
        Text.of([str(tmp_path / "a")]).split(0.1, at_lines=False)


def test_a_text_without_any_space_is_read_in_time_that_grows_with_its_length(tmp_path):
    content = "ACGT" * (3 << 20)
    (tmp_path / "genome").write_text(content + "\nend\n")
    begun = time.process_time()
    assert whole(Text.of([str(tmp_path / "genome")])) == content + "\nend\n"
    assert time.process_time() - begun < 5  # a copy of what is read for each byte takes minutes


def test_a_text_is_cut_after_the_space_that_ends_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr("throughtime.data.text.CHUNK", 16)
    content = "long " * 8 + "x" * 20 + "\t" + "y" * 100 + "\r\nend"
    for name in ("a", "a.gz"):
        opened = gzip.open if name.endswith(".gz") else open
        with opened(tmp_path / name, "wb") as file:
            file.write(content.encode())
        found = [piece for piece, _ in Text.of([str(tmp_path / name)]).chunks()]
        assert "".join(found) == content
        assert [len(piece) for piece in found[:2]] == [35, 48], "a word of so many is cut in two"


def test_a_text_that_unpacks_out_of_all_proportion_is_refused(tmp_path):
    with gzip.open(tmp_path / "bomb.gz", "wb") as file:
        for _ in range(40):
            file.write(b"a\n" * (1 << 19))
    with pytest.raises(InputError, match=r"bomb\.gz: unpacks to more than 100 times its size"):
        whole(Text.of([str(tmp_path / "bomb.gz")]))
