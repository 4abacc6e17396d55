"""The first lines of a report: they stay short, and say nothing that the rest takes back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalbench.errors import InputError
from evalbench.report import judge

NOISE = 0.01
TIGHT = 0.0002


def table(effects: Mapping[str, Mapping[str, float]], seeds: int = 10, noise: float = NOISE) -> pd.DataFrame:
    """Return scores of a baseline, `base`, and of techniques with an effect on each workload."""
    draw = np.random.default_rng(3)
    workloads = list(next(iter(effects.values())))
    by = {"base": dict.fromkeys(workloads, 0.0), **effects}
    rows = [
        {"technique": t, "workload": w, "seed": s, "score": 0.8 + by[t][w] + noise * draw.normal()}
        for t in by
        for w in workloads
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def said(rows: pd.DataFrame, **options: Any) -> str:
    return judge(rows, "base", **{"pairing": "seed", **options}).markdown


def first(rows: pd.DataFrame, **options: Any) -> str:
    """Return the first screen, without its figure."""
    return said(rows, **options).split("# Details")[0]


@pytest.mark.slow
def test_many_techniques_and_data_sets_leave_the_first_screen_short() -> None:
    everywhere = {f"w{i}": 0.1 for i in range(40)}
    screen = first(table({f"t{i}": everywhere for i in range(14)}, seeds=3))
    assert "**try `t" in screen
    assert "**, or one of 10 others: all are better by more than 0.01" in screen
    assert "This generalizes to data sets like these." in screen
    assert len(screen.split()) <= 450
    short = first(table({"b": dict.fromkeys(everywhere, -0.1), "c": dict.fromkeys(everywhere, 0.0)}))
    assert "clearly on `w0`, `w1`, `w2`, `w3` and 36 others." in short
    assert len(short.split()) <= 250


@pytest.mark.parametrize(("lowest", "quality"), [(-0.001, "MIXED"), (0.002, "EQUIVALENT")])
@pytest.mark.slow
def test_of_mixed_and_equivalent_the_mean_alone_generalizes(lowest: float, quality: str) -> None:
    """Neither "it depends on the data" nor "practically the same" is what the second verdict tests."""
    effects = dict(zip("abcdefgh", np.linspace(lowest, 0.009, 8), strict=True))
    page = said(table({"b": effects}, seeds=20, noise=TIGHT))
    assert f". {quality} (" in page
    assert "On average over data sets like these, `b` is better." in page
    assert "Data sets like these: the side of the mean GENERALIZES" in page
    assert "This generalizes" not in page


def test_pairs_that_all_differ_by_the_same_are_named() -> None:
    rows = table({"b": dict.fromkeys("xyz", 0.05)})
    rows.loc[rows["workload"] == "x", "score"] = 0.8 + 0.05 * (rows["technique"] == "b")
    assert "Watch: all pairs on `x` differ by the same amount. Are the runs copies?" in said(rows)
    copies = said(table({"b": {"x": 0.0}}, noise=0.0))
    assert "**Next:** Find out why nothing differs between the runs of `b`" in copies
    assert "nan" not in copies


@pytest.mark.parametrize(("cost", "words"), [(1.0, "and at the same cost"), (0.5, "and 2 times cheaper (0.5 s")])
def test_only_a_gain_with_a_price_is_a_but(cost: float, words: str) -> None:
    rows = table({"b": {"x": 0.05, "y": 0.05}})
    rows["cost_seconds"] = np.where(rows["technique"] == "b", cost, 1.0) * (1 + 0.001 * (rows["seed"] % 2))
    assert words in first(rows, unit="run", pairing="none")


def test_unequal_numbers_of_seeds_are_given_as_a_range() -> None:
    rows = table({"b": {"x": 0.05, "y": 0.05}})
    rows = rows[(rows["workload"] != "x") | (rows["seed"] < 7) | (rows["technique"] == "base")]
    assert "On these rows of these 2 data sets (7 to 10 seeds each), `b` vs `base`" in said(rows)


@pytest.mark.parametrize(("unit", "number"), [("fold", "folds"), ("run", "runs")])
def test_what_would_decide_is_counted_in_what_repeats(unit: str, number: str) -> None:
    page = said(table({"b": {"x": -0.004, "y": 0.0}}, seeds=5), unit=unit, folds=50 if unit == "fold" else None)
    assert f" {number} (" in page.split("**Next:**")[1]
    assert "Next: a new evaluation with " in page
    assert " seeds" not in page.split("![")[0]


@pytest.mark.parametrize("folds", [1, 5.5, "5"])
def test_folds_are_a_whole_number(folds: Any) -> None:
    with pytest.raises(InputError, match="folds must be a whole number of at least 2"):
        judge(table({"b": {"x": 0.0}}), "base", unit="fold", folds=folds)


def test_a_price_that_rests_on_the_observed_effect_is_no_promise() -> None:
    """Rows that splits share leave the ROPE out of reach: what is left is the sign, if the effect stays."""
    rows = table({"b": {"x": 0.028}}, seeds=5).assign(num_train=100, num_test=30)
    page = said(rows, unit="split")
    assert "would show the sign of the effect if it stays as it is" in page


def test_a_unit_without_its_numbers_of_rows_was_said_all_the_same() -> None:
    page = said(table({"b": {"x": 0.05, "y": 0.05}}), unit="split")
    assert "About new rows nothing is claimed: num_train and num_test are not given." in page
    assert "nobody said" not in page


@pytest.mark.parametrize("number", [2, 3])
def test_fewer_than_three_data_sets_draw_no_mean_of_others(number: int) -> None:
    report = judge(table({"b": {f"w{i}": 0.05 for i in range(number)}}), "base")
    drawn = report.frame("figures/differences")["workload"]
    assert drawn.str.startswith("(data sets like these").any() == (number == 3)
    assert report.verdicts["generality"].dropna().isin(["", "GENERALIZES" if number == 3 else "not tested"]).all()


def test_an_interval_wider_than_all_scores_is_not_printed() -> None:
    page = said(table({"b": {"x": 0.0}}, seeds=2, noise=0.09), metric="accuracy")
    assert "no useful interval" in page.split("## Scores")[-1].split("##")[0]
