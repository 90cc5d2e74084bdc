"""Options that a message names, held against those of the verb that says it.

`watched` looks at every error, line and warning of the command line while tests run: whatever
provokes a message checks its advice.
"""

import contextlib
import functools
import re

from throughtime.command import cli
from throughtime.command.parsing import runs, tasks
from throughtime.command.parsing.options import Parser
from throughtime.ground import terminal
from throughtime.ground.errors import ThroughtimeError
from throughtime.tasks import TASKS

OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")
VERB = re.compile(
    r"\b(train|training|trained|compare|tune|evaluate|predict|generate|score|export)\b", re.I
)
SAID = {"training": "train", "trained": "train"}
"""How a message names a verb other than by its name."""


@functools.cache
def options_of(verb, task):
    """The options of a verb on a task, or on its runs."""
    parser = Parser("x")
    if verb == "agreement":
        runs.add_agreement_options(parser)
    elif verb in tasks.TASK_OPTIONS:
        tasks.add_task_options(parser, verb, task)
    else:
        cls = getattr(TASKS[task].config, f"{verb}_options", None)
        runs.add_run_options(parser, verb, {task: cls} if cls else {})
    return frozenset(parser._option_string_actions)


def whose(words):
    """Verb and task that the words of a command are for; None where they name none."""
    if words[:2] == ["inspect", "agreement"]:
        return "agreement", "lm"
    if len(words) > 1 and words[0] in tasks.TASK_OPTIONS and words[1] in TASKS:
        return words[0], words[1]
    if words and words[0] in runs.RUN_OPTIONS:
        with contextlib.suppress(ThroughtimeError):
            found = runs.task_of(words)
            return (words[0], found[0]) if found else None
    return None


def amiss(message, words):
    """Options that a message names which the verb has not, nor another verb named before them.

    What the words have themselves may stand in it.
    """
    found = whose(words)
    if found is None:
        return []
    verb, task = found
    wrong = []
    for option in OPTION.finditer(message):
        before = VERB.findall(message[: option.start()])
        verbs = [verb, *(SAID.get(word.lower(), word.lower()) for word in before)]
        typed = any(word.partition("=")[0] == option[0] for word in words)
        if not typed and not any(option[0] in options_of(each, task) for each in verbs):
            wrong.append(option[0])
    return wrong


@contextlib.contextmanager
def watched():
    """Inside, a message of the command line that advises an option that is not there fails."""
    run_verb, say, warn, at_work = cli.run_verb, terminal.say, terminal.warn, []

    def look(message):
        if at_work and (wrong := amiss(message, at_work[-1])):
            raise AssertionError(f"{' '.join(at_work[-1])} has no {', '.join(wrong)}: {message}")

    def looked_at(words):
        at_work.append(list(words))
        try:
            return run_verb(words)
        except ThroughtimeError as error:
            look(str(error))
            raise
        finally:
            at_work.pop()

    def heard(tell):
        def told(message):
            look(message)
            tell(message)

        return told

    cli.run_verb, terminal.say, terminal.warn = looked_at, heard(say), heard(warn)
    try:
        yield
    finally:
        cli.run_verb, terminal.say, terminal.warn = run_verb, say, warn
