"""Runs in the real lm-evaluation-harness, where it is installed (throughtime[lm-eval])."""

import json
import math
import subprocess
import sys

import pytest

import throughtime as tt
from runs import small_run

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # the harness's own

TEXT = "the cat saw the dog\nthe dog met a bird near the cat\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Language models of characters, with no ends, of words, a line each, and of subwords."""
    found = {}
    for level in ("char", "word", "subword"):
        folder = tmp_path_factory.mktemp(level)
        config = small_run("lm", folder, max_steps=20)
        config.level = level
        tt.train(config)
        found[level] = str(config.out)
    return found


@pytest.fixture(scope="module")
def harness(runs):
    from throughtime.integrations.lm_eval import HarnessModel

    return {level: HarnessModel(run, batch_size=3) for level, run in runs.items()}


def asked(*arguments):
    from lm_eval.api.instance import Instance

    return [Instance("loglikelihood", {}, each, k) for k, each in enumerate(arguments)]


@pytest.mark.parametrize("level", ["char", "word", "subword"])
def test_likelihoods_are_those_of_score(harness, runs, level):
    model, run = harness[level], tt.Run.open(runs[level])
    pairs = [("the cat", " saw the dog"), ("", "a bird"), ("the cat ", "met"), ("the dog saw", "")]
    found = model.loglikelihood(asked(*pairs))
    for (context, continuation), (likelihood, _) in zip(pairs, found):
        (scored,) = run.score([context + continuation])
        values = [value for token, value in scored.tokens]
        if level == "word":
            values = values[:-1]  # the end of the line
        before = len(model.ids(context.rstrip()))
        assert likelihood == pytest.approx(math.fsum(values[before:]), abs=1e-4)
    alone = [model.loglikelihood(asked(pair))[0] for pair in pairs]
    assert [one for one, _ in found] == pytest.approx([one for one, _ in alone], abs=1e-5)
    (whole,) = model.loglikelihood_rolling(asked((TEXT,)))
    (scored,) = run.score([TEXT], per="document")
    assert whole == pytest.approx(scored.log_probability, abs=1e-3)


def test_greedy_is_what_greedy_decoding_writes(harness, runs):
    checked = []
    for level, model in harness.items():
        context = "the cat"
        (written,) = model.generate_until(asked((context, {"max_gen_toks": 6, "until": ["\n"]})))
        assert written == str(
            tt.Run.open(runs[level]).generate(
                context, max_new_tokens=6, temperature=0.0, stop=["\n"], seed=0
            )[0]
        ).removeprefix(context)
        if written:
            checked.append(level)
            found = model.loglikelihood(asked((context, written), (context, written + "xqz")))
            assert [likeliest for _, likeliest in found] == [True, False], level
    assert checked


def test_a_word_that_goes_on_is_the_continuations(harness):
    ids, given = harness["word"].pair("near the ca", "t saw")
    assert given == 2
    assert len(ids) == 4


def test_what_tasks_say_of_drawing(harness):
    model = harness["char"]
    said = {"until": "e", "do_sample": True, "temperature": 1.0, "max_new_tokens": 9, "top_k": 5}
    first, second = (model.generate_until(asked(("the ", said))) for _ in range(2))
    assert first == second
    assert "e" not in first[0]
    with pytest.raises(tt.InputError, match="no option 'num_beams'"):
        model.generate_until(asked(("the ", {"num_beams": 3})))


def test_other_runs_are_refused(tmp_path):
    from throughtime.integrations.lm_eval import HarnessModel

    config = small_run("adding", tmp_path, max_steps=1)
    tt.train(config)
    with pytest.raises(tt.InputError, match="takes those of lm"):
        HarnessModel(config.out)
    with pytest.raises(tt.InputError, match="batch_size must be auto or a number"):
        HarnessModel(config.out, batch_size=0)


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    rows = [{"sentence_good": "the cat saw the dog", "sentence_bad": "zzz zzz qqq qqq"}] * 4
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_its_blimp_task_runs_from_a_local_file(harness, pairs):
    import lm_eval
    from lm_eval.tasks import TaskManager

    from throughtime.integrations.lm_eval import blimp

    own = TaskManager(include_defaults=False)  # which else reads ten thousand files
    for level in ("char", "subword"):
        model, tasks = harness[level], [blimp(pairs)]
        found = lm_eval.simple_evaluate(model, tasks=tasks, task_manager=own, bootstrap_iters=0)
        assert found["results"]["blimp"]["acc,none"] == 1.0
    with pytest.raises(tt.InputError, match="no such file"):
        blimp("gone.jsonl")


@pytest.mark.slow
def test_the_harnesss_own_command_line(runs, pairs, tmp_path):
    task = tmp_path / "mine.yaml"
    from throughtime.integrations.lm_eval import blimp

    task.write_text(json.dumps(blimp(pairs, "mine")))  # JSON is YAML
    program = [sys.executable, "-m", "throughtime.integrations.lm_eval", "--model", "throughtime",
               "--model_args", f"run={runs['char']},threads=1", "--tasks", str(task),
               "--output_path", str(tmp_path / "found")]  # fmt: skip
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "|mine|" in done.stdout.replace(" ", "")
