"""Documents as sentences, one a line: what a language model of sentences is trained on.

    python scripts/sentences.py $DATA/imdb_unsup/unsup.tsv.gz --column 2 > sentences.txt

Takes text of any kind, .gz too; with --column, a column of tab-separated lines. HTML line breaks
end a sentence; so do . ! ? before a space and what begins a sentence, but not after a title or an
initial. A sentence without a letter is left out.
"""

import argparse
import re
import sys

from throughtime.data.lines import read_lines
from throughtime.data.text import find_files
from throughtime.ground.errors import InputError

TITLES = {
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
    "Prof",
    "St",
    "Sr",
    "Jr",
    "Lt",
    "Col",
    "Gen",
    "Sgt",
    "Capt",
    "vs",
    "No",
    "Vol",
}
BREAK = re.compile(r"\s*<br\s*/?>\s*", re.I)
END = re.compile(r"""([.!?]+["')\]]*)\s+(?=["'(\[]*[A-Z0-9])""")


def main():
    """Read the arguments, write sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--column", type=int, help="Of tab-separated lines, from 1.")
    options = parser.parse_args()
    try:
        for path in find_files(options.files):
            for line in read_lines(path):
                fields = line.text.split("\t") if options.column else [line.text]
                if len(fields) < (options.column or 1):
                    raise InputError(f"{line.where}: no column {options.column}.")
                for sentence in sentences(fields[(options.column or 1) - 1]):
                    print(sentence)
    except InputError as error:
        sys.exit(f"sentences: error: {error}")


def sentences(text):
    """The sentences of a document."""
    for part in BREAK.split(text):
        begin = 0
        for match in END.finditer(part):
            word = part[: match.start()].rsplit(None, 1)[-1:] or [""]
            if match[1] == "." and (word[0].strip("\"'(") in TITLES or len(word[0]) == 1):
                continue
            yield from lettered(part[begin : match.end(1)])
            begin = match.end()
        yield from lettered(part[begin:])


def lettered(sentence):
    """The sentence, on one line, if it has a letter."""
    said = " ".join(sentence.split())
    if any(c.isalpha() for c in said):
        yield said


if __name__ == "__main__":
    main()
