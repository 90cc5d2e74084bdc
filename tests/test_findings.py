"""What doctor finds on this machine."""

import pytest

from throughtime import findings


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("clang++ -O1 -w", "{0}/clang++ -O1 -w"),
        ("'", '$CXX cannot be read: No closing quotation: "\'".'),
        ("no-such", "there is no C++ compiler: none of $CXX, c++, g++, clang++ was found."),
    ],
)
def test_the_compiler_is_the_one_that_scans_are_built_with(chosen, found, monkeypatch, tmp_path):
    clang = tmp_path / "clang++"
    clang.write_text("#!/bin/sh\n")
    clang.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", chosen)
    assert findings.compiler().startswith(found.format(tmp_path))


def test_without_a_choice_clang_alone_is_found(monkeypatch, tmp_path):
    clang = tmp_path / "clang++"
    clang.write_text("#!/bin/sh\n")
    clang.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert findings.compiler() == str(clang)


@pytest.mark.parametrize("reason", [None, "this processor has none."])
def test_what_becomes_of_tiles_is_told(reason, monkeypatch):
    monkeypatch.setattr(findings, "why_no_tiles", lambda: reason)
    told = dict(findings.doctor("gru"))["amx"]
    assert told == (f"no: {reason}" if reason else "granted: bfloat16 is multiplied on tiles")
