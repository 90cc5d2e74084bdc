import csv
import json
import math

import numpy as np
import pytest
import torch

from cases import ROOT
from oracles import witten_bell
from throughtime import agreement
from throughtime.command.cli import main
from throughtime.config import AddingConfig, LanguageConfig, from_dict
from throughtime.config.agreement import AgreementOptions
from throughtime.data.vocabulary import BOS, EOS, Vocabulary
from throughtime.ground.errors import InputError
from throughtime.inspect.agreement.measure import measure
from throughtime.inspect.agreement.pairs import Pair
from throughtime.inspect.agreement.results import wilson
from throughtime.inspect.agreement.scoring import Distinct, PairReader, model_scores, ngram_scores
from throughtime.ngram import WittenBell
from throughtime.tasks.language import Language
from throughtime.tasks.synthetic import AddingTask

TEXT = (
    "The cat which ate was full.\nThe cats often were here.\nhe likes it, they like it.\n"
    "The old cats near a house were full.\nwhy was he near?\n"
) * 3
PAIRS = [
    Pair("The cat was full.", "The cat were full.", "a", distance=1, attractors=0),
    Pair("he likes it", "he like it", "b"),
    Pair("The cats near a house were here.", "The cats near a house was here.", "a", distance=4),
    Pair("like", "likes", "b"),
    Pair("The old cats often were", "The old cats often was", "c", whole=False),
    Pair("he likes", "he like", "b", choice=("they", "like", "likes")),
]


def made(level, eos="line", head="full", **data):
    """A language task and an untrained model in float64."""
    values = {
        "level": level,
        "data": {"eos": eos, **data},
        "model": {"hidden_size": 24, "head": head, "cutoffs": [8] if head == "adaptive" else None},
    }
    values["model"]["backend"] = "reference"
    config = from_dict(LanguageConfig, values)
    size = {"vocab_size": 270} if level == "subword" else {}
    vocabulary = Vocabulary.of_texts(
        [TEXT], level, lowercase=config.data.lowercase, size=size.get("vocab_size")
    )
    task = Language(config)
    task.vocabulary = vocabulary
    torch.manual_seed(4)
    model = task.build_model().double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)  # far from uniform
    return task, model


def plain(task, model, pair, scoring, final="", eos=True):
    """log P of both versions, the model stepped one token at a time; words cut here anew."""
    V = task.vocabulary
    word = task.config.level == "word"

    def log_p(history, targets, boundary):
        state, total = model.initial_state(1), 0.0
        logits = None
        for token in history:
            logits, state = model.step(torch.tensor([token]), state)
        for token in targets:
            total += float(logits.double().log_softmax(-1)[0, token])
            logits, state = model.step(torch.tensor([token]), state)
        if boundary:
            p = logits.double().softmax(-1)[0]
            ends = [i for i in range(4, len(V)) if not V.decode([i])[:1].isalnum()
                    and V.decode([i])[:1] != "\ufffd"]  # fmt: skip
            total += math.log(float(p[[EOS, *ends]].sum()))
        return total

    opening = [BOS] if task.config.data.eos == "none" else [BOS, EOS]
    found = []
    for which in ("good", "bad"):
        text = getattr(pair, which)
        if scoring == "target":
            prefix, *words = pair.target()
            target = words[which == "bad"]
            space = " " if prefix and not word else ""
            history = opening + V.encode(prefix).tolist() if prefix else opening
            found.append(log_p(history, V.encode(space + target).tolist(), not word))
            continue
        if pair.whole:
            text += final if text[-1].isalnum() else ""
        ids = V.encode(text).tolist()
        if pair.whole and eos:
            if task.config.data.eos == "line":
                ids.append(EOS)
            elif not word:
                ids += V.encode("\n").tolist()
        found.append(log_p(opening, ids, False))
    return found


CASES = [
    ("word", "line", "full"), ("word", "none", "adaptive"), ("char", "none", "full"),
    ("char", "line", "full"), ("byte", "none", "full"), ("subword", "file", "full"),
]  # fmt: skip


@pytest.mark.parametrize("scoring", ["sentence", "target"])
@pytest.mark.parametrize(("level", "eos", "head"), CASES)
@torch.inference_mode()
def test_scores_are_those_of_a_plain_loop(level, eos, head, scoring, monkeypatch):
    monkeypatch.setattr("throughtime.inspect.agreement.scoring.BATCH_TOKENS", 60)  # several batches
    task, model = made(level, eos, head)
    for final, counted in (("", True), (" .", True), ("", False)):
        reader = PairReader(task, scoring, final, counted)
        readings = Distinct([r for p in PAIRS for r in reader.readings(p)], reader.word_ends)
        found = model_scores(model, task.vocabulary, readings)[readings.index].reshape(-1, 2)
        expected = [plain(task, model, p, scoring, final, counted) for p in PAIRS]
        # the full softmax gives float32 nats: half a unit in the last place each, below 32
        assert found == pytest.approx(np.array(expected), abs=1e-4)
        assert np.ptp(found) > 1


@pytest.mark.parametrize("scoring", ["sentence", "target"])
@pytest.mark.parametrize(("level", "eos"), [("word", "line"), ("char", "none"), ("char", "line")])
def test_ngram_scores_are_the_witten_bell(level, eos, scoring):
    task, _ = made(level, eos)
    V = task.vocabulary
    train = V.encode(TEXT, eos_at_lines=eos == "line").astype(np.int64)
    reader = PairReader(task, scoring)
    readings = Distinct([r for p in PAIRS for r in reader.readings(p)], reader.word_ends)
    counts = WittenBell(train, 4, len(V))
    found = ngram_scores(counts, V, readings)
    p = witten_bell(train.tolist(), 4, len(V))
    for reading, score in zip(readings.readings, found):
        ids = list(reading.ids[1:])  # without <bos>
        expected = sum(math.log(p(ids[t], ids[:t])) for t in range(reading.begin - 1, len(ids)))
        if reader.word_ends:
            expected += math.log(sum(p(w, ids) for w in V.word_breaks()))
        assert score == pytest.approx(expected, rel=1e-9)


def test_word_breaks():
    words = Vocabulary.of_texts(["don't stop, A1 'x"], "word", words="spaces")
    assert {words.tokens[i] for i in words.word_breaks()} == {"<eos>", "'x"}
    characters = Vocabulary.of_texts(["aé1 ,\n"], "char")
    assert {characters.tokens[i] for i in characters.word_breaks()} == {"<eos>", " ", ",", "\n"}
    bytes_ = Vocabulary.of_texts([], "byte")
    assert len(bytes_.word_breaks()) == 1 + 128 - 62


def test_wilson():
    # the interval is where (p̂ − p)² = z² p (1 − p) / n
    z = 1.959964
    for right, of in ((0, 5), (5, 5), (30, 40), (999, 1000)):
        for edge in wilson(right, of):
            if 0 < edge < 1:
                assert (right / of - edge) ** 2 == pytest.approx(z * z * edge * (1 - edge) / of)
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 5)[0] == 0
    assert wilson(5, 5)[1] == 1


# ---- through the command line -------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made-up corpus and a word model of it, trained for a moment; a classifier beside it."""
    folder = tmp_path_factory.mktemp("agreement")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHTIME_CACHE", str(folder / "cache"))
        corpus = ["--corpus", str(folder / "corpus.txt"), "--sentences", "3000", "--seed", "7"]
        corpus += ["--distances", "1-8"]
        assert main(["inspect", "agreement", *corpus]) == 0
        (folder / "labels.tsv").write_text("text\tlabel\n" + "a b\tx\nc d\ty\n" * 20)
        small = ["--model.hidden_size", "32", "--epochs", "6", "--optim.lr", "0.02"]
        small += ["--loop.batch_size", "8", "--loop.window", "32"]
        lm = ["--config", str(ROOT / "configs/agreement.yaml"), "--model.backend", "native"]
        lm += ["--train", str(folder / "corpus.txt")]
        assert main(["train", "lm", *lm, *small, "--out", str(folder / "lm")]) == 0
        classify = ["--train", str(folder / "labels.tsv"), "--model.hidden_size", "8"]
        classify += ["--model.backend", "native", "--max-steps", "1"]
        classify += ["--out", str(folder / "classifier")]
        assert main(["train", "classify", *classify]) == 0
    return folder


def run(capsys, *arguments):
    code = main(["inspect", "agreement", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_built_in_sentences_on_a_model_that_learned_the_nearest(folder, capsys, tmp_path):
    out = tmp_path / "out"
    code, text, err = run(capsys, folder / "lm", "--distances", "1,2,8", "--out", out)
    assert code == 0, err
    assert "coverage  100.0%: of 125 pairs" in text
    assert "5-gram" in text
    said = json.loads((out / "agreement.json").read_text())
    near = said["by distance"][0]
    assert (near["name"], near["items"]) == ("1", 25)
    assert near["model"]["share"] > 0.8
    low, high = near["model"]["low"], near["model"]["high"]
    assert low < near["model"]["share"] < high + 1e-12
    cells = [row["name"] for row in said["by distance and attractors"]]
    assert cells == ["(1, 0)", "(2, 0)", "(8, 0)", "(8, 1)", "(8, 2)"]
    with open(out / "agreement.tsv") as file:
        items = list(csv.DictReader(file, delimiter="\t"))
    assert len(items) == said["items"] == 125
    right = sum(float(i["model_good"]) > float(i["model_bad"]) for i in items)
    assert right == said["all"]["model"]["right"] == sum(int(i["right"]) for i in items)
    right = sum(float(i["ngram_good"]) > float(i["ngram_bad"]) for i in items)
    assert right == said["all"]["ngram"]["right"]
    assert (out / "agreement.svg").read_text().startswith("<?xml")
    code, _, err = run(capsys, folder / "lm", "--out", out)
    assert (code, "exists and is not overwritten" in err) == (2, True)


def test_test_sentences_are_not_in_the_corpus(folder, capsys):
    result = agreement(folder / "lm", distances="1-6", items=40, ngram=0)
    corpus = set((folder / "corpus.txt").read_text().lower().splitlines())
    test = [p.good.lower().replace(" ,", ",").replace(" .", ".") for p in result.pairs]
    assert not corpus & set(test)
    assert any(line.startswith("the cat ") for line in corpus)


def test_coverage_and_accuracy_over_covered_items(folder, capsys, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text(
        "The cats were old .\tThe cats was old .\n"
        "The zebras were old .\tThe zebras was old .\n"
        "The cats zigzag .\tThe cats zigzags .\n"
    )
    code, text, _ = run(capsys, folder / "lm", "--pairs", path, "--json")
    said = json.loads(text)
    assert code == 0
    assert (said["items"], said["covered"], said["read_alike"]) == (3, 1, 1)
    assert said["coverage"] == pytest.approx(1 / 3)
    assert said["all"]["model"]["of"] == 3
    assert said["all"]["model_covered"]["of"] == 1
    assert said["all"]["model"]["right"] <= 2  # the tie is wrong
    code, text, _ = run(capsys, folder / "lm", "--pairs", path, "--scoring", "target", "--ngram", 0)
    assert "coverage  33.3%: of 1 pair every" in text
    assert "gram" not in text


def test_items_are_drawn_from_each_construction(folder, capsys, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"c{i % 3}\tx\tThe cat was {i}\tThe cat were {i}\n" for i in range(30)))
    result = agreement(folder / "lm", str(path), items=4, ngram=0)
    assert [row.model.of for row in result.by(lambda p: p.construction)] == [4, 4, 4]
    again = agreement(folder / "lm", [str(path)], items=4, ngram=0)
    other = agreement(folder / "lm", [str(path)], items=4, ngram=0, seed=2)
    assert again.pairs == result.pairs != other.pairs


def test_bad_input_is_one_line_and_exit_code_2(folder, capsys, tmp_path):
    empty, strange = tmp_path / "empty.tsv", tmp_path / "strange.tsv"
    empty.write_text("")
    strange.write_text("qqq www\tqqq zzz\n")
    lm = folder / "lm"
    for arguments, message in [
        ([folder / "classifier"], "is a classifier; inspect agreement is for language models"),
        ([lm, "--pairs", empty], "empty.tsv: no pairs"),
        ([lm, "--pairs", strange], "knows no word of 1 pair, as in 'qqq www'"),
        ([lm, "--distances", "0-4"], "--distances must be numbers from 1 to 30"),
        ([lm, "--distances", "2", "--attractors", "3"], "k attractors need a distance of 3k + 1"),
        ([lm, "--pairs", strange, "--distances", "2"], "--distances chooses among the built-in"),
        ([lm, "--pairs", strange, "--attractors", "2"], "--attractors chooses among the built-in"),
        ([lm, "--ngram", "40"], "--ngram 40: an n-gram of order 40"),
        ([lm, "--items", "0"], "--items must be at least 1"),
        ([lm, "--scoring", "words"], "--scoring must be one of sentence, target"),
        ([], "give a run folder"),
        ([lm, "--corpus", tmp_path / "c.txt"], "give a run folder to measure, or --corpus"),
        (["--corpus", folder / "corpus.txt"], "exists and is not overwritten"),
        (["--corpus", tmp_path / "c.txt", "--scoring", "target"], "--scoring does not go with"),
        (["--corpus", tmp_path / "c.txt", "--items", "9"], "--items does not go with"),
        ([lm, "--sentences", "5"], "--sentences does not go with"),
        ([tmp_path], "config.yaml"),
    ]:
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        errors = [line for line in err.splitlines() if "error:" in line]
        assert len(errors) == 1, err
        assert message in errors[0]
    out_folder = tmp_path / "out"
    assert run(capsys, lm, "--pairs", strange, "--out", out_folder)[0] == 2
    assert not out_folder.exists()


def test_pairs_that_the_vocabulary_knows_in_part_alone_are_told(folder, capsys, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("The zebras were\tThe zebras was\n")
    code, _, err = run(capsys, folder / "lm", "--pairs", path)
    assert code == 0
    assert "of 1 pair none has all its words in the vocabulary" in " ".join(err.split())


def test_a_training_text_that_is_gone_leaves_the_ngram_out_and_says_so(folder, capsys, monkeypatch):
    (folder / "corpus.txt").rename(folder / "moved.txt")
    try:
        code, text, err = run(capsys, folder / "lm", "--distances", "1")
        assert code == 0
        assert "no n-gram beside the model: no such file" in err
        assert "gram" not in text.replace("built-in", "")
    finally:
        (folder / "moved.txt").rename(folder / "corpus.txt")


def test_only_language_models():
    with pytest.raises(InputError, match="needs a language model"):
        measure(AddingTask(AddingConfig()), None, AgreementOptions())  # type: ignore[arg-type]


def test_sentences_of_what_a_small_vocabulary_has():
    task, model = made("word", "line", lowercase=True)
    result = measure(task, model, AgreementOptions(distances="1-3", items=4, ngram=0))
    assert result.covered.all()
    assert "without" in result.source


def test_a_target_word_that_one_version_lacks_is_refused(folder, capsys, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("The cats were old\tThe cats were\n")
    given = (folder / "lm", "--pairs", path, "--ngram", "0")
    code, _, err = run(capsys, *given, "--scoring", "target")
    assert (code, "no target word to compare" in " ".join(err.split())) == (2, True)
    assert run(capsys, *given)[0] == 0
