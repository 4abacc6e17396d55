"""What the rows of a table are: pairs or none, how runs ended, and words that follow."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalbench import judge
from evalbench.errors import InputError
from evalbench.report.__main__ import main


def table(seeds: int = 8, workloads: str = "w", noise: float = 0.001) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    rows = [
        {"technique": t, "workload": w, "seed": s, "score": 0.8 + 0.01 * (t == "new") + noise * draw.normal()}
        for t in ("old", "new")
        for w in workloads
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def relabelled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the same runs, those of one side with other numbers."""
    seeds = rows.groupby(["technique", "workload"])["seed"].transform(lambda s: s.to_numpy()[::-1])
    return rows.assign(seed=rows["seed"].where(rows["technique"] == "old", seeds))


@pytest.mark.parametrize("options", [{}, {"pairing": "none"}, {"unit": "run"}, {"unit": "seed"}, {"unit": "study"}])
@pytest.mark.slow
def test_numbers_of_runs_mean_nothing_unless_pairs_are_declared(options: dict[str, Any]) -> None:
    rows = table(workloads="ab", noise=0.02)
    one, other = (judge(each, "old", rope=0.005, **options) for each in (rows, relabelled(rows)))
    assert one.verdicts.equals(other.verdicts)
    assert one.markdown == other.markdown
    assert "pairs of runs" in one.markdown
    assert ("nobody declared" in one.markdown) == ("pairing" not in options)


@pytest.mark.parametrize("options", [{"pairing": "seed"}, {"unit": "split"}, {"unit": "item"}])
def test_pairs_are_declared_or_established(options: dict[str, Any]) -> None:
    rows = table(noise=0.02)
    one, other = (judge(each, "old", rope=0.005, **options) for each in (rows, relabelled(rows)))
    assert not one.verdicts.equals(other.verdicts)
    assert "of 8 pairs" in one.markdown


def test_sides_may_have_unequal_numbers_of_runs() -> None:
    rows = table(12)
    page = judge(rows[(rows["technique"] == "old") | (rows["seed"] < 5)], "old", unit="run", rope=0.005).markdown
    assert "(5 to 12 runs each)" in page
    assert "no partner" not in page


def test_a_frame_of_folds_needs_three_words() -> None:
    """The column `fold` numbers the folds, says that it does, and is counted."""
    rows = table(10, "abc").rename(columns={"technique": "framework", "workload": "task", "seed": "fold"})
    rows = rows.rename(columns={"score": "auc"})
    report = judge(rows, technique="framework", workload="task", unit="fold", score="auc", baseline="old")
    assert report.verdicts["ring"].tolist() == ["baseline", "TRIAL"]
    assert "one of 10 (counted in the table: `folds` declares another number): 0.11 is added" in report.markdown
    guessed = judge(rows, technique="framework", workload="task", score="auc", baseline="old").markdown
    assert "(guessed from the column `fold`: `unit` declares it)" in guessed


def test_items_may_have_names() -> None:
    rows = table(30).assign(seed=lambda t: "q" + t["seed"].astype(str)).rename(columns={"seed": "question_id"})
    assert "(30 items)" in judge(rows, "old", unit="item").markdown


def test_what_is_declared_of_rows_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"pairing": "row"}, "pairing must be one of seed, item, fold, none, not 'row'"),
        ({"clusters": "doc"}, "clusters are of items: give unit='item'"),
        ({"clusters": "doc", "unit": "item"}, "no column 'doc' of clusters"),
        ({"failed_as": "best"}, "failed_as must be worst, trivial, censored or a score, not 'best'"),
    ]
    for options, said in refused:
        with pytest.raises(InputError, match=said):
            judge(table(), "old", **options)
    table().to_csv(tmp_path / "mine.csv", index=False)
    assert main([str(tmp_path / "mine.csv"), "--baseline", "old", "--clusters", "doc"]) == 2
    assert "clusters are of items: give --unit item with them" in capsys.readouterr().err
    two = pd.concat([table().assign(depth="2"), table().assign(depth="8")])
    with pytest.raises(InputError, match=r"\(depth\): declare the pairs \(pairing='seed'\), or choose a setting$"):
        judge(two, "old")


def failing(**scores: float) -> pd.DataFrame:
    """Return runs of which the first of `new` failed, in the state that is given with its score."""
    (state, score), rows = next(iter(scores.items())), table().assign(state="COMPLETE")
    first = (rows["technique"] == "new") & (rows["seed"] == 0)
    return rows.assign(state=rows["state"].mask(first, state), score=rows["score"].mask(first, score))


@pytest.mark.slow
def test_the_user_says_what_a_failed_run_counts_as() -> None:
    rows, nan = failing(TIMED_OUT=np.nan), float("nan")
    by: dict[str, Any] = {
        **{how: judge(rows, "old", pairing="seed", failed_as=how) for how in ("worst", "censored")},
        "half": judge(rows, "old", pairing="seed", failed_as=0.5),
    }
    effects = {how: report.verdicts["effect"].iloc[1] for how, report in by.items()}
    there = rows[(rows["seed"] > 0)].groupby("technique")["score"].mean()
    assert effects["censored"] == pytest.approx(there["new"] - there["old"])
    assert effects["half"] < effects["worst"] < effects["censored"]
    assert "counts as a score of 0.5; without them:" in by["half"].markdown
    assert "Of 16 runs, 1 timed out." in by["half"].markdown
    for state, ended in (("COMPLETE", "1 without a score"), ("DIVERGED", "1 diverged")):
        assert ended in judge(failing(**{state: nan}), "old", failed_as="worst").markdown
    assert "1 infinite" in judge(failing(COMPLETE=-np.inf), "old", failed_as="worst").markdown
    with pytest.raises(InputError, match="finite number"):
        judge(failing(COMPLETE=nan), "old")


def test_a_side_that_never_works_is_worse() -> None:
    rows = table().assign(state=lambda t: np.where(t["technique"] == "old", "DIVERGED", "COMPLETE"))
    rows.loc[rows["technique"] == "old", "score"] = np.nan
    for options in ({}, {"pairing": "seed"}, {"failed_as": 0.0}):
        assert judge(rows, "old", **options).verdicts["quality"].iloc[1] == "SUPERIOR"
    with pytest.raises(InputError, match="leaves nothing to compare"):
        judge(rows, "old", failed_as="censored")


@pytest.mark.slow
def test_one_failed_fold_of_many_is_a_caveat() -> None:
    rows = table(10, "abcdefghijklmnopqr").rename(columns={"seed": "fold"}).assign(state="COMPLETE")
    rows = rows.assign(state=rows["state"].mask(rows.index == 3, "FAILED"), score=rows["score"].mask(rows.index == 3))
    for failed_as in (None, "censored"):
        report = judge(rows, "old", unit="fold", failed_as=failed_as, rope=0.002)
        assert report.verdicts["quality"].iloc[1] == "SUPERIOR"
        assert "1 failed" in report.markdown


def test_the_command_line_takes_the_same(tmp_path: Path) -> None:
    from evalbench.report.__main__ import main

    failing(TIMED_OUT=np.nan).to_csv(tmp_path / "runs.csv", index=False)
    asked = [str(tmp_path / "runs.csv"), "--baseline", "old", "--pairing", "none", "--failed-as", "0.5"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    assert "`--pairing none`" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
