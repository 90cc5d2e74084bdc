"""Settings: every one of every configuration has bounds, and no value is more than one line."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import throughtime as tt
from throughtime.config import ModelConfig, check, from_dict, load_yaml, seconds, to_dict
from throughtime.config.agreement import AgreementOptions, CorpusOptions
from throughtime.config.comparison import Comparison
from throughtime.config.run import zoneout_rates
from throughtime.config.settings import hints_of
from throughtime.ground.errors import InputError, SettingError
from throughtime.tasks import TASKS

HOSTILE = [
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**63, 2**64, -(2**64), 10**400, 10**5000),
    *(0.5, -0.0, 1e308, -1e308, 1e-40, 1e-320, math.nan, math.inf, -math.inf),
    *("", "0", "-1", "nan", "inf", "1e308", "1e308e", "nan%", "inf%", "1e-300%", "9" * 400),
    *("\0", "a\0b", "\udcff", "\ud800", "x" * 10_000, "²", "{}", "%s", "a,b", "1-5,,", "a=nan"),
    *(b"bytes", [], [[]], [None], [2, -1], [0.9, 1.0], [1e308], ["\0"], ["a=1e999"], {}, {"a": 1}),
    *((), (1, 2), {1}, object(), 1j, np.float64("nan"), np.int64(3), np.zeros(2), Path("here")),
]
VALID = {"train": ["a", "b"], "out": "run"}


def classes():
    """Every dataclass of settings and of options, without its sections' own."""
    found = [AgreementOptions, CorpusOptions, Comparison]
    for task in TASKS.values():
        options = [getattr(task.config, f"{verb}_options") for verb in ("evaluate", "predict",
                                                                       "generate")]  # fmt: skip
        found += [task.config, *filter(None, options)]
    return list(dict.fromkeys(found))


def valid(cls):
    """One that passes its checks."""
    return cls(**{k: v for k, v in VALID.items() if k in hints_of(cls)})


def settings(cls, where=""):
    """(class of the section, its dotted prefix, field) of all settings."""
    for field in dataclasses.fields(cls):
        default = getattr(cls(), field.name)
        if dataclasses.is_dataclass(default):
            yield from settings(type(default), f"{where}{field.name}.")
        else:
            yield cls, where, field


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_every_number_has_bounds_and_every_interval_a_reader(cls):
    for section, where, field in settings(cls):
        hint = str(hints_of(section)[field.name])
        if "Literal" not in hint and ("int" in hint or "float" in hint):
            limits = field.metadata.get("limits")
            assert limits, f"{where}{field.name}"
            assert math.isfinite(limits.low)
            assert math.isfinite(limits.high)
        if field.name.endswith("_every") or field.name == "max_time":
            assert "read" in field.metadata, f"{where}{field.name}"


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_a_value_that_cannot_be_is_one_line_that_names_the_setting(cls):
    for _, where, field in settings(cls):
        *sections, name = f"{where}{field.name}".split(".")
        refused = 0
        for value in HOSTILE:
            nested = {name: value}
            for section in reversed(sections):
                nested = {section: nested}
            refused += told(lambda: check(from_dict(cls, nested, defaults=valid(cls))), name)  # noqa: B023
        assert refused > 5, f"{where}{name}"
        config = part = valid(cls)
        for section in sections:
            part = getattr(part, section)
        setattr(part, name, object())
        assert told(lambda: check(config), name), f"{where}{name}"  # noqa: B023


def told(attempt, name):
    """Whether it is refused, as one line with the setting's name."""
    try:
        attempt()
        return False
    except InputError as error:
        found = error
    said = str(found)
    assert name in said or said.startswith("unknown setting")
    assert "\n" not in said
    assert "\0" not in said
    assert len(said) < 500
    return True


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary()
    | st.floats(allow_subnormal=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
), st.sampled_from(sorted(hints_of(tt.LanguageConfig))))  # fmt: skip
def test_any_plain_data_is_a_configuration_or_an_error(value, name):
    told(lambda: check(from_dict(tt.LanguageConfig, {**VALID, name: value})), name)


def test_what_means_the_same_becomes_the_settings_own_kind():
    config = tt.LanguageConfig(train=(Path("a"),), out=Path("run"), seed=np.int64(3), epochs=2)  # type: ignore[arg-type]
    config.model.dropout = np.float32(0.5)  # type: ignore[assignment]
    config.max_steps = 1e6  # type: ignore[assignment]
    check(config)
    assert (config.train, config.out, config.seed) == (["a"], "run", 3)
    assert type(config.seed) is type(config.max_steps) is int
    assert type(config.model.dropout) is type(config.epochs) is float
    assert from_dict(tt.ClassifierConfig, {"data": {"text": 4}}).data.text == "4"
    assert from_dict(tt.LanguageConfig, {"loop": {"eval_every": 500}}).loop.eval_every == "500"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seed": 2**64}, "seed must be at most 9.22337203685478e\\+18, got 18446744073709551616"),
        ({"threads": 100_000}, "threads must be at most 1024, got 100000"),
        ({"epochs": 1e308}, "epochs must be at most 1000000000, got 1e\\+308"),
        ({"epochs": 0}, "epochs must be more than 0, got 0"),
        ({"epochs": math.nan}, "epochs must be more than 0, got nan"),
        ({"max_steps": 2.5}, "max_steps must be a whole number, got 2.5"),
        ({"max_time": "5 minutes"}, "max_time: not a duration: '5 minutes'. Write 90s, 3m"),
        ({"max_time": "9" * 400}, "max_time: longer than a hundred years"),
        ({"out": "a\0b"}, "out must be text in UTF-8 without NUL"),
        ({"out": "a\udcffb"}, "out must be text in UTF-8 without NUL"),
        ({"out": None}, "--out"),
        ({"level": 7}, "level must be one of char, byte, word, subword, got 7."),
        ({"level": "wrod"}, "got 'wrod'. Did you mean 'word'"),
        ({"train": "text.txt"}, "train must be a list, got 'text.txt'"),
        ({"optim": {"betas": [2, -1]}}, "optim.betas must be at most 0.9999999, got 2"),
        ({"optim": {"betas": [0.9]}}, "optim.betas must be 2 values, got \\[0.9\\]"),
        ({"optim": {"lr": -1}}, "optim.lr must be at least 0, got -1"),
        ({"optim": 3}, "optim must be a mapping of settings, got 3"),
        ({"model": {"tied": "yes"}}, "model.tied must be true or false, got 'yes'"),
        ({"model": {"hidden_size": "7"}}, "model.hidden_size must be a whole number, got '7'"),
        ({"model": {"hidden_size": 10**5000}}, "at most 1048576, got a number of 16610 bits"),
        ({"loop": {"eval_every": "nan%"}}, "loop.eval_every: not an interval: 'nan%'"),
        ({"loop": {"log_every": "1e-300%"}}, "loop.log_every: not an interval"),
        ({"model": {"hiden_size": 3}}, "model.hiden_size. Did you mean 'hidden_size'"),
        ({1: 3}, "unknown setting 1"),
    ],
)  # fmt: skip
def test_what_is_said(values, said):
    with pytest.raises(InputError, match=said):
        check(from_dict(tt.LanguageConfig, {**VALID, **values}))


def test_a_section_of_another_kind_is_told():
    config = tt.LanguageConfig(**VALID)
    config.model = {"hidden_size": 3}  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"model must be a ModelConfig, got {'hidden_size': 3}"):
        check(config)


def test_settings_that_are_gone_are_passed_over_where_they_say_what_is_always_so():
    values = {"model": {"decoder_bidirectional": False, "hidden_size": 8}}
    assert from_dict(tt.TranslatorConfig, values).model.hidden_size == 8
    values["model"]["decoder_bidirectional"] = True
    with pytest.raises(InputError, match=r"unknown setting model.decoder_bidirectional"):
        from_dict(tt.TranslatorConfig, values)


@pytest.mark.parametrize("task", TASKS)
def test_plain_data_gives_the_configuration_back(task):
    config = TASKS[task].config()
    assert from_dict(type(config), to_dict(config)) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]\nb: 2024-99-99", "not settings"),
        ("[" * 1500, "not"),
        ("a: " + "9" * 5000, "not settings"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("- 1", "expected a mapping of settings, got list"),
        ("x: \x07", "not valid YAML"),
        ("a: |\n" + " x" * 2**20, "more than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_settings_is_told_by_name(text, said, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"c.yaml.*{said}") as caught:
        load_yaml(path)
    assert "\n" not in str(caught.value)


def test_numbers_in_a_file_may_be_written_as_everywhere_else(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: 1e-3\nb: 1E5\nc: .5e+2\nd: 1e\ne: 1e-3x\nf: 12\n")
    assert load_yaml(path) == {"a": 1e-3, "b": 1e5, "c": 50.0, "d": "1e", "e": "1e-3x", "f": 12}


def test_names_in_a_message_can_be_spelled_as_options():
    error = SettingError(
        "n_best must be at most beam_size = 5; not n_best.x.", "n_best", "beam_size"
    )
    assert str(error.spelled(lambda name: "--" + name.replace("_", "-"))) == (
        "--n-best must be at most --beam-size = 5; not n_best.x."
    )


def test_durations():
    assert seconds("1h30m") == 5400
    assert seconds("90") == seconds("90s") == seconds("1.5m") == 90


def test_sizes_of_layers_are_one_number_or_several():
    assert from_dict(tt.LanguageConfig, {"model": {"hidden_size": 8}}).model.hidden_size == 8
    for sizes in ([8, 6], (8, 6)):
        config = from_dict(tt.LanguageConfig, {"model": {"hidden_size": sizes}})
        assert config.model.hidden_size == config.model.widths == [8, 6]
    one = from_dict(tt.LanguageConfig, {"model": {"hidden_size": [8]}}).model
    assert (one.hidden_size, one.widths) == (8, [8])
    for wrong, said in (
        ([], r"one value or several, at most 1000, got \[\]"),
        ([8] * 1001, "one value or several, at most 1000, got"),
        ([8, 0], "at least 1, got 0"),
        ([8, "x"], "a whole number, got 'x'"),
        (None, "a whole number, got None"),
    ):
        with pytest.raises(SettingError, match=f"model.hidden_size must be {said}"):
            from_dict(tt.LanguageConfig, {"model": {"hidden_size": wrong}})
    config = from_dict(tt.LanguageConfig, {"model": {"hidden_size": [8, 6], "num_layers": 3}})
    with pytest.raises(SettingError, match=r"hidden_size has 2 sizes, and model\.num_layers is 3"):
        config.model.check()


def test_cells_are_one_for_all_layers_or_one_for_each():
    with pytest.raises(SettingError, match="cell has 1001 cells: at most 1000"):
        from_dict(tt.LanguageConfig, {"cell": "gru," * 1001}).cells()
    config = from_dict(tt.LanguageConfig, {"cell": "gru, lstm(output=identity)"})
    assert config.cells() == {"cell": ["gru", "lstm(output=identity)"]}
    tagger = from_dict(tt.TaggerConfig, {"cell": "gru,lstm"})
    assert tagger.cells() == {"cell": ["gru", "lstm"], "char_cell": ["gru"]}
    other = from_dict(tt.TaggerConfig, {"cell": "gru,lstm", "model": {"char_cell": "rnn"}})
    assert other.cells()["char_cell"] == ["rnn"]


@pytest.mark.parametrize(
    ("text", "rates"),
    [("0", 0.0), ("0.25", 0.25), ("a=0.05,c=0.5", {"a": 0.05, "c": 0.5}), ("[c=0.1]", {"c": 0.1})],
)
def test_zoneout_is_one_rate_or_one_for_each_part(text, rates):
    assert zoneout_rates(text) == rates
    assert from_dict(ModelConfig, {"zoneout": text}).zoneout == text
    assert from_dict(ModelConfig, {"zoneout": 0.25}).zoneout == "0.25"


@pytest.mark.parametrize(
    "text", ["", "1", "-0.1", "nan", "a", "a=", "=0.1", "a=0.1,a=0.2", "a=0.1,0.2", "0.1,0.2"]
)
def test_what_is_no_rate_of_zoneout_is_told(text):
    with pytest.raises(SettingError, match=r"^zoneout: .* is no rate between 0 and 0.999, such as"):
        from_dict(ModelConfig, {"zoneout": text})
