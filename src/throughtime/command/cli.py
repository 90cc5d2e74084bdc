"""The command line: verb → typed function. No logic, and torch only when a verb needs it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable

from .. import __version__
from ..ground.errors import (
    InputError,
    ThroughtimeError,
    did_you_mean,
    no_memory,
    printable,
    shortened,
)
from ..ground.interrupts import Interrupted, at_once, exit_code, noticed
from ..ground.output import json_text
from ..tasks import TASKS
from .exporting import export
from .many import compare, tune


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code.

    0, 1 failed, 2 bad input, 130 interrupted, 141 nobody reads on, 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    prepare_environment()
    try:
        working_folder()
        with noticed():
            code = run_verb(arguments)
            sys.stdout.flush()  # while an error can still be told
            return code
    except SystemExit as stop:  # --help has printed
        return int(stop.code or 0)
    except ThroughtimeError as error:
        return failed(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        print_no_more()
        return 141
    except OSError as error:  # a full disk, a folder without permission
        print_no_more()
        return failed(shortened(printable(str(error))))
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
        what = " ".join(str(error).split())[:200]
        return failed(f"not enough memory: {what.rstrip('.')}. {less(arguments)}")
    except KeyboardInterrupt:
        failed("interrupted", lead="\nthroughtime: ")
        return exit_code()


def less(arguments: list[str]) -> str:
    """What needs less memory, in the words of the verb that was asked for."""
    if arguments[:1] != ["train"]:
        return "A smaller model or batch needs less."
    return (
        "Less is needed with a smaller --loop.batch_size, and where text is read as a stream with "
        "a smaller --loop.window, or --loop.window 0 with --loop.recompute 64."
    )


def failed(message: str, code: int = 1, *, lead: str = "throughtime: error: ") -> int:
    """Say on standard error what is wrong; the exit code."""
    with contextlib.suppress(OSError, AttributeError):  # full or closed: the exit code is left
        print(f"{lead}{message}", file=sys.stderr, flush=True)
    return code


def print_no_more() -> None:
    """What is left to print goes nowhere: Python would try again, and fail, when it ends."""
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def prepare_streams() -> None:
    """What whoever started this has closed is empty; what a terminal cannot show is escaped."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def working_folder() -> None:
    """Raise `InputError` where the folder that this was started in is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(f"the current folder cannot be used: {error.strerror}.") from error


def prepare_environment() -> None:
    """Settings that torch and OpenMP read once, when they are loaded. What the user set stays."""
    # large buffers in huge pages: fewer page faults
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # waiting threads spin for microseconds, not milliseconds: with another program on the same
    # cores, spinning made a training step 25 to 100 times slower (docs/log.md)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def run_verb(arguments: list[str]) -> int:
    """What the first word asks for, with the rest."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"throughtime {__version__}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise InputError(f"unknown verb {verb!r}.{did_you_mean(verb, VERBS)} See --help.")
    return VERBS[verb][0](rest)


def help_text() -> str:
    """What there is."""
    verbs = "\n".join(f"  {verb:10} {about}" for verb, (_, about) in VERBS.items())
    tasks = "\n".join(f"  {task:14} {line.noun}" for task, line in TASKS.items())
    return f"""throughtime {__version__}: recurrent sequence models.

usage: throughtime VERB …

{verbs}

  throughtime train TASK --train FILE… --out runs/NAME [--max-time 3m]
  throughtime evaluate runs/NAME --data FILE
  throughtime generate runs/NAME --prime "Once"
  throughtime predict runs/NAME --data FILE
  throughtime compare TASK --cells rnn,gru,lstm --train FILE… --out runs/NAME
  throughtime tune TASK --search "optim.lr=log(1e-4,1e-2)" --train FILE… --out runs/NAME
  throughtime inspect runs/NAME [--data FILE]
  throughtime inspect agreement runs/NAME [--pairs FILE…]

{tasks}

throughtime VERB --help tells a verb's options.
"""


def train(words: list[str]) -> int:
    """throughtime train TASK."""
    from .parsing import task_command

    command = task_command("train", words)
    if command is None:
        return 0
    with at_once():
        from ..ground import terminal
        from ..verbs import train as run

    first = os.environ.get("RANK", "0") == "0"
    for note in command.notes if first else ():
        terminal.say(note)
    options, config = command.options, command.config
    try:
        result = run(
            config,
            task=command.task,
            resume=options.resume,
            overwrite=options.overwrite,
            trust=options.trust,
        )
    except Interrupted as where:
        if first:
            terminal.say(
                f"saved at {where}. Go on with: throughtime train {command.task} --resume --out "
                f"{config.out}"
            )
        return exit_code()
    if first:
        numbers = ", ".join(f"{k} {v:z.4f}" for k, v in result.metrics.items())
        kept = "" if result.best_step == result.steps else f"weights of step {result.best_step}; "
        print(f"{result.folder}: {numbers} ({kept}{result.steps} steps, {result.seconds:.0f} s)")
        verbs = [v for v in ("generate", "predict") if getattr(config, f"{v}_options")]
        further = "".join(f"    throughtime {verb} {result.folder}" for verb in verbs)
        data = f" --data {files}" if (files := config.files) else ""
        terminal.say(f"go on with: throughtime evaluate {result.folder}{data}{further}")
    return 0


def evaluate(words: list[str]) -> int:
    """throughtime evaluate RUN."""
    from .parsing import run_command

    with at_once():  # it may import torch
        command = run_command("evaluate", words)
    as_json = command.common.pop("json")
    with at_once():
        from ..verbs import evaluate as run

    result = run(command.run, **command.common, **command.options)
    if as_json:
        said = {"run": command.run, "data": command.common["data"], **result.to_dict()}
        print(json_text(said))
    else:
        print(result.report())
    return 0


def predict(words: list[str]) -> int:
    """throughtime predict RUN."""
    from ..ground.output import new_file, refuse_existing
    from .parsing import run_command

    with at_once():  # it may import torch
        command = run_command("predict", words)
    as_json, output = command.common.pop("json"), command.common.pop("output")
    stream, state = command.common.pop("stream"), command.common.pop("state")
    if output is not None:
        refuse_existing(output)  # before the model is loaded
    with at_once():
        from ..verbs import predict as run

    if stream:
        from ..verbs import stream as steps

        found = steps(command.run, state=state, **command.common, **command.options)
    else:
        found = run(command.run, **command.common, **command.options)
    with new_file(output) if output is not None else contextlib.nullcontext(sys.stdout) as file:
        for text, values in found:
            print(json_text(values) if as_json else text, file=file)
            file.flush()
    return 0


def generate(words: list[str]) -> int:
    """throughtime generate RUN."""
    from .texts import generate as run

    return run(words)


def score(words: list[str]) -> int:
    """throughtime score RUN."""
    from .texts import score as run

    return run(words)


def inspect(words: list[str]) -> int:
    """throughtime inspect RUN, throughtime inspect agreement RUN."""
    if words[:1] == ["agreement"]:
        return agreement(words[1:])
    from .parsing import run_command

    with at_once():  # it may import torch
        command = run_command("inspect", words)
    as_json = command.common.pop("json")
    with at_once():
        from ..ground import terminal
        from ..verbs import inspect_run

    result = inspect_run(command.run, **command.common)
    if as_json:
        print(json_text(result.report.to_dict()))
    else:
        print("\n".join(result.report.findings))
    terminal.say(f"report: {result.path}")
    return 0


def agreement(words: list[str]) -> int:
    """throughtime inspect agreement RUN, or --corpus FILE."""
    from .parsing import agreement_command

    with at_once():  # it may import torch
        command = agreement_command(words)
    as_json = command.common.pop("json")
    with at_once():
        from .. import verbs

    if command.corpus:
        print(f"{command.corpus}: {verbs.agreement_corpus(command.corpus, **command.options)}")
        return 0
    del command.common["corpus"]
    result = verbs.agreement(command.run or "", **command.common, **command.options)
    if as_json:
        print(json_text({"run": command.run, **result.to_dict()}))
    else:
        print(result.report())
    return 0


def doctor(words: list[str]) -> int:
    """throughtime doctor."""
    from ..config.verbs import DoctorOptions
    from .parsing import options_of

    options = options_of(DoctorOptions, "doctor", VERBS["doctor"][1], words)
    with at_once():
        from ..verbs import doctor as run

    found = run(options.cell, options.gpu)
    if options.json:
        print(json_text(dict(found)))
    else:
        for name, finding in found:
            print(f"{name:26} {finding}")
    return 0


def check(words: list[str]) -> int:
    """throughtime check CELL."""
    from .parsing import cell_command

    cell, as_json = cell_command(words, VERBS["check"][1])
    with at_once():
        from ..verbs import check as run

    found = run(cell)
    print(json_text(found.to_dict()) if as_json else found.report())
    return 0 if found.fine else 1


def completion(words: list[str]) -> int:
    """throughtime completion SHELL."""
    from .parsing import completion_script

    if words[:1] in (["-h"], ["--help"]):
        print(
            "usage: throughtime completion SHELL\n\nbash: throughtime completion bash >> ~/.bashrc"
        )
        return 0
    if len(words) != 1 or words[0].startswith("-"):
        raise InputError("give one shell: throughtime completion bash >> ~/.bashrc.")
    print(completion_script(words[0], {verb: about for verb, (_, about) in VERBS.items()}))
    return 0


VERBS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "train": (train, "train a model into a run folder"),
    "evaluate": (evaluate, "measure a run on data"),
    "predict": (
        predict,
        "a run's predictions for files or standard input: labels, tags, translations",
    ),
    "generate": (generate, "write novel sequences with a run's model"),
    "score": (score, "how probable texts are for a language model, token by token"),
    "compare": (compare, "cells side by side: equal parameters, time or width, several seeds"),
    "tune": (tune, "search settings: Optuna draws, trials that fall behind are ended"),
    "inspect": (
        inspect,
        "look inside a run: gradients through time, gates, influence, errors, health",
    ),
    "export": (export, "write a run's model in another language: C, ONNX"),
    "check": (check, "a cell of your own looked over: gradients, backends, speed"),
    "doctor": (doctor, "what this machine offers, which backends run and why others do not"),
    "completion": (completion, "a script that completes words in a shell: bash, zsh, fish"),
}
"""A verb, what it does, and what help says of it."""

if __name__ == "__main__":
    sys.exit(main())
