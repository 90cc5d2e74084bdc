"""Writers driven as callers drive them."""


def left_one_by_one(writer, steps=30):
    """What each text has after so many steps, the first that is left being ended at each fourth."""
    found = [[] for _ in writer.rows]
    for t in range(steps):
        rows = list(writer.rows)
        for row, token in zip(rows, writer.step(), strict=True):
            found[row].append(token)
        if t % 4 == 3:
            writer.keep(range(1, len(rows)))
    return found
