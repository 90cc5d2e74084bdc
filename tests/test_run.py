"""A run as an object: loaded once, the verbs' answers, no call that disturbs another."""

import copy
import pickle

import pytest
import torch

import throughtime as tt
from runs import RUNS, small_run
from throughtime import decoding
from throughtime.checkpoint import RunFolder
from throughtime.config.language import WritingOptions
from throughtime.config.music import MusicWritingOptions
from throughtime.ground.errors import InputError, SettingError
from throughtime.layers.rounding import rounded
from throughtime.tasks import entry

WRITERS = {"lm", "conditional", "tunes"}
INPUTS = {
    "classify": ["the cat", "a good dog", ""],
    "tag": ["Ada saw the cat"],
    "translate": ["the cat saw", "a dog"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run of a task, trained when it is first asked for."""
    made = {}

    def one(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("run")
            made[name] = small_run(name, folder, max_steps=2)
            tt.train(made[name])
        return made[name]

    return one


@pytest.fixture
def loads(monkeypatch):
    """The folders whose weights were loaded."""
    found, original = [], RunFolder.load_weights

    def load_weights(self, *arguments):
        found.append(self.path.name)
        return original(self, *arguments)

    monkeypatch.setattr(RunFolder, "load_weights", load_weights)
    return found


def untimed(found):
    return {k: v for k, v in found.to_dict().items() if not k.endswith("_per_second")}


def weights_of(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def answers(asked, name, *run):
    """What the verbs answer: of the module `tt` for a folder, of a run by itself."""
    found = [untimed(asked.evaluate(*run))]
    if name in INPUTS:
        found.append(list(asked.predict(*run, lines=INPUTS[name])))
    if name in WRITERS:
        found.append(asked.generate(*run, max_new_tokens=8, seed=3, num_samples=2))
    return found


@pytest.mark.parametrize("name", RUNS)
def test_one_loading_answers_as_the_verbs_do_again_and_again(name, trained, loads):
    config = trained(name)
    expected = answers(tt, name, config.out)
    loads.clear()
    torch.manual_seed(7)
    random = torch.random.get_rng_state()
    run = tt.Run.open(config.out)
    before = weights_of(run.model)
    assert answers(run, name) == expected
    assert answers(run, name) == expected
    assert loads == ["run"]
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not any(module.training for module in run.model.modules())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert all(torch.equal(before[k], v) for k, v in run.model.state_dict().items())


def test_a_run_says_what_it_is(trained):
    config = trained("classify")
    run = tt.Run.open(config.out)
    assert (run.name, run.kind, run.path) == ("run", "classify", RunFolder(config.out).path)
    assert isinstance(run.config, tt.ClassifierConfig)
    assert run.config.out == config.out
    assert run.task.labels.names == ["neg", "pos"]
    assert run.load() == (run.task, run.model)
    assert "a classifier" in repr(run)


def test_a_run_made_directly_loads_when_it_is_asked(trained, loads):
    config = trained("lm")
    loads.clear()  # training ends with the best weights
    run = tt.Run(config.out)
    assert run.config.model.hidden_size == 8
    with pytest.raises(InputError, match="not predict"):
        run.predict(lines=["a"])
    assert loads == []
    assert run.generate("the", max_new_tokens=2, seed=1)[0].startswith("the")
    assert run.model is run.model
    assert loads == ["run"]


def test_calls_between_predictions_change_none(trained):
    run = tt.Run.open(trained("classify").out)
    given = INPUTS["classify"]
    alone = list(run.predict(lines=given))
    found = []
    for one, other in zip(run.predict(lines=given), run.predict(lines=reversed(given))):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        run.evaluate()
        found.append((one, other))
    assert [one for one, _ in found] == alone
    assert [other for _, other in found] == alone[::-1]


def test_a_model_that_was_put_into_training_answers_in_evaluation(trained):
    run = tt.Run.open(trained("classify").out)
    expected = answers(run, "classify")
    run.model.train()
    assert answers(run, "classify") == expected
    assert run.model.training  # as the user left it


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_it_writes_with_frozen_weights_and_in_evaluation(name, trained):
    run = tt.Run.open(trained(name).out)
    stacks = [m for m in run.model.modules() if isinstance(m, tt.Stack)]
    asked = {"max_new_tokens": 8, "seed": 3}
    seen = []
    expected = run.generate(**asked, on_text=lambda *_: seen.append([s._frozen for s in stacks]))
    assert all(s._frozen is None for s in stacks)
    assert all(frozen and not frozen.why_not for some in seen for frozen in some)
    run.model.train()
    assert run.generate(**asked) == expected
    assert run.model.training


@pytest.mark.parametrize("stored", ["bf16", "int8"])
def test_it_writes_with_weights_in_less_memory(trained, stored):
    run = tt.Run.open(trained("lm").out)
    less = run.generate(weights=stored, max_new_tokens=30, seed=3)
    with torch.no_grad():
        for w in run.model.stack.weights:
            for part in (w.W_x, w.W_a):
                part.copy_(rounded(part, stored))
    assert run.generate(max_new_tokens=30, seed=3) == less
    with pytest.raises(InputError, match="unknown weights 'int4'"):
        run.generate(weights="int4")


@pytest.mark.parametrize("name", ["lm", "lm, mixed", "lm, full BPTT", "conditional", "tunes"])
def test_what_is_written_natively_is_what_torch_writes(trained, name, monkeypatch):
    run = tt.Run.open(trained(name).out)
    asked = {"num_samples": 5, "seed": 3, "max_new_tokens": 60}
    asked |= {} if name == "tunes" else {"top_p": 0.9, "repetition_penalty": 1.2}
    assert run.why_not_native() is None
    ours = run.generate(**asked)
    monkeypatch.setattr(decoding.native, "engine_of", lambda _: "torch is asked for")
    assert ours == run.generate(**asked)
    assert len(set(ours)) > 1


def test_it_tells_why_weights_in_half_the_memory_are_no_faster(trained, capsys):
    run = tt.Run.open(trained("lm").out)
    run.model.stack.backend = "reference"
    run.generate(weights="bf16", max_new_tokens=3, seed=3)
    assert "weights are rounded, but steps are no faster" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["classify", "lm", "adding"])
def test_a_verb_that_the_task_has_not_is_told_with_those_that_it_has(name, trained):
    run = tt.Run.open(trained(name).out)
    line = entry(run.kind)
    for verb in ("predict", "generate"):
        if getattr(line.config, f"{verb}_options") is None:
            with pytest.raises(InputError, match=rf"is {line.noun}: throughtime \w+ .*not {verb}"):
                getattr(run, verb)()


def test_options_are_those_of_the_task(trained):
    run = tt.Run.open(trained("lm").out)
    with pytest.raises(InputError, match=r"evaluate of a language model has no option 'part'"):
        run.evaluate(part="all")
    with pytest.raises(SettingError, match=r"unknown setting temprature.*temperature"):
        run.generate(temprature=1.0)
    with pytest.raises(SettingError, match="temperature"):
        run.generate(temperature=-1.0)


def test_options_may_be_given_typed(trained):
    run = tt.Run.open(trained("lm").out)
    options = WritingOptions(max_new_tokens=8, seed=3, num_samples=2)
    expected = run.generate("the", max_new_tokens=8, seed=3, num_samples=2)
    assert run.generate("the", options=options) == expected
    assert tt.generate(run.path, "the", options=options) == expected
    assert run.generate("the", options=options, num_samples=1) == expected[:1]
    assert options == WritingOptions(max_new_tokens=8, seed=3, num_samples=2)
    with pytest.raises(InputError, match="generate of a language model takes WritingOptions, got"):
        run.generate(options=MusicWritingOptions())
    with pytest.raises(InputError, match="evaluate of a language model takes no options, got"):
        run.evaluate(options=options)


def test_texts_know_where_they_come_from(trained):
    run = tt.Run.open(trained("lm").out)
    found = run.generate(["the", "a"], max_new_tokens=5, num_samples=2, seed=1, logprobs=0)
    assert [(text.prompt, text.sample) for text in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert found[2:] == run.generate("a", max_new_tokens=5, num_samples=2, seed=1)
    assert [len(text.tokens) for text in found] == [5] * 4
    assert {text.ended for text in found} == {"length"}
    assert [t.startswith("the") for t in run.generate(["the", "the"], max_new_tokens=1)] == [
        True
    ] * 2
    texts = run.write("the", max_new_tokens=5, num_samples=3, seed=1, batch_size=1)
    assert next(texts) == found[0]  # before the others are written
    texts.close()
    assert not run.model.stack.training


def test_on_text_hears_the_pieces(trained):
    run, heard = tt.Run.open(trained("lm").out), []
    options = {"max_new_tokens": 5, "seed": 1, "num_samples": 2}
    written = run.generate("a", on_text=lambda *piece: heard.append(piece), **options)
    assert ["".join(p for k, p in heard if k == sample) for sample in (0, 1)] == written


def test_which_weights(tmp_path):
    config = small_run("lm", tmp_path)
    config.loop.average = 2
    tt.train(config)
    models = {
        which: tt.Run.open(config.out, checkpoint=which).model
        for which in ("best", "last", "average")
    }
    states = [torch.cat([p.flatten() for p in m.parameters()]) for m in models.values()]
    assert not torch.equal(states[1], states[2])
    with pytest.raises(SettingError, match="checkpoint"):
        tt.Run.open(config.out, checkpoint="first")
    with pytest.raises(SettingError, match="device"):
        tt.Run.open(config.out, device="abacus")


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        tt.Run.open(tmp_path / "none")
    with pytest.raises(InputError, match=r"no config\.yaml"):
        tt.Run.open(tmp_path)


def test_threads_are_those_of_the_process(trained):
    before = torch.get_num_threads()
    try:
        tt.generate(trained("lm").out, max_new_tokens=1, seed=1, threads=2)
        assert torch.get_num_threads() == 2
        tt.Run.open(trained("lm").out, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_figures_are_attributes_and_a_wrong_one_is_told(trained):
    found = tt.evaluate(trained("classify").out)
    assert found.accuracy == found.to_dict()["accuracy"]
    with pytest.raises(
        AttributeError, match=r"has no acuracy\. Did you mean 'accuracy'\? It has .*macro_f1"
    ):
        found.acuracy  # noqa: B018
    assert not hasattr(found, "bits_per_char")
    assert copy.deepcopy(found) == found == pickle.loads(pickle.dumps(found))
