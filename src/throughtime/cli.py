"""The command line: verb → typed function. No logic, and torch only when a verb needs it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from . import __version__
from .errors import InputError, ThroughtimeError, did_you_mean

VERBS = {
    "train": "train a model into a run folder",
    "evaluate": "measure a run on text: nats, bits, perplexity",
    "generate": "write novel text with a run's language model",
    "doctor": "what this machine offers, which backends run and why others do not",
}

HELP = f"""throughtime {__version__}: recurrent sequence models.

usage: throughtime VERB …

{chr(10).join(f"  {verb:10} {what}" for verb, what in VERBS.items())}

  throughtime train lm --train FILE… --out runs/NAME [--max-time 3m]
  throughtime evaluate runs/NAME --data FILE
  throughtime generate runs/NAME --prime "Once"

throughtime VERB --help tells a verb's options.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 1 failed, 2 bad input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"throughtime {__version__}")
        return 0
    verb, *rest = arguments
    prepare_environment()
    try:
        if verb not in VERBS:
            raise InputError(f"unknown verb {verb!r}.{did_you_mean(verb, VERBS)} See --help.")
        return {"train": train, "evaluate": evaluate, "generate": generate, "doctor": doctor}[verb](
            rest
        )
    except SystemExit as stop:  # --help and --print_config have printed
        return int(stop.code or 0)
    except ThroughtimeError as error:
        print(f"throughtime: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder without permission
        print(f"throughtime: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nthroughtime: interrupted", file=sys.stderr)
        return 130


def prepare_environment() -> None:
    """Settings that torch and OpenMP read once, when they are loaded. What the user set stays."""
    # large buffers in huge pages: fewer page faults
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # waiting threads spin for microseconds, not milliseconds: with another program on the same
    # cores, spinning made a training step 25 to 100 times slower (docs/log.md)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def train(arguments: list[str]) -> int:
    """throughtime train TASK."""
    from . import terminal
    from .parsing import train_command

    command = train_command(arguments)
    if command is None:
        return 0
    from .trainer import Interrupted
    from .verbs import train as run

    try:
        result = run(
            command.config, task=command.task, resume=command.resume, overwrite=command.overwrite
        )
    except Interrupted:
        if int(os.environ.get("RANK", "0")) == 0:
            terminal.say(
                f"saved. Go on with: throughtime train {command.task} --resume --out "
                f"{command.config.out}"
            )
        return 130
    if int(os.environ.get("RANK", "0")) == 0:
        numbers = ", ".join(f"{k} {v:.4f}" for k, v in result.metrics.items())
        print(f"{result.folder}: {numbers} ({result.steps} steps, {result.seconds:.0f} s)")
        terminal.say(
            f"go on with: throughtime generate {result.folder}    "
            f"throughtime evaluate {result.folder} --data FILE"
        )
    return 0


def evaluate(arguments: list[str]) -> int:
    """throughtime evaluate RUN."""
    from .parsing import evaluate_parser, parse

    options = parse(evaluate_parser(), arguments)
    from .verbs import as_json
    from .verbs import evaluate as run

    result = as_json(
        run(
            options.run,
            options.data,
            device=options.device,
            checkpoint=options.checkpoint,
            threads=options.threads,
        )
    )
    if options.json:
        print(json.dumps({"run": str(options.run), "data": options.data, **result}))
        return 0
    for name, value in result.items():
        decimals = 0 if isinstance(value, int) or value >= 1000 else 4
        shown = f"{value:,.{decimals}f}"
        print(f"{name.replace('_', ' '):18} {shown:>14}")
    return 0


def generate(arguments: list[str]) -> int:
    """throughtime generate RUN."""
    from .parsing import generate_parser, parse

    options = parse(generate_parser(), arguments)
    prime = standard_input() if options.prime == "-" else options.prime
    from .verbs import generate as run

    current = 0

    def show(k: int, piece: str) -> None:
        nonlocal current
        if k != current:
            print("\n" + "─" * 40)
            current = k
        print(piece, end="", flush=True)

    values: dict[str, Any] = {k: v for k, v in vars(options).items() if k not in ("run", "prime")}
    run(options.run, prime, **values, on_text=show)
    print()
    return 0


def standard_input() -> str:
    """All of standard input, which must be UTF-8."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input: not UTF-8 at byte {error.start} (0x{data[error.start]:02x})."
        ) from error


def doctor(arguments: list[str]) -> int:
    """throughtime doctor."""
    from .parsing import parse, plain_parser

    options = parse(plain_parser("doctor", VERBS["doctor"], json=True), arguments)
    from .verbs import doctor as run

    found = run()
    if options.json:
        print(json.dumps(dict(found)))
    else:
        for name, finding in found:
            print(f"{name:26} {finding}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
