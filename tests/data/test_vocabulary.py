import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from throughtime.data.text import Text
from throughtime.data.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary
from throughtime.ground.errors import InputError

TEXT = "the cat sat, the cats sat.\nthe end — naïve café\n"


@pytest.fixture
def build(tmp_path):
    def build(level, content=TEXT, **options):
        path = tmp_path / "text.txt"
        path.write_text(content)
        return Vocabulary.build(Text.of([str(path)], raw=level == "byte"), level, **options)

    return build


@pytest.mark.parametrize("level", ["char", "byte", "word", "subword"])
def test_saved_and_loaded_it_encodes_alike(build, level, tmp_path):
    size = 300 if level == "subword" else None
    vocabulary = build(level, size=size)
    (tmp_path / "tokenizer.json").write_text(vocabulary.to_json(), "utf-8")
    again = Vocabulary.load(tmp_path / "tokenizer.json", level)
    assert again.tokens == vocabulary.tokens
    assert again.tokens[:4] == list(SPECIALS)
    assert (again.encode(TEXT) == vocabulary.encode(TEXT)).all()


@pytest.mark.parametrize("level", ["char", "byte", "subword"])
def test_text_comes_back_whole(build, level):
    vocabulary = build(level, size=300 if level == "subword" else None)
    assert vocabulary.decode(vocabulary.encode(TEXT).tolist()) == TEXT


@pytest.mark.parametrize("level", ["char", "byte"])
def test_the_fast_path_agrees_with_the_tokenizers_library(build, level):
    vocabulary = build(level)
    library = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    assert library.encode(TEXT).ids == vocabulary.encode(TEXT).tolist()


@settings(max_examples=50)
@given(text=st.text())
def test_any_text_round_trips_through_bytes(text):
    from throughtime.data.tokenizing import byte_tokenizer

    vocabulary = Vocabulary("byte", byte_tokenizer())
    text = text.encode("utf-8", "ignore").decode()
    assert vocabulary.decode(vocabulary.encode(text).tolist()) == text


def test_unseen_characters_become_unk_and_never_crash(build):
    vocabulary = build("char")
    ids = vocabulary.encode("the 猫 \U0001f408")
    assert (ids == UNK).sum() == 2
    assert vocabulary.decode([UNK]) == "\N{REPLACEMENT CHARACTER}"


def test_words_come_by_falling_frequency_then_alphabet(build):
    vocabulary = build("word")
    assert vocabulary.tokens[4:7] == ["the", "sat", ","]


def test_size_and_minimum_count_limit_the_vocabulary(build):
    assert len(build("word", size=6)) == 6
    assert build("word", min_count=2).tokens[4:] == ["the", "sat"]
    assert "—" not in build("char", min_count=2).tokens
    with pytest.raises(InputError, match="empty"):
        build("word", min_count=1000)
    with pytest.raises(InputError, match="exceed"):
        build("word", size=3)


def test_words_split_at_spaces_only_where_asked_for(build):
    spaces = build("word", words="spaces")
    assert "sat," in spaces.tokens
    assert "," in build("word").tokens


def test_unk_written_in_the_text_is_the_unknown_token(build):
    vocabulary = build("word", "a <unk> b\na b\n", words="spaces")
    assert vocabulary.encode("a <unk> b").tolist() == [4, UNK, 5]
    assert sorted(vocabulary.tokens) == sorted([*SPECIALS, "a", "b"])


WRITTEN = "a <pad> b <eos> c <unk> d\n<bos>x<unk>y <s>\n"


@pytest.mark.parametrize("at_lines", [True, False])
@pytest.mark.parametrize("level", ["char", "byte", "subword"])
def test_specials_written_in_a_text_are_text(build, level, at_lines, tmp_path):
    vocabulary = build(level, TEXT + WRITTEN, size=300 if level == "subword" else None)
    (tmp_path / "tokenizer.json").write_text(vocabulary.to_json(), "utf-8")
    for each in (vocabulary, Vocabulary.load(tmp_path / "tokenizer.json", level)):
        ids = each.encode(WRITTEN, eos_at_lines=at_lines).tolist()
        assert not {PAD, UNK, BOS} & set(ids)
        assert ids.count(EOS) == (2 if at_lines else 0)
        assert each.decode(ids) == WRITTEN


LOSSLESS = Vocabulary.of_texts([TEXT + WRITTEN], "subword", size=300)


@settings(max_examples=100)
@given(text=st.text() | st.text(st.sampled_from("a <>/pad unkbos\r\n\t\x0b\x85\u2028é")))
def test_any_text_round_trips_through_subwords(text):
    for at_lines in (True, False):
        ids = LOSSLESS.encode(text, eos_at_lines=at_lines)
        assert LOSSLESS.decode(ids.tolist()) == text


@pytest.mark.parametrize("words", ["spaces", "punctuation"])
def test_of_words_unk_alone_is_the_special(build, words, tmp_path):
    built = build("word", WRITTEN, words=words)
    (tmp_path / "tokenizer.json").write_text(built.to_json(), "utf-8")
    for vocabulary in (built, Vocabulary.load(tmp_path / "tokenizer.json", "word")):
        ids = vocabulary.encode(WRITTEN, eos_at_lines=True).tolist()
        assert ids.count(UNK) == 2
        assert ids.count(EOS) == 2
        assert not {PAD, BOS} & set(ids)
        again = vocabulary.decode(ids)
        if words == "spaces":
            assert again == "a <pad> b <eos> c <unk> d\n<bos>x <unk> y <s>\n"
            pad = vocabulary.ids["<pad>"]
            assert pad > EOS
            assert vocabulary.tokens[pad] == "<pad>"
            assert vocabulary.encode_tokens(["<pad>", "<unk>", "<bos>"]).tolist() == [pad, 1, 1]
            assert vocabulary.with_words(["<bos>"]).encode("<bos> <pad>").tolist() == [
                len(vocabulary), pad,
            ]  # fmt: skip
        else:
            assert again == "a < pad > b < eos > c <unk> d\n< bos > x <unk> y < s >\n"


def test_words_like_specials_that_training_has_not_are_unknown(build):
    vocabulary = build("word", "a b\n", words="spaces")
    assert vocabulary.encode("<pad> a <eos> <bos>").tolist() == [UNK, 4, UNK, UNK]
    assert vocabulary.encode_tokens(["<pad>", "<eos>", "<unk>"]).tolist() == [UNK, UNK, UNK]


@pytest.mark.parametrize("level", ["word", "subword"])
def test_vocabularies_of_release_0_1_read_all_four_specials(level):
    run = Path(__file__).parents[1] / "runs_of_0_1" / f"lm-{level}"
    vocabulary = Vocabulary.load(run / "tokenizer.json", level)
    text = "<pad> <eos> <bos> <unk>"
    ids = vocabulary.encode(text).tolist()
    assert [i for i in ids if i < 4] == [PAD, EOS, BOS, UNK]
    assert vocabulary.encode_tokens(["<pad>", "<eos>"]).tolist() == [PAD, EOS]


def test_a_vocabulary_with_gaps_is_refused(build, tmp_path):
    said = json.loads(build("word").to_json())
    said["model"]["vocab"]["far"] = 1000
    (tmp_path / "t.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="without a gap"):
        Vocabulary.load(tmp_path / "t.json", "word")


def test_a_vocabulary_without_its_word_for_unknown_ones_is_refused(build, tmp_path):
    said = json.loads(build("word").to_json())
    said["model"]["unk_token"] = "[UNK]"
    (tmp_path / "t.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"\[UNK\], for words"):
        Vocabulary.load(tmp_path / "t.json", "word")


@pytest.mark.parametrize("size", [259, 2**31 - 1])
def test_sizes_that_subwords_cannot_have_are_refused(build, size):
    with pytest.raises(InputError, match="260 to 1,048,576 tokens"):
        build("subword", size=size)


def test_eos_takes_the_place_of_newlines(build):
    word, char = build("word"), build("char")
    assert word.encode("the\n\ncat\n", eos_at_lines=True).tolist() == [
        4, EOS, EOS, word.tokens.index("cat"), EOS,
    ]  # fmt: skip
    assert word.encode("the\ncat", eos_at_lines=True).tolist()[1] == EOS
    assert (char.encode("the\n", eos_at_lines=True) == EOS).sum() == 1
    assert char.decode(char.encode("a\nt", eos_at_lines=True).tolist()) == "a\nt"


def test_characters_of_short_and_long_texts_are_counted_alike():
    long = "ab" * 100_000
    found = Vocabulary.of_texts([long, "bcz", "z\U0001f600", ""], "char", min_count=2)
    assert found.tokens == [*SPECIALS, "a", "b", "z"]
    assert Vocabulary.of_texts(["é", long], "char").tokens == [*SPECIALS, "a", "b", "é"]


def test_words_of_any_script_are_counted_as_they_are_encoded(build):
    text = "हिन्दी தமிழ் cafe\u0301 don't\n"
    vocabulary = build("word", text)
    assert UNK not in vocabulary.encode(text).tolist()


def test_a_word_after_text_that_ends_in_a_space_gets_none(build):
    from throughtime.data.vocabulary import Decoder

    vocabulary = build("word")
    assert Decoder(vocabulary, after="The ").push(4) == "the"
    assert Decoder(vocabulary, after="The").push(4) == " the"


def test_lower_case_folds(build):
    vocabulary = build("word", "The THE the\n", lowercase=True)
    assert vocabulary.tokens[4:] == ["the"]
    assert vocabulary.encode("tHE").tolist() == [4]


def test_decoding_never_splits_a_character(build):
    vocabulary = build("byte")
    decoder = vocabulary.decoder()
    pieces = [decoder.push(i) for i in vocabulary.encode("é猫").tolist()]
    assert pieces == ["", "é", "", "", "猫"]
    half = vocabulary.encode("猫").tolist()[:2]
    assert vocabulary.decode(half) == "\N{REPLACEMENT CHARACTER}"


def test_words_are_joined_by_spaces_and_specials_are_silent(build):
    vocabulary = build("word")
    ids = vocabulary.encode("the cat").tolist()
    assert vocabulary.decode([BOS, *ids, EOS, ids[0], PAD]) == "the cat\nthe"


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match="not a tokenizer"):
        Vocabulary.load(tmp_path / "t.json", "char")
    with pytest.raises(InputError, match="cannot be read"):
        Vocabulary.load(tmp_path / "none.json", "char")


def test_a_large_vocabulary_has_distinct_ids(build):
    words = [f"w{i}" for i in range(50_000)]
    vocabulary = build("word", " ".join(words) + "\n", size=50_000)
    ids = vocabulary.encode(" ".join(words))
    assert len(vocabulary) == 50_000
    assert len(np.unique(ids[ids != UNK])) == 50_000 - 4


@pytest.mark.parametrize(("split", "pieces"), [("spaces", 1), ("punctuation", 3)])
def test_more_words_come_after_its_own_and_split_as_before(split, pieces):
    before = Vocabulary.of_texts(["a WhitespaceSplit b-c"], "word", words=split)
    after = before.with_words(["zebra", "a", "zebra"])
    assert after.tokens == [*before.tokens, "zebra"]
    assert len(after.encode("a-b")) == len(before.encode("a-b")) == pieces
