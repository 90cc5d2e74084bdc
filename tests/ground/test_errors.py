"""Messages: one line, whatever they repeat of a file or of an option."""

from throughtime.ground.errors import LONGEST, InputError, SettingError, printable


def test_a_message_is_one_line_that_steers_no_terminal():
    said = str(InputError("files/a.txt:3: got 'x\ny\x1b[2J\r\u2028\ud800'"))
    assert said == r"files/a.txt:3: got 'x\ny\x1b[2J\r\u2028\ud800'"
    assert str(SettingError("model.x: got 'a\tb'", "model.x").spelled(str.upper)) == (
        r"MODEL.X: got 'a\tb'"
    )
    assert printable("Γ_u = σ(é 漢)") == "Γ_u = σ(é 漢)"


def test_a_long_message_keeps_both_ends():
    said = str(InputError(f"begin {'x' * 10**6} end"))
    assert said.startswith("begin x")
    assert said.endswith("x end")
    assert len(said) <= LONGEST + 10
