"""Derive the seeds of trials: each of four roles of random numbers has its own seed, and a search has two more roles.

A seed is a hash of (root seed, workload, phase, role, seed index) alone. It does not depend on the technique, so
techniques are compared on the same splits, initial draws and data order (paired). It depends neither on the cohort nor
on the order of calls, so a trial's result is the same in any cohort. The phases share no seed, so measurements are
independent of tuning. Repeated studies share no seed either, so their means do not share noise.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar

S = TypeVar("S", bound=Any)
STUDY_SEEDS = 1_000_000
"""The number of seed indices reserved for the measured trials of each study of a repeated search."""


class Role(StrEnum):
    """Name the use of a stream of random numbers."""

    SPLIT = "split"
    INIT = "init"
    ORDER = "order"
    NOISE = "noise"
    DEVELOPMENT = "development"  # the rows that a search may see
    SEARCH = "search"  # the draws of a sampler


SOURCES = {"init": (Role.INIT,), "order": (Role.ORDER, Role.NOISE), "split": (Role.SPLIT,)}
"""The sources of noise that a variance design crosses, and the roles that each draws anew."""


class Phase(StrEnum):
    """Name the purpose of a trial."""

    TUNE = "tune"  # its validation score chooses hyperparameters
    MEASURE = "measure"  # its test score is the result


def seeds_of(study: int, count: int) -> range:
    """Return the seed indices of the measured trials of one study; those of the first study begin at 0."""
    return range(study * STUDY_SEEDS, study * STUDY_SEEDS + count)


def study_of(seed: S) -> tuple[S, S]:
    """Return the study of a measured trial's seed index, and its number in the study; also elementwise for arrays."""
    return seed // STUDY_SEEDS, seed % STUDY_SEEDS


def look_of(looks: Sequence[int], seed: int) -> int:
    """Return the number of the look, from 1, at which a measured trial's seed index is trained."""
    return 1 + bisect_right(looks, study_of(seed)[1])


def derive(root: int, workload: str, role: Role, index: int, phase: Phase = Phase.MEASURE) -> int:
    """Return the seed, a 63-bit integer, of one role of one trial."""
    name = role.value if phase is Phase.MEASURE else f"{phase.value}/{role.value}"
    return _hash(f"{root}/{workload}/{name}/{index}")


def derive_draw(root: int, workload: str, study: str, number: int) -> int:
    """Return the 32-bit seed of a sampler for one candidate of a study, independent of earlier draws."""
    return _hash(f"{root}/{workload}/{Role.SEARCH.value}/{study}/{number}") % 2**32


def derive_epoch(order_seed: int, epoch: int) -> int:
    """Return the seed of one epoch's order, so that any epoch can be drawn without earlier epochs."""
    return _hash(f"{order_seed}/{epoch}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
