"""Power laws in the report: of tables by others and of our own sweeps, and what keeps one from being fitted."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalbench
from evalbench.record.folder import load
from evalbench.report import page
from evalbench.report.analysis.findings import find
from evalbench.report.sections.scaling import SCALING
from evalbench.report.summary import summary_of

Make = Callable[..., Path]
SIZES = {"net-20k": 2e4, "net-80k": 8e4, "net-320k": 3.2e5, "net-1.28m": 1.28e6}
NOISE = np.random.default_rng(0).standard_normal(10_000)


def loss(parameters: float, tokens: float) -> float:
    return float(1.2 + 30 / parameters**0.4 + 200 / tokens**0.45)


def sizes(lengths: tuple[str, ...] = ("1e5", "4e5", "1.6e6"), seeds: int = 5) -> pd.DataFrame:
    rows = [
        {"technique": name, "workload": "text", "tokens": tokens, "seed": seed, "parameters": count,
         "metric": "log_loss", "direction": "minimize", "score": loss(count, float(tokens))}
        for (name, count), tokens, seed in product(SIZES.items(), lengths, range(seeds))
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(score=table["score"] * np.exp(0.002 * NOISE[: len(table)]))


def judged(table: pd.DataFrame, **options: Any) -> evalbench.Report:
    return evalbench.judge(table, baseline=str(table["technique"][0]), rope=0.01, pairing="seed", **options)


def text(table: pd.DataFrame) -> str:
    return "\n\n".join(SCALING.markdown(judged(table).findings))


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_a_table_of_sizes_and_tokens_gets_its_law(tmp_path: Path) -> None:
    report = judged(sizes())
    said = "\n\n".join(SCALING.markdown(report.findings))
    assert "On `text`, the log loss falls as **L = 1.19 + 29.2 / N^0.40 + 195 / D^0.45**" in said
    assert "with N parameters and D training tokens" in said
    assert "**The extrapolation held**: fitted without the largest parameters, it foretells" in said
    assert "at 1.28 million parameters and 1.60 million training tokens, 4 times what it has seen; measured" in said
    assert "no sign that the law is wrong" in said
    assert "At 2.56 million parameters and 1.60 million training tokens, beyond every size that was trained" in said
    (drawing,) = SCALING.drawings(report.findings).values()
    drawn = drawing.numbers()
    assert drawing.figure().axes[0].get_xscale() == "log"
    assert drawn["kind"].value_counts()["measured"] == 12
    plot = drawing.plot(drawn)
    assert plot is not None
    assert plot.panels[0].layout["yaxis"]["type"] == "log"
    (law,) = summary_of(report.findings)["scaling"]
    assert law["sizes"] == ["parameters", "training tokens"]
    assert law["exponents"][0]["low"] <= 0.4 <= law["exponents"][0]["high"]
    assert law["held_out"]["held"] is True
    assert law["fits_badly"] is False
    report.save(tmp_path)
    assert (tmp_path / "numbers" / "scaling_laws.csv").is_file()
    assert (tmp_path / "figures" / "scaling.png").is_file()


@pytest.mark.slow
def test_sizes_with_trials_that_diverged_are_left_out_and_named() -> None:
    table = sizes().assign(state="COMPLETE")
    table.loc[(table["technique"] == "net-20k") & (table["tokens"] == "1e5") & (table["seed"] == 1), "state"] = (
        "DIVERGED"
    )
    said = text(table)
    assert "Left out, because trials diverged or failed: technique net-20k, tokens 1e5 (1 of 5)." in said
    assert "measured" in said


@pytest.mark.slow
def test_a_size_with_two_values_is_held_at_the_larger() -> None:
    said = text(sizes(("1e5", "4e5")))
    assert (
        "- Training tokens have fewer than 3 values, so the law is one of parameters at 400,000 training tokens."
        in said
    )
    assert "with N parameters:" in said


def test_sizes_that_grow_together_are_not_told_apart() -> None:
    table = sizes(("1e5",)).drop(columns="tokens")
    said = text(table.assign(examples=20 * table["parameters"], flops=120 * table["parameters"] ** 2))
    assert "parameters and training examples grow together, so the law is one of FLOPs alone" in said.lower().replace(
        "flops", "FLOPs"
    )


@pytest.mark.slow
def test_few_sizes_or_seeds_are_said() -> None:
    table = sizes(seeds=2)
    said = text(table)
    assert "No number has an interval: all sizes share fewer than 3 seeds." in said
    assert "**Whether it extrapolates is not known**, for want of an interval" in said
    two = table[table["technique"].isin(["net-20k", "net-80k"]) & (table["tokens"] != "1e5")].reset_index(drop=True)
    assert "no power law is fitted, because it needs at least 3 sizes whose trials all ended." in text(two)


def test_one_run_of_each_size_has_a_law_without_intervals() -> None:
    """The page of single runs leaves most sections out."""
    numbers = page.frames(judged(sizes(("1e5",), seeds=1)).findings)["scaling_laws"].set_index("number")
    assert numbers.loc["exponent of parameters", "value"] == pytest.approx(0.4, abs=0.1)
    assert numbers["low"].isna().all()


def test_two_shapes_of_one_size_explain_a_bad_fit() -> None:
    deep = sizes(("1e5",)).drop(columns="tokens").assign(steps="1")
    wide = deep.assign(steps="2", parameters=1.1 * deep["parameters"], score=1.1 * deep["score"])
    table = pd.concat([deep, wide], ignore_index=True).rename(columns={"steps": "compute"})
    assert "Each of `technique` and `compute` changes the parameters, and the law takes them as the same" in text(table)


@pytest.mark.slow
def test_a_score_that_is_no_loss_has_no_law() -> None:
    table = sizes()
    table = table.assign(metric="accuracy", direction="maximize", score=1 / (1 + table["score"]))
    assert "because it is a law of losses, and the score is accuracy: give task.metric a loss." in text(table)
    assert text(table[table["tokens"] == "1e5"].reset_index(drop=True)) == ""


@pytest.mark.slow
def test_a_loss_that_does_not_fall_and_sizes_that_are_not_known_are_said() -> None:
    table = sizes(("1e5",)).drop(columns="tokens")
    assert "because the loss does not fall with parameters." in text(table.assign(score=6 - table["score"]))
    assert "because the loss does not fall with parameters." in text(table.assign(score=2.0))
    unknown = table.assign(parameters=table["parameters"].where(table["technique"] != "net-80k"))
    assert "because parameters are not known of every size." in text(unknown)


def test_techniques_that_are_no_sizes_have_no_law() -> None:
    names = {"net-20k": "cnn", "net-80k": "vit", "net-320k": "mlp-2", "net-1.28m": "mlp-3"}
    table = sizes(("1e5",))
    assert text(table.assign(technique=table["technique"].map(names))) == ""


@pytest.mark.slow
def test_a_sweep_of_lengths_has_a_law_for_each_technique(tmp_path: Path, make_folder: Make) -> None:
    """Our own folder: `budget.steps` grows, the optimizer does not, and rows of a text are windows of tokens."""
    make_folder(tmp_path, ("sgd", "adam"), ("wine",), factors={"budget.steps": ["100", "200", "400", "800"]})
    declared = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    declared = declared.replace('"kind": "multiclass"', '"kind": "language"').replace("test/accuracy", "test/log_loss")
    declared = declared.replace('"maximize"', '"minimize"').replace('"unit": "fraction"', '"unit": "nats"')
    (tmp_path / "evaluation.json").write_text(declared, encoding="utf-8")
    for name in ("results", "references"):
        table = pd.read_csv(tmp_path / f"{name}.csv").assign(metric="test/log_loss", direction="minimize", unit="nats")
        if name == "results":
            examples = 16 * table["budget.steps"]
            noise = 0.002 * NOISE[: len(table)]
            table = table.assign(examples=examples, score=[loss(1e5, 8 * rows) for rows in examples] * np.exp(noise))
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    laws = find(load(tmp_path)).laws
    assert [(law.setting, law.axes) for law in laws] == [
        ({"optimizer": name}, ("training tokens",)) for name in ("sgd", "adam")
    ]
    assert list(laws[0].points["training tokens"]) == [12_800, 25_600, 51_200, 102_400]
    assert laws[0].fitted is not None
    assert laws[0].fitted.held_out is not None
