"""Music: tunes and pieces from data to files, and what is said of them."""

import os
import wave
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt
from runs import small_run
from throughtime.command.cli import main
from throughtime.ground.errors import InputError
from throughtime.music import abc, midi, rendering, tunes
from throughtime.music.rolls import score_of
from throughtime.tasks.music import TuneReport, whole_tune

symusic = pytest.importorskip("symusic", reason="symusic is in the extra music")
pytest.importorskip("miditok", reason="miditok is in the extra music")

BARS = {
    "jig": ("6/8", ["DEF GAB", "EFG ABc", "FGA Bcd", "G3 D3"]),
    "reel": ("4/4", ["DEFG ABcd", "EFGA Bcde", "FGAB cdef", "G4 D4"]),
}


def tune_book(folder, rhythm, key, number=24):
    """The same tune of four bars over and over."""
    metre, (a, b, c, d) = BARS[rhythm]
    path = folder / f"{rhythm}s-{key}.abc"
    head = f"T:A {rhythm}\nC:somebody\nR:{rhythm}\nM:{metre}\nL:1/8\nK:{key}\n"
    one = f"{head}{a}|{b}|{c}|\\\n{d}|]\n"
    path.write_text("\n".join(f"X:{i}\n{one}" for i in range(1, number + 1)))
    return path


# ---- tunes as text ------------------------------------------------------------------------------


def test_a_tune_becomes_its_header_and_its_music():
    text = "X:3\nT:Title\nM:4/4\nK:A\nM:C|\n% remark\nP:A\nABcd|\\\n  efga|\\\nP:B\nA4|]\n"
    example = tunes.tune_example(abc.read_tune(text, Path("jigs.abc")), ["rhythm", "metre", "key"])
    assert example.sequence == "M:2/2\nL:1/8\nK:A\nP:A\nABcd|efga|\\\nP:B\nA4|]\n"
    assert example.condition == {"rhythm": "jig", "metre": "2/2", "key": "A"}


@pytest.mark.parametrize(
    ("given", "name"),
    [("D", "D"), ("Dmaj", "D"), ("D major", "D"), ("Am", "Am"), ("A minor", "Am"), ("Amin", "Am"),
     ("G mix", "Gmix"), ("Gmixolydian", "Gmix"), ("F# dorian", "F#dor"), ("Bb", "Bb"),
     ("HP", "HP"), ("G clef=treble", "G"), ("D treble", "D"), ("Em clef=bass", "Em"),
     ("none", "none"), ("clef=bass", ""), ("bass", ""), ("HP clef=treble", "HP"), ("c", "C")],
)  # fmt: skip
def test_keys_have_one_name(given, name):
    assert tunes.key_name(given) == name


def test_rhythms_come_from_the_field_or_the_file():
    assert tunes.rhythm_of("Slip-Jig", None) == "slip jig"
    assert tunes.rhythm_of("", Path("waltzes.abc")) == "waltz"
    assert tunes.rhythm_of(None, Path("reelsa-c12.mid")) == "reel"
    assert tunes.rhythm_of(None, Path("unsorted.abc")) is None


def test_representations_follow_from_the_files(tmp_path):
    (tmp_path / "a.MID").touch()
    assert tunes.representation_of([str(tmp_path)]) == "midi"
    assert tunes.representation_of(["*.abc.gz"]) == "abc"
    assert tunes.representation_of(["x.mat"]) == "frames"
    with pytest.raises(InputError, match="neither ABC"):
        tunes.representation_of(["x.txt"])


def test_the_report_counts_what_it_says():
    report = TuneReport({"ABcd|"})
    condition = {"metre": "4/4", "key": "D", "rhythm": None}
    good, bad = "M:4/4\nL:1/4\nK:D\nABcd|A3|\n", "M:3/4\nL:1/4\nK:D\n(3AB|kk|\n"
    copy = 'M:4/4\nL:1/4\nK:D\n"D"AB cd|\n'
    for text in (good, bad, copy):
        report.add(whole_tune(0, text, condition), text, condition, ended=True)
    assert (report.tunes, report.parse, report.bars, report.right) == (3, 2, 4, 2)
    assert (report.copies, report.asked, report.as_asked) == (1, 6, 5)
    assert "does not parse: tune 2: a tuplet lacks" in report.text()


# ---- MIDI ---------------------------------------------------------------------------------------


@pytest.fixture
def midi_folder(tmp_path):
    """Pieces of a scale; one file that is none and one without notes."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    for i in range(20):
        frames = np.zeros((16, 88), np.uint8)
        frames[np.arange(16), 39 + np.arange(16) % 8] = 1
        score = score_of(frames, 2)
        score.time_signatures.append(symusic.TimeSignature(0, 3, 4))
        score.key_signatures.append(symusic.KeySignature(0, -1, 1))
        score.dump_midi(folder / f"waltz{i}.mid")
    (folder / "broken.mid").write_bytes(b"MThd nothing")
    symusic.Score(480).dump_midi(folder / "empty.mid")
    return folder


def test_files_that_do_not_parse_are_skipped_and_named(midi_folder):
    pieces = midi.read_pieces([str(midi_folder)])
    assert len(pieces.found) == 20
    (broken, why), (empty, silent) = pieces.skipped
    assert (broken.name, empty.name, silent) == ("broken.mid", "empty.mid", "no note in it")
    assert "not a MIDI file" in why
    with pytest.raises(InputError, match=r"broken\.mid: not a MIDI file"):
        midi.read_pieces([str(midi_folder / "broken.mid")])


@pytest.mark.parametrize("kind", midi.TOKENIZERS)
def test_events_hold_the_notes(midi_folder, kind):
    score = midi.read_pieces([str(midi_folder)]).found[0].score
    events = midi.Events(kind)
    line = events.encode(score)
    again = events.decode(line)
    notes = [[(n.start / s.ticks_per_quarter, n.pitch) for n in s.tracks[0].notes]
             for s in (score, again)]  # fmt: skip
    assert notes[0] == notes[1]
    assert events.misplaced(line) == 0
    assert (midi.metre_of(score), midi.key_of(score)) == ("3/4", "Dm")
    with pytest.raises(InputError, match="not an event: Nonsense"):
        events.decode("Nonsense_1")


# ---- to hear and to see -------------------------------------------------------------------------


def test_abc_is_played_drawn_and_never_overwritten(tmp_path):
    score, errors = rendering.abc_to_score('X:1\nM:3/4\nL:1/4\nK:G\nGAB|"G"c2d|]\n')
    assert not errors
    assert [n.pitch for n in score.tracks[0].notes][:3] == [67, 69, 71]
    for name, write in (("a.mid", rendering.write_midi), ("a.wav", rendering.write_wav),
                        ("a.png", rendering.draw_roll)):  # fmt: skip
        write(score, tmp_path / name)
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InputError, match="not overwritten"):
            write(score, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "a.mid", "a.wav", "a.png",
    }  # fmt: skip
    with wave.open(str(tmp_path / "a.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        assert file.getnframes() > 2.9 * file.getframerate()  # six quarters at 120
    assert 25_000 < abs(sound.astype(int)).max() < 32_767
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_bar_lines_follow_the_metre():
    score = score_of(np.ones((12, 88), np.uint8), 1)
    score.time_signatures.append(symusic.TimeSignature(0, 6, 8))
    score.time_signatures.append(symusic.TimeSignature(480 * 6, 2, 4))
    assert rendering.bar_lines(score) == [0, 3, 6, 8, 10]


def test_what_cannot_be_played_says_why():
    assert rendering.abc_to_score("nothing")[0] is None
    _, errors = rendering.abc_to_score("X:1\nK:C\nA5/5/5|\n")
    assert errors


# ---- the task -----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    books = [tune_book(tmp_path, "jig", "D"), tune_book(tmp_path, "reel", "G")]
    config = tt.MusicConfig(
        train=[str(book) for book in books], valid=[str(book) for book in books],
        out=str(tmp_path / "run"), max_steps=80, device="cpu", threads=1,
    )  # fmt: skip
    config.model.hidden_size, config.optim.lr, config.loop.batch_size = 32, 0.03, 8
    config.loop.sample_every = "0"
    tt.train(config)
    return config


def test_a_jig_in_d(run, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["generate", run.out, "--condition", "rhythm=jig", "key=D", "metre=6/8",
                 "--temperature", "0.1", "--num-samples", "2", "--seed", "1",
                 "--max-new-tokens", "100"]  # fmt: skip
    capsys.readouterr()
    assert main([*arguments, "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    (book := tmp_path / "printed.abc").write_text(printed)
    one, two = abc.read_book(book).tunes
    assert (one.number, one.first("R"), one.first("K"), two.number) == ("1", "jig", "D", "2")
    assert one.title == "Jig in D, number 1"
    music = abc.parse(one)
    assert music.parses
    assert abc.judge(music.voices[""]).right == 4
    assert {p.name for p in out.iterdir()} == {
        f"{k}{ending}" for k in (1, 2) for ending in (".abc", ".mid", ".wav", ".png")
    }
    assert abc.read_book(out / "1.abc").tunes[0].text() == one.text()
    before = {p: p.read_bytes() for p in out.iterdir()}
    assert main([*arguments, "--output", str(out)]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in out.iterdir()}


def test_report_primer_and_errors(run, tmp_path, capsys):
    capsys.readouterr()
    assert main(["generate", run.out, "--num-samples", "4", "--report", "--temperature", "0.1",
                 "--seed", "1"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "tunes that parse                          4 of        4  100.00%" in out
    assert "whole tunes copied from training" in out
    primer = tmp_path / "primer.abc"
    primer.write_text("X:1\nR:reel\nM:4/4\nL:1/8\nK:G\nDEFG ABcd|EF\n")
    (text,) = tt.generate(run.out, primer=str(primer), temperature=0.1, seed=1)
    assert "M:4/4\nL:1/8\nK:G\nDEFG ABcd|EFGA Bcde|" in text
    assert main(["generate", run.out, "--condition", "rhythm=gig"]) == 2
    assert "nearest first: jig, reel" in capsys.readouterr().err
    assert main(["generate", run.out, "--formats", "mp3"]) == 2
    assert main(["evaluate", run.out, "--part", "test"]) == 2
    assert main(["evaluate", run.out, "--part", "all"]) == 2
    assert "--part is how --data is read: give it too." in capsys.readouterr().err
    assert main(["evaluate", run.out]) == 0


def test_midi_from_data_to_files(midi_folder, tmp_path, capsys):
    config = tt.MusicConfig(
        train=[str(midi_folder)], valid=[str(midi_folder / "waltz[0-3].mid")],
        out=str(tmp_path / "run"), max_steps=60, device="cpu", threads=1,
    )  # fmt: skip
    config.model.hidden_size, config.optim.lr, config.loop.batch_size = 24, 0.03, 4
    config.loop.sample_every = "0"
    tt.train(config)
    said = capsys.readouterr().err
    assert "skipped 2 of 22 MIDI files" in said
    assert "broken.mid" in said
    out = tmp_path / "out"
    options = {"temperature": 0.2, "seed": 1, "max_new_tokens": 200}
    (paths,) = tt.generate(config.out, condition=["metre=3/4"], output=str(out), **options)
    assert paths.split() == [str(out / f"1{ending}") for ending in (".mid", ".wav", ".png")]
    score = symusic.Score(out / "1.mid")
    assert score.note_num() > 4
    primer = midi_folder / "waltz0.mid"
    (line,) = tt.generate(config.out, primer=str(primer), primer_length=10, **options)
    assert line.startswith(" ".join(midi.Events("remi").encode(symusic.Score(primer)).split()[:10]))
    assert "misplaced events" in tt.generate(config.out, report=True, num_samples=2)[0]


@pytest.mark.skipif(
    "THROUGHTIME_DATA" not in os.environ, reason="THROUGHTIME_DATA names no folder of data sets"
)
def test_the_nottingham_tunes_as_text():
    folder = Path(os.environ["THROUGHTIME_DATA"]) / "nottingham_abc"
    conditions = ["rhythm", "metre", "key"]
    examples = [tunes.tune_example(tune, conditions) for tune in abc.read_tunes([str(folder)])]
    parsed = [abc.parse(abc.read_tune("X:1\n" + example.sequence)) for example in examples]
    assert sum(music.parses for music in parsed) == 1032
    assert sum(e.condition["rhythm"] == "jig" for e in examples) == 340


def test_the_part_of_piano_rolls_is_of_files_that_are_named(tmp_path, capsys):
    config = small_run("frames", tmp_path, max_steps=2)
    tt.train(config)
    assert main(["evaluate", config.out, "--part", "test"]) == 2
    assert "--part is how --data is read: give it too." in capsys.readouterr().err
    data = str(tmp_path / "rolls.npz")
    assert main(["evaluate", config.out, "--data", data, "--part", "all"]) == 0
    assert "20 sequences" in capsys.readouterr().err
