import gzip
import json

import pytest

from throughtime.ground.errors import InputError
from throughtime.inspect.agreement.pairs import Pair, read_pairs


def read(tmp_path, text, name="pairs.tsv", form="auto"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_pairs([str(path)], form)


def test_two_columns(tmp_path):
    pairs = read(tmp_path, "good\tbad\nthe cat was\tthe cat were\n\nno cat is.\tno cat are.\n")
    assert pairs == [
        Pair("the cat was", "the cat were", "pairs.tsv"),
        Pair("no cat is.", "no cat are.", "pairs.tsv"),
    ]
    assert pairs[1].target() == ("no cat", "is", "are")


def test_syneval(tmp_path):
    rows = [
        "simple\tsing_MS\tthe author laughs\tthe author laugh",
        "npi\tpast\tno cat ever ate\tthe cat ever ate\tmost cat ever ate",
    ]
    path = tmp_path / "templates.tsv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    simple, npi, other = read_pairs([str(path)])
    assert simple == Pair("the author laughs", "the author laugh", "simple", "sing_MS")
    assert (npi.construction, npi.bad) == ("npi", "the cat ever ate")
    assert (other.construction, other.bad) == ("npi (bad 2)", "most cat ever ate")
    assert npi.target() == ("", "no", "the")


def test_blimp(tmp_path):
    items = [
        {"sentence_good": "These casseroles disgust Kayla.", "UID": "regular_plural",
         "sentence_bad": "These casseroles disgusts Kayla.", "linguistics_term": "agreement"},
        {"sentence_good": "Who ate it?", "sentence_bad": "Who ate him?", "one_prefix_prefix": "Who",
         "one_prefix_word_good": "ate", "one_prefix_word_bad": "eat"},
    ]  # fmt: skip
    first, second = read(tmp_path, "\n".join(map(json.dumps, items)), "x.jsonl")
    assert (first.construction, first.condition) == ("regular_plural", "agreement")
    assert first.target() == ("These casseroles", "disgust", "disgusts")
    assert second.construction == "x.jsonl"
    assert second.target() == ("Who", "ate", "eat")


LINZEN = (
    "sentence\torig_sentence\tverb\tverb_pos\tverb_index\tn_intervening\t"
    "n_diff_intervening\tdistance\thas_rel\n"
)


@pytest.mark.parametrize(
    ("verb", "tag", "other"),
    [
        ("is", "VBZ", "are"), ("have", "VBP", "has"), ("tries", "VBZ", "try"),
        ("dies", "VBZ", "die"),
        ("teaches", "VBZ", "teach"), ("uses", "VBZ", "use"), ("passes", "VBZ", "pass"),
        ("go", "VBP", "goes"), ("play", "VBP", "plays"), ("carry", "VBP", "carries"),
        ("watch", "VBP", "watches"), ("runs", "VBZ", "run"), ("fix", "VBP", "fixes"),
        ("aches", "VBZ", "ache"), ("focuses", "VBZ", "focus"), ("quiz", "VBP", "quizzes"),
        ("'ve", "VBP", "'s"), ("am", "VBP", "is"),
    ],
)  # fmt: skip
def test_linzen(tmp_path, verb, tag, other):
    row = f"the NN of\tthe keys to it {verb} old\t{verb}\t{tag}\t5\t2\t1\t3\tTrue\n"
    (pair,) = read(tmp_path, LINZEN + row)
    assert (pair.good, pair.bad) == (f"the keys to it {verb} old", f"the keys to it {other} old")
    assert (pair.distance, pair.attractors, pair.opposed) == (3, 2, 1)
    assert pair.construction == "with a relative clause"
    assert pair.condition == ("singular" if tag == "VBZ" else "plural")


GULORDAVA = "pattern\tconstr_id\tsent_id\tform\tclass\ttype\tprefix\tn_attr\tlen_context\tsent\n"


def test_gulordava(tmp_path):
    rows = [
        'NOUN_VERB\t1\t4\tis\tcorrect\tgenerated\t"a ""b"" cat"\t1\t5\t"a ""b"" cat is ."',
        "NOUN_VERB\t2\t0\tsee\twrong\toriginal\tthe dog\t0\t1\tthe dog sees it .",
        'NOUN_VERB\t1\t4\tare\twrong\tgenerated\t"a ""b"" cat"\t1\t5\t"a ""b"" cat is ."',
        "NOUN_VERB\t2\t0\tsees\tcorrect\toriginal\tthe dog\t0\t1\tthe dog sees it .",
    ]
    first, second = read(tmp_path, GULORDAVA + "\n".join(rows), "generated.tab")
    assert (first.good, first.bad) == ('a "b" cat is', 'a "b" cat are')
    assert (first.distance, first.opposed, first.whole) == (5, 1, False)
    assert second.target() == ("the dog", "sees", "see")
    assert (second.construction, second.condition) == ("NOUN_VERB", "original")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pairs"),
        ("good\tbad\n", "no pairs"),
        ("a sentence\n", r":1: not a form .* got 1 column\."),
        ("a\tb\tc\n", r":1: not a form .* got 3 columns"),
        ("a b\ta c\nd e\n", r":2: expected good, tab, bad; got 1 columns"),
        ("a b\ta c\nx\t \n", r":2: an empty sentence"),
        ("a b\ta b\n", r":1: both sentences are the same: 'a b'"),
        ("t\tc\tgood\tbad\n\nt\tc\tgood\n", r":3: expected template, condition"),
        ('{"sentence_good": "a"}\n', r":1: expected 'sentence_bad' with a text; got None"),
        ('{"sentence_good": "a", "sentence_bad": "b"}\n{"\n', r":2: not JSON"),
        ('{"sentence_good": "a", "sentence_bad": "b"}\n[]\n', r":2: expected a JSON object"),
        (LINZEN + "x\tthe cat is\tis\tVBZ\t2\t0\t0\t1\tFalse\n", r":2: word 2 should be .*'cat'"),
        (LINZEN + "x\tthe cat is\tis\tVBZ\tn\t0\t0\t1\tFalse\n", r":2: verb_index must be a num"),
        (LINZEN + "x\tthe cat is\n", r":2: expected 9 columns as in the header, got 2"),
        (LINZEN + "x\tcats ran\tran\tVBD\t2\t0\t0\t1\tFalse\n", r":2: expected a verb of the pres"),
        (
            GULORDAVA + "N\t1\t4\tis\tcorrect\tg\tthe cat\t1\t5\ts\n",
            r":2: this prefix has one form",
        ),
        (
            GULORDAVA + "N\t1\t4\tis\twrong\tg\tthe cat\t1\t5\ts\n" * 2,
            r":3: expected a correct and",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path, text, message):
    with pytest.raises(InputError, match=r"pairs\.tsv" + f"(?s:.*)({message})"):
        read(tmp_path, text)


def test_a_form_can_be_named(tmp_path):
    with pytest.raises(InputError, match=r":1: the header lacks pattern"):
        read(tmp_path, "a\tb\n", form="gulordava")
    with pytest.raises(InputError, match="no such file"):
        read_pairs([str(tmp_path / "nothing.tsv")])


@pytest.mark.parametrize(
    ("good", "bad", "target"),
    [
        ("the cat was.", "the cat were.", ("the cat", "was", "were")),
        ("the cat, was", "the cat, were", ("the cat,", "was", "were")),
        ("she ate", "she ate it", ("she ate", "", "it")),
        ("why?", "why!", ("", "why?", "why!")),
    ],
)
def test_the_target_is_the_first_word_that_differs(good, bad, target):
    assert Pair(good, bad, "").target() == target
