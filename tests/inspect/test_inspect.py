"""The verb: its report, its page, what it refuses; and the figures."""

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import throughtime as tt
from cases import V, language_model
from throughtime.command.cli import main
from throughtime.inspect import (
    figures,
    gates_through_time,
    gradients_through_time,
)
from throughtime.inspect.gradients import GradientsThroughTime
from throughtime.inspect.page import Section, inline
from throughtime.inspect.report import Report
from throughtime.inspect.sections import gradients_section, verdict


def test_figures_are_matplotlib_s_and_show_what_was_found():
    model = language_model(tt.LSTM)
    batch = torch.randint(4, V, (20, 6)), torch.randint(4, V, (20, 6))
    found = tt.inspect.gradients_through_time(model, batch)
    left, right = figures.gradients_figure(found).axes
    assert left.get_title(loc="left") == "∂L<T>/∂a<t>"
    (line,) = [line for line in right.get_lines() if line.get_label() == "layer 2"]
    median = found.median("c", 1).numpy()
    np.testing.assert_allclose(line.get_ydata(), median / median[0])
    gates = gates_through_time(model, batch)
    panels = figures.gates_figure(gates).axes
    assert [p.get_title(loc="left") for p in panels[:3]] == ["Γ_u", "Γ_f", "Γ_o"]
    heights = [bar.get_height() for bar in panels[1].patches]
    assert sum(heights) == pytest.approx(1)
    assert figures.memory_figure(gates).axes[0].get_xscale() == "log"


def test_a_script_that_the_font_lacks_stays_text():
    figure, axes = figures.new_figure(1.0)
    axes[0, 0].set_title("猫は")
    assert "猫" in inline(figure, "cats")


# ---- the verb ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("The cat, which already ate <fish> & more, was full.\nThe cats were.\n" * 60)
    return path


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    """A trained language model of two layers."""
    folder = str(tmp_path_factory.mktemp("runs") / "lm")
    arguments = ["--train", str(text), "--cell", "lstm", "--model.num_layers", "2"]
    arguments += ["--model.hidden_size", "8", "--max-steps", "3", "--loop.batch_size", "4"]
    assert main(["train", "lm", *arguments, "--threads", "1", "--out", folder]) == 0
    return folder


QUICK = ["--positions", "8", "--lags", "30", "--passages", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "here"
    assert main(["inspect", run, "--out", str(out), "--untrained", *QUICK]) == 0
    return out


class Page(HTMLParser):
    """Every tag balanced; attributes collected."""

    VOID = ("meta", "link", "br", "img", "hr")

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.ids, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_fetches_nothing(report):
    source = (report / "report.html").read_text("utf-8")
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    links = [(t, n, v) for t, n, v in page.attributes if n in ("src", "href", "xlink:href", "data")]
    assert all(v.startswith("#") or v == "data:," for _, _, v in links), links
    assert {v[1:] for _, _, v in links if v.startswith("#")} <= set(page.ids)
    rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<script", rest)
    assert set(re.findall(r"url\(#([^)]+)\)", source)) <= set(page.ids)
    used = set(re.findall(r"var\(--([\w-]+)\)", source))
    assert used <= set(re.findall(r"--([\w-]+):", source))
    assert "<fish>" in "".join(page.text).replace("⏎\n", "\n") or "&lt;" in source
    for colour in ("#1b1f24", "#1f6feb"):  # only where the light page's colours are named
        assert source.count(colour) == 1


def test_json_has_the_numbers_of_the_page(report, run):
    said = json.loads((report / "inspect.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert said["run"] == run
    sections = said["sections"]
    assert list(sections) == [
        *("gradients", "influence", "gates", "units", "context", "frequency", "health")
    ]
    for kind in ("trained", "untrained"):
        layer = sections["gradients"][kind]["a"]["layer 2"]
        assert len(layer["median"]) == len(layer["low"]) == len(layer["high"]) == 31
    assert sections["gradients"]["trained"] != sections["gradients"]["untrained"]
    assert len(sections["influence"]["positions"]) == 2
    assert set(sections["gates"]["gates"]) == {"u", "f", "o"}
    assert len(sections["gates"]["memory"]["c"]["layer 1"]["kept"]) == 8
    source = (report / "report.html").read_text("utf-8")
    for section in sections.values():
        assert section["finding"].replace("<", "&lt;").replace("&", "&") in source


def test_findings_go_to_standard_output(run, text, tmp_path, capsys):
    assert main(["inspect", run, "--data", str(text), "--out", str(tmp_path / "r"), *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 7
    assert re.match(r"The influence of a character on the loss at a position .* step", lines[0])
    assert "report.html" in err


def test_the_report_says_what_the_functions_find(report, run, text):
    """The curve on the page is that of the public function over the same windows."""
    from throughtime.inspect.language import WARM, warmed

    task, model = tt.load(run)
    ids = task.running_text().ids
    warm = min(WARM, len(ids) // 8)
    windows = tt.inspect.language_windows(task, ids, warm + 30, 8, 0)
    tokens, targets, state = warmed(model, windows, warm)
    found = tt.inspect.gradients_through_time(model, (tokens, targets), state=state)
    said = json.loads((report / "inspect.json").read_text("utf-8"))["sections"]["gradients"]
    right = said["trained"]["a"]["layer 1"]["median"]
    np.testing.assert_allclose(found.median("a", 0), right, rtol=1e-5)


def test_nothing_is_overwritten_unasked(run, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for extra, says in (([], "exists"), (["--overwrite"], "holds no report")):
        assert main(["inspect", run, "--out", str(out), *extra, *QUICK]) == 2
        assert says in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_report_is_replaced_where_asked(tmp_path):
    folder = tmp_path / "new/report"
    for title in ("first", "second"):
        report = Report(title, [], [Section("a", "A", "found < that", {"x": math.inf})], {})
        page = report.write(folder, overwrite=title == "second")
        assert f"<title>{title}</title>" in page.read_text("utf-8")
    with pytest.raises(tt.InputError, match="exists"):
        report.write(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["inspect.json", "report.html"]
    said = json.loads((folder / "inspect.json").read_text())
    assert said == {"sections": {"a": {"finding": "found < that", "x": None}}}


def test_the_default_folder_is_in_the_run_and_free(run, tmp_path, capsys):
    mine = tmp_path / "lm"
    shutil.copytree(run, mine)
    (mine / "metrics.jsonl").unlink()
    (mine / "inspect").mkdir()
    assert main(["inspect", str(mine), *QUICK]) == 0
    assert (mine / "inspect-2/report.html").exists()
    assert "no metrics.jsonl" in capsys.readouterr().out


def test_options_that_make_no_sense(run, capsys):
    for extra, says in ((["--seed", "-1"], "--seed must be"), (["--overwrite"], "give one")):
        assert main(["inspect", run, *extra]) == 2
        assert says in capsys.readouterr().err


def test_few_lags_have_a_ratio_and_no_name():
    def called(rate, lags, last=None):
        norms = torch.tensor([rate**k if k <= (last or lags) else 0.0 for k in range(lags + 1)])
        return verdict(
            GradientsThroughTime({"c": norms.double()[None, :, None]}, ("layer 1",)), "c", 0
        )

    assert [called(0.5, lags) for lags in (19, 20)] == ["too few lags", "vanishing"]
    assert [called(1.02, lags) for lags in (20, 40)] == ["carried", "exploding"]
    assert called(1000.0, 200, last=1) == "exploding"  # no number is too large
    assert called(1.05, 200, last=9) == "carried"
    model = language_model()
    batch = torch.randint(4, V, (5, 6)), torch.randint(4, V, (5, 6))
    section = gradients_section(gradients_through_time(model, batch), None)
    assert "too few lags" in "".join(map(str, section.body))
    assert "vanishing" not in section.finding + "".join(map(str, section.body))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "model.safetensors").unlink(), "no checkpoint"),
        (lambda run: (run / "config.yaml").unlink(), "not a run folder"),
        (lambda run: (run / "model.safetensors").write_bytes(b"1"), "damaged or truncated"),
    ],
)
def test_a_run_that_cannot_be_looked_into(run, tmp_path, capsys, spoil, says):
    mine = tmp_path / "lm"
    shutil.copytree(run, mine)
    spoil(mine)
    assert main(["inspect", str(mine), *QUICK]) == 2
    err = capsys.readouterr().err.strip()
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (mine / "inspect").exists()


def test_data_that_cannot_be_read(run, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("ab")
    for arguments, says in (
        (["--data", str(tmp_path / "none.txt")], "no such file"),
        (["--data", str(tmp_path / "short.txt")], "the text has 2 tokens"),
        (["--lags", "0"], "--lags must be at least 1"),
    ):
        assert main(["inspect", run, "--out", str(tmp_path / "r"), *arguments]) == 2
        err = capsys.readouterr().err.strip()
        assert says in err.splitlines()[-1]
    assert not (tmp_path / "r").exists()


def test_without_matplotlib_the_extra_is_named(run, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["inspect", run, *QUICK]) == 2
    assert "throughtime[inspect]" in capsys.readouterr().err


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_real_browser_has_nothing_to_complain_of(report, tmp_path):
    """No message on the console, and no request of the page's that leaves the file.

    The browser asks for things of its own; those have "not an origin" as initiator. A copy of the
    page with an image elsewhere and a script that complains shows that both would be seen.
    """
    source = (report / "report.html").read_text("utf-8")
    poison = '<img src="http://elsewhere.invalid/x.png"><script>console.error("poison")</script>'
    (tmp_path / "poisoned.html").write_text(source.replace("<main>", f"<main>{poison}"), "utf-8")
    clean, poisoned = (
        browse(path, tmp_path) for path in (report / "report.html", tmp_path / "poisoned.html")
    )
    assert clean == ([], [])
    assert poisoned[0]
    assert any("elsewhere.invalid" in url for url in poisoned[1])


def browse(page, folder):
    """Messages on the console, and addresses that the page asked for."""
    log = folder / f"{page.stem}.json"
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={folder / page.stem}", "--enable-logging=stderr", f"--log-net-log={log}",
         "--virtual-time-budget=1000", "--dump-dom", page.as_uri()],
        capture_output=True, timeout=120, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Gradients through time" in done.stdout
    events = [line for line in log.read_text().splitlines() if '"initiator":"' in line]
    own = [line for line in events if '"initiator":"not an origin"' not in line]
    asked = [url for line in own for url in re.findall(r'"url":"([^"]*)', line)]
    outside = [url for url in asked if not url.startswith(("file:", "data:"))]
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line], outside
