"""Measure on one member how many members fit into memory, before a cohort is built."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch

from evalbench import gpus
from evalbench.engine.cohort import Cohort

T = TypeVar("T")
SHARE = 0.6
"""The share of free memory that a cohort may take: allocators fragment, and other processes need memory too."""
STATE_COPIES = 6
"""Parameters, gradients, two optimizer states, the best state so far, and a temporary copy."""


def available_bytes(device: torch.device, max_bytes: int | None = None) -> int:
    """Return the bytes of a device that this process may still take, or the free bytes of the machine for the CPU.

    On CUDA they include what torch's allocator has kept of tensors that are gone. Tensors of this process then never
    exceed `max_bytes`, by default its share of the device.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        taken = torch.cuda.memory_allocated(device)
        usable = free + torch.cuda.memory_reserved(device) - taken
        max_bytes = gpus.max_bytes() if max_bytes is None else max_bytes
        if max_bytes is None:
            return int(usable)
        torch.cuda.set_per_process_memory_fraction(min(1.0, max_bytes / total), device)
        return int(max(0, min(usable, max_bytes - taken)))
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def member_bytes(cohort: Cohort, device: torch.device) -> int:
    """Return the bytes that a member needs while it trains on a device, measured on a cohort of one member.

    They are the copies of its state plus the larger peak of a traced step and a validation pass. On CUDA they are both
    peaks, because the graph of a step keeps its memory.
    """
    step, forward = cohort.trace_memory()
    return STATE_COPIES * cohort.state_bytes + (step + forward if device.type == "cuda" else max(step, forward))


def split(entrants: Sequence[T], max_members: int) -> list[list[T]]:
    """Split entrants into cohorts of at most `max_members`, as even as possible."""
    count = -(-len(entrants) // max(1, max_members))
    bounds = [len(entrants) * part // count for part in range(count + 1)]
    return [list(entrants[start:stop]) for start, stop in pairwise(bounds)]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that memory ran out, on any device."""
    phrases = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in phrases)
    )
