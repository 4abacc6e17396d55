import pandas as pd
import pytest

from evalbench.statistics.settings import average_settings


def table(rows: list[tuple[str, int, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["workload", "seed", "depth", "difference"])


def test_each_seed_counts_once_whatever_the_number_of_settings() -> None:
    rows = [("w", 0, "1", 1.0), ("w", 0, "2", 3.0), ("w", 1, "2", 7.0), ("w", 1, "1", 5.0)]
    averages, left_out = average_settings(table(rows), ["depth"], ["difference"])
    assert averages.to_dict("list") == {"workload": ["w", "w"], "seed": [0, 1], "difference": [2.0, 6.0]}
    assert left_out.empty


def test_a_seed_that_lacks_a_setting_is_left_out_and_named() -> None:
    # Depth 2 is much better: the seed without it would pull the mean down.
    rows = [("w", 0, "1", 0.0), ("w", 0, "2", 10.0), ("w", 1, "1", 0.0), ("v", 1, "1", 4.0)]
    averages, left_out = average_settings(table(rows), ["depth"], ["difference"])
    assert averages[["workload", "seed"]].values.tolist() == [["v", 1], ["w", 0]]
    assert left_out.values.tolist() == [["w", 1]]


def test_without_other_factors_nothing_is_averaged() -> None:
    rows = [("w", 1, "1", 2.0), ("w", 0, "1", 1.0)]
    averages, _ = average_settings(table(rows), [], ["difference"])
    assert averages["difference"].tolist() == pytest.approx([1.0, 2.0])
