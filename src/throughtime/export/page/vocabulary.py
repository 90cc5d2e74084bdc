"""A vocabulary as the page's program takes it (`assets/text.js`)."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import pre_tokenizers

from ...data.vocabulary import SPECIALS, UNK, Vocabulary
from ...ground.errors import InputError

FIRST = len(SPECIALS) + 256
"""The first token of subwords that is made of others."""


def spec(vocabulary: Vocabulary) -> dict[str, Any]:
    """For JSON."""
    v = vocabulary
    found: dict[str, Any] = {"level": v.level, "lowercase": v.lowercase}
    if v.level == "byte":
        return found
    found["tokens"] = v.tokens[len(SPECIALS) :]
    if v.level == "word":
        split = v.tokenizer.pre_tokenizer
        found["at_spaces"] = isinstance(split, pre_tokenizers.WhitespaceSplit)
        found["specials"] = list(SPECIALS) if v.of_0_1 else [SPECIALS[UNK]]
    if v.level == "subword":
        found |= merges(v)
    return found


def merges(vocabulary: Vocabulary) -> dict[str, Any]:
    """How long the left part of each merged pair is; and what is made, where that is not the next
    token each time."""
    said = json.loads(vocabulary.to_json())["model"]["merges"]
    pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in said]
    ids = vocabulary.ids
    made = [ids.get(left + right) for left, right in pairs]
    if None in made:
        raise InputError("a tokenizer whose merges make unknown tokens is not exported to a page.")
    found: dict[str, Any] = {"splits": [len(left) for left, _ in pairs]}
    return found if made == list(range(FIRST, FIRST + len(made))) else {**found, "made": made}
