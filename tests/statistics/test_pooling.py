"""Random effects against the BCG vaccine trials, and eight data sets with five seeds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.statistics.matrices import matrix
from evalbench.statistics.pooling import (
    between_variance,
    prediction_interval,
    random_effects,
    sign_is_stable,
)
from evalbench.statistics.significance import wilcoxon

DATA = Path(__file__).parent / "data"


def test_bcg_vaccine_trials() -> None:
    t = pd.read_csv(DATA / "bcg_trials.csv").astype(float)
    effect = np.log((t.tpos / (t.tpos + t.tneg)) / (t.cpos / (t.cpos + t.cneg)))
    variance = 1 / t.tpos - 1 / (t.tpos + t.tneg) + 1 / t.cpos - 1 / (t.cpos + t.cneg)
    pooled = random_effects(effect, variance)
    assert pooled is not None
    published = (0.3088, 152.233, -0.7141, 0.1787, 0.9212, -0.4303, 0.0405)
    found = (pooled.tau2, pooled.q, pooled.mean, pooled.se_plain, pooled.i2, pooled.fixed_mean, pooled.fixed_se)
    assert found == pytest.approx(published, abs=6e-5)
    assert pooled.se == pytest.approx(0.1806966283355474)
    assert (pooled.low, pooled.high) == pytest.approx((-1.1078213541683286, -0.3203130899781256), abs=1e-4)
    assert pooled.prediction == pytest.approx((-1.9988384957521181, 0.570604051605664))


def test_two_levels() -> None:
    t = pd.read_csv(DATA / "two_level_8x5.csv").rename(columns={"dataset": "workload"})
    t["d"] = t["A"] - t["B"]
    d = matrix(t.sample(frac=1, random_state=1), "d", sorted(set(t["workload"])))
    assert d.values.shape == (5, 8)
    assert d.means[:2] == pytest.approx([0.00746, 0.00482])
    errors = d.sds / np.sqrt(5)
    assert errors[:2] == pytest.approx([0.0017397126199461908, 0.0010767543823918182])
    pooled = random_effects(d.means, errors**2)
    assert pooled is not None
    assert (pooled.tau2, pooled.q) == pytest.approx((5.557367800989405e-06, 27.106896036250344))
    assert (pooled.low, pooled.high) == pytest.approx((0.0009490409635548452, 0.006063865549319965))
    assert pooled.prediction == pytest.approx((-0.002756209081536377, 0.009769115594411187))
    assert wilcoxon(d.means) == 0.0078125


def test_data_sets_that_agree_too_well_have_no_negative_variance() -> None:
    pooled = random_effects([0.1, 0.1001, 0.0999], [0.01, 0.01, 0.01])
    assert pooled is not None
    assert pooled.tau2 == 0
    assert pooled.mean == pooled.fixed_mean == pytest.approx(0.1)


def test_too_little_to_pool() -> None:
    assert random_effects([0.1], [0.01]) is None
    assert random_effects([0.1, 0.2], [0.01, 0.0]) is None
    assert between_variance([0.1], [0.01]) == 0
    assert between_variance([0.0, 0.2], [0.0, 0.0]) == pytest.approx(0.02)
    assert between_variance([0.0, 0.2], [0.005, 0.015]) == pytest.approx(0.01)  # s² less the mean variance
    assert between_variance([0.0, 0.2], [0.03, 0.03]) == 0
    assert np.isnan(prediction_interval([0.1, 0.2], 0.95)).all()


def test_leaving_one_data_set_out() -> None:
    assert sign_is_stable([0.1, 0.2, 0.6])
    assert not sign_is_stable([-0.1, -0.2, 0.6])
    assert not sign_is_stable([0.0, 0.0, 0.0])


def test_the_prediction_interval_of_the_mean_holds_both_variances() -> None:
    means = [0.1, 0.2, 0.6, 0.3]
    low, high = prediction_interval(means, 0.95)
    assert (low + high) / 2 == pytest.approx(0.3)
    assert (high - low) / 2 == pytest.approx(3.182446305284263 * np.std(means, ddof=1) * np.sqrt(1.25))
