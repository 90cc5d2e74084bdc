"""Corpora encoded once: ids in a memory-mapped file, so that text may be larger than memory."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..ground import terminal
from ..ground.cache import cache_folder
from ..ground.errors import InputError, ThroughtimeError
from .text import Text
from .vocabulary import EOS, UNK, Vocabulary

FORMAT = 1  # raise it when the same text would give other ids


@dataclass(frozen=True)
class Counts:
    """What was encoded. `fingerprint` is the SHA-256 of the ids."""

    tokens: int
    characters: int
    bytes: int
    unknown: int
    fingerprint: str


@dataclass(frozen=True)
class Corpus:
    """A token stream: `ids [N]` and what was counted while encoding it."""

    ids: np.ndarray
    counts: Counts

    def __len__(self) -> int:
        return len(self.ids)


def encode(text: Text, vocabulary: Vocabulary, eos: str, *, quiet: bool = False) -> Corpus:
    """The corpus of `text`, from the cache if the same files were encoded before.

    `eos`: "line" puts <eos> in place of each newline, "file" after each file, "none" nowhere.
    The cache key holds each file's path, size and modification time, and the vocabulary.
    """
    folder = cache_folder() / "corpora"
    key = cache_key(text, vocabulary, eos)
    ids_path, counts_path = folder / f"{key}.ids", folder / f"{key}.json"
    dtype = np.dtype(dtype_for(vocabulary))
    counts = read_counts(counts_path)
    size = ids_path.stat().st_size if ids_path.exists() else 0
    if counts is None or size != counts.tokens * dtype.itemsize:  # not there, or damaged
        try:
            counts = write(text, vocabulary, eos, ids_path, counts_path, quiet)
        except OSError as error:
            raise ThroughtimeError(
                f"cannot write the encoded text into {folder}: {error}. Make room, or set "
                "THROUGHTIME_CACHE to another folder."
            ) from error
    return Corpus(np.memmap(ids_path, dtype, "r"), counts)


def read_counts(path: Path) -> Counts | None:
    """What `write` counted; None where it is missing or damaged."""
    if not path.exists():
        return None
    try:
        return Counts(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        return None


def dtype_for(vocabulary: Vocabulary) -> type:
    """The smallest unsigned integer that holds every id."""
    return np.uint16 if len(vocabulary) <= 1 << 16 else np.uint32


def cache_key(text: Text, vocabulary: Vocabulary, eos: str) -> str:
    """A digest of everything that the ids depend on."""
    files = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in text.files]
    said = [FORMAT, files, text.raw, text.column, text.start, text.stop, eos, vocabulary.level]
    digest = hashlib.sha256(json.dumps(said).encode())
    digest.update(vocabulary.tokenizer.to_str().encode())
    return digest.hexdigest()[:32]


def write(
    text: Text, vocabulary: Vocabulary, eos: str, ids_path: Path, counts_path: Path, quiet: bool
) -> Counts:
    """Encode and write both files, each whole or not at all; concurrent writers do no harm."""
    ids_path.parent.mkdir(parents=True, exist_ok=True)
    dtype = dtype_for(vocabulary)
    digest = hashlib.sha256()
    tokens = characters = size = unknown = 0
    end_of_file = np.asarray([EOS], dtype)
    with (
        terminal.progress("encoding the text", text.size, quiet) as advance,
        tempfile.NamedTemporaryFile(dir=ids_path.parent, suffix=".tmp", delete=False) as out,
    ):
        try:
            for chunk, ends_file in text.chunks():
                ids = vocabulary.encode(chunk, eos_at_lines=eos == "line").astype(dtype)
                if eos == "file" and ends_file:
                    ids = np.concatenate([ids, end_of_file])
                out.write(data := ids.tobytes())
                digest.update(data)
                tokens += len(ids)
                unknown += int((ids == UNK).sum())
                raw = chunk if isinstance(chunk, bytes) else chunk.encode("utf-8", "surrogatepass")
                size += len(raw)
                characters += len(chunk) if isinstance(chunk, str) else count_characters(chunk)
                advance(len(raw))
            out.flush()
            if tokens == 0:
                raise InputError(f"{text.files[0]}: no tokens: expected text.")
            os.replace(out.name, ids_path)
        except BaseException:
            os.unlink(out.name)
            raise
    counts = Counts(tokens, characters, size, unknown, digest.hexdigest())
    with tempfile.NamedTemporaryFile("w", dir=ids_path.parent, suffix=".tmp", delete=False) as out:
        json.dump(asdict(counts), out)
    os.replace(out.name, counts_path)
    return counts


def count_characters(data: bytes) -> int:
    """Characters in UTF-8: the bytes that do not continue one."""
    return int(((np.frombuffer(data, np.uint8) & 0xC0) != 0x80).sum())
