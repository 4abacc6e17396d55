"""Every random number of a trial comes from one of four roles, each with a seed of its own; a search has two more.

A seed is a hash of (root seed, workload, phase, role, seed index) and of nothing else: it does not depend on the
technique, so techniques are compared on the same splits, initial draws and data order (paired), nor on the cohort or
the order of calls, so a trial's result is the same wherever it is trained. The phases share no seed: what tuning was
fitted to is never what is measured. Repeated studies share none either: their means must not share noise.
"""

import hashlib
from enum import StrEnum
from typing import Any, TypeVar

S = TypeVar("S", bound=Any)
STUDY_SEEDS = 1_000_000
"""Seed indices that each study of a repeated search has for its measured trials, whatever their number."""


class Role(StrEnum):
    """What a stream of random numbers is used for."""

    SPLIT = "split"
    INIT = "init"
    ORDER = "order"
    NOISE = "noise"
    DEVELOPMENT = "development"  # which rows a search may see
    SEARCH = "search"  # what a sampler draws


class Phase(StrEnum):
    """What a trial is for."""

    TUNE = "tune"  # its validation score chooses hyperparameters
    MEASURE = "measure"  # its test score is the result


def seeds_of(study: int, count: int) -> range:
    """Return the seed indices of the measured trials of one study; those of the first study begin at 0."""
    return range(study * STUDY_SEEDS, study * STUDY_SEEDS + count)


def study_of(seed: S) -> tuple[S, S]:
    """Return the study that a measured trial's seed index belongs to, and its number there; arrays are taken too."""
    return seed // STUDY_SEEDS, seed % STUDY_SEEDS


def derive(root: int, workload: str, role: Role, index: int, phase: Phase = Phase.MEASURE) -> int:
    """Return the seed, a 63-bit integer, of one role of one trial."""
    name = role.value if phase is Phase.MEASURE else f"{phase.value}/{role.value}"
    return _hash(f"{root}/{workload}/{name}/{index}")


def derive_draw(root: int, workload: str, study: str, number: int) -> int:
    """Return the 32-bit seed that a sampler draws one candidate of a study with, whatever was drawn before."""
    return _hash(f"{root}/{workload}/{Role.SEARCH.value}/{study}/{number}") % 2**32


def derive_epoch(order_seed: int, epoch: int) -> int:
    """Return the seed of one epoch's order, so that any epoch can be drawn without the ones before it."""
    return _hash(f"{order_seed}/{epoch}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
