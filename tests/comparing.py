"""What the tests of `compare` share: small runs, the verb, the table that it prints."""

import re

from throughtime.command.cli import main

SMALL = [
    "--device", "cpu", "--model.hidden_size", "12", "--loop.batch_size", "4",
    "--loop.window", "16", "--loop.sample_every", "0", "--loop.eval_every", "10",
]  # fmt: skip


def compare(*arguments):
    return main(["compare", *map(str, arguments)])


def table(text):
    """The printed table as rows of cells."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.split("\n\n")[0].splitlines()]
