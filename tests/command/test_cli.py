"""The command line as a user meets it: exit codes, one-line errors, output that pipes."""

import ast
import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import throughtime as tt
from throughtime.command.cli import VERBS, main
from throughtime.command.parsing.completion import all_parsers, whole_tree
from throughtime.command.parsing.options import Parser, argument_help
from throughtime.command.parsing.runs import add_agreement_options
from throughtime.data.vocabulary import BOS
from throughtime.tasks import TASKS
from throughtime.tasks.task import Score

RUNS_OF_0_1 = Path(__file__).parents[1] / "runs_of_0_1"
SMALL = [
    "--max-steps", "4", "--device", "cpu", "--threads", "1", "--model.hidden_size", "12",
    "--loop.batch_size", "4", "--loop.window", "8", "--loop.sample_every", "0",
]  # fmt: skip


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat, which already ate, was full.\n" * 40)
    return path


@pytest.fixture
def run(text, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "lm", "--train", str(text), "--out", str(out), *SMALL]) == 0
    capsys.readouterr()
    return out


def fails(capsys, *arguments, code=2):
    """The one line that a bad command prints."""
    assert main([str(a) for a in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("throughtime: error: ")
    assert err.count("\n") == 1, err
    return err


def test_help_needs_no_torch():
    program = (
        "import sys; from throughtime.command.cli import main; main(['--help']); "
        "main(['train', '--help']); "
        "main(['compare', 'lm', '--help']); main(['tune', 'lm', '--help']); "
        "assert not {'torch', 'optuna'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in ("train", "evaluate", "predict", "generate", "compare", "tune", "doctor"):
        assert verb in done.stdout


@pytest.mark.parametrize(
    "verb",
    [*(["train", task] for task in TASKS), ["evaluate"], ["predict"], ["generate"], ["doctor"]],
)
def test_every_verb_has_help(verb, capsys):
    assert main([*verb, "--help"]) == 0
    assert "usage: throughtime" in capsys.readouterr().out


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_and_option_has_a_text(task):
    def check(cls):
        texts = argument_help(cls)
        for field in dataclasses.fields(cls):
            assert texts.get(field.name), f"{cls.__name__}.{field.name}"
            if dataclasses.is_dataclass(default := getattr(cls(), field.name)):
                check(type(default))

    config = TASKS[task].config
    check(config)
    for verb in ("evaluate", "predict", "generate"):
        if cls := getattr(config, f"{verb}_options"):
            check(cls)


def test_every_setting_is_explained(capsys):
    main(["train", "lm", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for explanation in ("Width n of each layer", "Parallel streams, over all processes",
                        "Stop after this time", "Learning rate at its highest"):  # fmt: skip
        assert explanation in said


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("throughtime 0.")


def test_unknown_verbs_tasks_options_and_cells_name_the_nearest(capsys, text, tmp_path):
    out = ["--out", str(tmp_path / "run")]
    assert "Did you mean 'train'" in fails(capsys, "trian")
    assert "Did you mean 'lm'" in fails(capsys, "train", "ml")
    assert "Did you mean '--train'" in fails(capsys, "train", "lm", "--tran", text)
    assert "'--model.hidden_size'" in fails(capsys, "train", "lm", "--model.hiden_size", 3)
    assert "Did you mean 'lstm'" in fails(
        capsys, "train", "lm", "--train", text, *out, "--cell", "lsmt"
    )
    assert "Did you mean 'output'" not in fails(
        capsys, "train", "lm", "--train", text, *out, "--cell", "lstm(output=nothing)"
    )
    assert "'word'" in fails(capsys, "train", "lm", "--level", "wrod")
    assert not (tmp_path / "run").exists()


def test_a_bad_configuration_file_is_named_with_the_nearest_setting(capsys, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("model: {hiden_size: 3}")
    error = fails(capsys, "train", "lm", "--config", path)
    assert "bad.yaml" in error
    assert "model.hiden_size. Did you mean 'hidden_size'" in error
    path.write_text("model: [\n")
    assert "bad.yaml:2" in fails(capsys, "train", "lm", "--config", path)
    assert "no such file" in fails(capsys, "train", "lm", "--config", tmp_path / "none.yaml")
    assert "--config: expected one argument." in fails(capsys, "train", "lm", "--config")
    path.write_text("optim: {lr: fast}")
    assert "optim.lr" in fails(capsys, "train", "lm", "--config", path)


def test_bad_data_is_named(capsys, tmp_path, text):
    out = ["--out", tmp_path / "run"]
    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("short")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 1000)
    assert "no training data" in fails(capsys, "train", "lm", *out)
    assert "--out" in fails(capsys, "train", "lm", "--train", text)
    assert "empty" in fails(capsys, "train", "lm", "--train", tmp_path / "empty.txt", *out)
    assert "too short" in fails(capsys, "train", "lm", "--train", tmp_path / "short.txt", *out)
    assert "byte 3 (0xe9)" in fails(capsys, "train", "lm", "--train", tmp_path / "latin.txt", *out)
    assert "no such file" in fails(capsys, "train", "lm", "--train", tmp_path / "none", *out)
    assert not (tmp_path / "run").exists()
    latin = ["train", "lm", "--train", str(tmp_path / "latin.txt"), "--level", "byte"]
    assert main([*latin, "--out", str(tmp_path / "run"), *SMALL]) == 0


def test_settings_come_from_file_then_options(capsys, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("cell: gru\nmodel: {hidden_size: 7, num_layers: 3}\n")
    arguments = ["--config", str(path), "--model.num_layers", "2", "--print_config"]
    assert main(["train", "lm", *arguments]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["cell"] == "gru"
    assert (shown["model"]["hidden_size"], shown["model"]["num_layers"]) == (7, 2)


def test_printed_settings_can_be_read_again(capsys, tmp_path, text):
    assert main(["train", "lm", "--train", str(text), *SMALL, "--print_config"]) == 0
    path = tmp_path / "c.yaml"
    path.write_text(capsys.readouterr().out)
    assert main(["train", "lm", "--config", str(path), "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("preset", sorted(Path("configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_are_valid(preset, capsys):
    task = yaml.safe_load(preset.read_text()).get("task", "lm")
    assert main(["train", task, "--config", str(preset), "--print_config"]) == 0


def test_settings_of_another_task_are_refused(capsys, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("task: classify\nlevel: word\n")
    assert "throughtime train classify" in fails(capsys, "train", "lm", "--config", path)


def test_runs_that_cannot_be_used_say_why(capsys, run, text, tmp_path):
    again = ("train", "lm", "--train", text, "--out", run)
    assert "--resume" in fails(capsys, *again)
    assert "one of them" in fails(capsys, *again, "--resume", "--overwrite")
    assert "model.hidden_size (12 → 13)" in fails(
        capsys, "train", "lm", "--resume", "--out", run, "--model.hidden_size", 13
    )
    assert "no such run folder" in fails(capsys, "evaluate", tmp_path / "none")
    assert "no such run folder" in fails(capsys, "train", "lm", "--resume", "--out", tmp_path / "x")
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "damaged or truncated" in fails(capsys, "generate", run)
    weights.unlink()
    assert "no checkpoint" in fails(capsys, "evaluate", run)


def test_resuming_needs_only_the_folder(run, capsys):
    assert main(["train", "lm", "--resume", "--out", str(run), "--max-steps", "6"]) == 0
    assert re.search(r"\((weights of step \d+; )?6 steps", capsys.readouterr().out)


def test_evaluate_prints_a_table_or_json(run, text, capsys):
    assert main(["evaluate", str(run), "--data", str(text)]) == 0
    assert "bits per char" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--data", str(text), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == found["characters"] == len(text.read_text())
    assert {"nats_per_token", "bits_per_token", "nats_per_char", "bits_per_char", "perplexity",
            "unk_rate", "tokens_per_second"} <= found.keys()  # fmt: skip


def test_generate_writes_text_and_nothing_else(run, capsys, monkeypatch):
    command = ["generate", str(run), "--prime", "the cat", "--max-new-tokens", "30"]
    assert main([*command, "--seed", "3"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("the cat")
    assert len(first) == len("the cat") + 30 + 1
    assert main([*command, "--seed", "3"]) == 0
    assert capsys.readouterr().out == first
    assert main([*command, "--seed", "4"]) == 0
    assert capsys.readouterr().out != first
    assert main([*command, "--num-samples", "2", "--seed", "3"]) == 0
    both = capsys.readouterr().out
    assert both.startswith(first[:-1])
    assert both.count("the cat") >= 2
    assert main([*command, "--num-beams", "3", "--forbid-unk"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the")))
    assert main(["generate", str(run), "--prime", "-", "--max-new-tokens", "5"]) == 0
    assert len(capsys.readouterr().out) == 3 + 5 + 1


def test_the_last_line_says_whose_weights_are_kept(run, text, capsys, monkeypatch, tmp_path):
    """The second evaluation is worse: the weights are those of the first."""
    losses = iter([1.0, 2.0, 1.0])
    monkeypatch.setattr(
        "throughtime.tasks.language.Language.validate", lambda *_, **__: {"loss": next(losses)}
    )
    monkeypatch.setattr("throughtime.tasks.language.Language.describe", lambda *_: "")
    out = str(tmp_path / "other")
    arguments = ["--max-steps", "4", "--loop.eval_every", "2", "--loop.sample_every", "0"]
    arguments += ["--model.hidden_size", "4", "--loop.window", "4", "--loop.batch_size", "2"]
    assert (
        main(["train", "lm", "--train", str(text), "--valid", str(text), "--out", out, *arguments])
        == 0
    )
    captured = capsys.readouterr()
    assert "(weights of step 2; 4 steps" in captured.out
    assert "(best 1.0000 at step 2)" in captured.err


def test_scores_are_shown_as_the_task_says():
    assert Score("accuracy", True, percent=True).shown(0.83721) == "83.72%"
    assert Score("loss").shown(0.83721) == "0.8372"


def test_options_are_not_abbreviated_and_the_likely_one_is_named(capsys):
    for option, near in (
        ("--max-step", "--max-steps"),
        ("--lr", "--optim.lr"),
        ("--model.heads", "--model.head"),
        ("--train.x", "--train"),
    ):
        said = fails(capsys, "train", "lm", option, "3")
        assert f"unknown option {option}. Did you mean '{near}'?" in said
    assert "unknown option --data.format.\n" in fails(capsys, "train", "lm", "--data.format", "x")
    said = fails(capsys, "train", "translate", "--target-level", "y")
    assert "--target-level must be one of char, byte, word, subword, got 'y'." in said


def test_help_without_a_run_has_an_option_of_two_tasks_with_both_texts(capsys):
    assert main(["predict", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--format {auto,text,lines,tsv,csv,jsonl}" in said
    assert "--format: conll or conllu" in said


def test_unprimed_text_begins_at_a_line(run, capsys):
    task, _ = tt.load(run)
    newline = task.vocabulary.ids["\n"]
    assert task.read_prime("") == ([BOS, newline], 0)
    assert task.read_prime("t") == ([BOS, task.vocabulary.ids["t"]], 0)


def test_generated_texts_as_json(run, capsys):
    command = ["generate", str(run), "--num-samples", "2", "--seed", "3", "--max-new-tokens", "5"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["sample"] for one in found] == [0, 1]
    assert f"\n{'─' * 40}\n".join(one["text"] for one in found) + "\n" == text


def test_prompts_of_a_file_are_gone_on_from_in_turn(run, capsys, tmp_path, monkeypatch):
    plain, lines = tmp_path / "prompts.txt", tmp_path / "prompts.jsonl"
    plain.write_text("the cat\n\nthe\na\n")
    lines.write_text('{"prompt": "the cat"}\n{"prompt": "the", "id": 7}\n{"prompt": "a"}\n')
    command = ["generate", str(run), "--seed", "3", "--max-new-tokens", "20", "--json"]
    assert main([*command, "--prompts", str(plain), "--num-samples", "2"]) == 0
    captured = capsys.readouterr()
    assert "1 blank line left out" in captured.err
    found = [json.loads(line) for line in captured.out.splitlines()]
    numbers = [(one["prompt"], one["sample"]) for one in found]
    assert numbers == [(i, k) for i in range(3) for k in range(2)]
    primes = ["the cat", "the", "a"]
    assert all(one["text"].startswith(primes[one["prompt"]]) for one in found)
    assert all(len(one["text"]) == len(primes[one["prompt"]]) + 20 for one in found)
    out = tmp_path / "found.jsonl"
    assert main([*command, "--prompts", str(lines), "--output", str(out), "--batch-size", "2"]) == 0
    assert capsys.readouterr().out == ""
    alone = [json.loads(line) for line in out.read_text().splitlines()]
    assert alone == [one for one in found if one["sample"] == 0]
    assert "exists and is not overwritten" in fails(capsys, *command, "--output", out)
    assert main([*command, "--prime", "the cat", "--prime", "the", "--prime", "a"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == alone
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the cat\nthe\na\n")))
    assert main([*command, "--prompts", "-"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == alone


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"prompt": "a"}\nno json', "prompts.jsonl:2: not JSON"),
        ('{"prompt": "a"}\n\n{"text": "b"}', "prompts.jsonl:3: expected"),
        ('{"prompt": 3}', 'prompts.jsonl:1: expected {"prompt": "TEXT"}, got 3'),
        ("\n", "no text to go on from"),
    ],
)  # fmt: skip
def test_bad_prompts_are_told_by_line(run, capsys, tmp_path, bad, said):
    path = tmp_path / "prompts.jsonl"
    path.write_text(bad)
    assert said in fails(capsys, "generate", run, "--prompts", path)


def test_writing_stops_before_a_text_and_tells_probabilities(run, capsys):
    command = ["generate", str(run), "--seed", "3", "--max-new-tokens", "60", "--num-samples", "9"]
    assert main([*command, "--json", "--logprobs", "2"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for one in found:
        assert "".join(token["token"] for token in one["tokens"]) == one["text"]
        for token in one["tokens"]:
            best = token["instead"][0][1]
            assert token["log_probability"] <= best + 1e-6 <= 1e-6
            assert len(token["instead"]) == 2
    stop = found[0]["text"][10:13]
    assert main([*command, "--json", "--stop", stop, "--stop", "zzzz"]) == 0
    stopped = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert stopped[0]["ended"] == "stop"
    for one, other in zip(found, stopped):
        assert other["text"] == one["text"].partition(stop)[0]
        assert other["ended"] == ("stop" if stop in one["text"] else "length")
    assert "--logprobs are told in JSON: give --json." in fails(capsys, *command, "--logprobs", "2")


def test_senseless_generation_options_are_refused(run, capsys):
    for option, value in (("--temperature", -1), ("--top-p", 2), ("--num-samples", 0),
                          ("--max-new-tokens", -1), ("--num-beams", 0)):  # fmt: skip
        fails(capsys, "generate", run, option, value)


def test_characters_never_seen_warn_and_go_on(run, capsys):
    assert (
        main(["generate", str(run), "--prime", "猫", "--max-new-tokens", "3", "--seed", "1"]) == 0
    )
    assert capsys.readouterr().out.startswith("猫")


def test_doctor_tells_which_backends_run_and_why_others_do_not(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "reference: gru " in out
    assert "torch has no kernel for GRU()" in out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["native: lstm"] == "runs"


def test_a_closed_pipe_is_no_error(run):
    program = f"{sys.executable} -m throughtime generate {run} --max-new-tokens 3000 --seed 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} | head -c 5"], capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr


def test_a_part_of_an_option_that_has_none_is_unknown(capsys, text):
    said = fails(capsys, "train", "lm", "--train", text, "--train.x", "3", "--out", "none")
    assert "unknown option --train.x. Did you mean '--train'?" in said


def test_a_word_by_itself_is_told_which_option_takes_it(run, text, capsys):
    said = fails(capsys, "evaluate", run, text)
    assert f"unexpected '{text}'. It takes files: --data {text}. throughtime evaluate" in said
    assert f"--data {text}, or lines on standard input." in fails(
        capsys, "predict", RUNS_OF_0_1 / "classify-text", text
    )
    assert f"It takes files: --train {text}." in fails(capsys, "train", "lm", text)
    assert "It takes text: --prime once." in fails(capsys, "generate", run, "once")
    assert f"It takes files: --pairs {text}." in fails(capsys, "inspect", "agreement", run, text)


def options_named(tree):
    """Options in the texts of a module that a person may be told, its docstrings apart."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield from re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text)


def test_every_option_that_a_message_names_is_one_of_some_verb():
    tree = whole_tree({verb: about for verb, (_, about) in VERBS.items()})
    add_agreement_options(agreement := Parser("inspect agreement"))
    parsers = [*all_parsers(tree), agreement]
    there = {option for parser in parsers for option in parser._option_string_actions}
    of_others = {"--version", "--install"}  # the program's own; Apple's tool
    named = {}
    for path in (Path(tt.__file__).parent).rglob("*.py"):
        if path.name in ("page.py", "report.py"):  # style sheets have variables of that form
            continue
        for option in options_named(ast.parse(path.read_text("utf-8"))):
            named.setdefault(option, path.name)
    assert len(named) > 40
    unknown = {o: name for o, name in named.items() if o not in there | of_others}
    assert unknown == {}


def test_settings_of_the_package_are_named(capsys, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # far from the repository
    words = ["train", "lm", "--train", str(text), "--out", str(tmp_path / "run"), "--print_config"]
    for name in ("tinyshakespeare", "tinyshakespeare.yaml"):
        assert main([*words, "--config", name]) == 0
        assert "hidden_size: 384" in capsys.readouterr().out
    said = fails(capsys, *words, "--config", "tinyshakespear")
    assert "Did you mean 'tinyshakespeare'?" in said
    assert "ptb-small" in said
    assert "no such file." in fails(capsys, *words, "--config", "no/such.yaml")
    Path("tinyshakespeare").write_text("seed: 77\n")  # a file of one's own comes first
    assert main([*words, "--config", "tinyshakespeare"]) == 0
    assert "seed: 77" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "advice"),
    [("train", "--loop.batch_size"), ("evaluate", "A smaller model or batch")],
)
def test_where_memory_is_short_one_line_says_what_to_lower(monkeypatch, capsys, verb, advice):
    def short(arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    monkeypatch.setattr("throughtime.command.cli.run_verb", short)
    told = fails(capsys, verb, "lm", code=1)
    assert "not enough memory: CUDA out of memory. Tried to allocate 2.00 GiB. More. " in told
    assert advice in told
    assert ("--loop.recompute" in told) == (verb == "train")
