"""Parallel files: a sentence a line, line i of one the translation of line i of the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ground.errors import InputError
from .files import find_files
from .lines import check_encoding, read_lines


def read_parallel(
    patterns: Sequence[str], encoding: str = "utf-8", longest: int | None = None
) -> tuple[list[str], list[str]]:
    """The sentences of both sides, empty lines kept; .gz is read as it is.

    `patterns` are two: files, globs or directories, whose files follow each other. `InputError`
    where the sides have different numbers of lines, or none.
    """
    if len(patterns) != 2:
        raise InputError(
            f"expected two parallel files, source and target; got {len(patterns)}: "
            f"{' '.join(patterns)}."
        )
    check_encoding(encoding)
    source, target = (
        [
            line.text
            for path in find_files([pattern])
            for line in read_lines(path, encoding, longest)
        ]
        for pattern in patterns
    )
    if len(source) != len(target):
        raise InputError(
            f"parallel files must have the same number of lines: {patterns[0]} has "
            f"{len(source):,}, {patterns[1]} has {len(target):,}."
        )
    if not source:
        raise InputError(f"{patterns[0]} and {patterns[1]}: empty. Expected sentences.")
    return source, target


def hold_out(
    pairs: tuple[list[str], list[str]], share: float, seed: int
) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Training and validation pairs; equal sources come to the same side.

    Nothing that validation asks for was read in training, then: a source has one place.
    """
    source, _ = pairs
    distinct = list(dict.fromkeys(source))
    count = round(len(distinct) * share)
    if not 0 < count < len(distinct):
        raise InputError(
            f"{len(distinct)} different sources are too few to hold out {share:.0%}. Give --valid "
            "SOURCE TARGET."
        )
    turn = np.random.default_rng(seed).permutation(len(distinct))[:count]
    held = {distinct[i] for i in turn}
    parts = [[i for i, s in enumerate(source) if (s in held) == side] for side in (False, True)]
    train, valid = (tuple([side[i] for i in part] for side in pairs) for part in parts)
    return train, valid  # type: ignore[return-value]
