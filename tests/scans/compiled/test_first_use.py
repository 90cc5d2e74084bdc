"""The first use of a cell: whatever the caller has switched on, the program is the same."""

import contextlib
import threading
import warnings

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import throughtime as tt
from throughtime.scans.compiled import programs

X = torch.ones(2, 3)
find = programs.find


class Own(tt.Cell):
    """With a made value, a vector and a constant in the default dtype."""

    gates = ("h", "g")
    state = ("a",)
    vectors = ("p",)

    def step(self, w, x, s):
        a = torch.sigmoid(w.g(s.a, x)) * s.a + torch.tensor(0.25)
        return self.State(torch.tanh(w.h(a, x)) + w.p * s.a)


class Everything(TorchFunctionMode):
    """A mode that nothing may pass."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise AssertionError(func)


class Dispatched(TorchDispatchMode):
    """The same, below."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise AssertionError(func)


def under(*contexts):
    """The program as found inside the context managers that are made."""

    def found():
        with contextlib.ExitStack() as stack:
            for make in contexts:
                stack.enter_context(make())
            return find(Own())

    return found


def inside(transform):
    """The program as found inside a function that is transformed."""

    def found():
        kept = []

        def function(x):
            kept.append(find(Own()))
            return x.sum()

        transform(function)
        return kept[0]

    return found


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def errors_of_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def hooks():
    return torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)


FIRST_USES = {
    "hooks on saved tensors": under(hooks),
    "save_on_cpu": under(torch.autograd.graph.save_on_cpu),
    "hooks forbidden": under(lambda: torch.autograd.graph.disable_saved_tensors_hooks("not here")),
    "checkpoint": inside(lambda f: checkpoint(f, X, use_reentrant=False)),
    "checkpoint, reentrant": inside(
        lambda f: checkpoint(f, X.clone().requires_grad_(), use_reentrant=True)
    ),
    "anomaly detection": under(lambda: torch.autograd.detect_anomaly(check_nan=True)),
    "flop counter": under(lambda: FlopCounterMode(display=False)),
    "function mode": under(Everything),
    "dispatch mode": under(Dispatched),
    "no gradients": under(torch.no_grad),
    "inference mode": under(torch.inference_mode),
    "autocast": under(lambda: torch.autocast("cpu", torch.bfloat16)),
    "device": under(lambda: torch.device("meta")),
    "deterministic": under(deterministic),
    "errors of warnings": under(errors_of_warnings),
    "fake tensors": under(torch._subclasses.FakeTensorMode),
    "grad": inside(lambda f: torch.func.grad(f)(X)),
    "vmap of grad": inside(lambda f: torch.vmap(torch.func.grad(f))(X)),
    "jvp": inside(lambda f: torch.func.jvp(f, (X,), (X,))),
    "functionalize": inside(lambda f: torch.func.functionalize(f)(X)),
    "make_fx": inside(lambda f: make_fx(f, tracing_mode="symbolic")(X)),
    "jit.trace": inside(lambda f: torch.jit.trace(f, X, check_trace=False)),
    "export": inside(lambda f: torch.export.export(Module(f), (X,), strict=False)),
    "profiler": under(lambda: torch.profiler.profile(record_shapes=True, with_stack=True)),
}


@pytest.fixture
def cold(tmp_path, monkeypatch):
    """A cache folder of its own, and nothing remembered."""
    programs.forget()
    monkeypatch.setenv("THROUGHTIME_CACHE", str(tmp_path / "own"))
    yield tmp_path / "own" / "scans"
    programs.forget()


@pytest.fixture(scope="module")
def right():
    programs.forget()
    program = find(Own())
    assert program.startswith('// {"states": 1')
    return program


@pytest.mark.filterwarnings("ignore")  # torch's own, of what is old or costs time
@pytest.mark.parametrize("first", FIRST_USES)
def test_a_first_use_anywhere_finds_the_same_program(cold, first, right):
    assert FIRST_USES[first]() == right
    (path,) = cold.glob("*.h")
    assert path.read_text() == right


@pytest.mark.filterwarnings("ignore")
def test_anomaly_detection_and_the_warnings_are_as_before(cold):
    with torch.autograd.detect_anomaly(check_nan=False), errors_of_warnings():
        find(Own())
        assert (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()) == (True, False)
        with pytest.raises(UserWarning):
            warnings.warn("told", UserWarning, stacklevel=1)


def test_the_default_dtype_is_part_of_the_equations(cold):
    single = find(Own())
    torch.set_default_dtype(torch.float64)
    try:
        assert find(Own()) == single  # a quarter is a quarter
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(list(cold.glob("*.h"))) == 2  # yet asked anew: other constants are not the same


class Scanning(Own):
    """A cell that scans another one: its first use comes inside a first use."""

    def step(self, w, x, s):
        find(Own())
        return super().step(w, x, s)


def test_a_first_use_inside_a_first_use(cold):
    assert find(Scanning()) == find(Own())


def test_first_uses_in_several_threads(cold):
    found = []
    threads = [threading.Thread(target=lambda: found.append(find(Own()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert found[0] == find(Own())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't allocate memory: you tried to allocate 8 bytes"),
        OSError(11),
    ],
    ids=repr,
)
def test_what_passes_is_not_remembered(cold, error, monkeypatch):
    from throughtime.scans.compiled import trace

    def failing(*_):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(trace, "trace", failing)
        assert "it could not be traced now" in tt.why_not("compiled", Own())
    assert find(Own()).startswith("// {")


def test_without_a_thread_the_next_call_asks_again(cold, monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", refused)
        assert "can't start new thread" in tt.why_not("compiled", Own())
    assert find(Own()).startswith("// {")


class Odd(tt.Cell):
    """Its trace meets an exception that is not ours."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        z = w.h(s.a, x)
        return self.State(torch.tanh(z) if z.sum() > 0 else z)


class Mean(Odd):
    """Its refusal is ours."""

    def step(self, w, x, s):
        z = w.h(s.a, x)
        return self.State(z - z.cumsum(1))


def test_only_reasons_that_lie_in_the_equations_are_kept_on_disk(cold):
    assert "cannot be traced" in tt.why_not("compiled", Odd())
    assert not list(cold.glob("*.h"))
    assert "the operation cumsum cannot" in tt.why_not("compiled", Mean())
    (path,) = cold.glob("*.h")
    assert path.read_text().startswith("// cannot: the operation cumsum")
