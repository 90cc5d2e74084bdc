"""Files of every format, damaged: read for training and by runs, or told by one line."""

import functools
import gzip
import importlib
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import mutations
import throughtime as tt
from throughtime.config import from_dict
from throughtime.config.agreement import AgreementOptions
from throughtime.inspect.agreement import measure
from throughtime.music.abc.book import read_tunes
from throughtime.music.abc.music import parse
from throughtime.tasks import entry, task_class

RUNS = Path(__file__).parents[1] / "runs_of_0_1"
SMALL = {"hidden_size": 3}


def prepare(task, **settings):
    """Files are taken for training: read, made batches of, one loss, one validation."""

    def use(paths):
        values = {"train": paths, "device": "cpu", "threads": 1, "max_steps": 1, **settings}
        values["model"] = {**SMALL, **settings.get("model", {})}
        made = task_class(task).prepare(from_dict(entry(task).config, values))
        model = made.build_model()
        made.loss(model, made.batch(0, 0), None)
        made.validate(model, quick=True)

    return use


@functools.cache
def opened(name):
    """A small run that release 0.1 trained."""
    return tt.Run.open(RUNS / name, device="cpu", threads=1)


def evaluate(name):
    return lambda paths: opened(name).evaluate(paths)


def predict(name, **options):
    return lambda paths: list(opened(name).predict(paths, **options))


def judge(paths):
    options = from_dict(AgreementOptions, {"pairs": paths, "items": 5})
    return measure(*opened("lm-word").load(), options)


def judge_gold(paths):
    return judge([path for path in paths if ".gold" in path])


SENTENCES = b"".join(
    b"the dog met %d cats\n\nof a bird \xe2\x80\x99 and <unk>\n" % k for k in range(9)
)
LABELLED = b"pos the dog is good\nneg a cat is bad\npos good\nneg bad of bad\n" * 4
TABLE = (
    b"text,label,more\n" + b'"the dog, red",pos,1\n"a ""cat""",neg,2\nbird,pos,3\nnear,neg,4\n' * 4
)
OBJECTS = b'{"text": "a dog", "label": "pos"}\n{"text": "a \\u00e9 cat", "label": 2}\n' * 8
WORDS = (
    b"-DOCSTART- O\n\nthe O\nAda B-PER\nsaw O\nRome B-LOC\n\na O\ndog O\n\nAda B-PER\nLee I-PER\n\n"
)
UNIVERSAL = (
    b"# text = the dogs\n1\tthe\tthe\tDET\t_\t_\t2\tdet\t_\t_\n1-2\tthedogs" + b"\t_" * 8 + b"\n"
    b"2\tdogs\tdog\tNOUN\t_\t_\t0\troot\t_\t_\n\n"
) * 6
STEPS = b"sequence,label,x,y\n" + b"".join(
    b"%d,%b,0.5,%d\n%d,%b,1e-3,-7\n" % (k, kind, k, k, kind)
    for k, kind in enumerate([b"up", b"down"] * 6)
)
TARGETS = b"sequence,label,x,y\n" + b"".join(
    b"%d,u,0.5,%d\n%d,v,1e-3,%d\n" % (k, k, k, k) for k in range(12)
)
SERIES = b"name,date,load\n" + b"".join(
    b"%b,2024-01-%02d,%d.5\n" % (name, 1 + t, t % 7) for name in (b"a", b"b") for t in range(24)
)
EVENTS = b"".join(
    b'{"condition": {"style": ["calm"], "tempo": 9%d}, "sequence": ["C4", "E%d"]}\n'
    b'{"condition": {"style": ["short", "calm"], "tempo": 60.5}, "sequence": "C4 D%d"}\n'
    % (k, k, k)
    for k in range(8)
)
TUNES = (
    b"X:1\nT:A tune\nR:jig\nM:6/8\nL:1/8\nK:D\nDEF GAB|(3abc d2 z|: A>B [CEG]2 :|1 D6 |2 ^F,3|]\n\n"
    b'X:2\nT:Two\nM:C|\nL:1/8\nV:1 clef=treble\nK:Gmix\nV:1\nGABc "Am" d4 | {g}a2 b2 | c4 |]\n\n'
) * 4
PIECE = (
    b"MThd\0\0\0\x06\0\1\0\1\0\x60MTrk\0\0\0\x2f\0\xff\x58\x04\4\2\x18\x08\0\xff\x59\x02\0\0"
    b"\0\xff\x51\x03\x07\xa1\x20\0\xc0\0\0\x90\x3c\x40\x60\x80\x3c\0\0\x90\x40\x40\x30\x80\x40\0\0\xff\x2f\0"
)
PIECES = {f"{k}.mid": PIECE.replace(b"\x40", bytes([0x40 + k])) for k in range(4)}
VECTORS = b"4 3\nthe 0.1 0.2 0.3\ndog 1 2 3\ncat -1 0 1e-3\nbird 0.5 0.5 0.5\n"
LINZEN = (
    b"sentence\tverb\tverb_pos\tverb_index\tn_intervening\tn_diff_intervening\tdistance\thas_rel",
    b"the dog is red\tis\tVBZ\t3\t0\t0\t1\tFalse",
)
PAIRS = {
    "two.tsv": b"the dog is red\tthe dog are red\na cat sees\ta cat see\n",
    "blimp.jsonl": b'{"sentence_good": "the dog is", "sentence_bad": "the dog are", "UID": "x", '
    b'"field": "syntax", "linguistics_term": "agreement", "one_prefix_method": true}\n' * 2,
    "syneval.txt": b"simple\tsing_MS_MV\tthe dog is\tthe dog are\n"
    b"simple\tplur_MS_MV\tthe dogs are\tthe dogs is\n",
    "linzen.tsv": b"\n".join(LINZEN),
}

GOLD = {
    "linzen.text": b"the dog near cats is\na cat sees <eos>\n",
    "linzen.gold": b"4\tis\tare\t1\n2\tsees\tsee\t0\n",
}


def archive(**arrays):
    data = io.BytesIO()
    np.savez(data, **arrays)
    return data.getvalue()


def matlab():
    from scipy.io import savemat

    frames = np.zeros((6, 88), np.uint8)
    frames[::2, 40] = 1
    cells = np.empty((1, 4), object)
    cells[0, :] = [frames] * 4
    data = io.BytesIO()
    savemat(data, {"traindata": cells, "validdata": cells})
    return data.getvalue()


def numbers():
    x = np.arange(12 * 4 * 2, dtype=np.float64).reshape(12, 4, 2)
    return archive(x=x, y=np.arange(12) % 2, lengths=np.full(12, 3))


def parquet():
    arrow = pytest.importorskip("pyarrow")
    rows = [line.split(",") for line in STEPS.decode().splitlines()[1:]]
    columns = dict(zip(("sequence", "label", "x", "y"), map(list, zip(*rows))))
    columns |= {name: [float(v) for v in columns[name]] for name in "xy"}
    data = io.BytesIO()
    importlib.import_module("pyarrow.parquet").write_table(arrow.table(columns), data)
    return data.getvalue()


def rolls():
    frames = np.zeros((5, 88), np.uint8)
    frames[:, 30] = 1
    return archive(**{f"{part}{k}": frames for part in ("train", "valid") for k in range(3)})


CLASSIFY = {"loop": {"batch_size": 4}}
FORMATS = {
    "text by characters": (
        {"text.txt": SENTENCES},
        prepare("lm", loop={"batch_size": 2, "window": 4}),
    ),
    "text by words": (
        {"text.txt": SENTENCES},
        prepare("lm", level="word", loop={"batch_size": 2, "window": 4}),
    ),
    "text by subwords": (
        {"text.txt": SENTENCES},
        prepare("lm", level="subword", loop={"batch_size": 2, "window": 4}),
    ),
    "text by bytes": (
        {"text.txt": SENTENCES},
        prepare("lm", level="byte", loop={"batch_size": 2, "window": 4}),
    ),
    "a column of text": (
        {"text.tsv": b"a\tthe dog\nb\ta cat is near\n" * 4},
        prepare("lm", data={"column": 2}, loop={"batch_size": 2, "window": 4}),
    ),
    "text, evaluated": ({"text.txt": SENTENCES}, evaluate("lm-word")),
    "labelled lines": ({"labelled.txt": LABELLED}, prepare("classify", **CLASSIFY)),
    "labelled csv": ({"labelled.csv": TABLE}, prepare("classify", **CLASSIFY)),
    "labelled tsv": (
        {"labelled.tsv": TABLE.replace(b", ", b" ").replace(b",", b"\t")},
        prepare("classify", **CLASSIFY),
    ),
    "labelled jsonl": ({"labelled.jsonl": OBJECTS}, prepare("classify", **CLASSIFY)),
    "files of classes": (
        {"pos.txt": SENTENCES, "neg.txt": SENTENCES},
        prepare("classify", data={"format": "files"}, **CLASSIFY),
    ),
    "labelled lines, evaluated": ({"labelled.txt": LABELLED}, evaluate("classify-text")),
    "labelled csv, predicted": ({"labelled.csv": TABLE}, predict("classify-text")),
    "labelled jsonl, predicted": ({"labelled.jsonl": OBJECTS}, predict("classify-text")),
    "numbers npz": ({"steps.npz": numbers()}, prepare("classify", level="numbers", **CLASSIFY)),
    "numbers csv": ({"steps.csv": STEPS}, prepare("classify", level="numbers", **CLASSIFY)),
    "numbers with holes": (
        {"steps.csv": STEPS.replace(b"0.5", b"")},
        prepare("classify", level="numbers", data={"missing": "mask"}, **CLASSIFY),
    ),
    "numbers parquet": (
        {"steps.parquet": parquet()},
        prepare("classify", level="numbers", **CLASSIFY),
    ),
    "targets": (
        {"steps.csv": TARGETS},
        prepare("regress", data={"target": ["y"], "categories": ["label"]}, **CLASSIFY),
    ),
    "steps tagged": ({"steps.csv": STEPS}, prepare("tag", level="numbers", **CLASSIFY)),
    "series": (
        {"series.csv": SERIES},
        prepare("forecast", window=6, horizon=2, data={"series": "name", "holdout": 0.3}),
    ),
    "conll": ({"words.conll": WORDS * 3}, prepare("tag", **CLASSIFY)),
    "conllu": ({"words.conllu": UNIVERSAL}, prepare("tag", **CLASSIFY)),
    "conll, evaluated": ({"words.conll": WORDS}, evaluate("tag")),
    "conll, predicted": ({"words.conll": WORDS}, predict("tag", format="conll")),
    "vectors": (
        {"words.vec": VECTORS},
        lambda paths: prepare(
            "tag", data={"vectors": paths[0]}, model={"embedding_size": 3, "characters": "none"}
        )([str(RUNS / "data" / "names.conll")]),
    ),
    "parallel": (
        {"pairs.x": SENTENCES, "pairs.y": SENTENCES.upper()},
        prepare("translate", level="word", score="loss", loop={"batch_size": 4}),
    ),
    "parallel, predicted": ({"pairs.x": SENTENCES}, predict("translate", max_length=1.0)),
    "examples": (
        {"events.jsonl": EVENTS},
        prepare("conditional", level="event", loop={"batch_size": 4}),
    ),
    "examples of classes": (
        {"up.txt": b"abc\nbcd\ncde\ndef\n", "down.txt": b"cba\ndcb\nedc\nfed\n"},
        prepare("conditional", loop={"batch_size": 4}),
    ),
    "abc": ({"tunes.abc": TUNES}, prepare("music", data={"holdout": 0.3}, loop={"batch_size": 4})),
    "abc, its music": (
        {"tunes.abc": TUNES},
        lambda paths: [parse(tune) for tune in read_tunes(paths)],
    ),
    "midi": (
        PIECES,
        prepare("music", data={"representation": "midi", "holdout": 0.5}, loop={"batch_size": 2}),
    ),
    "frames of midi": (
        PIECES,
        prepare("music", data={"representation": "frames", "holdout": 0.5}, loop={"batch_size": 2}),
    ),
    "frames npz": ({"rolls.npz": rolls()}, prepare("music", loop={"batch_size": 2})),
    "frames mat": ({"rolls.mat": matlab()}, prepare("music", loop={"batch_size": 2})),
    **{f"pairs {name}": ({name: data}, judge) for name, data in PAIRS.items()},
    "pairs linzen.gold": (GOLD, judge_gold),
}
"""Name → small valid files, what reads them."""
BINARY = (".npz", ".parquet", ".mat", ".mid", ".abc", ".vec")


@st.composite
def some_damaged(draw, kind):
    """One of a format's files damaged; a text perhaps compressed, and damaged then."""
    files = FORMATS[kind][0]
    name = mutations.one_of(draw, sorted(files))
    if name.endswith(".npz") and draw(st.booleans()):
        return mutations.Input(name, {**files, name: repacked(draw, files[name])})
    data = mutations.damaged(draw, files[name])
    if name.endswith(BINARY) or draw(st.integers(0, 9)):
        return mutations.Input(name, {**files, name: data})
    packed = gzip.compress(data, 1)
    packed = mutations.damaged(draw, packed) if draw(st.booleans()) else packed
    others = {k: v for k, v in files.items() if k != name}
    return mutations.Input(f"{name}.gz", {**others, f"{name}.gz": packed})


def repacked(draw, data):
    """An archive with a damaged entry, its checksum right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        which = mutations.one_of(draw, names)
        for name in names:
            entry = old.read(name)
            new.writestr(name, mutations.damaged(draw, entry) if name == which else entry)
    return made.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_reader(kind, rounds, tmp_path, capsys, monkeypatch):
    files, use = FORMATS[kind]
    monkeypatch.chdir(tmp_path)

    def read(example):
        shutil.rmtree("files", ignore_errors=True)
        Path("files").mkdir()
        for name, data in example.files.items():
            Path("files", name).write_bytes(data)
        torch.manual_seed(0)
        use([f"files/{name}" for name in sorted(example.files)])

    read(mutations.Input("", files))  # they are valid
    rounds(some_damaged(kind), read)
