"""Triton's interpreter, which runs kernels of GPUs on tensors of the CPU (`conftest` asks for it).

What it lacks is added here: functions of libdevice, and indices under NumPy 2.4.
"""

from __future__ import annotations

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
