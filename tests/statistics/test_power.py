import math

import numpy as np
import pytest

from evalbench.statistics.power import (
    detectable_effect,
    more_datasets,
    more_seeds,
    more_seeds_each,
    resolution,
)
from evalbench.tasks.metric import accuracy_floor, r2_floor


def test_smallest_detectable_effect() -> None:
    known = (3.264043552819638, 1.6819970833232674, 0.9960019107624178, 0.6604416544380312, 0.5292357045238948)
    assert [detectable_effect(n) for n in (3, 5, 10, 20, 30)] == pytest.approx(known, rel=1e-4)
    assert math.isnan(detectable_effect(1))


@pytest.mark.parametrize(
    ("sd", "n", "half", "extra"),
    [(0.01, 5, 0.005, 26), (0.01, 10, 0.005, 11), (0.004, 5, 0.005, 0), (0.02, 5, 0.005, 119), (0.004, 5, 0.01, 0)],
)
def test_stein_two_stages(sd: float, n: int, half: float, extra: int) -> None:
    assert more_seeds(sd, n, half) == extra


def test_no_number_of_seeds_makes_up_for_rows() -> None:
    assert more_seeds(0.01, 10, 0.005, rho=1 / 3) is None
    enough = more_seeds(0.01, 10, 0.02, rho=1 / 3)
    assert enough is not None
    t = 2.2621571628540993
    assert t * 0.01 * math.sqrt(1 / (10 + enough) + 1 / 3) <= 0.02
    assert more_seeds(0.0, 3, 0.01) == 2
    assert more_seeds(math.nan, 1, 0.01) == 4


def test_seeds_or_data_sets_over_several_data_sets() -> None:
    assert more_datasets(0.0, 0.01**2, 10, 8, 0.01) == 0
    assert (
        more_datasets(0.01**2, 0.01**2, 10, 4, 0.01) == 3
    )  # t_6 sqrt(.00011 / 7) is .0097, t_5 sqrt(.00011 / 6) .0110
    assert more_datasets(1.0, 0.0, 5, 6, 0.001) is None
    assert more_seeds_each(0.01**2, 0.01**2, 10, 4, 0.01) is None  # the variance between data sets alone is too large
    extra = more_seeds_each(0.0, 0.03**2, 5, 6, 0.01)
    assert extra == math.ceil(0.03**2 / (6 * (0.01 / 2.5705818366147395) ** 2)) - 5


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
