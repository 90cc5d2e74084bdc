"""A cell looked over before anybody trains it: `throughtime check FILE.py:Name`."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import scans
from .cells import LSTM, Cell, Weights, declared
from .cells.names import find_cell
from .ground.errors import ThroughtimeError, shortened

T, B, NARROW, WIDE = 5, 3, 4, 6
"""Steps, sequences, width of x and of the state of the stand-ins."""
ROUNDINGS = 40
"""How many units of rounding two ways to compute a number may differ by, at magnitude one."""
SIZES = (32, 16, 128)
"""Steps, sequences and width at which the speed is measured."""
ROUNDS = 7


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and whether that is as it should be."""

    name: str
    said: str
    fine: bool = True


@dataclass(frozen=True)
class Examination:
    """What `check` found, in order; it ends where a finding leaves nothing to look at."""

    cell: str
    findings: list[Finding]

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.fine for finding in self.findings)

    def report(self) -> str:
        """One line for each finding."""
        lines = [
            f"{'ok   ' if finding.fine else 'WRONG'} {finding.name:12} {finding.said}"
            for finding in self.findings
        ]
        wrong = sum(not finding.fine for finding in self.findings)
        return "\n".join([self.cell, *lines, f"{wrong} wrong" if wrong else "nothing wrong"])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [vars(finding) for finding in self.findings]
        return {"cell": self.cell, "fine": self.fine, "findings": found}


def check(cell: str | Cell | type[Cell]) -> Examination:
    """Look a cell over: `FILE.py:Name`, a built-in one's name, or a cell.

    - step: it runs on stand-ins and returns the state;
    - function: the same numbers give the same result, and no sequence changes another's;
    - gradients: autograd's against finite differences, in float64;
    - parameters: none is left untrained;
    - each backend: y, state and gradients against the reference, in float64 and float32, with
      lengths and resets; or why it cannot run the cell;
    - speed: a step there and back against an LSTM with as many parameters.

    Errors: `InputError` where there is no such cell.
    """
    found = find_cell(cell) if isinstance(cell, str) else scans.as_cell(cell)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        findings = []
        for finding in examine(found):
            findings.append(finding)
            if finding.name in ("step", "function") and not finding.fine:
                break
    return Examination(repr(found), findings)


def examine(cell: Cell) -> Iterator[Finding]:
    """One finding after another."""
    step, n_x = runs(cell)
    yield step
    if not step.fine:
        return
    problem = StandIns(cell, n_x)
    yield is_function(problem)
    yield gradients(problem)
    yield parameters(problem)
    yield from backends(problem)
    yield speed(cell, narrow=n_x == NARROW)


class StandIns:
    """Random weights, input and state for a cell, float64 numbers that float32 holds too."""

    def __init__(self, cell: Cell, n_x: int) -> None:
        rows, n = len(cell.gates) * WIDE, WIDE
        self.cell, shapes = cell, declared.shapes(cell, n, n_x)

        def units(part: str) -> int:
            return cell.size(cell.sizes.get(part, "n"), n, n_x)

        self.leaves: dict[str, Tensor] = {
            "x": torch.randn(T, B, n_x),
            "W_x": torch.randn(rows, n_x) / n**0.5,
            "W_a": torch.randn(rows, shapes.taken) / n**0.5,
            "b": torch.randn(rows) / n**0.5,
            **{name: torch.randn(size) / n**0.5 for name, size in shapes.parameters.items()},
            **{name: torch.randn(shape) / n**0.5 for name, shape in shapes.matrices.items()},
            **{f"initial {name}": torch.randn(B, units(name)) / 2 for name in cell.state},
            **{
                f"input {name}": torch.rand(*(T,) * (name not in cell.constants), B, units(name))
                for name in cell.inputs
            },
        }
        self.lengths = torch.tensor([T, 2, 0])
        self.reset = torch.zeros(T, B, dtype=torch.bool)
        self.reset[2, 0] = self.reset[0, 1] = True

    def weights(self, leaves: Sequence[Tensor]) -> Weights:
        """Those among the leaves."""
        at = dict(zip(self.leaves, leaves))
        vectors, matrices = (
            {name: at[name] for name in of} for of in (self.cell.vectors, self.cell.matrices)
        )
        return Weights(at["W_x"], at["W_a"], at["b"], vectors, matrices=matrices)

    def scan(
        self, leaves: Sequence[Tensor], backend: str = "reference", ragged: bool = True
    ) -> tuple[Tensor, ...]:
        """y, and the final state."""
        at, w = dict(zip(self.leaves, leaves)), self.weights(leaves)
        state = self.cell.State(*(at[f"initial {name}"] for name in self.cell.state))
        more: dict[str, Any] = {"lengths": self.lengths, "reset": self.reset} if ragged else {}
        more["inputs"] = {name: at[f"input {name}"] for name in self.cell.inputs}
        y, final = scans.scan(self.cell, w, at["x"], state, backend=backend, **more)
        return y, *final

    def outcome(
        self, backend: str, dtype: torch.dtype = torch.float64, ragged: bool = True
    ) -> dict[str, Tensor]:
        """y, the final state, and the gradient of a random function of both by every leaf."""
        leaves = [leaf.to(dtype).requires_grad_() for leaf in self.leaves.values()]
        results = self.scan(leaves, backend, ragged)
        generator = torch.Generator().manual_seed(1)
        drawn = (torch.randn(r.shape, generator=generator).to(dtype) for r in results)
        loss = torch.stack([(r * g).sum() for r, g in zip(results, drawn)]).sum()
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        names = ("y", *(f"final {name}" for name in self.cell.state))
        return dict(zip(names, (r.detach() for r in results))) | {
            f"gradient of {name}": g for name, g in zip(self.leaves, found)
        }


def runs(cell: Cell) -> tuple[Finding, int]:
    """Whether `step` runs on stand-ins, and the width of x that it takes."""
    said = ""
    for n_x in (NARROW, WIDE):
        try:
            results = StandIns(cell, n_x).outcome("reference")
        except (ThroughtimeError, RuntimeError, TypeError, ValueError) as error:
            said = said or shortened(" ".join(str(error).split()))
            continue
        wrong = [name for name, result in results.items() if not bool(result.isfinite().all())]
        if wrong:
            return Finding("step", f"{wrong[0]} is NaN or infinite on small numbers", False), n_x
        names = ", ".join(cell.state)
        sizes = cell.state_sizes(WIDE, n_x)
        of = f"[{B}, {WIDE}] each"
        if set(sizes) != {WIDE}:
            of = ", ".join(f"[{B}, {size}]" for size in sizes)
        how = f"gives the state {names}, {of}, from x [{B}, {n_x}]"
        wide = "" if n_x == NARROW else "; it reads x itself, which must be as wide as the state"
        return Finding("step", how + wide), n_x
    return Finding("step", said, False), NARROW


def is_function(problem: StandIns) -> Finding:
    """Whether the same numbers give the same result, and a sequence's depends on it alone."""
    cell, leaves = problem.cell, [leaf.double() for leaf in problem.leaves.values()]
    with torch.no_grad():
        first, second = (problem.scan(leaves, ragged=False) for _ in range(2))
        if not all(map(torch.equal, first, second)):
            said = "the same input gave another result: step keeps or draws something of its own"
            return Finding("function", said, False)
        others = [leaf.clone() for leaf in leaves]
        for name, leaf in zip(problem.leaves, others):
            if name == "x" or name.startswith("input "):
                leaf[..., 1:, :] += 1
            elif name.startswith("initial "):
                leaf[1:] += 1
        beside = problem.scan(others, ragged=False)
    apart = [(a[:, 0], b[:, 0]) for a, b in zip(first[:1], beside[:1])]
    apart += [(a[0], b[0]) for a, b in zip(first[1:], beside[1:])]
    moved = max(float((a - b).abs().max()) for a, b in apart)
    if moved > ROUNDINGS * torch.finfo(torch.float64).eps * scale(first):
        said = (
            f"other sequences of a batch changed the result of one by {moved:.1e}: step mixes rows"
        )
        return Finding("function", said, False)
    return Finding("function", f"{cell!r} draws and keeps nothing; no sequence changes another's")


def scale(parts: Sequence[Tensor]) -> float:
    """The largest magnitude, at least one."""
    return max(1.0, *(float(part.abs().max()) for part in parts if part.numel()))


def gradients(problem: StandIns) -> Finding:
    """Autograd's derivatives against finite differences."""
    leaves = [leaf.double().requires_grad_() for leaf in problem.leaves.values()]
    try:
        torch.autograd.gradcheck(lambda *given: problem.scan(given), leaves, fast_mode=False)
    except RuntimeError as error:  # what gradcheck finds, and what torch refuses
        said = " ".join(str(error).split())
        return Finding("gradients", f"not those of finite differences: {shortened(said)}", False)
    numbers = sum(leaf.numel() for leaf in leaves)
    return Finding("gradients", f"those of finite differences, by {numbers} numbers in float64")


def parameters(problem: StandIns) -> Finding:
    """Which parameters have no gradient: what nothing would train."""
    cell, found = problem.cell, problem.outcome("reference", ragged=False)
    G, none = len(cell.gates), []
    halves = zip(*(found[f"gradient of {part}"].chunk(G) for part in ("W_x", "W_a", "b")))
    partly = []
    for gate, parts in zip(cell.gates, halves):
        idle = [name for name, g in zip(("input", "recurrent", "bias"), parts) if not g.any()]
        if len(idle) == 3:
            none.append(f"the gate {gate}")
        elif idle:
            partly.append(f"{gate}: no {' or '.join(idle)}")
    started = {name for name in cell.vectors if reads_at_start(cell, name)}
    for name in cell.vectors:
        if not found[f"gradient of {name}"].any() and name not in started:
            none.append(f"the vector {name}")
    for name in cell.matrices:
        if not found[f"gradient of {name}"].any():
            none.append(f"the matrix {name}")
    if none:
        said = f"{', '.join(none)} changes nothing: parameters that nothing trains"
        return Finding("parameters", said, False)
    also = f" (halves that it leaves alone: {'; '.join(partly)})" if partly else ""
    of = "gate, vector and matrix" if cell.matrices else "gate and vector"
    return Finding("parameters", f"every {of} has a gradient{also}")


def reads_at_start(cell: Cell, name: str) -> bool:
    """Whether the first state depends on a vector."""
    w = cell.weights(NARROW, WIDE)
    total = torch.stack([part.sum() for part in cell.first_state(w, B)]).sum()
    if not total.requires_grad:
        return False
    (found,) = torch.autograd.grad(total, [w.vectors[name]], allow_unused=True)
    return found is not None


def backends(problem: StandIns) -> Iterator[Finding]:
    """Every backend but the reference against it; or why it does not run the cell."""
    for backend in scans.BACKENDS:
        if backend == "reference":
            continue
        leaves = [leaf.double() for leaf in problem.leaves.values()]
        if reason := scans.why_not(backend, problem.cell, leaves[0], problem.weights(leaves)):
            yield Finding(backend, f"does not run it: {shortened(reason)}")
        else:
            yield agrees(problem, backend)


def agrees(problem: StandIns, backend: str) -> Finding:
    """One backend against the reference in float64, in both precisions, ragged and not."""
    worst = dict.fromkeys((torch.float64, torch.float32), 0.0)
    for ragged in (False, True):
        right = problem.outcome("reference", ragged=ragged)
        for dtype in worst:
            by_reference = problem.outcome("reference", dtype, ragged)
            got = problem.outcome(backend, dtype, ragged)
            for name, expected in right.items():
                eps = torch.finfo(dtype).eps * scale([expected])
                # ill-conditioned equations round the reference itself
                own = float((by_reference[name].double() - expected).abs().max())
                error = float((got[name].double() - expected).abs().max())
                worst[dtype] = max(worst[dtype], error / scale([expected]))
                if not error <= ROUNDINGS * eps + 10 * own:  # NaN is not
                    said = f"{name} is off by {error:.1e} in {dtype}, allowed {ROUNDINGS * eps:.1e}"
                    return Finding(backend, said.replace("torch.", ""), False)
    said = ", ".join(f"{off:.0e} in {str(d).removeprefix('torch.')}" for d, off in worst.items())
    return Finding(backend, f"agrees with the reference, gradients too: off by at most {said}")


def speed(cell: Cell, *, narrow: bool) -> Finding:
    """A step there and back against an LSTM with as many parameters, measured in turns."""
    _, _, n = SIZES
    n_x = n // 2 if narrow else n
    wanted = count(cell, n_x, n)
    m = min(range(8, 4 * n), key=lambda m: abs(count(LSTM(), n_x, m) - wanted))
    ours, theirs = stepper(cell, n_x, n), stepper(LSTM(), n_x, m)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, into in zip((ours, theirs), times):
            into.append(run())
    mine, lstm = (statistics.median(of) for of in times)
    said = (
        f"{mine * 1e3:.2f} ms there and back, {mine / lstm:.2f} times an LSTM's of as many "
        f"parameters ({wanted:,}; n = {n}, LSTM {m}; T, B = {SIZES[0]}, {SIZES[1]}; float32)"
    )
    slow = scans.why_slow(cell, torch.empty(2, 1, n_x))
    return Finding("speed", f"{said}; {slow}" if slow else said)


def count(cell: Cell, n_x: int, n: int) -> int:
    """The parameters of one layer."""
    shapes = declared.shapes(cell, n, n_x)
    gates = len(cell.gates) * n * (n_x + shapes.taken + 1)
    return gates + sum(shapes.parameters.values()) + sum(map(math.prod, shapes.matrices.values()))


def stepper(cell: Cell, n_x: int, n: int) -> Callable[[], float]:
    """Seconds of a scan there and back, the best of three; it has run once before."""
    steps, batch, _ = SIZES
    w, x = cell.weights(n_x, n), torch.randn(steps, batch, n_x)
    leaves = [*w[:3], *w.vectors.values(), *w.matrices.values()]
    sizes = {name: cell.size(cell.sizes.get(name, "n"), n, n_x) for name in cell.inputs}
    inputs = {
        name: torch.rand(*(steps,) * (name not in cell.constants), batch, size)
        for name, size in sizes.items()
    }

    def once() -> float:
        started = time.perf_counter()
        y, _ = scans.scan(cell, w, x, inputs=inputs)
        torch.autograd.grad(y.sum(), leaves, allow_unused=True)
        return time.perf_counter() - started

    once()
    return lambda: min(once() for _ in range(3))
