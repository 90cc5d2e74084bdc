"""Ranges of a search: read from a line, checked against the settings that they are of."""

import pytest

import throughtime as tt
from throughtime.config.search import drawn, search_space
from throughtime.ground.errors import SettingError


def config():
    return tt.LanguageConfig(train=["text.txt"], out="runs/x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optim.lr=log(1e-4,1e-2)", "log(0.0001,0.01)"),
        ("--optim.lr = log( 1e-4 , 1e-2 )", "log(0.0001,0.01)"),
        ("optim.lr=int(1,3)", "int(1,3)"),
        ("model.dropout=uniform(0,0.5,0.1)", "uniform(0,0.5,0.1)"),
        ("model.zoneout=uniform(0,0.3)", "uniform(0,0.3)"),  # a text that is read as a number
        ("model.hidden_size=log-int(16,512)", "log-int(16,512)"),
        ("model.hidden_size=int(64,512,64)", "int(64,512,64)"),
        ("model.hidden_size=choice(128,[256,512],64)", "choice(128,[256,512],64)"),
        ("cell=choice(gru,lstm(output=identity),zoo:janet)",
         "choice(gru,lstm(output=identity),zoo:janet)"),
        ("model.skips=choice(true,false)", "choice(true,false)"),
        ("model.init_range=choice(null,0.1)", "choice(null,0.1)"),
        ("loop.batch_size=choice(16,32)", "choice(16,32)"),
    ],
)  # fmt: skip
def test_ranges_are_read(text, said):
    ((name, range_),) = search_space([text], config()).items()
    assert text.replace("--", "").startswith(name)
    assert str(range_) == said
    again = search_space([f"{name}={range_}"], config())
    assert again == {name: range_}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a range"),
        ("optim.lr", "not a range"),
        ("optim.lr=0.1", "not a range"),
        ("lr=log(1,2)", "Did you mean 'optim.lr'?"),
        ("optim=choice(1,2)", "unknown setting optim"),
        ("optim.lr=lgo(1,2)", "Did you mean 'log'?"),
        ("optim.lr=log(0,1)", "begins above zero"),
        ("optim.lr=log(1e-2,1e-3)", "first number must be below"),
        ("optim.lr=log(1e-3,1e-3)", "first number must be below"),
        ("optim.lr=log(nan,1)", "first number must be below"),
        ("optim.lr=log(1)", "log takes two numbers."),
        ("optim.lr=log(1,2,3)", "log takes two numbers."),
        ("optim.lr=uniform(a,b)", "takes two numbers, a third"),
        ("optim.lr=log(1,10000)", "at most 1000"),
        ("model.hidden_size=uniform(16,64)", "is a whole number: int(…)"),
        ("model.hidden_size=log(16,64)", "is a whole number: log-int(…)"),
        ("model.hidden_size=int(16,64.5)", "two whole numbers"),
        ("model.hidden_size=int(16,64,0)", "steps must be above zero"),
        ("model.hidden_size=choice(a,b)", "must be a whole number"),
        ("model.dropout=uniform(0,1.5)", "at most 0.999"),
        ("cell=uniform(0,1)", "is no number"),
        ("cell=choice(gru)", "got 1"),
        ("cell=choice(gru,gru)", "twice"),
        ("optim.schedule=choice(cosine,consine)", "Did you mean 'cosine'?"),
        ("max-time=choice(1s,2s)", "the same budget"),
        ("out=choice(a,b)", "folder of its own"),
        ("seed=int(1,5)", "luck"),
        ("train=choice(a,b)", "names files"),
        ("level=choice(char,word)", "another measure"),
    ],
)
def test_what_is_no_range_is_told_in_a_line(text, why):
    with pytest.raises(SettingError) as told:
        search_space([text], config())
    assert why in str(told.value)
    assert told.value.names == ("search",)


def test_a_setting_has_one_range_and_there_is_something_to_search():
    for texts, why in ((["optim.lr=log(1,2)"] * 2, "already"), ([], "nothing to try")):
        with pytest.raises(SettingError, match=why):
            search_space(texts, config())


def test_settings_must_go_together_at_every_end_of_a_range():
    wide = config()
    wide.model.hidden_size = [64, 32]
    with pytest.raises(SettingError, match=r"has 2 sizes, and model\.num_layers is 1"):
        search_space(["model.num_layers=int(1,3)"], wide)


def test_the_baseline_must_be_in_the_ranges():
    tuning = tt.Tuning(search=["optim.lr=log(1e-4,1e-3)"], baseline=True)
    with pytest.raises(SettingError, match=r"optim\.lr 0\.003, which log\(0\.0001,0\.001\)"):
        tuning.space(config())
    assert tt.Tuning(search=["optim.lr=log(1e-4,1e-2)"], baseline=True).space(config())


def test_ranges_hold_what_can_be_drawn():
    (steps,) = search_space(["model.hidden_size=int(64,512,64)"], config()).values()
    assert [n for n in (63, 64, 65, 128, 512, 576, True) if steps.holds(n)] == [64, 128, 512]
    (even,) = search_space(["model.dropout=uniform(0,0.5,0.1)"], config()).values()
    assert [x for x in (0, 0.3, 0.35, 0.5) if even.holds(x)] == [0, 0.3, 0.5]


def test_drawn_settings_take_the_place_of_the_configured():
    made = drawn(config(), {"optim.lr": 0.5, "model.hidden_size": [8, 4], "cell": "gru"})
    assert (made.optim.lr, made.model.hidden_size, made.cell) == (0.5, [8, 4], "gru")
    assert made.model.dropout == config().model.dropout
