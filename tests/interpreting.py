"""Triton's interpreter, which runs kernels of GPUs on tensors of the CPU (`conftest` asks for it).

What it lacks is added here: functions of libdevice, indices under NumPy 2.4, and truths that stay
truths as tensors (Triton 3.9).
"""

from __future__ import annotations

import inspect
import itertools
import threading
import time

import numpy as np
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.runtime import interpreter

assert triton.knobs.runtime.interpret, "TRITON_INTERPRET=1 must be set before Triton is imported"

_patch = interpreter._patch_lang_tensor


def _patch_and_mend(tensor, scope):
    """NumPy 2.4 makes no number of an array [1], as the interpreter asks of it."""
    _patch(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


interpreter._patch_lang_tensor = _patch_and_mend

_splat = interpreter.InterpreterBuilder.create_splat


def _splat_of_truths(self, shape, one):
    """Triton 3.9 gives a comparison the dtype of what was compared, and no mask may be a number."""
    if one.data.dtype == np.bool_:
        one = interpreter.TensorHandle(one.data, tl.int1)
    return _splat(self, shape, one)


interpreter.InterpreterBuilder.create_splat = _splat_of_truths


def _of_numpy(function):
    """A function of libdevice on the arrays behind tensors; numbers as they are."""

    def called(*given):
        like = given[-1]
        data = function(*(v.handle.data if isinstance(v, tl.tensor) else v for v in given))
        return tl.tensor(interpreter.TensorHandle(data, like.handle.dtype), like.type)

    return called


def _erfc(v):
    return torch.erfc(torch.from_numpy(v)).numpy()


FUNCTIONS = {
    "fast_expf": np.exp, "fast_dividef": np.divide, "expm1": np.expm1, "log1p": np.log1p,
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
    "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "log10": np.log10, "trunc": np.trunc, "erfc": _erfc, "pow": np.power, "atan2": np.arctan2,
}  # fmt: skip
for _name, _function in FUNCTIONS.items():
    setattr(libdevice, _name, _of_numpy(_function))


class Together(interpreter.GridExecutor):
    """All programs of a launch at once, as threads of which one runs: barriers between them work.

    A program hands on where it asks a barrier whether the others have arrived.
    """

    def __call__(self, *given, **options):
        """Launch, on tensors of the CPU."""
        names = inspect.getfullargspec(self.fn).args
        known = {name: value for name, value in options.items() if name in names}
        bound = inspect.getcallargs(self.fn, *given, **known)
        arguments = {
            name: value if name in self.constexprs else interpreter._implicit_cvt(value)
            for name, value in bound.items()
        }
        builder, turn, failures = interpreter.interpreter_builder, threading.Lock(), []
        atomic, here = builder.create_atomic_rmw, threading.local()

        def handing_on(*args):
            found = atomic(*args)
            turn.release()
            time.sleep(0)
            turn.acquire()
            builder.set_grid_idx(*here.index)
            return found

        def program(index):
            here.index = index
            with turn:
                builder.set_grid_idx(*index)
                try:
                    self.fn(**arguments)
                except Exception as error:  # noqa: BLE001 - told where the threads are joined
                    failures.append(error)

        scope = interpreter._patch_lang(self.fn)
        builder.set_grid_dim(*self.grid, 1)
        builder.create_atomic_rmw = handing_on
        try:
            places = itertools.product(*map(range, self.grid), (0,))
            threads = [threading.Thread(target=program, args=(place,)) for place in places]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            builder.create_atomic_rmw = atomic
            scope.restore()
        if failures:
            raise failures[0]
