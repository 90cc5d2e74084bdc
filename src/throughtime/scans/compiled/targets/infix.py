"""What most languages write alike: arithmetic and comparisons between operands, in brackets."""

INFIX = {
    "neg": "(-{0})",
    "square": "({0} * {0})",
    "cube": "({0} * {0} * {0})",
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "add_scaled": "({0} + {2} * {1})",
    "sub_scaled": "({0} - {2} * {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "eq": "({0} == {1})",
    "ne": "({0} != {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "isnan": "({0} != {0})",
}
"""Of operations of `walk`."""
