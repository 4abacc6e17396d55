"""How the techniques stand among each other over the data sets: scores that change with who is in the pool."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalbench.record.folder import Folder
from evalbench.report.analysis.verdicts import Judgment
from evalbench.report.render.units import Unit
from evalbench.statistics.design import used
from evalbench.statistics.intervals import Floats
from evalbench.statistics.pool import elo, improvability, reciprocal_ranks, win_rates

SEED = 20_261_126
FEWEST_TECHNIQUES = 3  # of two, every score says what the win rate says


@dataclass(frozen=True)
class PoolScore:
    """One technique among the others."""

    technique: str
    elo: float
    elo_low: float
    elo_high: float
    win_rate: float
    reciprocal_rank: float
    improvability: float  # nan if the best possible score is not known


def pool_scores(folder: Folder, judged: Judgment, common: Unit) -> tuple[PoolScore, ...]:
    """Return the scores of all techniques from their means over seeds; none without three techniques and two sets."""
    indices, names = used(judged.design), tuple(judged.scores)
    if len(names) < FEWEST_TECHNIQUES or len(indices) < 2:
        return ()
    means = np.stack([judged.scores[name].means[indices] for name in names], axis=1)
    if not np.isfinite(means).all():
        return ()
    rated = elo(means, np.random.default_rng(SEED), folder.evaluation.confidence)
    columns = (rated.ratings, rated.low, rated.high, win_rates(means), reciprocal_ranks(means))
    errors = improvability_of(folder, means, common)
    return tuple(PoolScore(name, *(float(column[i]) for column in (*columns, errors))) for i, name in enumerate(names))


def improvability_of(folder: Folder, means: Floats, common: Unit) -> Floats:
    """Return the improvability of means in the common unit, larger being better; nan if no best score is known."""
    best = 1.0 if common.is_skill else _best(folder)
    errors = best - means
    if not errors.min() >= -1e-12:
        return np.full(means.shape[1], math.nan)
    return improvability(np.maximum(errors, 0.0))


def _best(folder: Folder) -> float:
    described = next(iter(folder.evaluation.workloads.values())).described
    return math.nan if described.best is None else described.sign * described.best
