"""Every random number of a trial comes from one of four roles, each with a seed of its own.

A seed is a hash of (root seed, workload, role, seed index) and of nothing else: it does not depend on the technique, so
techniques are compared on the same splits, initial draws and data order (paired), nor on the cohort or the order of
calls, so a trial's result is the same wherever it is trained.
"""

import hashlib
from enum import StrEnum


class Role(StrEnum):
    """What a stream of random numbers is used for."""

    SPLIT = "split"
    INIT = "init"
    ORDER = "order"
    NOISE = "noise"


def derive(root: int, workload: str, role: Role, index: int) -> int:
    """Return the seed, a 63-bit integer, of one role of one trial."""
    return _hash(f"{root}/{workload}/{role.value}/{index}")


def derive_epoch(order_seed: int, epoch: int) -> int:
    """Return the seed of one epoch's order, so that any epoch can be drawn without the ones before it."""
    return _hash(f"{order_seed}/{epoch}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
