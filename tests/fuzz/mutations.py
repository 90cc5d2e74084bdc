"""Valid inputs, made wrong: as bytes, and as the structure that is in them.

`draw` is Hypothesis's, within a composite strategy.
"""

import copy
import re
import struct

from hypothesis import strategies as st

TOKENS = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J", b"\x0b", b"\x0c", b"\r", b"\n"),
    *(
        b"\r\n",
        b"\n\n",
        b"\t",
        b" ",
        b'"',
        b"'",
        b",",
        b";",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"(",
        b"\\",
    ),
    *("\u2028".encode(), "\x85".encode(), "\u0301".encode(), "\U0001f600".encode(), b"\\ud800"),
    *(b"<pad>", b"<unk>", b"<eos>", b"#", b"-", b"_", b"%", b"|", b"null", b"true", b"[" * 3000),
)
"""What is put in somewhere."""
NUMBERS = (
    *(
        b"0",
        b"-1",
        b"-0",
        b"1e308",
        b"-1e308",
        b"1e999",
        b"1e-400",
        b"nan",
        b"inf",
        b"1_0",
        b"0x10",
    ),
    *(
        "\u0661".encode(),
        b"1.",
        b".",
        b"9" * 400,
        b"9" * 5000,
        b"9223372036854775808",
        b"1e38",
        b"",
    ),
)
"""What is put in the place of a number."""


class Input:
    """Files by name; what a failing example shows of them. They lie in the test's folder."""

    def __init__(self, name, files):
        self.name, self.files = name, files

    def __repr__(self):
        return f"{self.name}: {self.files[self.name][:300]!r}"


def damaged(draw, data):
    """Bytes with one to four changes."""
    for _ in range(draw(st.integers(1, 4))):
        data = one_of(draw, CHANGES)(draw, data)
    return data


def one_of(draw, things):
    """One of them, drawn by its place: their own text may be long."""
    return things[draw(st.integers(0, len(things) - 1))]


def place(draw, data):
    return draw(st.integers(0, len(data)))


def stretch(draw, data):
    begin = place(draw, data)
    return begin, min(len(data), begin + one_of(draw, (1, 1, 2, 3, 8, 40, 1000)))


def flip(draw, data):
    if not data:
        return data
    k = draw(st.integers(0, len(data) - 1))
    return data[:k] + bytes([data[k] ^ 1 << draw(st.integers(0, 7))]) + data[k + 1 :]


def overwrite(draw, data):
    begin, end = stretch(draw, data)
    return data[:begin] + draw(st.binary(min_size=1, max_size=8)) + data[end:]


def put_in(draw, data):
    k = place(draw, data)
    return data[:k] + one_of(draw, TOKENS) + data[k:]


def take_out(draw, data):
    begin, end = stretch(draw, data)
    return data[:begin] + data[end:]


def cut(draw, data):
    return data[: place(draw, data)]


def repeat(draw, data):
    begin, end = stretch(draw, data)
    times = one_of(draw, (2, 3, 50))
    return data[:begin] + data[begin:end] * times + data[end:]


def renumber(draw, data):
    numbers = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))
    if not numbers:
        return put_in(draw, data)
    found = one_of(draw, numbers)
    return data[: found.start()] + one_of(draw, NUMBERS) + data[found.end() :]


def exchange(draw, data):
    lines = data.split(b"\n")
    i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def measure(draw, data):
    """A whole number of the file, as binary formats have them, made another."""
    if len(data) < 8:
        return data
    k = draw(st.integers(0, len(data) - 8))
    form = one_of(draw, ("<i", ">i", "<q", ">H", "<d"))
    value = one_of(draw, (0, 1, -1, 2**15 - 1, 2**31 - 1, -(2**31), 2**20))
    if form == ">H":
        value &= 0xFFFF
    made = struct.pack(form, value)
    return data[:k] + made + data[k + len(made) :]


CHANGES = (flip, overwrite, put_in, take_out, cut, repeat, renumber, exchange, measure)

ODD = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan")),
    *(float("inf"), "", "x", "7", "auto", "\0", "\n", "a" * 5000, "../../x", "\ud800", b"x"),
    *([], [1], ["x"], [[]], {}, {"x": 1}, {"": None}, {1: 2}),
)
"""What stands in the place of a value."""


def changed(draw, value, odd=ODD):
    """Plain data with one to three values replaced, removed, renamed or added."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = list(containers(value))
        if not places:
            return copy.deepcopy(one_of(draw, odd))
        change(draw, one_of(draw, places), odd)
    return value


def containers(value):
    """Every mapping and list that holds something."""
    if isinstance(value, dict | list) and value:
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from containers(part)


def change(draw, container, odd):
    """Change one entry of a mapping or a list."""
    keys = list(container) if isinstance(container, dict) else range(len(container))
    key = one_of(draw, keys)
    how = one_of(draw, ("replace", "replace", "replace", "remove", "add", "exchange"))
    if how == "replace":
        container[key] = copy.deepcopy(one_of(draw, odd))
    elif how == "remove":
        del container[key]
    elif how == "exchange":
        other = one_of(draw, keys)
        container[key], container[other] = container[other], container[key]
    elif isinstance(container, dict):
        container[one_of(draw, ("x", "", f"{key}s", "auto"))] = copy.deepcopy(container[key])
    else:
        container.insert(key, copy.deepcopy(container[key]))
