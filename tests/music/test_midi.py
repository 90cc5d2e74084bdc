"""MIDI files that cannot be used are skipped, with the reason; the others are read."""

import struct

import pytest

from throughtime.ground.errors import InputError
from throughtime.music.midi import MOST_QUARTERS, Events, read_pieces, read_score
from throughtime.music.rolls import read_rolls
from throughtime.music.tunes import midi_examples

symusic = pytest.importorskip("symusic", reason="symusic is in the extra music")
pytest.importorskip("miditok", reason="miditok is in the extra music")


def score(*notes, ticks=480):
    found = symusic.Score(ticks)
    track = symusic.Track("x", program=0)
    for start, duration, pitch in notes:
        track.notes.append(symusic.Note(start, duration, pitch, 80))
    found.tracks.append(track)
    return found


@pytest.fixture
def files(tmp_path):
    """A piece that is one, and others of which each lacks something."""
    score((0, 480, 60), (480, 480, 64)).dump_midi(tmp_path / "good.mid")
    score((0, 480, 5)).dump_midi(tmp_path / "low.mid")
    score((0, 480, 60), (480 * (MOST_QUARTERS + 9), 480, 60)).dump_midi(tmp_path / "late.mid")
    good = (tmp_path / "good.mid").read_bytes()
    (tmp_path / "division.mid").write_bytes(good[:12] + struct.pack(">H", 0) + good[14:])
    (tmp_path / "empty.mid").write_bytes(b"")
    return tmp_path


def test_each_is_skipped_with_its_reason(files):
    reasons = {path.name: reason for path, reason in read_pieces([str(files)]).skipped}
    assert set(reasons) == {"division.mid", "late.mid", "empty.mid"}
    assert "0 ticks per quarter note" in reasons["division.mid"]
    assert "beyond 131,072 quarter notes" in reasons["late.mid"]
    assert read_score(files / "good.mid")[0] is not None


@pytest.mark.parametrize("kind", ["remi", "tsd", "midi-like"])
def test_a_piece_without_a_note_in_range_is_no_events(kind, files):
    found, skipped = midi_examples([str(files)], [], Events(kind), lambda amount: None)
    assert [example.where for example in found] == [str(files / "good.mid")]
    assert {path.name for path, _ in skipped} == {
        "division.mid", "late.mid", "empty.mid", "low.mid"
    }  # fmt: skip
    with pytest.raises(InputError, match=r"low\.mid: no note in it that an event can tell"):
        midi_examples([str(files / "low.mid")], [], Events(kind), lambda amount: None)


def test_a_piece_without_a_note_on_the_keys_is_no_roll(files):
    rolls = read_rolls([str(files)])
    assert {path.name: reason for path, reason in rolls.skipped}["low.mid"] == (
        "no note within the 88 keys"
    )
    ((sequence,),) = rolls.parts.values()
    assert sequence.sum() > 0


def test_times_that_lie_are_told(tmp_path):
    """Delta times of the largest size that a file can say, which overflow when added up."""
    events = b"".join(b"\xff\xff\xff\x7f" + bytes(e) for e in [(0x90, 60, 64), (0x80, 60, 64)] * 14)
    track = b"\x00\x90\x3c\x40" + events + b"\x00\xff\x2f\x00"
    head = b"MThd" + struct.pack(">IHHH", 6, 1, 1, 480)
    path = tmp_path / "times.mid"
    path.write_bytes(head + b"MTrk" + struct.pack(">I", len(track)) + track)
    with pytest.raises(InputError, match=r"times\.mid: "):
        midi_examples([str(path)], [], Events("remi"), lambda amount: None)
