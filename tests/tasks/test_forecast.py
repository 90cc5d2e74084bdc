"""Forecasts: what is read, that nothing of the future leaks, baselines, bands, stamps."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import throughtime as tt
from runs import small_run
from throughtime.command.cli import main
from throughtime.config import from_dict
from throughtime.config.forecast import ForecastConfig, ForecastModelConfig
from throughtime.metrics.forecasts import Baselines, Conformal, Errors
from throughtime.models.forecaster import Forecaster, Sizes
from throughtime.models.outlook import Outlook, losses
from throughtime.tasks import task_class


def prepared(config):
    return task_class("forecast").prepare(config)


def hours(count, start="2024-01-01"):
    first = np.datetime64(start, "h")
    return [str(first + i).replace("T", " ") + ":00" for i in range(count)]


def wide(folder, count=200, **columns):
    """A wide table of hours."""
    t = np.arange(count)
    columns = columns or {"a": np.sin(t / 4), "b": 100 + 10 * np.cos(t / 4)}
    rows = [",".join(["date", *columns])]
    rows += [
        ",".join([stamp, *(f"{column[i]:.6f}" for column in columns.values())])
        for i, stamp in enumerate(hours(count))
    ]
    (folder / "wide.csv").write_text("\n".join(rows) + "\n")
    return str(folder / "wide.csv")


@pytest.fixture
def configure(tmp_path):
    def configure(path, out="run", **sections):
        values = {
            "train": [path], "out": str(tmp_path / out), "max_steps": 4, "device": "cpu",
            "threads": 1, "window": 16, "horizon": 4, "model": {"hidden_size": 8},
            "loop": {"batch_size": 8},
        }  # fmt: skip
        for name, value in sections.items():
            both = isinstance(value, dict)
            values[name] = {**values.get(name, {}), **value} if both else value
        return from_dict(ForecastConfig, values)

    return configure


# ---- nothing of the future leaks ----------------------------------------------------------------


@pytest.mark.parametrize("decoding", ["direct", "step"])
@pytest.mark.parametrize("output", ["point", "student-t", "negative-binomial"])
def test_a_forecast_reads_nothing_after_its_present(decoding, output):
    scale = "none" if output == "negative-binomial" else "window"
    config = ForecastModelConfig(decoding=decoding, output=output, hidden_size=6, anchor="none",
                                 scale=scale)  # fmt: skip
    sizes = Sizes(window=5, horizon=3, targets=2, past=4, known=2, static=1)
    model = Forecaster(tt.GRU, sizes, config).eval()
    torch.nn.init.normal_(model.head.weight)
    past, known = torch.rand(8, 3, 4), torch.rand(8, 3, 2)
    static, unit = torch.rand(3, 1), torch.ones(3, 2)
    with torch.no_grad():
        found = model.outlook(past, known, static, unit, samples=5)
        other = past.clone()
        other[5:] = 7.0
        again = model.outlook(other, known, static, unit, samples=5)
        assert torch.equal(found.point, again.point)
        other[4] = 7.0
        assert not torch.equal(found.point, model.outlook(other, known, static, unit).point)
        alone = model.outlook(past[:, :1], known[:, :1], static[:1], unit[:1], samples=5)
    torch.testing.assert_close(alone.point, found.point[:, :1])


def test_what_is_learned_is_of_the_training_part_alone(configure, tmp_path):
    t = np.arange(200)
    before = np.sin(t / 4)
    after = np.where(t < 150, before, 1000.0)
    found = []
    for values in (before, after):
        task = prepared(configure(wide(tmp_path, a=values), data={"holdout": 0.25}))
        assert task.train.origins.max() + 4 <= 150 <= task.valid.origins.min()
        found.append(task.learned.to_json())
        assert task.train.fingerprint() == prepared(task.config).train.fingerprint()
    assert found[0] == found[1]


def test_parts_follow_one_another_by_stamps_or_by_shares(configure, tmp_path):
    path = wide(tmp_path)
    stamps = {"valid_from": "2024-01-06", "test_from": "2024-01-07", "until": "2024-01-08 12:00"}
    for data, borders in (
        (stamps, (120, 144, 180)),
        ({"holdout": 0.1, "test": 0.2}, (140, 160, 200)),
    ):
        task = prepared(configure(path, data=data))
        test = task.encode(task.part(task.read([path]), "test"))
        for windows, (start, stop) in (
            (task.train, (0, borders[0])), (task.valid, borders[:2]), (test, borders[1:])
        ):  # fmt: skip
            assert windows.origins.min() == max(start, 16)
            assert windows.origins.max() == stop - 4


# ---- losses and bands ---------------------------------------------------------------------------


def test_losses_are_those_of_other_libraries():
    scipy = pytest.importorskip("scipy.stats")
    made, y = (
        torch.randn(4, 3, 2, 3, dtype=torch.float64),
        torch.randn(4, 3, 2, dtype=torch.float64),
    )
    found = losses(ForecastModelConfig(output="student-t"), made, y, torch.ones(3, 2))
    place, width, degrees = (made[..., i].numpy() for i in range(3))
    soft = np.logaddexp(0, [width, degrees])
    oracle = -scipy.t.logpdf(y.numpy(), soft[1] + 2.01, place, soft[0] + 1e-4)
    np.testing.assert_allclose(found.numpy(), oracle, rtol=1e-9)
    z, unit = torch.randint(0, 9, (4, 3, 2)).double(), torch.full((3, 2), 2.0).double()
    found = losses(ForecastModelConfig(output="negative-binomial"), made[..., :2], z / 2, unit)
    mean, spread = (np.logaddexp(0, made[..., i].numpy()) for i in range(2))
    mean, spread = 2 * mean + 1e-4, spread + 1e-4
    oracle = -scipy.nbinom.logpmf(z.numpy(), 1 / spread, 1 / (1 + spread * mean))
    np.testing.assert_allclose(found.numpy(), oracle, rtol=1e-8)
    quantiles = losses(ForecastModelConfig(output="quantiles", quantiles=[0.2, 0.5, 0.9]), made, y,
                       unit)  # fmt: skip
    q = np.array([0.2, 0.5, 0.9])
    off = y.numpy()[..., None] - made.numpy()
    np.testing.assert_allclose(
        quantiles.numpy(), np.where(off > 0, q * off, (q - 1) * off).mean(-1), rtol=1e-6
    )
    y[0, 0, 0] = torch.nan
    assert losses(ForecastModelConfig(), made[..., :1], y, unit)[0, 0, 0] == 0


@pytest.mark.parametrize("output", ["student-t", "negative-binomial"])
def test_paths_have_the_quantiles_of_their_distribution(output):
    scipy = pytest.importorskip("scipy.stats")
    config = ForecastModelConfig(output=output, quantiles=[0.1, 0.5, 0.9])
    made = torch.tensor([[[[1.0, 0.5, 1.0][: 3 if output == "student-t" else 2]]]])
    found = Outlook.of(config, made, torch.full((1, 1), 10.0), 20_000, 3)
    assert found.quantiles is not None
    if output == "student-t":
        of = scipy.t(2.01 + np.logaddexp(0, 1), 1.0, np.logaddexp(0, 0.5))
        expected = of.ppf([0.1, 0.5, 0.9])
    else:
        mean, spread = 10 * np.logaddexp(0, 1), np.logaddexp(0, 0.5)
        expected = scipy.nbinom(1 / spread, 1 / (1 + spread * mean)).ppf([0.1, 0.5, 0.9]) / 10
    np.testing.assert_allclose(found.quantiles[0, 0, 0].numpy(), expected, atol=0.11)


def test_a_band_holds_what_it_says(configure, tmp_path):
    random = np.random.default_rng(0)
    path = wide(tmp_path, count=900, a=random.normal(size=900))
    model = {"output": "quantiles", "dropout": 0.5, "anchor": "none", "linear": False}
    more = {"optim": {"lr": 0.01}, "data": {"holdout": 0.4}, "loop": {"batch_size": 64}}
    config = configure(path, max_steps=150, model=model, **more)
    tt.train(config)
    found = tt.evaluate(config.out)
    assert 0.7 < found.coverage < 0.9
    assert [q["quantile"] for q in found.quantiles] == [0.1, 0.25, 0.5, 0.75, 0.9]
    assert "quantile" in found.report()


# ---- baselines ----------------------------------------------------------------------------------


def test_bands_are_moved_until_they_hold_their_share():
    """Oracle: the share of targets between the moved quantiles, counted."""
    draw = np.random.default_rng(0)
    quantiles, n = [0.1, 0.25, 0.5, 0.75, 0.9], 400
    targets = draw.normal(size=(3, n, 2)) * np.array([1.0, 5.0])
    targets[0, :7] = np.nan
    scale = draw.uniform(0.5, 2.0, (n, 2))
    found = np.broadcast_to(np.array([-0.2, -0.1, 0.0, 0.1, 9.0]), (3, n, 2, 5))
    conformal = Conformal(quantiles)
    for some in np.split(np.arange(n), 4):
        conformal.add(found[:, some], targets[:, some], scale[some])
    moved = found + conformal.moves(5)[:, None] * scale[None, :, :, None]
    for low, high, share in ((0, 4, 0.8), (1, 3, 0.5)):
        inside = (targets >= moved[..., low]) & (targets <= moved[..., high])
        held = inside.sum(1) / (~np.isnan(targets)).sum(1)
        assert (held >= share).all()
        assert (held <= share + 0.02).all()
    assert (moved[..., 2] == found[..., 2]).all()
    few = Conformal(quantiles)
    few.add(found[:, :30], targets[:, :30], scale[:30])
    assert few.moves(5) is None
    assert Conformal([0.2, 0.5]).moves(2) is None


def test_training_ends_with_bands_that_hold_their_share(configure, tmp_path):
    draw = np.random.default_rng(1)
    path = wide(tmp_path, 400, a=draw.normal(size=400))
    found = {}
    for calibrate in (False, True):
        model = {"output": "quantiles", "calibrate": calibrate, "scale": "window"}
        config = configure(path, str(calibrate), model=model, data={"holdout": 0.4}, max_steps=2)
        metrics = tt.train(config).metrics
        found[calibrate] = tt.evaluate(config.out)
        assert found[calibrate].coverage == pytest.approx(metrics["coverage"])
    assert not 0.75 < found[False].coverage < 0.85
    assert 0.8 <= found[True].coverage < 0.82
    first = tt.Run.open(tmp_path / "True").model.head.bias.clone()
    tt.train(config, resume=True)  # nothing left to do: nothing moves again
    again = tt.Run.open(tmp_path / "True").model.head.bias
    torch.testing.assert_close(first, again, atol=1e-6, rtol=0)


def test_baselines_are_what_they_are_called(configure, tmp_path):
    """Of noise with memory the linear map finds what is there to find; its oracle is lstsq."""
    random = np.random.default_rng(0)
    x = np.zeros(500)
    for t in range(1, 500):
        x[t] = 0.8 * x[t - 1] + random.normal()
    task = prepared(configure(wide(tmp_path, count=500, a=x), data={"season": 5}))
    windows, some = task.valid, np.arange(6)
    found = Baselines(5, task.learned.ridge).of(windows, some)
    scale = task.learned.scales["wide"]
    for b, origin in enumerate(windows.origins[some]):
        scaled = (x - scale.center[0]) / scale.unit[0]
        np.testing.assert_allclose(found["last value"][:, b, 0], scaled[origin - 1], rtol=1e-3)
        np.testing.assert_allclose(
            found["seasonal naive"][:, b, 0], scaled[origin - 5 : origin - 1], rtol=1e-3
        )
    first = task.train.first[None] + np.arange(-16, 4)[:, None]
    rows = task.train.past[first][..., 0].astype(float)
    rows = (rows - rows[15]).T
    V = np.linalg.lstsq(rows[:, :15], rows[:, 16:], rcond=None)[0]
    window = task.valid.past[windows.first[some][None] + np.arange(-16, 0)[:, None]][..., 0]
    expected = ((window - window[-1])[:15].T @ V).T + window[-1]
    np.testing.assert_allclose(found["ridge"][..., 0], expected, atol=0.2)


def test_errors_are_counted_over_what_is_there():
    errors = Errors()
    targets = np.array([[[1.0, np.nan]], [[3.0, 4.0]]])
    about = {"deviation": np.array([[4.0, 1.0]]), "naive": np.array([[1.0, 0.0]])}
    errors.add(np.zeros((2, 1, 2)), targets, np.array([[2.0, 1.0]]), about)
    found = errors.figures()
    assert found["mse"] == pytest.approx((4 + 36 + 16) / 3)
    assert found["scaled_mae"] == pytest.approx((0.5 + 1.5 + 4) / 3)
    assert found["mase"] == pytest.approx((2 + 6) / 2)
    assert errors.steps() == pytest.approx([0.25, (2.25 + 16) / 2])


# ---- the verbs ----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys):
    config = small_run("forecast", tmp_path, max_steps=30)
    tt.train(config)
    capsys.readouterr()
    return config


def test_forecasts_carry_their_stamps_and_need_what_is_known_of_the_future(
    run, capsys, tmp_path, monkeypatch
):
    future = [f"a,2024-01-04 {h:02d}:00,,{(18 + i) % 8},x" for i, h in enumerate(range(18, 24))]
    rows = (tmp_path / "waves.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([r for r in rows if r[0] in "na"] + future) + "\n")
    assert main(["predict", run.out, "--data", str(tmp_path / "a.csv")]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["a", "load", f"2024-01-04 {h:02d}:00"] for h in range(18, 24)
    ]
    values = np.array([line[3:] for line in lines], float)
    assert values.shape == (6, 6)
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()
    assert abs(values[:, 0] - 5).max() < 2
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "a.csv").read_bytes()))
    )
    figure = tmp_path / "a.svg"
    assert main(["predict", run.out, "--json", "--figure", str(figure)]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["times"][0] == "2024-01-04 18:00"
    np.testing.assert_allclose(found["quantiles"]["0.9"], values[:, -1], rtol=1e-5)
    assert "between 0.1 and 0.9" in figure.read_text() or figure.stat().st_size > 5000
    assert main(["predict", run.out, "--data", *run.train]) == 2
    assert "no warm at 2024-01-04 18:00: give rows of the future" in capsys.readouterr().err
    assert main(["predict", run.out, "--data", *run.train, "--horizon", "9"]) == 2
    assert "--model.decoding step" in capsys.readouterr().err


def test_step_decoding_goes_beyond_its_horizon_and_draws_paths(tmp_path):
    config = small_run("forecast, step", tmp_path, max_steps=2)
    tt.train(config)
    run = tt.Run.open(config.out, device="cpu", threads=1)
    long, short = (list(run.predict(config.train, horizon=h, samples=20, paths=3)) for h in (9, 6))
    assert [p.values["target"] for p in long] == ["load", "warm"] * 3
    for a, b in zip(long, short):
        assert len(a.values["times"]) == 9
        np.testing.assert_allclose(a.values["forecast"][:6], b.values["forecast"], rtol=1e-4)
        assert np.shape(a.values["paths"]) == (3, 9)


def test_evaluate_reports_baselines_and_parts(run, capsys):
    assert main(["evaluate", run.out, "--stride", "2"]) == 0
    said = capsys.readouterr().out
    for name in ("this run", "last value", "ridge", "coverage", "quantile"):
        assert name in said
    whole, own = tt.evaluate(run.out, run.train), tt.evaluate(run.out)
    assert whole.windows > own.windows
    assert {"last value", "seasonal naive", "ridge"} == {b["name"] for b in own.baselines}
    for bad in ({"part": "test"},):
        with pytest.raises(tt.InputError, match="hold no window"):
            tt.evaluate(run.out, **bad)


def test_series_apart_are_one_model_of_each_column(configure, tmp_path):
    path = wide(tmp_path)
    together, each = (prepared(configure(path, data={"apart": a})) for a in (False, True))
    assert (len(together.train.tracks), len(each.train.tracks)) == (1, 2)
    assert (together.learned.targets, each.learned.targets) == (2, 1)
    assert list(each.learned.scales) == ["a", "b"]
    scale = together.learned.scales["wide"]
    assert scale.center[1] == pytest.approx(each.learned.scales["b"].center[0])


def test_the_new_series_of_another_file_is_scaled_by_its_past(run, capsys, tmp_path):
    text = (tmp_path / "waves.csv").read_text().replace("a,2024", "z,2024")
    (tmp_path / "z.csv").write_text(text)
    tt.evaluate(run.out, str(tmp_path / "z.csv"))
    assert "1 series that training has not, scaled by their first steps: z." in " ".join(
        capsys.readouterr().err.split()
    )


BAD = {
    "twice": (lambda r: [*r[:9], r[8], *r[9:]],
              r"wide.csv:10: series wide has 2024-01-01 07:00 twice, first in line 9"),
    "off": (lambda r: [*r[:9], r[9].replace(":00,", ":20,", 1), *r[10:]],
            r"wide.csv:10: series wide: 2024-01-01 08:20 is no whole number of steps of 1h"),
    "gap": (lambda r: r[:9] + r[12:], r"series wide: 3 steps of 1h missing after 2024-01-01 07:00"),
    "value": (lambda r: [*r[:9], r[9][:16] + ",,1", *r[10:]],
              r"no value of 'a' at 2024-01-01 08:00"),
    "short": (lambda r: r[:20], r"has 17 steps to train on from 2024-01-01 00:00 on: fewer than"),
    "stamp": (lambda r: [*r[:9], "soon,1,1", *r[10:]], r"wide.csv:10: column 'date': expected a s"),
    "number": (lambda r: [*r[:9], r[9][:16] + ",x,1", *r[10:]],
               r"wide.csv:10: column 'a': expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_series_are_told_by_name_and_time(configure, tmp_path, name):
    path = wide(tmp_path)
    change, said = BAD[name]
    rows = (tmp_path / "wide.csv").read_text().splitlines()
    (tmp_path / "wide.csv").write_text("\n".join(change(rows)) + "\n")
    with pytest.raises(tt.InputError, match=said):
        prepared(configure(path))


def test_a_column_of_texts_is_told_with_the_settings_that_a_forecast_has(configure, tmp_path):
    path = wide(tmp_path, 60)
    text = (tmp_path / "wide.csv").read_text().replace("0.000000", "abc", 1)
    (tmp_path / "wide.csv").write_text(text)
    with pytest.raises(tt.InputError, match=r"'abc'.*--data\.target NAME") as caught:
        prepared(configure(path))
    assert "features" not in str(caught.value)


def test_constant_series_and_gaps_are_told(configure, capsys, tmp_path):
    path = wide(tmp_path, a=np.full(200, 3.0))
    prepared(configure(path))
    assert "constant in training, so that there is nothing to learn of them: wide from 2024" in (
        " ".join(capsys.readouterr().err.split())
    )
    rows = (tmp_path / "wide.csv").read_text().splitlines()
    (tmp_path / "wide.csv").write_text("\n".join(rows[:9] + rows[12:]) + "\n")
    prepared(configure(path, data={"missing": "forward"}))
    assert "3 steps of 200 missing, in wide: data.missing forward" in capsys.readouterr().err


def test_irregular_stamps_are_brought_to_their_step(configure, tmp_path):
    path = wide(tmp_path)
    rows = (tmp_path / "wide.csv").read_text().splitlines()
    rows[9] = rows[9].replace(":00,", ":20,", 1)
    rows.insert(10, "2024-01-01 08:40,5,7")
    (tmp_path / "wide.csv").write_text("\n".join(rows) + "\n")
    task = prepared(configure(path, data={"irregular": "mean"}))
    series = task.read([path])[0].series
    assert len(series) == 200
    assert series.values[8, 0] == pytest.approx((np.sin(2.0) + 5) / 2, abs=1e-5)


def test_months_are_steps(configure, tmp_path):
    months = np.arange("2000-01", "2012-01", dtype="datetime64[M]")
    ends = (months + 1).astype("datetime64[D]") - 1
    rows = [f"{day},{i % 12}" for i, day in enumerate(ends.astype(str))]
    (tmp_path / "m.csv").write_text("\n".join(["date,sales", *rows]) + "\n")
    config = configure(str(tmp_path / "m.csv"), data={"holdout": 0.2})
    task = prepared(config)
    assert (str(task.learned.step), task.learned.season) == ("1mo", 12)
    assert task.learned.calendar == ["year"]
    tt.train(config)
    (found,) = tt.predict(config.out, config.train)
    assert found.values["times"] == ["2012-01-31", "2012-02-29", "2012-03-31", "2012-04-30"]


def test_settings_that_do_not_go_together_are_told(configure, tmp_path):
    path = wide(tmp_path)
    for sections, said in (
        ({"model": {"output": "negative-binomial"}}, "data.scaling mean or none"),
        ({"model": {"decoding": "step", "output": "quantiles"}}, "whose paths have quantiles"),
        ({"model": {"decoding": "step"}, "data": {"observed": ["b"]}}, "data.observed is not"),
        ({"model": {"reads": 99}}, "model.reads is 99"),
        ({"model": {"quantiles": [0.5, 0.1]}}, "must rise"),
        ({"data": {"calendar": ["moon"]}}, "data.calendar must be"),
        ({"data": {"target": ["aa"]}}, "no column 'aa'"),
        ({"data": {"frequency": "soon"}}, "data.frequency must be"),
        ({"data": {"valid_from": "5"}}, "stamps of these series are dates"),
    ):  # fmt: skip
        with pytest.raises(tt.InputError, match=said):
            tt.train(configure(path, **sections))


def test_parquet_archives_and_csv_are_the_same_series(configure, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    path = wide(tmp_path)
    rows = [row.split(",") for row in (tmp_path / "wide.csv").read_text().splitlines()[1:]]
    stamps = np.array([row[0] for row in rows], "datetime64[us]")
    columns = {
        "a": np.array([float(r[1]) for r in rows]),
        "b": np.array([float(r[2]) for r in rows]),
    }
    table = arrow.table({"date": arrow.array(stamps), **columns})
    parquet.write_table(table, tmp_path / "wide.parquet")
    np.savez(tmp_path / "wide.npz", date=stamps, **columns)
    found = [
        prepared(configure(str(tmp_path / f"wide.{kind}"))).train.fingerprint()
        for kind in ("csv", "parquet", "npz")
    ]
    assert found[0] == found[1] == found[2]
    assert path


def test_a_run_folder_that_is_damaged_is_told(run):
    from pathlib import Path

    path = Path(run.out) / "series.json"
    for bad in ("{}", "[]", path.read_text().replace('"a": {', '"a": {"x": [1], ')):
        path.write_text(bad)
        with pytest.raises(tt.InputError, match=r"series\.json: damaged"):
            tt.Run.open(run.out)
    assert replace(run).window == 12
