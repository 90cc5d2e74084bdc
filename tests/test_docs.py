"""The commands and the Python of README and guide run; links lead somewhere."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cases import MINIMAL
from throughtime.command.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *(ROOT / f"docs/{page}.md" for page in ("guide", "inspect", "agreement", "zoo", "export")),
    *sorted(ROOT.glob("docs/tasks/*.md")),
]
SMALL = ["--max-time", "1s", "--model.hidden_size", "16", "--loop.batch_size", "4"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A folder with a text, data of each task and the presets, as a reader would have it."""
    (tmp_path / "text.txt").write_text("The cat, which already ate, was full.\n" * 200)
    (tmp_path / "prompts.txt").write_text("The \nA cat\n")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "mine.py").write_text(MINIMAL)
    (tmp_path / "pairs.tsv").write_text("The cats were old\tThe cats was old\n")
    names_and_pieces(tmp_path)
    tagged(tmp_path)
    parallel(tmp_path)
    reviews_and_sensors(tmp_path)
    series(tmp_path)
    machines(tmp_path)
    if importlib.util.find_spec("symusic"):
        music(tmp_path)
    monkeypatch.chdir(tmp_path)


def tagged(folder):
    """Parts of speech in CoNLL-U, entities in columns, untagged text, word vectors."""
    rows = [("Ada", "PROPN", "B-person"), ("sees", "VERB", "O"), ("a", "DET", "O"),
            ("bear", "NOUN", "O")]  # fmt: skip
    for name, count in (("train", 60), ("dev", 10)):
        lines = "".join(
            f"{i}\t{word}\t_\t{tag}\t_\t_\t0\troot\t_\t_\n"
            for i, (word, tag, _) in enumerate(rows, 1)
        )
        (folder / f"{name}.conllu").write_text(f"# a sentence\n{lines}\n" * count)
        columns = "".join(f"{word}\t{entity}\n" for word, _, entity in rows)
        (folder / f"{name}.conll").write_text(f"{columns}\n" * count)
    (folder / "news.txt").write_text("Ada sees a bear\n\nShe smiles\n")
    (folder / "vectors.txt").write_text("ada 0.5 -1\nbear 1.5 2\n")


def names_and_pieces(folder):
    """Sequences with conditions."""
    (folder / "names").mkdir()
    for language, ends in (("Italian", "io"), ("Greek", "as")):
        lines = "".join(f"{a}{b}p{end}\n" for a in "PRST" for b in "aei" for end in ends)
        (folder / f"names/{language}.txt").write_text(lines)
    rows = [
        {"condition": {"mood": ["calm", "short"][: 1 + i % 2], "tempo": i}, "sequence": ["C"] * i}
        for i in range(30)
    ]
    (folder / "pieces.jsonl").write_text("\n".join(map(json.dumps, rows)))


def parallel(folder):
    """Sentences and their translations."""
    for name, count in (("train", 60), ("val", 8), ("test", 5)):
        pairs = [(f"Hund {i}", f"dog {i}") if i % 5 else ("", "") for i in range(count)]
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in pairs)
            (folder / f"{name}.{language}").write_text(text)


def reviews_and_sensors(folder):
    """Labelled texts and sequences of numbers."""
    texts = [f"{'so fine' if i % 2 else 'too dull'} a film {i % 7}" for i in range(60)]
    rows = [f"{text}\t{('neg', 'pos')[i % 2]}\n" for i, text in enumerate(texts)]
    (folder / "reviews.tsv").write_text("text\tlabel\n" + "".join(rows))
    (folder / "texts.txt").write_text("\n".join(texts))
    other = [f"{i}\t{('neg', 'pos')[i % 2]}\t{text}\n" for i, text in enumerate(texts)]
    (folder / "other.dat").write_text("".join(other))
    steps = [
        f"{i},{t * (i % 2)},{i},{'moves' if i % 2 else 'rests'}\n"
        for i in range(40)
        for t in range(1 + i % 5)
    ]
    (folder / "sensor.csv").write_text("sequence,ax,ay,label\n" + "".join(steps))


def machines(folder):
    """Sequences with targets, with labels of steps, and steps by themselves."""
    rows = [f"m{k},{t * k % 7},{t % 3},{k % 5},{10 * (k % 7)}" for k in range(40) for t in range(4)]
    (folder / "machines.csv").write_text("\n".join(["sequence,a,b,wear,hours", *rows]) + "\n")
    rows = [f"{k},{t % 3},{'' if t == 2 else k},{'ab'[t % 2]}" for k in range(30) for t in range(6)]
    (folder / "events.csv").write_text("\n".join(["sequence,x,y,label", *rows]) + "\n")
    (folder / "steps.csv").write_text("ax,ay,a,b\n1,2,3,1\n2,2,4,0\n")


def series(folder):
    """Hours of load, days of some shops; what is known of the days to come."""
    hours = [f"2024-01-{1 + t // 24:02d} {t % 24:02d}:00,{40 + t % 24},{t % 5}" for t in range(600)]
    (folder / "load.csv").write_text("\n".join(["date,load,temperature", *hours]) + "\n")
    days = [
        f"{shop},{np.datetime64('2023-01-01') + t},{(t + k) % 7 if t < 200 else ''},{t % 2},{shop}"
        for k, shop in enumerate("ab")
        for t in range(220)
    ]
    rows = ["shop,date,sales,promotion,kind", *days]
    (folder / "shops.csv").write_text("\n".join(rows) + "\n")


def music(folder):
    """Tunes, MIDI files and piano rolls."""
    import symusic

    from throughtime.music.rendering import write_midi
    from throughtime.music.rolls import score_of

    (folder / "tunes").mkdir()
    for name, rhythm, metre in (("jigs", "jig", "6/8"), ("reels", "reel", "4/4")):
        tunes = [
            f"X:{i}\nT:Tune\nR:{rhythm}\nM:{metre}\nK:{'DG'[i % 2]}\n{'ABc' * i}d|cBA|]\n"
            for i in range(1, 20)
        ]
        (folder / f"tunes/{name}.abc").write_text("\n".join(tunes))
    rolls = [(np.random.default_rng(i).random((12, 88)) < 0.05).astype(np.uint8) for i in range(20)]
    parts = ["train", "valid", "test"]
    np.savez(folder / "rolls.npz", **{f"{parts[i % 3]}{i}": roll for i, roll in enumerate(rolls)})
    (folder / "midi").mkdir()
    for i, roll in enumerate(rolls):
        score = score_of(roll, 2)
        score.time_signatures.append(symusic.TimeSignature(0, 3, 4))
        write_midi(score, folder / f"midi/waltz{i}.mid")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_run_as_they_stand(page, at_home, capsys):
    ran = 0
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] in ("git", "cd", "make"):
            continue
        program, *arguments = words
        assert program.endswith("throughtime"), line
        if arguments[0] == "train" and "--print_config" not in arguments:
            arguments += ["--max-time", "1s"] if "--resume" in arguments else SMALL
        if "--corpus" in arguments:
            arguments += ["--sentences", "2000"]
        assert main(arguments) == 0, f"{line}\n{capsys.readouterr().err}"
        ran += 1
    assert ran >= 2


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_python_runs_as_it_stands(page, at_home):
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
    assert names


def python_in_place(page):
    """The Python of a page, each line where the page has it."""
    inside, lines = False, []
    for line in page.read_text("utf-8").splitlines():
        inside = inside and line != "```"
        lines.append(line if inside else "")
        inside = inside or line == "```python"
    return "\n".join(lines)


def test_python_is_typed(tmp_path):
    """For pyright in strict mode. A cell's `step` inherits its types: the equations stand as in the
    notes. A snippet may import again, to be copied by itself."""
    pytest.importorskip("pyright", reason="pyright is not installed")
    settings = {"typeCheckingMode": "strict", "reportMissingParameterType": False,
                "reportDuplicateImport": False, "extraPaths": [str(ROOT / "src")]}  # fmt: skip
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    for page in PAGES:
        (tmp_path / f"{page.stem}.py").write_text(python_in_place(page))
    program = [sys.executable, "-m", "pyright", "-p", str(tmp_path), "--outputjson",
               "--pythonpath", sys.executable]  # fmt: skip
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    said = [
        f"{Path(one['file']).stem}.md:{one['range']['start']['line'] + 1}: {one['message']}"
        for one in found["generalDiagnostics"]
    ]
    assert not said, "\n".join(said)
    assert found["summary"]["filesAnalyzed"] >= 5


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda p: p.name
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
