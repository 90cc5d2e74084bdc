"""BLEU and chrF of translations, as sacrebleu computes them, with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..ground.errors import InputError
from ..ground.extras import need


class Scores(NamedTuple):
    """BLEU and chrF, 0 to 100, and what sacrebleu did to find each."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Scores:
    """Of a whole corpus, one reference a sentence.

    Errors: `InputError` for a tokenization that sacrebleu does not know or cannot run, and where
    sacrebleu itself is missing. Source: Papineni et al. 2002; Popović 2015; Post 2018.
    """
    metrics = need("sacrebleu.metrics", "translate")
    known = sorted(metrics.BLEU.TOKENIZERS)
    if tokenize not in known:
        raise InputError(f"unknown bleu_tokenize {tokenize!r}; choose from {', '.join(known)}.")
    try:
        # force: text that looks tokenized is scored without a warning; the signature says how
        bleu = metrics.BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    except (ImportError, RuntimeError) as error:
        raise InputError(f"bleu_tokenize {tokenize}: {error}") from error
    chrf = metrics.CHRF()
    return Scores(
        bleu.corpus_score(hypotheses, [references]).score,
        chrf.corpus_score(hypotheses, [references]).score,
        str(bleu.get_signature()),
        str(chrf.get_signature()),
    )
