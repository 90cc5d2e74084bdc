"""ABC notation: tune books (`book`), the music of a tune (`music`), its bars (`bars`).

Source: the ABC standard, version 2.1 (December 2011). Oracle: abc2midi, which `symusic` ships.
"""

from .bars import Judged, judge
from .book import Book, Field, Tune, read_book, read_tune, read_tunes
from .music import Bar, Fault, Music, parse

__all__ = [
    "Bar",
    "Book",
    "Fault",
    "Field",
    "Judged",
    "Music",
    "Tune",
    "judge",
    "parse",
    "read_book",
    "read_tune",
    "read_tunes",
]
