"""The rule from evidence to recommendation, against its 352 worked table rows and its worked cases."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from evalbench.statistics.intervals import t_interval
from evalbench.statistics.verdicts import (
    QUALITIES,
    CostClass,
    Guards,
    Quality,
    Recommendation,
    advise,
    after_failures,
    cost_class,
    decided_by_failures,
    failures_are_ok,
    methods_agree,
    quality,
)

# One letter per row: Adopt, Trial, aSsess, Hold, Insufficient, X invalid; the guards in this order fail one at a time,
# and last there are too few pairs.
ROWS = (
    ("", Guards()),
    ("", Guards(leak=True)),
    ("", Guards(complete=False)),
    ("", Guards(tuning_parity=False)),
    ("", Guards(failures_ok=False)),
    ("", Guards(tuned=False)),
    ("", Guards(named_worse=True)),
    ("", Guards(methods_agree=False)),
    ("", Guards(few_datasets=5)),
    ("", Guards(lodo_stable=False)),
    ("4 pairs are fewer than 5", Guards()),
)
LETTERS = dict(zip("ATSHIX", Recommendation, strict=True))
A, T, S, H, N = "AXXSSTTTTTI", "TXXSSTTTTTI", "SXXSSSSSSSI", "HXXHHHHHHHI", "IXXIIIIIIII"
TABLE = {  # by cost: CHEAPER, SAME, UNCLEAR, DEARER
    "SUPERIOR": [*[A] * 2, *[T] * 2],
    "BETTER": [A, T, T, S],
    "EQUIVALENT": [A, H, S, H],
    "MIXED": [S] * 4,
    "NON_INFERIOR": [T, S, S, S],
    "INCONCLUSIVE": [N] * 4,
    "WORSE": [S, H, H, H],
    "INFERIOR": [H] * 4,
}
CASES = json.loads((Path(__file__).parent / "data" / "ring_cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "costs"), TABLE.items())
def test_ring_table(name: str, costs: list[str]) -> None:
    for cost, letters in zip(CostClass, costs, strict=True):
        assert len(letters) == len(ROWS)
        for letter, (lacking, guards) in zip(letters, ROWS, strict=True):
            advice = advise(Quality[name], cost, lacking, guards)
            assert advice.recommendation is LETTERS[letter], (cost, lacking, guards)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_ring_cases(case: dict[str, object]) -> None:
    d = np.array(case["d"], dtype=float)
    rope = float(str(case["rope"]))
    interval = t_interval(d, 0.95)
    ninety = t_interval(d, 0.90)
    assert (interval.low, interval.high) == pytest.approx(case["ci95"])
    assert (ninety.low, ninety.high) == pytest.approx(case["ci90"])
    found = quality(interval.low, interval.high, ninety.low, ninety.high, rope)
    cost = cost_class(*np.array(case["cost_ratio_ci"], dtype=float))
    advice = advise(found, cost, str(case["lacking"]), Guards(**case["guards"]))  # type: ignore[arg-type]
    assert (found.name, cost.name, advice.recommendation.name) == (case["quality"], case["cost"], case["ring"])


def test_a_cap_comes_with_its_reason_and_only_where_it_binds() -> None:
    advice = advise(Quality.SUPERIOR, CostClass.SAME, guards=Guards(tuned=False, failures_ok=False))
    assert advice.uncapped is Recommendation.ADOPT
    assert [cap.recommendation for cap in advice.caps] == [Recommendation.ASSESS, Recommendation.TRIAL]
    assert "at default settings" in [cap.reason for cap in advice.caps]
    assert advise(Quality.NON_INFERIOR, CostClass.SAME, guards=Guards(tuned=False)).caps == ()
    assert advise(Quality.INFERIOR, CostClass.CHEAPER, guards=Guards(tuned=False)).recommendation is Recommendation.HOLD


def test_equivalence_is_not_given_below_the_noise_floor() -> None:
    inside = (-0.001, 0.004, -0.0005, 0.0035)
    assert quality(*inside, rope=0.005) is Quality.EQUIVALENT
    assert quality(*inside, rope=0.005, equivalence=False) is Quality.NON_INFERIOR
    assert quality(0.001, 0.004, 0.0015, 0.0035, rope=0.005, equivalence=False) is Quality.BETTER


def test_without_an_interval_nothing_is_claimed() -> None:
    nan = float("nan")
    assert quality(nan, nan, nan, nan, 0.01) is Quality.INCONCLUSIVE
    assert cost_class(nan, nan) is CostClass.UNCLEAR


def test_failures_matter_without_a_test() -> None:
    assert not failures_are_ok(3, 10, 0, 10)  # Fisher: p = .21
    assert failures_are_ok(3, 10, 3, 10)
    assert failures_are_ok(1, 20, 0, 20)


def test_failures_decide_where_they_are_most_pairs_and_no_chance() -> None:
    inferior, superior, same, no_worse, open_ = map(
        QUALITIES.index,
        (Quality.INFERIOR, Quality.SUPERIOR, Quality.EQUIVALENT, Quality.NON_INFERIOR, Quality.INCONCLUSIVE),
    )
    for lost, won, before, after in (
        (5, 0, superior, inferior),  # whatever the scores say
        (0, 5, same, superior),
        (4, 0, same, inferior),  # of 5: p = .048
        (3, 0, same, same),  # p = .17; EQUIVALENT is withheld before
        (1, 0, no_worse, open_),  # a fifth of the runs more
        (0, 1, no_worse, no_worse),
        (2, 2, no_worse, no_worse),
    ):
        assert after_failures(before, lost, 5, won, 5) == after
    assert after_failures(no_worse, 1, 11, 0, 11) == no_worse  # fewer than a tenth
    assert after_failures([same, same], [5, 0], [5, 5], [0, 0], [5, 5]).tolist() == [inferior, same]


@pytest.mark.parametrize("count", [3, 4, 5, 6, 8, 10, 20])
def test_failures_of_equal_chance_seldom_decide(count: int) -> None:
    """Every table of pairs whose sides fail independently, each run with the same chance."""
    for chance in (0.05, 0.1, 0.3, 0.5):
        alone = chance * (1 - chance)
        errs = sum(
            math.comb(count, lost)
            * math.comb(count - lost, won)
            * alone ** (lost + won)
            * (1 - 2 * alone) ** (count - lost - won)
            for lost in range(count + 1)
            for won in range(count + 1 - lost)
            if decided_by_failures(lost, count, won, count)
        )
        assert errs < (0.001 if chance <= 0.1 else 0.022)


def test_a_second_method_that_cannot_reach_the_level_is_no_witness() -> None:
    assert methods_agree(1, -1, 1.0, attainable=0.0625)
    assert not methods_agree(1, 1, 0.08, attainable=0.03)
    assert not methods_agree(1, -1, 0.01, attainable=0.03)
    assert methods_agree(0, 1, 0.01, attainable=0.03)
