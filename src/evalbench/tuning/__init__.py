"""The two phases of a searched cell: *tune*, then *measure*.

A study asks for candidates. Trials with the same graph train together, and the study is told their validation scores.
Every trial is in the store, so nothing is trained twice. The study's best candidate is then measured on seeds of its
own, next to the untuned setting.

If candidates are pruned, the candidates of one batch compete. The stored part of a pruned trial is the beginning of the
whole trial, whatever it competed with. Each time, `engine.halving.race` derives from the store which candidates end at
which validation, so the answer does not depend on cohorts, interruptions or earlier, smaller studies.
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
