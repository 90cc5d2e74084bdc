"""Conditions as vectors, and the readers of sequences with conditions."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from throughtime.data.conditions import Conditions, Numbers
from throughtime.data.examples import Example, ExampleReader, hold_out
from throughtime.ground.errors import InputError

TUNES = [
    {"rhythm": "jig", "key": "D"},
    {"rhythm": "jig", "key": "G"},
    {"rhythm": "reel", "key": "D"},
    {"rhythm": "waltz", "key": None},
]


def of(conditions):
    """The kinds of conditions that stand one a line."""
    return Conditions.of((condition, f"f:{i}") for i, condition in enumerate(conditions, 1))


@pytest.fixture
def tunes():
    return of(TUNES)


def test_a_label_is_a_one_and_what_is_left_out_is_zero(tunes):
    assert tunes.sizes == [3, 2]
    assert tunes.encode({"key": "G", "rhythm": "reel"}).tolist() == [0, 1, 0, 0, 1]
    assert tunes.encode({"rhythm": "jig"}).tolist() == [1, 0, 0, 0, 0]
    assert tunes.encode({"rhythm": "waltz", "key": None}).tolist() == [0, 0, 1, 0, 0]


def test_several_labels():
    styles = of([{"style": ["calm", "short"]}, {"style": "wild"}])
    assert styles.encode({"style": ["calm", "wild"]}).tolist() == [1, 0, 1]
    assert styles.parse(["calm,wild"]) == {"style": ["calm", "wild"]}


eighths = st.integers(-8000, 8000).map(lambda n: n / 8)


@given(st.lists(st.tuples(eighths, eighths), min_size=2, max_size=20))
def test_numbers_have_mean_0_and_variance_1(rows):
    numbers = of([{"v": list(row)} for row in rows])
    table = np.stack([numbers.encode({"v": list(row)}) for row in rows]).astype(np.float64)
    constant = np.ptp(np.array(rows), 0) < 1e-6
    np.testing.assert_allclose(table.mean(0)[~constant], 0, atol=1e-4)
    np.testing.assert_allclose(table.std(0)[~constant], 1, atol=1e-3)


def test_unknown_names_and_labels_get_the_nearest(tunes):
    with pytest.raises(InputError, match=r"unknown rhythm 'jigg'.*nearest first: jig"):
        tunes.encode({"rhythm": "jigg"})
    with pytest.raises(InputError, match="Did you mean 'rhythm'"):
        tunes.encode({"rythm": "jig"})
    with pytest.raises(InputError, match="Did you mean 'key'"):
        tunes.parse(["kye=D"])
    with pytest.raises(InputError, match="expected NAME=VALUE"):
        tunes.parse(["jig"])
    with pytest.raises(InputError, match="given twice"):
        tunes.parse(["key=D", "key=G"])
    known, unseen = tunes.known({"rhythm": "polka", "key": "D"})
    assert (known, unseen) == ({"key": "D"}, 1)


def test_one_name_needs_not_be_said():
    names = of([{"condition": "Italian"}, {"condition": "a=b"}])
    assert names.parse(["Italian"]) == {"condition": "Italian"}
    assert names.parse(["a=b"]) == {"condition": "a=b"}
    assert names.parse(["condition=Italian"]) == {"condition": "Italian"}
    assert names.parse([]) == {}


def test_names_left_out_are_drawn_as_the_data_have_them(tunes):
    random = np.random.default_rng(1)
    drawn = [tunes.complete({"rhythm": "jig"}, random)["key"] for _ in range(200)]
    assert set(drawn) == {"D", "G"}
    assert 60 < drawn.count("D") < 140
    assert tunes.complete({"key": "G"}, random) == {"rhythm": "jig", "key": "G"}
    assert tunes.complete({"rhythm": "waltz"}, random) == {"rhythm": "waltz"}
    assert tunes.complete({"rhythm": "reel", "key": "G"}, random) == {"rhythm": "reel", "key": "G"}


def test_conditions_survive_their_file(tmp_path):
    path = tmp_path / "conditions.json"
    both = of([{"style": ["a", "b"], "tempo": 90}, {"style": "a", "tempo": 110}])
    path.write_text(both.to_json())
    again = Conditions.load(path)
    assert (again.kinds, again.seen) == (both.kinds, both.seen)
    never = json.loads(both.to_json())
    never["seen"][0][1] = -1
    for damaged in ("{}", json.dumps(never)):
        path.write_text(damaged)
        with pytest.raises(InputError, match=r"conditions\.json: damaged"):
            Conditions.load(path)


def test_kinds_are_not_mixed():
    with pytest.raises(InputError, match=r"f:3: condition 'a' is 'x' here and 1\.0 at f:1"):
        of([{"a": 1.0}, {"a": 2}, {"a": "x"}])
    with pytest.raises(InputError, match=r"f:2: condition 'a' is 2 here and 'x' at f:1"):
        of([{"a": "x"}, {"a": 2}])
    with pytest.raises(InputError, match=r"f:2: condition 'a' has 2 numbers here and 3 at f:1"):
        of([{"a": [1, 2, 3]}, {"a": [1, 2]}])
    with pytest.raises(InputError, match="2 finite numbers"):
        of([{"a": [1, 2]}]).encode({"a": [1]})


def test_equal_sequences_are_held_out_together():
    examples = [Example({"condition": str(i % 3)}, str(i % 50), f"a:{i}") for i in range(200)]
    train, valid = hold_out(examples, 0.2, 1)
    assert len(valid) == 40
    assert not {e.sequence for e in train} & {e.sequence for e in valid}
    again, _ = hold_out(examples[::-1], 0.2, 1)
    assert {e.sequence for e in again} == {e.sequence for e in train}
    assert hold_out(examples, 0.2, 2)[1] != valid
    with pytest.raises(InputError, match="too few to hold out"):
        hold_out(examples[:2], 0.1, 1)


def test_json_lines_and_class_files(tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text(
        '{"condition": "Italian", "sequence": "Rossi"}\n\n'
        '{"condition": {"tempo": 92, "style": ["calm"]}, "sequence": ["C4", "E4"]}\n'
        '{"condition": null, "sequence": ""}\n'
    )
    first, second, third = ExampleReader().read([str(lines)])
    assert (first.condition, first.sequence) == ({"condition": "Italian"}, "Rossi")
    assert (second.condition["tempo"], second.sequence) == (92, "C4 E4")
    assert (third.condition, third.sequence) == ({"condition": None}, "")
    assert second.where == f"{lines}:3"
    (tmp_path / "Greek.txt").write_text("Adamidis\n\nÁlvarez \n")
    names = ExampleReader().read([str(tmp_path / "Greek.txt")])
    assert [n.sequence for n in names] == ["Adamidis", "Álvarez"]
    assert names[0].condition == {"condition": "Greek"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "2: not JSON"),
        ('{"sequence": "a"}', "2: no 'condition'"),
        ("[1]", "2: expected"),
        ('{"condition": "a", "sequence": 3}', "2: the sequence must be"),
        ('{"condition": {"a": {}}, "sequence": "a"}', "2: condition 'a': expected a label"),
        ('{"condition": NaN, "sequence": "a"}', "2: condition 'condition': not finite"),
        ('{"condition": 1e308, "sequence": "a"}', "2: condition 'condition': not finite, or"),
        ('{"condition": [1, -4e38], "sequence": "a"}', "2: condition 'condition': not finite, or"),
        (f'{{"condition": {"9" * 400}, "sequence": "a"}}', "2: condition 'condition': not finite"),
        ('{"condition": "a", "sequence": ["a b"]}', "2: events must be texts without spaces"),
    ],
)  # fmt: skip
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"condition": "a", "sequence": "b"}) + f"\n{line}\n")
    with pytest.raises(InputError, match=message):
        ExampleReader().read([str(path)])


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "Greek.txt").touch()
    with pytest.raises(InputError, match=r"Greek\.txt: empty"):
        ExampleReader().read([str(tmp_path / "Greek.txt")])


def test_a_number_far_from_training_s_is_told_and_never_infinite():
    kind = Numbers((0.0,), (1e-30,))
    assert np.isfinite(kind.encode("tempo", 1e7)).all()
    for value in (1e30, 3e38):
        with pytest.raises(InputError, match="tempo is too far from what training had"):
            kind.encode("tempo", value)
    with pytest.raises(InputError, match="1 finite numbers"):
        kind.encode("tempo", 10**400)
