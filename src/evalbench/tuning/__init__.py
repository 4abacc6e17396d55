"""The two phases of a searched cell: *tune*, then *measure*.

A study asks for candidates, their trials train together as far as their graphs are the same, and it is told their
validation scores. Every trial is in the store, so nothing is trained twice. The study's best candidate is then measured
on seeds of its own, beside the untuned setting.

If candidates are pruned, those that were asked for together compete. What the store has of a pruned trial is the
beginning of the whole one, whoever it competed with: which candidates end where is worked out from the store each time
(`engine.halving.race`), so that it does not depend on cohorts, interruptions or smaller studies before.
"""

from evalbench.tuning.checks import check
from evalbench.tuning.phases import fail, is_done, keep, measured, run, tune
from evalbench.tuning.study import Study, TriedCandidate, num_candidates, num_trials, studies

__all__ = [
    "Study",
    "TriedCandidate",
    "check",
    "fail",
    "is_done",
    "keep",
    "measured",
    "num_candidates",
    "num_trials",
    "run",
    "studies",
    "tune",
]
