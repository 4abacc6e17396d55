import math

import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.statistics.paired import pair, paired_effect

A = [0.912, 0.915, 0.909, 0.918, 0.911, 0.914, 0.910, 0.916]
B = [0.908, 0.912, 0.907, 0.911, 0.909, 0.909, 0.908, 0.911]


def trials(direction: str = "maximize") -> pd.DataFrame:
    rows = [
        {"technique": name, "workload": "w", "seed": seed, "direction": direction, "score": score}
        for name, scores in (("a", A), ("b", B))
        for seed, score in enumerate(scores)
    ]
    return pd.DataFrame(rows).assign(state="COMPLETE", failed=0.0)


def test_effect_of_the_known_example() -> None:
    effect = paired_effect(A, B, 0.95, rho=0.25)
    assert effect.interval.mean == pytest.approx(0.00375)
    assert (effect.rows_only.low, effect.rows_only.high) == pytest.approx((0.0022182000287728322, 0.005281799971227174))
    assert effect.interval.high - effect.interval.mean == pytest.approx(
        (effect.rows_only.high - effect.rows_only.mean) * math.sqrt(3)  # (1/8 + 1/4) / (1/8)
    )
    assert effect.correlation == pytest.approx(0.8662783411678132)
    assert (effect.wins, effect.ties, effect.losses, effect.win_probability) == (8, 0, 0, 1.0)


def test_pairs_go_by_key_not_by_row_order() -> None:
    shuffled = trials().sample(frac=1, random_state=1)
    table = pair(shuffled, "a", "b", ["workload", "seed"]).table
    assert list(table["seed"]) == list(range(8))
    assert list(table["difference"]) == pytest.approx([a - b for a, b in zip(A, B, strict=True)])


def test_a_metric_to_minimize_is_turned_round() -> None:
    table = pair(trials("minimize"), "a", "b", ["workload", "seed"]).table
    assert (table["difference"] < 0).all()


def test_a_missing_partner_is_named() -> None:
    table = trials()
    missing = table[(table["technique"] != "b") | (table["seed"] != 3)]
    with pytest.raises(TableError, match="no trial of 'b' for workload w, seed 3"):
        pair(missing, "a", "b", ["workload", "seed"])


def test_a_duplicate_is_named() -> None:
    table = trials()
    twice = pd.concat([table, table.iloc[[2]]])
    with pytest.raises(TableError, match="more than one trial of 'a' for workload w, seed 2"):
        pair(twice, "a", "b", ["workload", "seed"])


def test_a_failed_trial_leaves_its_pair_out_with_a_reason_and_a_diverged_one_stays() -> None:
    table = trials()
    table.loc[3, "state"], table.loc[3, "score"] = "FAILED", math.nan
    table.loc[9, "state"], table.loc[9, "score"], table.loc[9, "failed"] = "DIVERGED", 0.1, 1.0
    pairs = pair(table, "a", "b", ["workload", "seed"])
    assert len(pairs.table) == 7
    assert pairs.left_out.to_dict("records") == [{"workload": "w", "seed": 3, "reason": "a FAILED"}]
    assert pairs.table.loc[pairs.table["seed"] == 1, "difference"].item() == pytest.approx(0.815)


def test_identical_techniques_tie_and_prove_nothing() -> None:
    effect = paired_effect(A, A, 0.95, rho=0.25)
    assert (effect.wins, effect.ties, effect.losses) == (0, 8, 0)
    assert effect.win_probability == 0.5
    assert not effect.interval.computed


def test_constant_scores_have_no_correlation() -> None:
    assert math.isnan(paired_effect([0.1 + 0.2, 0.3, 0.3], [0.5, 0.6, 0.4], 0.95).correlation)


def test_no_pairs_at_all() -> None:
    effect = paired_effect([], [], 0.95)
    assert effect.count == 0
    assert math.isnan(effect.win_probability)
    assert effect.interval.why_not == "n = 0"


def test_a_run_that_failed_is_a_loss_and_gains_nothing_where_its_score_is_higher() -> None:
    table = pd.DataFrame(
        {
            "technique": ["a", "a", "b", "b"],
            "workload": "w",
            "seed": [0, 1, 0, 1],
            "state": ["DIVERGED", "COMPLETE", "COMPLETE", "COMPLETE"],
            "failed": [1.0, 0.0, 0.0, 0.0],
            "direction": "maximize",
            "score": [0.0, 0.5, -0.4, 0.1],  # the baseline is below the trivial predictor
        }
    )
    pairs = pair(table, "a", "b", ["workload", "seed"]).table
    assert pairs["decided"].tolist() == [-1.0, 0.0]
    assert pairs["difference"].tolist() == [0.0, 0.4]
    effect = paired_effect(pairs["candidate"], pairs["baseline"], 0.95, decided=pairs["decided"])
    assert (effect.wins, effect.losses, effect.interval.mean) == (1, 1, 0.2)
    back = pair(table, "b", "a", ["workload", "seed"]).table
    assert back["difference"].tolist() == [0.0, -0.4]
