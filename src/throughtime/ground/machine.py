"""The machine: device, threads, memory allocation, processes of a data-parallel run."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .errors import InputError


def choose_device(name: str) -> torch.device:
    """The device for auto, cpu, cuda or mps; `InputError` where it is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available.get(name, False):
        have = ", ".join(kind for kind, there in available.items() if there)
        raise InputError(f"device {name!r} is not available here; this machine has: {have}.")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)  # collectives use the current device
        return device
    return torch.device(name)


def prepare(threads: int | None) -> None:
    """Settings of a process that trains or evaluates: threads, denormals, large buffers.

    Denormal numbers slow matrix products a hundredfold and carry no information here. glibc gives
    large freed buffers back to the system, which must then clear them page by page at the next
    training step; kept, a step is 10 to 20% faster (docs/log.md).
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_max = -1, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


@functools.cache
def why_no_tiles() -> str | None:
    """Why this process may not multiply bfloat16 on the processor's tiles (AMX), or None.

    Linux grants a process the room for their state when it asks: once, for good, for all of its
    threads and for those that it forks.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        here = f"{platform.machine()} under {platform.system()}"
        return f"they are used on x86_64 under Linux; this is {here}."
    missing = {"amx_tile", "amx_bf16"} - set(Path("/proc/cpuinfo").read_text().split())
    if missing:
        return f"this processor, or the system, has no {' and no '.join(sorted(missing))}."
    SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0:
        return None
    return f"the system refuses them to this process: {os.strerror(ctypes.get_errno())}."


def number_in_environment(name: str, otherwise: int) -> int:
    """A variable of the environment that holds a whole number; `InputError` for another."""
    text = os.environ.get(name, str(otherwise))
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{name} must be a whole number, got {text!r}.") from error


@dataclass(frozen=True)
class Processes:
    """The processes of a run: one, or those that torchrun started."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Processes:
        """Join the group that torchrun describes in the environment, if it does."""
        world = number_in_environment("WORLD_SIZE", 1)
        if world == 1:
            return cls()
        if not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            # the others wait while the first encodes the text, which may take hours
            try:
                dist.init_process_group(backend, timeout=timedelta(days=1))
            except ValueError as error:
                raise InputError(
                    f"WORLD_SIZE is {world}, but {error}. Start with torchrun, which sets all, or "
                    "unset it."
                ) from error
        return cls(dist.get_rank(), world)

    def leave(self) -> None:
        """Leave the group."""
        if self.world > 1:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.world > 1:
            dist.barrier()

    def wrap(self, model: nn.Module, *, unused_parameters: bool) -> nn.Module:
        """The model, averaging gradients over the processes if there are several."""
        if self.world == 1:
            return model
        return DistributedDataParallel(model, find_unused_parameters=unused_parameters)

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes: so that all take the same decision."""
        return self._reduce(list(values), dist.ReduceOp.MAX)

    def sum(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        return self._reduce(list(values), dist.ReduceOp.SUM)

    def mean(self, value: float) -> float:
        """The mean over all processes."""
        return self.sum(value)[0] / self.world

    def _reduce(self, values: list[float], how: Any) -> list[float]:
        if self.world == 1:
            return values
        on = "cuda" if dist.get_backend() == "nccl" else "cpu"
        tensor = torch.tensor(values, dtype=torch.float64, device=on)
        dist.all_reduce(tensor, how)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, on every process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values
