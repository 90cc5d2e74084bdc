"""What a kernel is compiled for, and what is said while it is."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import throughtime as tt
from throughtime.ground import terminal
from throughtime.scans.compiled import programs
from throughtime.scans.compiled.gpu import call, kernels, launching, ways
from throughtime.scans.compiled.inputs import Inputs

SOURCE = Path(tt.__file__).parent


class Recorder:
    """Stands for a kernel: what each launch would be compiled for."""

    def __init__(self):
        self.keys = set()

    def __getitem__(self, programs):
        return self.launch

    def launch(self, *given, **options):
        tensors = [one for one in given if torch.is_tensor(one)]
        kinds = tuple((one.dtype, one.data_ptr() % 16) for one in tensors if one.numel())
        sizes = [one for one in given if not torch.is_tensor(one)]
        n = sizes[2]  # T and B stand before it; neither is specialised
        options.pop("SEG")
        self.keys.add((n, kinds, tuple(sorted(options.items()))))


def inputs_of(T, B, n, begin=0):
    """A scan of the GRU; x begins `begin` numbers into its memory."""
    w = tt.GRU().weights(n, n)
    x = torch.randn(begin + T * B * n)[begin:].view(T, B, n)
    return Inputs(x, *w[:3], [], [torch.zeros(B, n)])


@pytest.fixture
def recorded(monkeypatch):
    recorder = Recorder()
    both = SimpleNamespace(forward=recorder, backward=Recorder())
    monkeypatch.setattr(kernels, "load", lambda program: both)
    return recorder


@pytest.mark.parametrize("way", ways.WAYS)
def test_another_time_batch_or_place_in_memory_compiles_nothing(recorded, monkeypatch, way):
    monkeypatch.setenv(ways.VARIABLE, way)
    program = programs.find(tt.GRU(), "triton")
    for T in (1, 2, 16, 33):
        for B in (1, 3, 16):
            with torch.no_grad():
                call.scan(program, inputs_of(T, B, 12, begin=T % 3), keep=True)
    assert len(recorded.keys) == 1


def test_what_a_launch_gives_anew_each_time_is_not_specialised():
    program = programs.find(tt.GRU(), "triton")
    for kernel in ("forward", "backward"):
        decorator = re.search(rf"@triton.jit\((.*)\)\ndef {kernel}", program)
        assert decorator is not None
        assert decorator[1] == 'do_not_specialize=["T", "B", "t0", "t1"]'


def test_who_waits_for_a_compiler_is_told_once(monkeypatch):
    said = []
    monkeypatch.setattr(terminal, "say", said.append)
    monkeypatch.setattr(launching, "LONG", 0.02)
    monkeypatch.setattr(launching, "_launched", set())
    monkeypatch.setattr(launching, "_told", [])
    with launching.noticed("short"):
        pass
    time.sleep(0.05)
    assert said == []
    for key in ("long", "another", "long"):
        with launching.noticed(key):
            time.sleep(0.05)
    assert said == ["making kernels of a cell for this GPU; Triton keeps them for later"]


def test_launches_are_on_the_tensors_own_device(monkeypatch):
    """Whichever device is the current one."""
    entered = []

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            entered.append(self.device)

        def __exit__(self, *_):
            entered.append("left")

    class OnSecond:
        """A tensor of cuda:1, as far as a launch asks."""

        is_cuda, device, dtype = True, "cuda:1", torch.float32

    class Kernel:
        def __getitem__(self, programs):
            return lambda *given, **options: entered.append("launched")

    program = programs.find(tt.LSTM(), "triton")
    sizes = SimpleNamespace(T=3, B=2, n=16, facts=programs.facts(program))
    monkeypatch.setattr(torch.cuda, "device", Device)
    monkeypatch.setattr(launching, "scratch", lambda way, sizes, x: {})
    way = ways.Way("block", 16, 16, 1, 16, 4)
    given = {"x": OnSecond(), "lengths": None, "reset": None}
    launching.launch(Kernel(), way, sizes, given, range(1), {})
    assert entered == ["cuda:1", "launched", "left"]


# One text for all makers of GPUs

VENDORS = re.compile(
    r"inline_asm|nvvm|llvm_asm|extra\.cuda|extra\.hip|extra\.intel|gluon|nvidia\.hopper|__nv_|\bptx\b"
)
ALLOWED: set[str] = set()
"""Files with what only one maker's GPUs know; there is none."""


def test_kernels_have_nothing_that_one_maker_alone_knows():
    found = {
        path.name
        for path in (SOURCE / "scans/compiled").rglob("*.py")
        if VENDORS.search(path.read_text("utf-8"))
    }
    assert found == ALLOWED
    for cell in (tt.LSTM(), tt.GRU()):
        assert not VENDORS.search(programs.find(cell, "triton"))
    assert VENDORS.search("tl.inline_asm_elementwise(")


def test_barriers_are_in_one_place():
    """The memory orders of the barrier stand in the words of the target alone."""
    ordered = [
        path.name
        for path in (SOURCE / "scans/compiled").rglob("*.py")
        if re.search(r"atomic_|debug_barrier|sem=", path.read_text("utf-8"))
    ]
    assert ordered == ["text.py"]
