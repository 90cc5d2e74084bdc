"""ABC tune books: fields, lengths, bars, and abc2midi (shipped by symusic) as the oracle."""

import os
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from throughtime.ground.errors import InputError
from throughtime.music import abc
from throughtime.music.abc.notation import tonic_and_mode

HEADER = "X:1\nM:4/4\nL:1/8\nK:D\n"


def music(body, header=HEADER):
    return abc.parse(abc.read_tune(header + body + "\n"))


def bars(body, header=HEADER):
    found = music(body, header)
    assert not found.problems
    (voice,) = found.voices.values()
    return voice


def judged(body, header=HEADER):
    found = abc.judge(bars(body, header))
    return found.right, len(found.wrong)


# ---- lengths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "length"),
    [
        ("A", 1), ("A2", 2), ("A/", "1/2"), ("A//", "1/4"), ("A3/2", "3/2"), ("A/4", "1/4"),
        ("^A,,2 =b''/ __c", "7/2"), ("z2x2", 4), ("A>B", 2), ("A2>>B2", 4), ("A<B", 2),
        ("A> B", 2), ("A>(Bc)", 3), ("(3ABc", 2), ("(3A2B2c2", 4), ("(2AB", 3), ("(4ABcd", 3),
        ("(5ABcde", 2), ("(3:2:4ABcd", "8/3"), ("(3::2AB", "4/3"), ("(3A>Bc", 2),
        ("(3zA/B/", "4/3"),
        ("[CEG]", 1), ("[C2E2G2]", 2), ("[CEG]3", 3), ("[C2E]2", 4), ("[C-E]A", 2), ("{gab}A", 1),
        ("{/g}A2", 2), ("A-A", 2), ("(AB)", 2), ('"G"A"^loud"B', 2), ("!trill!A+fermata+B", 2),
        (".A~BuCvd", 4), ("A`B y2 c", 3), ("Z", 8), ("Z2", 16), ("A & B2", 1), ("A[L:1/4]B", 3),
        ("A\\\nB", 2), ("A % c\nB", 2), ("A\nw:la\nB", 2), ("A[r:why]B", 2),
    ],
)  # fmt: skip
def test_lengths(body, length):
    assert bars(f"{body}|A")[0].units == Fraction(length)


def test_the_second_of_a_broken_rhythm_gives_what_the_first_takes():
    assert bars("A2>B|")[0].units == Fraction(7, 2)
    assert bars("A<B2|")[0].units == Fraction(7, 2)
    assert bars("A>>>B|")[0].units == 2


@pytest.mark.parametrize(
    ("field", "unit"),
    [("M:4/4", "1/8"), ("M:3/4", "1/8"), ("M:2/4", "1/16"), ("M:6/8", "1/8"), ("M:C|", "1/8"),
     ("M:none", "1/8"), ("M:2/4\nL:1/4", "1/4"), ("L:1/4\nM:2/4", "1/4")],
)  # fmt: skip
def test_the_unit_follows_from_the_metre_where_it_is_not_given(field, unit):
    assert bars("A|", f"X:1\n{field}\nK:C\n")[0].length == Fraction(unit)


def test_five_notes_take_three_in_a_compound_metre():
    assert bars("(5ABcde|", "X:1\nM:6/8\nK:C\n")[0].units == 3


# ---- what does not parse ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "column", "message"),
    [
        ("A2:|B", None, None), ("A:|", None, None), ("hello A", 1, "not ABC: 'hello A'"),
        ("AB 5 c", 4, "not ABC"), ('A"G', 2, "not ABC"), ("[CE A", 1, "not ABC"),
        ("[CkE]A", 1, "not a chord"), ("{gk}A", 1, "not grace notes"), ("A0", 1, "length '0'"),
        ("A/0", 1, "length '/0'"), (">A", 1, "between two notes"), ("A>|B", 3, "missing after >"),
        ("A>", None, "missing after >"), ("(3AB|c", 5, "lacks its last 1"), ("A:B", 2, "not ABC"),
        ("A_", 2, "not ABC"), ("(1A", 1, "not a tuplet"), ("A[M:x]B", 2, "not a metre"),
        ("A[L:0]B", 2, "not a note length"), ("z4|", None, "no note"), ("A[K:Q]B", 2, "not a key"),
    ],
)  # fmt: skip
def test_problems_name_their_place(body, column, message):
    problems = music(body).problems
    if message is None:
        assert not problems
        return
    assert message in problems[0].message
    assert problems[0].line == 5
    assert column is None or problems[0].column == column


@pytest.mark.parametrize(
    ("tune", "message"),
    [("X:1\nM:4/4\nA|\n", "no field K:"), ("X:a\nK:C\nA|\n", "X: with a number"),
     ("X:1\nK:C\n", "no note"), ("X:1\nM:0/4\nK:C\nA|\n", "metre of no length")],
)  # fmt: skip
def test_headers_that_are_none(tune, message):
    assert message in abc.parse(abc.read_tune(tune)).problems[0].message


def test_letters_that_u_defines_are_marks():
    assert music("AkB").problems
    assert not music("AkB", "X:1\nU:k=!trill!\nK:C\n").problems


# ---- bars ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "right", "wrong"),
    [
        ("A8|A8|", 2, 0),
        ("A8|A7|A8|", 2, 1),
        ("A8|A9|", 1, 1),
        ("A|B8|B7|", 3, 0),  # the pick-up and the final bar complete each other
        ("A|B8|B6|", 1, 2),
        ("A|B8|B8|", 2, 1),
        ("B8|B7:|A|B8|", 4, 0),
        ("B8|B7|A|B8|", 2, 2),  # a plain bar line ends no section
        ("A|B8|B7:|", 3, 0),
        ("A|B8|B7:|c|B8|B7:|", 6, 0),
        ("A2|B8|B6||c4|B8|B4||", 6, 0),
        ("|:B8|c4:|:d4|B8:|", 4, 0),  # a bar cut by a repeat
        ("A|B8|1B7:|2B7||", 4, 0),
        ("A|B8|[1B7:|[2B6||c2|d8|e8||", 7, 0),
        ("B8|c4[1d4:|[2e4||", 4, 0),
        ("B8|c4[1d3:|[2e4||", 3, 1),
        ("A8|\nP:B\nc|d8|e7|", 4, 0),
        ("A8|\nM:3/4\nA6|[M:C]A8|", 3, 0),
        ("A8|Z2|", 3, 0),
        ("A8 & B8|A8 & B7|", 1, 1),
        ("A8||  |:B8:|", 2, 0),
        ("[|A8|]", 1, 0),
        ("A8|[CEG]8|{g}A8|", 3, 0),
        ("A8", 1, 0),
    ],
)
def test_bars_of_the_metres_length(body, right, wrong):
    assert judged(body) == (right, wrong)


def test_voices_are_kept_apart():
    found = music("V:1\nA8|B8|\nV:2\nA4|[V:1]c8|[V:2]d4|")
    assert {name: [b.units for b in bars] for name, bars in found.voices.items()} == {
        "1": [8, 8, 8],
        "2": [4, 4],
    }


def test_a_free_metre_judges_nothing():
    found = abc.judge(bars("A8|A3|", "X:1\nM:none\nK:C\n"))
    assert (found.judged, found.free) == (0, 2)


# ---- books --------------------------------------------------------------------------------------

BOOK = """%abc-2.1
R:reel
Z:somebody

Some words about the tunes.

X: 1
T:One % the first
T:Uno
Y:AB
M:4/4
K:D
A2|B8|
% a remark
J:what
B6:|

X:2
R:jig
N:a long
+:note
K:G
A:|
X:3
K:Am
c"""


def test_a_book_has_tunes_with_fields(tmp_path):
    path = tmp_path / "a.abc"
    path.write_text(BOOK)
    book = abc.read_book(path)
    one, two, three = book.tunes
    assert book.free_lines == 1
    assert (one.number, one.title, one.first("R"), one.line) == ("1", "One", "reel", 7)
    assert (two.first("R"), two.first("Z"), two.first("N")) == ("jig", "somebody", "a long note")
    assert (three.first("K"), three.first("R")) == ("Am", "reel")
    assert dict(one.unknown) == {"Y": 1}
    assert dict(abc.parse(one).unknown) == {"J": 1}
    assert abc.judge(abc.parse(one).voices[""]).right == 3
    assert not abc.parse(two).problems  # A:| is music, not a field
    assert one.where == f"{path}:7"


def test_a_tune_written_out_reads_as_the_same(tmp_path):
    path = tmp_path / "a.abc"
    path.write_text(BOOK)
    for tune in abc.read_book(path).tunes:
        again = abc.read_tune(tune.text())
        assert [f.value for f in again.header] == [
            f.value for f in tune.header if f.line >= tune.line
        ]
        assert [text for _, text in again.body] == [text for _, text in tune.body]


def test_files_that_are_no_books_are_named(tmp_path):
    empty, latin = tmp_path / "empty.abc", tmp_path / "latin.abc"
    empty.write_text("nothing here\n")
    latin.write_bytes(b"X:1\nT:caf\xe9\nK:C\nA|\n")
    with pytest.raises(InputError, match=r"empty\.abc: no tune"):
        abc.read_book(empty)
    with pytest.raises(InputError, match=r"latin\.abc:2: not utf-8"):
        abc.read_book(latin)
    latin.write_bytes(b"%%abc-charset iso-8859-1\n\n" + latin.read_bytes())
    assert abc.read_book(latin).tunes[0].title == "café"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.txt").write_text("X:1")
    with pytest.raises(InputError, match="no tune book in it"):
        abc.read_tunes([str(tmp_path / "folder")])


# ---- abc2midi as the oracle ---------------------------------------------------------------------

pitches = st.sampled_from(["C", "^F,", "_B", "g'", "=c", "A"])
lengths = st.sampled_from(["", "2", "3", "/", "/2", "3/2", "//", "4"])
notes = st.builds(str.__add__, pitches, lengths)
plain = st.one_of(
    notes,
    st.builds("z{}".format, lengths),
    st.builds("[CEG]{}".format, lengths),
    st.builds("{{ga}}{}".format, notes),
)
items = st.one_of(
    plain,
    st.builds("(3{}{}{}".format, plain, notes, notes),
    st.builds("(2{}{}".format, notes, notes),
    st.builds("(3:2:2{}{}".format, notes, notes),
    st.builds("{}{}{}".format, pitches, st.sampled_from([">", "<", ">>"]), pitches),
)
one_bar = st.lists(items, min_size=1, max_size=5).map(" ".join)


def abc2midi(text, folder):
    """What abc2midi says of a tune, and its score."""
    symusic = pytest.importorskip("symusic", reason="symusic is in the extra music")
    source, target = folder / "a.abc", folder / "a.mid"
    source.write_text(text)
    command = [os.environ["SYMUSIC_ABC2MIDI"], str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode("latin-1"), symusic.Score(target)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(one_bar, min_size=1, max_size=6), st.sampled_from(["4/4", "6/8", "3/4"]))
def test_time_passes_as_abc2midi_has_it(tmp_path, written, metre):
    header = f"X:1\nM:{metre}\nL:1/8\nK:C\n"
    body = "|".join(written)
    total = sum((b.length for b in bars(f"{body}|A8|", header)[:-1]), Fraction(0))
    _, score = abc2midi(f"{header}{body}|A8|\n", tmp_path)
    last = max(note.start for note in score.tracks[0].notes)
    assert abs(last / (4 * score.ticks_per_quarter) - total) < Fraction(len(body), 1920)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["A8", "A4 B4", "A2>B2 (3cde c2", "A7", "A4 B3/2", "A9"]), max_size=8)
)
def test_wrong_bars_are_those_that_abc2midi_warns_of(tmp_path, written):
    body = "\n".join(f"{bar}|" for bar in ["A8", *written, "A8"])
    wrong = abc.judge(bars(body)).wrong
    said, _ = abc2midi(HEADER + body + "\n", tmp_path)
    warned = {int(line) for line in re.findall(r"line-char (\d+)-\d+ : Track 0 Bar", said)}
    assert {bar.line for bar in wrong} == warned


# ---- real tunes ---------------------------------------------------------------------------------


@pytest.mark.skipif(
    "THROUGHTIME_DATA" not in os.environ, reason="THROUGHTIME_DATA names no folder of data sets"
)
def test_the_nottingham_tunes():
    folder = Path(os.environ["THROUGHTIME_DATA"]) / "nottingham_abc"
    tunes = abc.read_tunes([str(folder)])
    found = [abc.parse(tune) for tune in tunes]
    assert len(tunes) == 1034
    assert sum(not one.parses for one in found) == 2
    assert sum(tune.unknown["Y"] for tune in tunes) == 339
    counts = [abc.judge(voice) for one in found for voice in one.voices.values()]
    assert sum(c.right for c in counts) / sum(c.judged for c in counts) > 0.99


# ---- keys and voices -----------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "found"), [
    ("G clef=treble", ("G", "")), ("D treble", ("D", "")), ("Am clef=bass octave=-1", ("A", "m")),
    ("G dor transpose=2", ("G", "dor")), ("Bbmaj bass", ("Bb", "maj")), ("D exp _b", ("D", "exp")),
    ("Dmix^c", ("D", "mix")), ("C middle=d", ("C", "")), ("F#   minor", ("F#", "min")),
    ("A alto", ("A", "")), ("clef=bass", None), ("bass", None), ("alto", None), ("treble", None),
    ("HP", None), ("none", None), ("none clef=bass", None), ("", None), ("baritone", None),
])  # fmt: skip
def test_a_key_is_a_tonic_and_a_mode_and_no_clef(value, found):
    assert tonic_and_mode(value) == found
    assert not music("GABc|", f"X:1\nK:{value}\n").problems


@pytest.mark.parametrize("value", ["Q", "Gfoo", "clef", "D!", "basso"])
def test_what_is_no_key_is_told(value):
    assert "not a key" in music("GABc|", f"X:1\nK:{value}\n").problems[0].message


@pytest.mark.parametrize("between", ["", "\n"])
def test_a_metre_and_a_unit_are_those_of_their_voice(between):
    body = (f"[V:1]{between} C4|[M:3/4]CEG|[L:1/8]c2e2g2|\n[V:2] E4|[M:3/4]G3|[L:1/8]E6|\n"
            "[V:1] c6|\n[V:2] [M:4/4] e8|e8|\n[V:1] g6|\n[V:3] [L:1/4] c4|(3ccc c2|\n")  # fmt: skip
    found = music(body, "X:1\nM:4/4\nL:1/4\nK:C\n")
    assert not found.problems
    metres = {name: [bar.metre for bar in bars] for name, bars in found.voices.items()}
    three = Fraction(3, 4)
    assert metres == {"1": [1, three, three, three, three], "2": [1, three, three, 1, 1],
                      "3": [1, 1]}  # fmt: skip
    for bars in found.voices.values():
        judged = abc.judge(bars)
        assert (judged.right, judged.wrong) == (len(bars), ())


def test_what_is_said_before_the_first_voice_is_said_of_all():
    found = music("M:3/4\nL:1/4\nV:1\nGAB|\nV:2\nM:2/4\nGA|\nV:1\nGAB|\n", "X:1\nM:4/4\nK:C\n")
    assert [bar.metre for bar in found.voices["1"]] == [Fraction(3, 4)] * 2
    assert [(bar.metre, bar.length) for bar in found.voices["2"]] == [(Fraction(1, 2),) * 2]
