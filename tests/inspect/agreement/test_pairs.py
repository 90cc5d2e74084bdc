import gzip
import json

import pytest

from throughtime.ground.errors import InputError
from throughtime.inspect.agreement.pair import Pair
from throughtime.inspect.agreement.pairs import read_pairs


def read(tmp_path, text, name="pairs.tsv", form="auto"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_pairs([str(path)], form).pairs


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
    simple, npi, other = read_pairs([str(path)]).pairs
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
        ("a sentence\n", r":1: not a form .* got 1 column: "),
        ("a\tb\tc\n", r":1: not a form .* got 3 columns"),
        ("a b\ta c\nd e\n", r":2: expected good, tab, bad; got 1 columns"),
        ("a b\ta c\nx\t \n", r":2: an empty sentence"),
        ("a b\ta b\n", "no pairs"),
        ("8\tare\tis\t0\n", r": it holds the forms of verbs; expected their sentences in"),
        ("1\tthe cat\n", r":1: not a form .*1 . the cat"),
        ("t\tc\tis\tare\n", r":1: not a form"),
        ("t\tc\ta is\ta are\nt\tc\tis\t0\n", r":2: expected two readings .*'is' and '0'"),
        ("t\tc\ta good\ta bad\n\nt\tc\tgood\n", r":3: expected template, condition"),
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


LINZEN_TEXT = "a b Is c . <eos>\nthe keys to the car are old <eos>\n"
LINZEN_GOLD = "2\tis\tare\t0\n5\tAre\tIs\t1\n"


@pytest.mark.parametrize("named", ["x.text", "x.gold", ".", "*"])
def test_linzen_text_and_gold_are_read_together(tmp_path, named):
    (tmp_path / "x.text").write_text(LINZEN_TEXT, "utf-8")
    (tmp_path / "x.gold").write_text(LINZEN_GOLD, "utf-8")
    (tmp_path / "x.eval").write_text("2\n5\n", "utf-8")
    if named in (".", "*"):
        found = read_pairs([str(tmp_path / named)])
    else:
        found = read_pairs([str(tmp_path / named)], "auto")
    assert [(p.good, p.bad, p.opposed) for p in found.pairs] == [
        ("a b Is c .", "a b Are c .", 0),
        ("the keys to the car are old", "the keys to the car is old", 1),
    ]
    assert found.forms == ["gold"]


def gulordava_gold(item, place, good, bad, cue):
    head = ["L!NOUN_VERB!Number=Plur", "1", item, str(place), "VERB", "Mood=Ind"]
    return "\t".join([*head, good, bad, bad, str(cue), "NOUN", "The dogs of it bark"])


def test_gulordava_text_and_gold_gzipped(tmp_path):
    text = "The dogs of it bark . <eos>\nThe ideas of it sleep . <eos>\n"
    rows = [gulordava_gold("0", 4, "bark", "barks", 1), gulordava_gold("3", 4, "eat", "eats", 1)]
    (tmp_path / "g.text.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "g.gold.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    first, nonce = read_pairs([str(tmp_path / "g.gold.gz")]).pairs
    assert first.target() == ("The dogs of it", "bark", "barks")
    assert nonce.target() == ("The ideas of it", "eat", "eats")  # the text's own verb is not read
    assert (first.origin, nonce.origin, nonce.distance, nonce.whole) == (
        "original", "nonce", 3, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("2\tis\tare\t0\n", r"x\.text:2: .*x\.gold has no line for this one"),
        (LINZEN_GOLD + "1\tis\tare\t0\n", r"x\.gold:3: .*x\.text has no line"),
        ("1\tis\tare\t0\n", r"x\.gold:1: word 1, .* of .*x\.text:1 should be 'is', got 'b'"),
        ("99\tis\tare\t0\n", r"x\.gold:1: word 99, .*got 'nothing'"),
        ("2\tis\tare\t0\nis are\n", r"x\.gold:2: expected place, good form"),
    ],
)
def test_text_and_gold_that_do_not_belong_together(tmp_path, gold, message):
    (tmp_path / "x.text").write_text(LINZEN_TEXT, "utf-8")
    (tmp_path / "x.gold").write_text(gold, "utf-8")
    with pytest.raises(InputError, match=message):
        read_pairs([str(tmp_path / "x.gold")])


def test_forms_in_a_table_name_the_text_that_they_expect_beside_it(tmp_path):
    (tmp_path / "x.tsv").write_text(LINZEN_GOLD, "utf-8")
    with pytest.raises(InputError, match=r"x\.tsv: it holds the forms.*/x\.text\.$"):
        read_pairs([str(tmp_path / "x.tsv")])
    (tmp_path / "x.text").write_text(LINZEN_TEXT, "utf-8")
    assert len(read_pairs([str(tmp_path / "x.tsv")]).pairs) == len(LINZEN_GOLD.splitlines())


def test_one_set_of_items_in_two_forms_is_asked_about(tmp_path):
    (tmp_path / "g.text").write_text("The dogs of it bark . <eos>\n", "utf-8")
    (tmp_path / "g.gold").write_text(gulordava_gold("0", 4, "bark", "barks", 1), "utf-8")
    (tmp_path / "g.tab").write_text(
        GULORDAVA + "N\t1\t0\tbark\tcorrect\toriginal\tthe dogs\t0\t1\ts\n"
        "N\t1\t0\tbarks\twrong\toriginal\tthe dogs\t0\t1\ts\n",
        "utf-8",
    )
    with pytest.raises(InputError, match=r"g\.gold and .*g\.tab hold the same items"):
        read_pairs([str(tmp_path)])
    assert read_pairs([str(tmp_path)], "gold").pairs[0].good == "The dogs of it bark"
    assert read_pairs([str(tmp_path)], "gulordava").pairs[0].good == "the dogs bark"


def test_blimp_as_distributed(tmp_path):
    for k in range(67):
        items = [
            {
                "sentence_good": f"A b{i} is.", "sentence_bad": f"A b{i} are.", "field": "syntax",
                "linguistics_term": f"term {k % 12}", "UID": f"paradigm_{k}",
            }
            for i in range(10)
        ]  # fmt: skip
        if k % 10 == 0:
            items[3]["sentence_bad"] = items[3]["sentence_good"]
        lines = "\n".join(map(json.dumps, items)) + "\n"
        (tmp_path / f"paradigm_{k}.jsonl").write_text(lines, "utf-8")
    found = read_pairs([str(tmp_path)])
    assert (len(found.pairs), found.identical, found.forms) == (663, 7, ["blimp"])
    assert len({pair.construction for pair in found.pairs}) == 67
    assert {pair.phenomenon for pair in found.pairs} == {f"term {k}" for k in range(12)}
    assert {pair.field for pair in found.pairs} == {"syntax"}
