"""How many members fit: measured on one of them, before a cohort is built."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch

from evalbench.engine.cohort import Cohort

T = TypeVar("T")
SHARE = 0.6
"""Of the memory that is free, what a cohort may take: allocators fragment, and others run beside it."""
STATE_COPIES = 6
"""Parameters, gradients, two optimizer states, the best so far, and one in passing."""


def available_bytes(device: torch.device) -> int:
    """Return the free memory of a device; of the machine for the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def member_bytes(one: Cohort) -> int:
    """Return what one member needs while it trains, measured on a cohort of one.

    Its state with copies, and the larger of what a traced step and a validation pass hold at their worst moment.
    """
    step, forward = one.trace_memory()
    return STATE_COPIES * one.state_bytes + max(step, forward)


def split(seeds: Sequence[T], most: int) -> list[list[T]]:
    """Cut the members into cohorts of at most so many, as even as possible."""
    count = -(-len(seeds) // max(1, most))
    bounds = [len(seeds) * part // count for part in range(count + 1)]
    return [list(seeds[start:stop]) for start, stop in pairwise(bounds)]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )
