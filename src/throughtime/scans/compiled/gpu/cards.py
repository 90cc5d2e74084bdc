"""GPUs, as far as the ways to run a scan depend on them."""

from __future__ import annotations

from typing import NamedTuple

import torch

KIB = 1024


class Card(NamedTuple):
    """Multiprocessors, bytes of shared memory that a program may ask for, and the name."""

    processors: int
    shared: int
    name: str = ""


CARDS = {
    "a100": Card(108, 163 * KIB, "NVIDIA A100"),
    "a40": Card(84, 99 * KIB, "NVIDIA A40"),
    "l40s": Card(142, 99 * KIB, "NVIDIA L40S"),
    "rtx4090": Card(128, 99 * KIB, "NVIDIA GeForce RTX 4090"),
    "h100": Card(132, 227 * KIB, "NVIDIA H100 80GB HBM3"),
    "h200": Card(132, 227 * KIB, "NVIDIA H200"),
    "b200": Card(148, 227 * KIB, "NVIDIA B200"),
}
"""Some, by the names that `doctor` takes."""

H100 = CARDS["h100"]


def card_of(device: torch.device) -> Card:
    """Of a device; as an H100 where there is none (the interpreter)."""
    if device.type != "cuda":
        return H100
    told = torch.cuda.get_device_properties(device)
    # AMD's cards have 64 KiB, and not every build of torch tells it
    shared = getattr(told, "shared_memory_per_block_optin", 64 * KIB)
    return Card(told.multi_processor_count, shared, told.name)
