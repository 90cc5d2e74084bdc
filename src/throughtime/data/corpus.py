"""Corpora encoded once: ids in a file that is read piece by piece, so that text may be larger than
memory. Its checksum is looked at whenever it is opened; what is damaged is told, and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..ground import terminal
from ..ground.cache import cache_folder, private
from ..ground.errors import InputError, ThroughtimeError
from .affixes import Spelling, lacking
from .limits import parse_json
from .stored import StoredIds
from .text import Text
from .vocabulary import EOS, Vocabulary

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

    ids: StoredIds
    counts: Counts

    def __len__(self) -> int:
        return len(self.ids)


def encode(
    text: Text,
    reader: Vocabulary | Spelling,
    eos: str,
    *,
    backward: bool = False,
    quiet: bool = False,
) -> Corpus:
    """The corpus of `text`, from the cache if the same files were encoded before.

    `eos`: "line" puts <eos> in place of each newline, "file" after each file, "none" nowhere.
    `backward`: the last token of each line, or else of each file, comes first; its <eos> last.
    The folder is one that nobody else may write: a text that is trained on is as good as code.
    The cache key holds each file's path, size and modification time, and the vocabulary. A
    `reader` with affixes gives words that it lacks ids of their own.
    """
    try:
        folder = private("corpora")
    except OSError as error:
        raise cannot_write(cache_folder() / "corpora", error) from error
    how = f"{eos} backward" if backward else eos
    key = cache_key(text, *said_of(reader, how))
    ids_path, counts_path = folder / f"{key}.ids", folder / f"{key}.json"
    dtype = dtype_for(reader)
    try:
        corpus = stored(ids_path, counts_path, dtype, quiet)
    except (OSError, ValueError, TypeError) as error:
        terminal.warn(f"{ids_path}: damaged ({error}): the text is encoded anew.")
        corpus = None
    if corpus is not None:
        return corpus
    try:
        counts = write(text, reader, eos, ids_path, counts_path, quiet, backward=backward)
        return Corpus(StoredIds(ids_path, dtype), counts)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: Path, error: OSError) -> ThroughtimeError:
    """What to say where the cache takes no file."""
    return ThroughtimeError(
        f"cannot write the encoded text into {folder}: {error}. Make room, or set "
        "THROUGHTIME_CACHE to another folder."
    )


def stored(ids_path: Path, counts_path: Path, dtype: type, quiet: bool) -> Corpus | None:
    """What `write` wrote; None where it has not, or only a part, or an earlier release did.

    Errors: `OSError`, `ValueError` or `TypeError` where it is no longer what was written.
    """
    if not (ids_path.is_file() and counts_path.is_file()):
        return None
    said = parse_json(counts_path.read_text("utf-8"))
    if "checksum" not in said:
        return None
    if said.pop("checksum") != checksum(said):
        raise ValueError("the counts are not those that were written")
    counts, ids = Counts(**said), StoredIds(ids_path, dtype)
    if ids.size != counts.tokens * ids.dtype.itemsize:
        raise ValueError(f"{ids.size:,} bytes of {counts.tokens * ids.dtype.itemsize:,}")
    with terminal.progress("checking the encoded text", ids.size, quiet) as advance:
        if ids.fingerprint(advance) != counts.fingerprint:
            raise ValueError("the ids are not those that were written")
    return Corpus(ids, counts)


def checksum(counts: dict[str, Any]) -> str:
    """Of what was counted."""
    return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()


def said_of(reader: Vocabulary | Spelling, how: str) -> tuple[Vocabulary, str]:
    """The vocabulary, and how else ids are made."""
    if isinstance(reader, Spelling):
        return reader.vocabulary, f"{how} {reader.key}"
    return reader, how


def dtype_for(reader: Vocabulary | Spelling) -> type:
    """The smallest unsigned integer that holds every id."""
    if isinstance(reader, Spelling):
        return reader.dtype
    return np.uint16 if len(reader) <= 1 << 16 else np.uint32


def cache_key(text: Text, vocabulary: Vocabulary, eos: str) -> str:
    """A digest of everything that the ids depend on."""
    files = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in text.files]
    said = [FORMAT, files, text.raw, text.column, text.start, text.stop, eos, vocabulary.level]
    digest = hashlib.sha256(json.dumps(said).encode())
    digest.update(vocabulary.tokenizer.to_str().encode())
    return digest.hexdigest()[:32]


def backward_lines(ids: np.ndarray) -> np.ndarray:
    """The tokens of each line from its last to its first, <eos> where it was."""
    lines = np.split(ids, np.flatnonzero(ids == EOS) + 1)
    turned = (
        np.append(line[-2::-1], EOS) if len(line) and line[-1] == EOS else line[::-1]
        for line in lines
    )
    return np.concatenate([part.astype(ids.dtype) for part in turned])


def write(
    text: Text, reader: Vocabulary | Spelling, eos: str, ids_path: Path, counts_path: Path,
    quiet: bool, *, backward: bool = False,
) -> Counts:  # fmt: skip
    """Encode and write both files, each whole or not at all; concurrent writers do no harm."""
    ids_path.parent.mkdir(parents=True, exist_ok=True)
    dtype, (vocabulary, _) = dtype_for(reader), said_of(reader, eos)
    digest = hashlib.sha256()
    tokens = characters = size = unknown = 0
    end_of_file, pending = np.asarray([EOS], dtype), []
    with (
        terminal.progress("encoding the text", text.size, quiet) as advance,
        tempfile.NamedTemporaryFile(dir=ids_path.parent, suffix=".tmp", delete=False) as out,
    ):
        try:
            for chunk, ends_file in text.chunks():
                ids = reader.encode(chunk, eos_at_lines=eos == "line").astype(dtype)
                if backward and eos == "line":
                    ids = backward_lines(ids)
                elif backward:  # a file is turned as a whole
                    pending.append(ids)
                    ids = np.concatenate(pending)[::-1] if ends_file else ids[:0]
                    pending = [] if ends_file else pending
                if eos == "file" and ends_file:
                    ids = np.concatenate([ids, end_of_file])
                out.write(data := ids.tobytes())
                digest.update(data)
                tokens += len(ids)
                unknown += int(lacking(ids, vocabulary).sum())
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
        said = asdict(counts)
        json.dump({**said, "checksum": checksum(said)}, out)
    os.replace(out.name, counts_path)
    return counts


def count_characters(data: bytes) -> int:
    """Characters in UTF-8: the bytes that do not continue one."""
    return int(((np.frombuffer(data, np.uint8) & 0xC0) != 0x80).sum())
