import math

import numpy as np
import pytest
from scipy import stats

from evalbench.statistics.decisions import Evidence, Rule, decide
from evalbench.statistics.power import MOST_SEEDS, datasets_needed, detectable_effect, resolution, seeds_needed
from evalbench.tasks.metric import accuracy_floor, r2_floor


def test_smallest_detectable_effect() -> None:
    known = (3.264043552819638, 1.6819970833232674, 0.9960019107624178, 0.6604416544380312, 0.5292357045238948)
    assert [detectable_effect(n) for n in (3, 5, 10, 20, 30)] == pytest.approx(known, rel=1e-4)
    assert math.isnan(detectable_effect(1))
    assert detectable_effect(100_000) == pytest.approx(2.8016 / math.sqrt(100_000), rel=1e-4)  # as of a normal test


def half_interval(sds: list[float], rho: float, n: int, level: float) -> float:
    """Return half the interval of the mean over W workloads with n seeds on each; infinite if there is none."""
    v = [sd**2 * (1 / n + rho) for sd in sds]
    freedom = sum(v) ** 2 / sum(one**2 / (n - 1) for one in v)
    return math.inf if freedom < 4 else float(stats.t.ppf(1 - level / 2, freedom)) * math.sqrt(sum(v)) / len(v)


@pytest.mark.parametrize("sds", [[1.0], [1.0, 1.0], [0.5, 2.0, 0.0], [1.0] * 5])
@pytest.mark.parametrize("rho", [0.0, 0.25])
@pytest.mark.parametrize("half", [0.1, 0.4, 0.6, 1.5])
@pytest.mark.slow
def test_seeds_needed_is_the_first_number_that_is_enough(sds: list[float], rho: float, half: float) -> None:
    enough = (n for n in range(3, MOST_SEEDS + 1) if half_interval(sds, rho, n, 0.02) <= half)
    assert seeds_needed(sds, rho, half, 0.02, least=3) == next(enough, None)


def test_no_number_of_seeds_makes_up_for_rows() -> None:
    floor = float(stats.norm.ppf(0.975)) * math.sqrt(2 * 0.25) / 2  # of two workloads, with infinitely many seeds
    assert seeds_needed([1.0, 1.0], 0.25, floor, 0.05) is None
    assert seeds_needed([1.0, 1.0], 0.25, 1.05 * floor, 0.05) is not None
    assert seeds_needed([1.0, 1.0], [0.25, 0.0], floor, 0.05) is not None


def test_prices_that_cannot_be_told() -> None:
    assert seeds_needed([0.0, 0.0], 0.0, 0.1, 0.05) is None  # identical runs
    assert seeds_needed([1.0], 0.0, 0.0, 0.05) is None  # a mean of exactly zero has no sign
    assert seeds_needed([1.0], 0.0, 10.0, 0.05) == 5  # the fewest on a single workload
    assert seeds_needed([1.0], 0.0, 10.0, 0.05, least=12) == 12
    assert datasets_needed(math.nan, 0.1, 0.05) is None
    assert datasets_needed(0.0, 0.1, 0.05) is None


@pytest.mark.parametrize(("sd", "half"), [(1.0, 0.5), (1.0, 0.1), (1.0, 0.08), (0.3, 1.0)])
def test_datasets_needed_is_the_first_number_that_is_enough(sd: float, half: float) -> None:
    enough = (D for D in range(3, 501) if stats.t.ppf(0.9875, D - 1) * sd / math.sqrt(D) <= half)
    assert datasets_needed(sd, half, 0.025, least=3) == next(enough, None)


def test_the_seeds_that_are_advised_decide() -> None:
    generator = np.random.default_rng(5)
    d = generator.standard_normal((200, 4))
    pilot = d[:6].std(axis=0, ddof=1)
    count = seeds_needed(pilot, 0.0, 0.3, 0.04)
    assert count is not None
    scaled = (d[:count] - d[:count].mean(axis=0)) / d[:count].std(axis=0, ddof=1) * pilot + 0.31
    decisions = decide(Evidence(scaled.mean(axis=0)[None], scaled.std(axis=0, ddof=1)[None], count), Rule(0.01))
    assert decisions.low[0] > 0.01


def test_floors_of_a_test_set() -> None:
    assert accuracy_floor(0.95, 10_000) == pytest.approx(0.00218, abs=1e-5)
    assert r2_floor(0.5, 100) == pytest.approx(math.sqrt(4 * 0.5 * 0.25 / 100))
    assert r2_floor(-3.0, 100) == 0


def test_the_olkin_finn_floor_matches_a_simulation() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((4000, 200))
    y = x + generator.standard_normal((4000, 200))  # R² = .5
    r2 = [np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(x, y, strict=True)]
    assert np.std(r2) == pytest.approx(r2_floor(0.5, 200), rel=0.05)


def test_resolution_of_ten_pairs() -> None:
    fresh, redrawn = resolution(0.01, 10, 0.05), resolution(0.01, 10, 0.05, rho=1 / 3)
    assert fresh.smallest_p == 2 / 2**10
    assert fresh.detectable == pytest.approx(0.00996, rel=1e-3)
    assert fresh.finest == 0
    assert redrawn.finest == pytest.approx(1.959964 * 0.01 * math.sqrt(1 / 3), rel=1e-5)
    assert redrawn.detectable > fresh.detectable
