"""Ratio effects: scores whose sizes differ between workloads, judged by their logarithms."""

import math

import numpy as np
import pandas as pd
import pytest

from evalbench.errors import InputError
from evalbench.report import judge
from evalbench.statistics.verdicts import Quality


def times(factor: float = 0.95, noise: float = 0.01, seeds: int = 8) -> pd.DataFrame:
    generator = np.random.default_rng(6)
    rows = [
        {"technique": name, "workload": workload, "seed": seed, "seconds": size * ratio * math.exp(noise * z)}
        for workload, size in (("small", 1e-3), ("middle", 1.0), ("large", 1e5))
        for name, ratio in (("base", 1.0), ("new", factor))
        for seed in range(seeds)
        for z in [float(generator.normal())]
    ]
    return pd.DataFrame(rows)


def test_the_effect_is_the_geometric_mean_of_ratios() -> None:
    table = times()
    report = judge(table, "base", score="seconds", effect="ratio", rope="2%", unit="run", pairing="seed")
    wide = table.pivot(index=["workload", "seed"], columns="technique", values="seconds")
    ratio = float(np.exp(np.log(wide["new"] / wide["base"]).mean()))
    row = report.verdicts.set_index("technique").loc["new"]
    assert row["effect"] == pytest.approx(100 * (ratio - 1))
    assert row["low"] < row["effect"] < row["high"] < 0
    assert (row["quality"], row["unit"]) == (str(Quality.SUPERIOR), "% in seconds")
    assert row["rope"] == pytest.approx(2)
    assert "lower seconds was taken as better, as its name tells" in report.markdown


def test_units_do_not_matter() -> None:
    table = times()
    same = table.assign(seconds=table["seconds"] * table["workload"].map({"small": 7, "middle": 1e-4, "large": 3}))
    asked = {"score": "seconds", "effect": "ratio", "rope": 0.02, "unit": "run"}
    numbers = [judge(rows, "base", **asked).verdicts[["effect", "low", "high"]].iloc[1] for rows in (table, same)]  # type: ignore[arg-type]
    assert numbers[0].to_numpy() == pytest.approx(numbers[1].to_numpy())


def test_scores_are_printed_as_geometric_means() -> None:
    report = judge(times(), "base", score="seconds", effect="ratio", rope="2%", unit="run")
    shown = report.frame("figures/scores") if "figures/scores" in report.frames else report.frame("scores")
    large = shown[(shown["workload"] == "large") & (shown["shown"] != "trial")]
    assert np.isfinite(large["value"].to_numpy()).all()
    assert large["value"].min() > 9e4


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"seconds": -1.0}, {"effect": "ratio"}, "ratios need scores above 0"),
        ({}, {"effect": "ratio", "rope": 2}, "the ROPE of ratios is a share of the score, not 2: write rope='2%'"),
        ({}, {"rope": "2%"}, "a ROPE in percent .* belongs to effect='ratio'"),
        ({}, {"effect": "ratio", "rope": "50%"}, "must be at most a tenth of the span"),
        ({}, {"effect": "product"}, "effect must be one of difference, ratio, not 'product'"),
        ({}, {"effect": "ratio", "failed_as": "-3"}, "ratios need scores above 0, and failed_as is -3"),
        ({}, {"rope": 0.1, "metric": "log_loss", "direction": "maximize"}, "the direction of log_loss is minimize"),
    ],
)
def test_what_has_no_ratio_is_refused(change: dict[str, float], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge(times().assign(**change), "base", score="seconds", **options)  # type: ignore[arg-type]
