"""What the machine grants."""

import pytest

from throughtime.ground import machine


@pytest.mark.parametrize(
    ("flags", "answer", "said"),
    [
        ("amx_tile amx_bf16", 0, None),
        ("amx_tile amx_bf16", -1, "the system refuses them to this process: "),
        ("amx_tile avx512f", 0, "has no amx_bf16."),
        ("avx2", 0, "has no amx_bf16 and no amx_tile."),
    ],
)
def test_why_no_tiles(flags, answer, said, monkeypatch):
    asked = []

    class Libc:
        def syscall(self, *given):
            asked.append(given)
            return answer

    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine.Path, "read_text", lambda self: f"flags\t\t: fpu {flags} sse\n")
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda *_, **__: Libc())
    reason = machine.why_no_tiles.__wrapped__()
    assert reason == said or (said is not None and said in reason)
    assert asked == ([(158, 0x1023, 18)] if "amx_bf16" in flags else [])
