"""Seeds in stages: the same rule at each declared look, until a challenger is decided or more seeds cannot decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from evalbench.statistics.decisions import Codes, Decisions, Evidence, Rule, decide
from evalbench.statistics.verdicts import QUALITIES, Quality


class Stop(StrEnum):
    """Why no more seeds are run for a challenger."""

    DECIDED = "decided"
    FUTILE = "more seeds cannot decide"


@dataclass(frozen=True)
class Looked:
    """The look that the verdict on a challenger is from."""

    index: int  # number of the look, from 0
    num_seeds: int
    stopped: Stop | None  # None: its last look, or open until the next


DECIDED = tuple(
    QUALITIES.index(name)
    for name in (
        Quality.SUPERIOR,
        Quality.INFERIOR,
        Quality.BETTER,
        Quality.WORSE,
        Quality.EQUIVALENT,
        Quality.MIXED,
    )
)
OPEN, BY_CLASS, BY_FUTILITY = 0, 1, 2


@dataclass(frozen=True)
class Staged:
    """Decisions, each frozen at the look at which its challenger stopped; shapes (..., m)."""

    decisions: Decisions
    look: Codes  # number of the look that a decision is from, from 0
    stopped: Codes  # OPEN, BY_CLASS or BY_FUTILITY

    def reason(self, index: int) -> Stop | None:
        """Return why a challenger of a single evaluation stopped."""
        return (None, Stop.DECIDED, Stop.FUTILE)[int(self.stopped[index])]


def decide_in_looks(looks: Sequence[Evidence], rule: Rule, futility: bool = True) -> Staged:
    """Judge at each look in turn; a challenger that has stopped keeps the decision of that look.

    A challenger stops at SUPERIOR, BETTER, EQUIVALENT, MIXED, WORSE or INFERIOR, and, unless `futility` is off, when
    more seeds cannot decide. A workload that was named at an earlier look stays named. Each look has a share
    `alpha / L` of the error rate: this holds although looks share seeds, and rows.

    Args:
        looks: the evidence at each look so far, on growing numbers of seeds; at most `rule.num_looks`.
        rule: what was declared.
    """
    staged: Staged | None = None
    for number, evidence in enumerate(looks):
        here = decide(evidence, rule, None if staged is None else staged.decisions.named)
        open_ = np.ones(here.mean.shape, dtype=bool) if staged is None else staged.stopped == OPEN
        decided = open_ & np.isin(here.quality, DECIDED)
        futile = open_ & ~decided & here.futile & futility & (rule.num_looks > 1)
        now = np.select([decided, futile], [BY_CLASS, BY_FUTILITY], OPEN).astype(np.intp)
        if staged is None:
            staged = Staged(here, np.zeros(here.mean.shape, dtype=np.intp), now)
        else:
            kept = _merge(open_, here, staged.decisions)
            staged = Staged(kept, np.where(open_, number, staged.look), np.where(open_, now, staged.stopped))
    assert staged is not None, "there is at least one look"
    return staged


def _merge(open_: npt.NDArray[np.bool_], here: Decisions, before: Decisions) -> Decisions:
    def chosen(new: Any, old: Any) -> Any:
        return np.where(open_ if new.ndim == open_.ndim else open_[..., None], new, old)

    names = [field.name for field in fields(Decisions)]
    return Decisions(**{name: chosen(getattr(here, name), getattr(before, name)) for name in names})
