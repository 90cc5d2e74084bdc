"""A language model's run as lm-evaluation-harness takes models.

    python -m throughtime.integrations.lm_eval --model throughtime --model_args run=RUN --tasks …

is the harness's own command line, with this model among its others. In Python:
`lm_eval.simple_evaluate(HarnessModel("runs/lm"), tasks=[blimp("pairs.jsonl")])`.

    loglikelihood          Σ_t log P(continuation<t> | opening, context, continuation<1…t-1>)
    loglikelihood_rolling  the same of a whole text after <bos>, as `evaluate` reads it
    generate_until         text after a context, greedy unless a task asks for `do_sample`

`opening` is what texts of the run begin after, as in `score`. No <eos> is added at a text's end:
the harness asks for the text alone; a line end inside it is <eos> where lines of training end so.
Oracle: `Run.score`, `Run.generate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from .. import config as configs
from ..config.language import WritingOptions
from ..data.vocabulary import BOS
from ..ground import terminal
from ..ground.errors import InputError, ThroughtimeError, did_you_mean
from ..ground.extras import need
from ..run import Run
from ..tasks.language import Language
from ..tasks.scoring import likelihoods, log_probabilities

try:
    LM: Any = need("lm_eval.api.model", "lm-eval").LM
    register: Any = need("lm_eval.api.registry", "lm-eval").register_model
except InputError as missing:
    if __name__ == "__main__":
        sys.exit(f"throughtime: error: {missing}")
    raise

BATCH = 64
"""Texts read side by side where the harness leaves it to the model (auto)."""
LONGEST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What tasks of the harness call the longest continuation; the first that is there counts."""
GENERATED = 256
"""The longest continuation where a task says nothing."""
USUAL = "cuda:0"
"""The device that the harness names where nobody did, GPU or not."""
TAKEN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
"""What a task may say of drawing, besides `until` and `do_sample`."""


@register("throughtime")
class HarnessModel(LM):
    """The model of a run. `run` is its folder; the rest is as `Run.open` has it.

    `batch_size`: texts read side by side; it changes no result. Errors: `InputError` for a run that
    is no language model, and for one that reads backwards.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        batch_size: int | str | None = None,
        device: str | None = None,
        checkpoint: str = "best",
        threads: int | None = None,
        trust: bool = False,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        asked = str("auto" if batch_size is None else batch_size).split(":")[0]
        if asked != "auto" and not (asked.isdecimal() and int(asked)):
            raise InputError(f"batch_size must be auto or a number from 1, got {batch_size!r}.")
        self.batch_size = max_batch_size or BATCH if asked == "auto" else int(asked)
        chosen = "auto" if device in (None, USUAL) else device
        self.run = Run.open(run, trust, device=chosen, checkpoint=checkpoint, threads=threads)
        if self.run.kind != "lm":
            raise InputError(f"{run} is a run of {self.run.kind}: the harness takes those of lm.")
        self.task = cast(Language, self.run.task)
        if self.task.config.data.reversed:
            raise InputError(f"{run} reads backwards (data.reversed): it goes on from no context.")
        self._device = self.task.device

    @property
    def tokenizer_name(self) -> str:
        """By which the harness tells kept requests apart."""
        return str(self.run.path.resolve())

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Of each continuation after its context, and whether greedy decoding would write it."""
        pairs = [self.pair(*request.args) for request in requests]
        return self.likelihoods("loglikelihood", requests, pairs, disable_tqdm)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Of each text, all of it; a recurrent model has no longest context."""
        texts = [(self.ids(request.args[0]), 0) for request in requests]
        found = self.likelihoods("loglikelihood_rolling", requests, texts, disable_tqdm)
        return [likelihood for likelihood, _ in found]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What is written after each context, those that are asked for alike side by side."""
        alike: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            alike.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(i)
        found = [""] * len(requests)
        with terminal.progress("writing", len(requests), disable_tqdm) as advance:
            for some in alike.values():
                options = options_of(requests[some[0]].args[1], self.batch_size)
                primes = [requests[i].args[0] for i in some]
                for i, text in zip(some, self.run.write(primes, options=options)):
                    found[i] = str(text)[len(requests[i].args[0]) :]
                    self.cache_hook.add_partial("generate_until", requests[i].args, found[i])
                    advance(1)
        return found

    def ids(self, text: str) -> list[int]:
        """Of a text that other text may come after."""
        at_lines = self.task.config.data.eos == "line"
        return self.task.reader.encode(text, eos_at_lines=at_lines).tolist() if text else []

    def pair(self, context: str, continuation: str) -> tuple[list[int], int]:
        """The ids of both together, and how many of them are the context's: tokens that go over
        the border, and blanks before it, are the continuation's."""
        blank = len(context) - len(context.rstrip())
        context, continuation = (
            context[: len(context) - blank],
            context[len(context) - blank :] + continuation,
        )
        before, whole = self.ids(context), self.ids(context + continuation)
        alike = (k for k, (a, b) in enumerate(zip(before, whole)) if a != b)
        return whole, next(alike, min(len(before), len(whole)))

    def likelihoods(
        self,
        kind: str,
        requests: Sequence[Any],
        texts: Sequence[tuple[list[int], int]],
        quiet: bool,
    ) -> list[tuple[float, bool]]:
        """Of the ids of each text but those given, and whether each was the likeliest; the longest
        texts are read first, some at a time."""
        found, asks = [(0.0, True)] * len(texts), kind == "loglikelihood"
        opening = self.task.opening() if asks else [BOS]
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i][0]))
        with terminal.progress("scoring", len(texts), quiet) as advance:
            for start in range(0, len(order), self.batch_size):
                some = order[start : start + self.batch_size]
                ids = [[*opening, *texts[i][0]] for i in some]
                said = (likelihoods if asks else log_probabilities)(
                    self.run.model, ids, len(opening)
                )
                for k, i in enumerate(some):
                    asked = said[k][texts[i][1] :].reshape(-1, 2 if asks else 1)
                    found[i] = (float(asked[:, 0].sum()), not asks or bool(asked[:, 1].all()))
                    kept = found[i] if asks else found[i][0]
                    self.cache_hook.add_partial(kind, requests[i].args, kept)
                advance(len(some))
        return found


def options_of(said: dict[str, Any], batch_size: int) -> WritingOptions:
    """What a task of the harness asks for, as `generate` has it; `InputError` for other names."""
    values = {name: value for name, value in said.items() if value is not None}
    stop = values.pop("until", [])
    longest = next((values[name] for name in LONGEST if name in values), GENERATED)
    sample = values.pop("do_sample", values.get("temperature", 0) > 0)
    values = {name: value for name, value in values.items() if name not in LONGEST}
    for name in values:
        if name not in TAKEN:
            raise InputError(
                f"generate_until: no option {name!r}.{did_you_mean(name, TAKEN)} There are until, "
                f"do_sample, max_gen_toks, {', '.join(TAKEN)}."
            )
    if not sample:
        values["temperature"] = 0.0
    found = {"stop": [stop] if isinstance(stop, str) else [text for text in stop if text]}
    found |= {"max_new_tokens": longest, "batch_size": batch_size, "seed": 0}
    options = configs.from_dict(WritingOptions, found | values)
    configs.check(options)
    return options


def blimp(files: str | Path | Iterable[str | Path], name: str = "blimp") -> dict[str, Any]:
    """The harness's BLiMP task over files of one's own: JSON lines with `sentence_good` and
    `sentence_bad`. Right is a pair whose good sentence is the likelier."""
    several = [files] if isinstance(files, (str, Path)) else list(files)
    paths = [str(Path(path).resolve()) for path in several]
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file.")
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"train": paths}},
        "output_type": "multiple_choice",
        "validation_split": "train",
        "doc_to_text": "",
        "doc_to_target": 0,
        "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }


def main() -> None:
    """The harness's command line, with the model `throughtime`."""
    try:
        need("lm_eval.__main__", "lm-eval").cli_evaluate()
    except ThroughtimeError as error:
        print(f"throughtime: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
