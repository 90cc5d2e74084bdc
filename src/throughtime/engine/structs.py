"""The structs of `scans/compiled/runtime/engine/`, where what each field means is written."""

from __future__ import annotations

import ctypes

import numpy as np

MOST = 16
"""States, operands, vectors or streams of a cell, as in `engine/layer.h`."""

pointer, integer = ctypes.c_void_p, ctypes.c_int64


class Matrix(ctypes.Structure):
    """`struct Matrix` of `engine/matrix.h`."""

    _fields_ = [
        *((name, pointer) for name in ("at", "scale")),
        *((name, integer) for name in ("vectors", "columns", "kind")),
    ]


class Layer(ctypes.Structure):
    """`struct Layer` of `engine/layer.h`."""

    _fields_ = [
        *((name, integer) for name in ("cell", "n", "n_x", "adds_input", "looked_up", "wide")),
        ("input", Matrix),
        ("products", Matrix * MOST),
        ("bias", pointer),
        *((name, pointer * MOST) for name in ("vectors", "streams")),
        *((name, integer * MOST) for name in ("parts", "sizes")),
        ("state_count", integer),
    ]


class Map(ctypes.Structure):
    """`struct Map` of `engine/steps.h`."""

    _fields_ = [
        ("W", Matrix),
        ("bias", pointer),
        *((name, integer) for name in ("rows", "then")),
    ]


class Model(ctypes.Structure):
    """`struct Model` of `engine/steps.h`."""

    _fields_ = [
        *((name, integer) for name in ("tokens", "layer_count", "map_count", "slot")),
        *((name, pointer) for name in ("layers", "maps", "table")),
        *((name, integer) for name in ("table_width", "n_x", "extra", "extra_at")),
    ]


class Drawing(ctypes.Structure):
    """`struct Drawing` of `engine/draw.h`."""

    _fields_ = [
        *(
            (name, ctypes.c_double)
            for name in (
                *("temperature", "top_p", "min_p"),
                *("repetition", "presence", "frequency"),
            )
        ),
        *((name, integer) for name in ("top_k", "seed")),
        ("added", pointer),
    ]


ROW = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("slot", "token", "given", "given_count", "scores"),
            *("sample", "position", "left", "eos"),
            *("drawing", "seen", "counts", "written", "log_probability"),
            *("tops", "top", "top_probability", "ended", "made"),
        )
    ]
)
"""`struct Row` of `engine/steps.h`; pointers are integers."""

SIZES = (*map(ctypes.sizeof, (Model, Layer, Map)), ROW.itemsize, ctypes.sizeof(Drawing))
"""As `sizes` of a library gives them."""
