"""Numbers through time: missing values, columns of names, stamps, groups, splits, large data."""

import csv
import re

import numpy as np
import pytest

import throughtime as tt
from runs import RUNS, events, measured, small_run
from throughtime.config import from_dict
from throughtime.data import rooms
from throughtime.data.columns import Columns
from throughtime.data.numbers import Scale, read_numbers
from throughtime.data.splits import hold_out_groups, hold_out_latest
from throughtime.data.tables import CsvTable, plain_columns, read_rows
from throughtime.tasks import task_class
from throughtime.tasks.numeric import before


def prepared(path, task="classify", **sections):
    values = {"train": [str(path)], "device": "cpu", "threads": 1, "model": {"hidden_size": 4}}
    values |= {} if task == "regress" else {"level": "numbers"}
    config = {"classify": tt.ClassifierConfig, "regress": tt.RegressionConfig,
              "tag": tt.TaggerConfig}[task]  # fmt: skip
    return task_class(task).prepare(from_dict(config, {**values, **sections}))


@pytest.fixture
def table(tmp_path):
    """Two numbers, of which one is missing now and then; names, stamps, people."""
    rows = ["sequence,day,person,a,b,kind,label"]
    for k in range(30):
        for t in range(4):
            b = "" if t == k % 4 else f"{10 * k + t}"
            day = np.datetime64("2024-01-01") + 10 * k + t * (1 + k % 2)
            rows.append(f"{k},{day},p{k // 3},{k + t},{b},{'xyz'[k % 3]},{'uv'[k % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "t.csv"


FULL = {"time": "day", "group": "person", "categories": ["kind"]}


def test_what_is_missing_is_marked_filled_or_an_error(table):
    for missing, numbers in (("mask", 6), ("forward", 3), ("mean", 3)):
        task = prepared(table, data={**FULL, "missing": missing})
        x, lengths, _ = task.train.pad(np.arange(1))
        assert x.shape == (4, 1, numbers + 1)
        assert lengths.tolist() == [4]
        k = int(task.train.sequences.values[0, 0] >= -99) and task
        assert k is task
        i = 0
        column = x[:, i, 1].numpy()
        record = next(r for r in task.read([str(table)]) if r.content[0, 0] == rows_of(task, x)[0])
        gone = np.isnan(record.content[:, 1])
        assert gone.sum() == 1
        scaled = (record.content[:, 1] - task.source.scale.mean[1]) / task.source.scale.deviation[1]
        t = int(gone.argmax())
        expected = 0.0 if missing == "mean" or t == 0 else scaled[t - 1]
        assert column[t] == pytest.approx(expected, abs=1e-5)
        if missing == "mask":
            assert (x[:, i, 4].numpy() == ~gone).all()
            assert x[:, i, 3].min() == 1
    with pytest.raises(tt.InputError, match=r"t.csv:2: column 'b': no value.*--data.missing mask"):
        prepared(table, data=FULL)


def checked(config):
    config.check()
    return task_class("classify").prepare(config)


def rows_of(task, x):
    """The first numbers of a batch's first sequence as they were."""
    scale = task.source.scale
    return np.round(x[0, 0, :1].numpy() * scale.deviation[:1] + scale.mean[:1])


def test_seconds_since_the_step_before_are_a_number_and_names_are_embedded(table):
    task = prepared(table, data={**FULL, "missing": "forward"})
    scale = task.source.scale
    assert (task.source.size, task.source.columns) == (3, ("a", "b"))
    back = task.train.sequences.values[:, 2] * scale.deviation[2] + scale.mean[2]
    assert set(np.round(back / 86400).astype(int).tolist()) == {0, 1, 2}
    assert task.source.categories == {"kind": ["x", "y", "z"]}
    model = task.build_model()
    assert model.inputs.output_size == 3 + 2
    unseen = table.read_text().replace(",z,", ",w,")
    (table.parent / "w.csv").write_text(unseen)
    again = task.encode(task.read_more([str(table.parent / "w.csv")]))
    assert set(again.sequences.values[:, 3].tolist()) == {0.0, 1.0, 2.0}


def test_groups_and_times_do_not_leak(table):
    task = prepared(table, data={**FULL, "missing": "forward", "holdout": 0.3})
    records = task.read([str(table)])
    train, valid = hold_out_groups(records, 0.3, 0)
    assert not {r.group for r in train} & {r.group for r in valid}
    assert 6 <= len(valid) <= 12
    assert (len(train), len(valid)) == (len(task.train), len(task.valid))
    train, valid, between = hold_out_latest(records, 0.2)
    assert max(r.span[1] for r in train) < min(r.span[0] for r in valid)
    assert len(train) + len(valid) + between == 30
    by_time = prepared(table, data={"time": "day", "categories": ["kind", "person"],
                                    "missing": "forward", "split": "time"})  # fmt: skip
    assert len(by_time.valid) == 3
    both = {"split": "time", "time": "day", "group": "person"}
    for data, said in (({"split": "time"}, "needs the column of stamps"),
                       (both, "give one of them"),
                       ({"group": "persons"}, "Did you mean 'person'")):  # fmt: skip
        values = {"train": [str(table)], "level": "numbers", "out": "x", "data": data}
        config = from_dict(tt.ClassifierConfig, values)
        with pytest.raises(tt.InputError, match=re.escape(said)):
            checked(config)


def test_time_that_goes_back_and_groups_that_differ_are_told(tmp_path):
    (tmp_path / "a.csv").write_text("sequence,t,g,a,label\n1,2,x,1,u\n1,1,x,1,u\n")
    columns = Columns("sequence", "label", ["a"], time="t")
    with pytest.raises(tt.InputError, match=r"a.csv:3: sequence 1: time goes back to 1"):
        read_numbers([str(tmp_path / "a.csv")], columns)
    (tmp_path / "a.csv").write_text("sequence,g,a,label\n1,x,1,u\n1,y,1,u\n")
    with pytest.raises(tt.InputError, match="sequence 1 is in several groups: x, y"):
        read_numbers([str(tmp_path / "a.csv")], Columns("sequence", "label", group="g"))


def test_large_numbers_lie_in_files_and_are_the_same(table, monkeypatch):
    small = prepared(table, data={**FULL, "missing": "mask"})
    monkeypatch.setattr(rooms, "IN_MEMORY", 64)
    large = prepared(table, data={**FULL, "missing": "mask"})
    assert isinstance(large.train.sequences.values, np.memmap)
    assert not isinstance(small.train.sequences.values, np.memmap)
    assert large.train.fingerprint() == small.train.fingerprint()
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *sorted(lines[1:], key=lambda r: r.split(",")[1][-1])]))
    mixed = Columns("sequence", "label", missing="mask", categories=["kind", "day", "person"])
    found = read_numbers([str(table)], mixed)  # rows of a sequence do not stand together
    assert len(found) == 30
    assert all(len(np.unique(r.content[:, 0] - np.arange(4)[: len(r.content)])) for r in found)
    assert sorted(len(r.content) for r in found) == [4] * 30


def test_parquet_and_csv_are_the_same_sequences(table):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    csv = next(iter(read_rows(table)))
    columns = {
        "sequence": arrow.array([int(k) for k in csv.texts("sequence")]),
        "day": arrow.array(np.array(csv.texts("day"), "datetime64[us]")),
        "person": csv.texts("person"), "kind": csv.texts("kind"), "label": csv.texts("label"),
        "a": arrow.array(csv.numbers("a").astype(int)),
        "b": arrow.array([None if b != b else b for b in csv.numbers("b").tolist()]),
    }  # fmt: skip
    parquet.write_table(arrow.table(columns), table.parent / "t.parquet")
    found = [
        prepared(table.parent / f"t.{kind}", data={**FULL, "missing": "mask"})
        for kind in ("csv", "parquet")
    ]
    assert found[0].train.fingerprint() == found[1].train.fingerprint()
    (table.parent / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(tt.InputError, match=r"bad\.parquet: not a Parquet file"):
        prepared(table.parent / "bad.parquet")


def test_a_large_archive_is_mapped(tmp_path, monkeypatch):
    x, y = np.random.default_rng(0).normal(size=(20, 5, 3)), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez_compressed(tmp_path / "b.npz", x=np.asfortranarray(x), y=y)
    from throughtime.data import archives

    expected = [r.content for r in read_numbers([str(tmp_path / "a.npz")], Columns("s", "l"))]
    for module in (archives, rooms):
        monkeypatch.setattr(module, "IN_MEMORY", 64)
    for name in "ab":
        found = read_numbers([str(tmp_path / f"{name}.npz")], Columns("s", "l"))
        assert all((one.content == e).all() for one, e in zip(found, expected))


@pytest.mark.parametrize("odd", ['1,"2"', '1," 2"', "1,2,3", "1", "", " ,"])
def test_plain_lines_are_taken_apart_as_csv_does(odd):
    """Oracle: the csv module, line by line."""
    lines = ["1,2", "x , y", ",", "a b,\t"]
    whole = [list(cells) for cells in zip(*csv.reader(lines))]
    assert plain_columns(lines, 2) == whole
    table = CsvTable("f.csv")
    table.rows(["p,q", *lines], range(1, 6))
    fields = next(csv.reader([odd]), [])
    if len(fields) == 2:
        found = table.rows([*lines, odd], range(6, 11))
        assert [list(c) for c in found.columns] == [[*c, v] for c, v in zip(whole, fields)]
    elif odd.strip():
        with pytest.raises(tt.InputError, match=f"f.csv:10: expected 2 columns, got {len(fields)}"):
            table.rows([*lines, odd], range(6, 11))
    else:
        assert len(table.rows([*lines, odd], range(6, 11))) == 4


def test_scales_leave_out_what_is_missing():
    nan = np.nan
    scale = Scale.of([np.array([[1.0, nan], [nan, nan]]), np.array([[3.0, nan]])])
    assert scale.mean.tolist() == [2.0, 0.0]
    assert scale.deviation.tolist() == [1.0, 1.0]
    x = np.array([[nan, 1.0], [2.0, nan], [nan, 5.0]])
    assert before(x, np.isnan(x)).tolist() == [[0, 1], [2, 1], [2, 5]]


# ---- regress, tag -------------------------------------------------------------------------------


def test_regression_finds_the_mean_and_the_last_number(tmp_path, capsys):
    config = small_run("regress", tmp_path, max_steps=250, model={"hidden_size": 24, "loss": "mse"})
    tt.train(config)
    found = tt.evaluate(config.out)
    assert found.r2 > 0.8
    assert [one["target"] for one in found.targets] == ["mean", "last"]
    assert "R²" in found.report()
    task, model = tt.load(config.out)
    values, _, _ = task.found(model, task.to_measure(config.train))
    capsys.readouterr()
    rows = list(tt.predict(config.out, config.train))
    assert rows[3].values["targets"]["last"] == pytest.approx(values[3, 1], abs=1e-6)
    assert "targets" in tt.Run(config.out).folder.file("targets.json").name


def test_targets_of_an_archive_are_columns_of_y(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 6, 2)) * 5 + 1e6
    y = np.stack([x[..., 0].mean(1), x[:, -1, 1]], 1)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    task = prepared(tmp_path / "a.npz", "regress")
    assert task.names == ["target 0", "target 1"]
    np.testing.assert_allclose(task.train.scaled.mean(0), 0, atol=1e-3)
    np.savez(tmp_path / "a.npz", x=x, y=np.where(y > 1e6, np.nan, y))
    with pytest.raises(tt.InputError, match="y must be finite numbers"):
        prepared(tmp_path / "a.npz", "regress")
    np.savez(tmp_path / "a.npz", x=x, y=np.ones((40, 2)))
    with pytest.raises(tt.InputError, match="nothing to find"):
        prepared(tmp_path / "a.npz", "regress")


def test_targets_that_change_within_a_sequence_are_told(tmp_path):
    measured(tmp_path, np.random.default_rng(0))
    text = (tmp_path / "measured.csv").read_text().splitlines()
    text[1] = ",".join([*text[1].split(",")[:3], "9", "9"])
    (tmp_path / "measured.csv").write_text("\n".join([text[0], text[1], text[1][:-1] + "8"]))
    with pytest.raises(tt.InputError, match=r"csv:3: sequence 0 has the targets \[9.0, 8.0\] here"):
        prepared(tmp_path / "measured.csv", "regress", data={"target": ["mean", "last"]})


def test_steps_are_labelled(tmp_path):
    config = small_run("tag numbers", tmp_path, max_steps=80, model={"hidden_size": 16})
    tt.train(config)
    found = tt.evaluate(config.out, config.train)
    assert found.accuracy > 0.85
    assert found.steps == sum(one["examples"] for one in found.classes)
    first = next(iter(tt.predict(config.out, config.train)))
    assert len(first.text.splitlines()) == len(first.values["labels"])
    with pytest.raises(tt.InputError, match="is how sentences are read"):
        list(tt.predict(config.out, config.train, word="1"))
    with pytest.raises(tt.InputError, match="not with level words"):
        from_dict(tt.TaggerConfig, {"out": "x", "data": {"missing": "mask"}}).check()
    assert "tag numbers" in RUNS


def test_an_archive_has_labels_of_steps(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 4, 2))
    lengths = np.arange(30) % 4 + 1
    np.savez(tmp_path / "a.npz", x=x, y=(x[..., 0] > 0).astype(int), lengths=lengths)
    task = prepared(tmp_path / "a.npz", "tag")
    assert task.labels.names == ["0", "1"]
    steps, tags = task.train.pad(np.arange(3))
    inside = np.arange(4)[:, None] < steps.lengths.numpy()[None]
    raw = steps.values[..., 0].numpy() * task.source.scale.deviation[0] + task.source.scale.mean[0]
    assert ((raw[: len(tags)] > 0) == tags.numpy().astype(bool))[inside[: len(tags)]].all()
    assert events(tmp_path, np.random.default_rng(0))
