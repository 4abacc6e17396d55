"""Tables that evalbench did not train: what is accepted, what is refused, and what is said."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.record.foreign import KNOWN, load_table
from evalbench.record.options import Options
from evalbench.record.repetitions import RowScope
from evalbench.record.schema import RESERVED
from evalbench.report import Report
from evalbench.report.__main__ import main
from evalbench.report.analysis.findings import JudgedFindings, find
from evalbench.report.analysis.scope import scope_of
from evalbench.report.sections import advice
from evalbench.report.sections.caveats import caveats
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation
from report.conftest import with_verdicts

DATA = Path(__file__).parent.parent / "statistics" / "data"


def table(seeds: int = 8, gain: float = 0.05) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    rows = [
        {"technique": t, "workload": w, "seed": s, "score": 0.8 + gain * (t == "adam") + 0.01 * generator.normal()}
        for t in ("sgd", "adam")
        for w in ("a", "b", "c", "d", "e", "f")
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def written(path: Path, rows: pd.DataFrame) -> Path:
    file = path / "results.csv"
    rows.to_csv(file, index=False)
    return file


def test_a_long_table_is_judged(tmp_path: Path) -> None:
    found = find(load_table(written(tmp_path, table()), Options("sgd", "accuracy", tuned=True)))
    assert isinstance(found, JudgedFindings)
    verdict = found.judged.verdict("adam")
    assert (verdict.quality, verdict.recommendation) == (
        Quality.SUPERIOR,
        Recommendation.TRIAL,
    )  # its cost is not known
    assert verdict.num_datasets == 6
    timed = table().assign(
        cost_seconds=lambda t: np.where(t["technique"] == "adam", 2.0, 1.99) + 0.01 * (t["seed"] % 2)
    )
    found = find(load_table(written(tmp_path, timed), Options("sgd", "accuracy", tuned=True)))
    assert isinstance(found, JudgedFindings)
    assert found.judged.verdict("adam").cost_class is CostClass.SAME
    assert found.judged.verdict("adam").recommendation is Recommendation.ADOPT


def test_white_space_makes_no_technique(tmp_path: Path) -> None:
    rows = table()
    blank = rows.assign(
        technique=rows["technique"] + np.where(rows["seed"] % 2, " ", ""), workload=" " + rows["workload"]
    )
    folder = load_table(written(tmp_path, blank), Options("sgd", "accuracy"))
    assert folder.evaluation.techniques == ("sgd", "adam")
    assert tuple(folder.evaluation.workloads) == tuple("abcdef")


def test_the_command_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, table())
    out = tmp_path / "mine"
    assert main([str(file), "--baseline", "sgd", "--metric", "accuracy", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Report   {out / 'report.html'}"
    said = (out / "report.md").read_text(encoding="utf-8")
    assert "evalbench did not train these results" in said
    assert (out / "report.html").is_file()


@pytest.mark.slow
def test_columns_may_be_called_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"technique": "method", "seed": "run", "score": "acc"}
    theirs = table().rename(columns=names).assign(score=7, group="mine")
    theirs = pd.concat([theirs, theirs.assign(group="yours", acc=0.5)])
    ours = ["--map", *(f"{column}={name}" for column, name in names.items()), "--where", "group=mine"]
    options = ["--baseline", "sgd", "--metric", "accuracy"]
    assert main([str(written(tmp_path, theirs)), *options, *ours, "--out", str(tmp_path / "mapped")]) == 0
    assert main([str(written(tmp_path, table())), *options, "--out", str(tmp_path / "plain")]) == 0
    mapped, plain = (pd.read_csv(tmp_path / name / "numbers" / "verdicts.csv") for name in ("mapped", "plain"))
    pd.testing.assert_frame_equal(mapped, plain)
    capsys.readouterr()
    assert main([str(written(tmp_path, theirs)), *options, "--map", "score=accuracy"]) == 2
    assert (
        "no column has the name 'accuracy', which --map gives for score: results.csv has method,"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_demsars_table_gives_his_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = DATA.parents[2]
    shipped = (root / "reports" / "examples" / "demsar2006" / "report.md").read_text(encoding="utf-8")
    command = next(line for line in shipped.splitlines() if line.startswith("evalbench report "))
    arguments = shlex.split(command)[2:]
    monkeypatch.chdir(root)
    assert main([*arguments[:-1], str(tmp_path)]) == 0
    said = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert said.replace(str(tmp_path), arguments[-1]) == shipped
    assert "[+0.002, +4.46]" in said  # an end keeps its side of zero
    assert "Friedman χ² = 9.86" in said  # of the printed table, which ties what the paper did not
    assert "critical difference at 95 % is 1.25 ranks" in said
    ranks = pd.read_csv(tmp_path / "numbers" / "ranks.csv").set_index("technique")["average_rank"]
    assert ranks.to_list() == pytest.approx([3.142857, 2.0, 2.928571, 1.928571], abs=1e-6)


@pytest.mark.slow
def test_the_published_ranks_give_the_published_statistics() -> None:
    options = Options("C4.5", "rank", "minimize", rope=0.5, wide=True)
    omnibus = with_verdicts(find(load_table(DATA / "demsar_ranks.csv", options))).robustness.omnibus
    assert omnibus is not None
    test = omnibus.test
    assert test.average_ranks == pytest.approx((3.143, 2.0, 2.893, 1.964), abs=5e-4)
    assert (test.chi2, test.f) == pytest.approx((9.28, 3.69), abs=0.005)


def test_steps_of_a_trial_are_its_curve(tmp_path: Path) -> None:
    parts = [table().assign(step=step, score=table()["score"] - 1 / step) for step in (10, 100, 1000)]
    folder = load_table(written(tmp_path, pd.concat(parts)), Options("sgd", "accuracy"))
    assert len(folder.curves) == 3 * len(table())
    assert len(folder.results) == len(table())
    last = folder.results.sort_values(["technique", "workload", "seed"])["score"].to_numpy()
    assert last == pytest.approx(table().sort_values(["technique", "workload", "seed"])["score"].to_numpy() - 0.001)


@pytest.mark.slow
def test_targets_are_declared_and_read_off_the_curves(tmp_path: Path) -> None:
    steps = {"sgd": (10, 20, 30), "adam": (5, 10, 15)}
    rows = [
        {"technique": t, "workload": w, "seed": s, "step": step, "score": 1.0 - 0.3 * place}
        for t in steps
        for w in ("a", "b")
        for s in range(3)
        for place, step in enumerate(steps[t])
    ]
    file = written(tmp_path, pd.DataFrame(rows).assign(cost_seconds=lambda t: 1.0 + (t["technique"] == "sgd")))
    options = Options("sgd", "loss", "minimize", rope=0.02, targets={"a": 0.75, "b": 0.1})
    found = find(load_table(file, options)).milestones
    times = {(row.workload, row.technique): row.steps for row in found.rows}
    assert times == {("a", "sgd"): 20, ("a", "adam"): 10, ("b", "sgd"): np.inf, ("b", "adam"): np.inf}
    assert found.speed_ups["adam"].ratio == pytest.approx(2.0)  # 20 of 30 steps in 2 s, 10 of 15 steps in 1 s
    asked = [
        str(file),
        "--baseline",
        "sgd",
        "--metric",
        "loss",
        "--direction",
        "minimize",
        "--rope",
        "0.02",
        "--pairing",
        "seed",
    ]
    assert main([*asked, "--target", "a=0.75", "--target", "b=0.1", "--out", str(tmp_path)]) == 0
    assert "targets `a` 0.7500, `b` 0.1000" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_target_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(written(tmp_path, table())), "--baseline", "sgd", "--out", str(tmp_path / "out")]
    for target, words in (
        ("a=0.9", "a target needs the curves of its workload, and the table has no steps of workload 'a'"),
        ("a", "argument --target: must be NAME=NUMBER or NUMBER, not 'a'"),
        ("a=high", "must be NAME=NUMBER or NUMBER, not 'a=high'"),
    ):
        assert main([*asked, "--target", target]) == 2
        assert words in capsys.readouterr().err


def failing(rows: pd.DataFrame, gone: "pd.Series[bool]", state: str, score: float = np.nan) -> pd.DataFrame:
    return rows.assign(score=rows["score"].mask(gone, score), state=np.where(gone, state, "COMPLETE"))


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_run_that_failed_scores_one_rope_worse_than_the_worst_of_its_data_set(tmp_path: Path, direction: str) -> None:
    rows = table()
    options = Options("sgd", "quality", direction, rope=0.02)
    sign = 1 if direction == "maximize" else -1

    def scored(state: str, own: float) -> dict[str, float]:
        rows_there = failing(rows, (rows["technique"] == "adam") & (rows["seed"] == 0), state, own)
        results = load_table(written(tmp_path, rows_there), options).results
        return dict(results.loc[results["failed"] == 1].set_index("workload")["score"])

    working = rows[(rows["technique"] != "adam") | (rows["seed"] != 0)]
    worst = sign * (sign * working["score"]).groupby(working["workload"]).min() - sign * 0.02
    assert scored("FAILED", np.nan) == pytest.approx(dict(worst))
    assert scored("DIVERGED", sign * 9.0) == pytest.approx(dict(worst))  # a good score on the way does not count
    assert scored("DIVERGED", sign * -9.0) == dict.fromkeys("abcdef", sign * -9.0)  # a bad one at the end does
    assert scored("FAILED", sign * -9.0) == pytest.approx(dict(worst))  # of a run that broke off, no score does


def test_a_diverged_run_is_in_the_mean_that_the_sentence_prints(tmp_path: Path) -> None:
    """Three of ten runs ended at chance: left out, the technique looked better; as they ended, it loses 24 points."""
    rows = table(10, gain=0.003)
    rows = rows[rows["workload"] == "a"]
    gone = (rows["technique"] == "adam") & (rows["seed"] < 3)
    for columns in ({}, {"num_train": 80.0, "num_test": 20.0}, {"step": 9.0, "cost_seconds": 1.0}):
        failed = failing(rows, gone, "DIVERGED", 0.0).assign(**columns)
        found = with_verdicts(find(load_table(written(tmp_path, failed), Options("sgd", "accuracy", unit="seed"))))
        (mine,) = found.judged.verdicts
        as_ended = rows["score"].mask(gone, 0.0).groupby(rows["technique"]).mean()
        assert mine.effect.mean == pytest.approx(as_ended["adam"] - as_ended["sgd"])
        assert mine.effect.mean < -0.2
        assert mine.quality not in (Quality.EQUIVALENT, Quality.NON_INFERIOR)
        assert (
            f"`adam` vs `sgd`: −{-100 * mine.effect.mean:.2f} accuracy points" in Report(found).verdicts["sentence"][1]
        )


def test_a_diverged_run_without_a_score_counts_as_the_worst_one(tmp_path: Path) -> None:
    rows = table(5)
    gone = (rows["technique"] == "adam") & (rows["seed"] < 2)
    failed = failing(rows, gone, "DIVERGED")
    failed = failed.assign(score=failed["score"].mask(gone & (rows["seed"] == 0) & (rows["workload"] == "a"), 0.1))
    results = load_table(written(tmp_path, failed), Options("sgd", "accuracy")).results
    scores = results[results["failed"] == 1].groupby("workload")["score"].agg(set)
    assert scores["a"] == {0.1}
    assert scores["b"] == {rows.loc[~gone & (rows["workload"] == "b"), "score"].min() - 0.005}


def test_in_skill_the_rope_of_a_failed_run_is_scaled(tmp_path: Path) -> None:
    rows = table(gain=0.0).assign(metric=lambda t: np.where(t["workload"] < "d", "accuracy", "r2"))
    gone = failing(rows, (rows["technique"] == "adam") & (rows["seed"] == 0), "FAILED")
    trivial = rows[rows["technique"] == "sgd"].assign(technique="trivial predictor", score=0.6, state="COMPLETE")
    found = find(load_table(written(tmp_path, pd.concat([gone, trivial])), Options("sgd", rope=0.05)))
    results = found.folder.results
    a = results[results["workload"] == "a"]
    assert a.loc[a["failed"] == 1, "score"].item() == pytest.approx(a.loc[a["failed"] == 0, "score"].min() - 0.05 * 0.4)


EVERY_SIDE = [
    (state, side, direction) for state in ("FAILED", "DIVERGED") for side in ("sgd", "adam") for direction in (1, -1)
]


@pytest.mark.parametrize(("state", "side", "direction"), EVERY_SIDE)
@pytest.mark.slow
def test_a_side_that_never_works_loses_whatever_the_scores(
    tmp_path: Path, state: str, side: str, direction: int
) -> None:
    options = Options("sgd", "quality", "maximize" if direction > 0 else "minimize", rope=0.5)  # wider than all scores
    for sets, seeds, share in (("a", 5, 1.0), ("abc", 5, 1.0), ("a", 10, 0.7), ("abcdef", 1, 1.0)):
        rows = table(seeds, gain=0.0)
        rows = rows[rows["workload"].isin(list(sets))]
        for noise in (1.0, 0.0):  # with equal scores there is no interval
            scores = rows.assign(score=0.5 + noise * (rows["score"] - 0.5))
            gone = failing(scores, (rows["technique"] == side) & (rows["seed"] < share * seeds), state)
            found = find(load_table(written(tmp_path, gone), options))
            assert isinstance(found, JudgedFindings)
            verdict = found.judged.verdict("adam")
            assert verdict.quality is (Quality.SUPERIOR if side == "sgd" else Quality.INFERIOR)
            assert max(verdict.wins, verdict.losses) >= share * len(sets) * seeds
            assert found.judged.pairs[0].quality in (Quality.SUPERIOR, Quality.INFERIOR)
            assert found.judged.ranks[side] == 2
            assert not any(score.best for score in found.scores if score.name == side)


@pytest.mark.parametrize(("state", "side", "direction"), EVERY_SIDE)
@pytest.mark.slow
def test_a_side_that_fails_now_and_then_is_not_equivalent(
    tmp_path: Path, state: str, side: str, direction: int
) -> None:
    options = Options("sgd", "quality", "maximize" if direction > 0 else "minimize", rope=0.5)
    rows = table(10, gain=0.0)
    on_one = rows["workload"] == "a"
    for where, sets in ((rows["seed"] == 3, "a"), (on_one, "abc"), (on_one & (rows["seed"] == 0), "abcdef")):
        chosen = rows["workload"].isin(list(sets))
        gone = failing(rows[chosen], (where & (rows["technique"] == side))[chosen], state)
        found = find(load_table(written(tmp_path, gone), options))
        assert isinstance(found, JudgedFindings)
        verdict = found.judged.verdict("adam")
        if sets == "abc":  # a data set that always fails moves the mean over the three
            assert verdict.quality is (Quality.BETTER if side == "sgd" else Quality.WORSE)
            assert verdict.sets[0].named == (1 if side == "sgd" else -1)
        else:  # 1 run of 10 is too many to be called not worse, 1 of 60 is not
            fails_often = side == "adam" and sets == "a"
            assert verdict.quality is (Quality.INCONCLUSIVE if fails_often else Quality.NON_INFERIOR)
            assert (verdict.next_step.what == "failures") is fails_often


@pytest.mark.slow
def test_the_report_says_how_failures_were_scored(tmp_path: Path) -> None:
    rows = table(gain=0.0)
    gone = (rows["technique"] == "adam") & (rows["seed"] < 6)
    failed = failing(rows, gone, "FAILED")
    said = reported(tmp_path, failed.assign(message=np.where(gone, "out of memory", ""), finished="not known"))
    assert said.count("| out of memory |") == 36
    assert "Of 60 trials it is not known whether they finished" in said
    assert "INFERIOR (fails where the other does not, whatever the scores)" in said
    assert "`adam` alone failed in 36 of 48 pairs, `sgd` alone in 0." in said
    assert "36 runs failed: each counts as a loss, one ROPE worse than the worst run of its data set." in said
    assert "A run that failed counts as one ROPE worse than the worst run of its data set; without them:" in said
    assert "| 8 (6 failed) |" in said
    assert "36 counted as losses; missing runs are not recorded" in said
    assert "trivial predictor" not in said
    assert "left out together" not in said
    rows = pd.concat([rows, rows[rows["technique"] == "sgd"].assign(technique="lion")], ignore_index=True)
    said = reported(tmp_path, failing(rows, rows["technique"] != "lion", "DIVERGED"))
    assert "96 runs diverged: each counts as a loss" in said
    assert "`adam` vs `sgd`: 0.0000 score" in said
    assert "All runs of both failed. There is nothing to compare before one of them works." in said
    assert "`sgd` alone failed in 48 of 48 pairs, `lion` alone in 0." in said


@pytest.mark.slow
def test_what_the_interval_does_not_show_is_said(tmp_path: Path) -> None:
    rows = table()
    far = rows.assign(score=rows["score"] - 0.3 * ((rows["technique"] == "adam") & (rows["workload"] == "b")))
    said = reported(tmp_path, far)
    assert "MIXED (it depends on the data; better on `a`, `c`, `d`, `e` and `f`; worse on `b`)" in said
    assert "`adam` is better on `a`, `c`, `d`, `e` and 1 other and worse on `b`." in said.splitlines()[4]
    copies = reported(tmp_path, rows.assign(score=0.8))
    assert "Check that the runs are not copies of each other" in copies


def reported(path: Path, rows: pd.DataFrame) -> str:
    assert main([str(written(path, rows)), "--baseline", "sgd", "--pairing", "seed", "--out", str(path)]) == 0
    return (path / "report.md").read_text(encoding="utf-8")


def test_metrics_that_differ_need_a_trivial_predictor(tmp_path: Path) -> None:
    rows = table().assign(metric=lambda t: np.where(t["workload"] < "d", "accuracy", "r2"), direction="maximize")
    file = written(tmp_path, rows)
    assert main([str(file), "--baseline", "sgd", "--out", str(tmp_path)]) == 2
    trivial = rows[rows["technique"] == "sgd"].assign(technique="trivial predictor", score=0.1)
    found = find(load_table(written(tmp_path, pd.concat([rows, trivial])), Options("sgd")))
    assert found.common.metric == "skill"
    assert isinstance(found, JudgedFindings)
    assert found.judged.verdict("adam").effect.mean == pytest.approx(0.05 / 0.9, abs=0.005)


def test_extra_columns_of_text_are_factors(tmp_path: Path) -> None:
    rows = pd.concat([table().assign(depth="2"), table(gain=0.02).assign(depth="8")])
    folder = load_table(written(tmp_path, rows), Options("sgd", "accuracy", pairing="seed"))
    assert folder.evaluation.factors == {"depth": ("2", "8")}


@pytest.mark.slow
def test_where_lower_is_better_a_difference_has_the_sign_that_its_words_say(tmp_path: Path) -> None:
    """`adam` minus `sgd` is −0.05 where the loss of `adam` is lower by 0.05, in every sentence, table and file."""
    rows = table().assign(score=lambda t: 1.6 - t["score"])
    rows = rows.assign(cost_seconds=np.where(rows["technique"] == "adam", 2.0, 1.0))
    file = written(tmp_path, rows)
    asked = ["--baseline", "sgd", "--metric", "loss", "--direction", "minimize", "--rope", "0.02", "--pairing", "seed"]
    assert main([str(file), *asked, "--out", str(tmp_path)]) == 0
    said = (tmp_path / "report.md").read_text(encoding="utf-8")
    effect = rows.groupby("technique")["score"].mean()
    size = f"{effect['sgd'] - effect['adam']:.4f}"
    assert f"`adam` vs `sgd`: −{size} loss (lower, better; 96 % CI −0.0" in said
    assert "ROPE ±0.0200), better in 48 of 48 pairs" in said
    assert f"+{size}" not in said.split("## All pairs")[0]
    assert f"| `adam` | 1 | **−{size}** |  |" in said
    assert f"| `sgd` | 2 |  | **+{size}** |" in said
    assert "with the 96 % interval; lower is better." in said
    assert "*Left of zero is better for the first of the two" in said
    for name, column, ends in (
        ("numbers/verdicts", "effect", ("low", "high")),
        ("numbers/effects", "effect", ("low", "high")),
        ("numbers/proofs", "hodges_lehmann", ("random_effects_low", "random_effects_high")),
        ("figures/differences", "mean", ("low", "high")),
        ("figures/differences", "metric_mean", ("metric_low", "metric_high")),
        ("figures/tradeoff", "effect", ("effect_low", "effect_high")),
    ):
        last = pd.read_csv(tmp_path / f"{name}.csv").dropna(subset=column).iloc[0 if "diff" in name else -1]
        low, effect_here, high = (float(last[key]) for key in (ends[0], column, ends[1]))
        assert low < effect_here < high < 0, name
    iqm = pd.read_csv(tmp_path / "numbers/aggregates.csv").set_index("technique")
    three = iqm.loc["adam", ["these_low", "iqm", "these_high"]].to_numpy(dtype=float)
    assert [0, *three, effect["sgd"]] == sorted([0, *three, effect["sgd"]])


def test_unequal_seeds_are_compared_on_those_that_both_have(tmp_path: Path) -> None:
    rows = table()
    first = (rows["technique"] == "sgd") & (rows["workload"] == "a") & (rows["seed"] == 0)
    options = Options("sgd", "accuracy", pairing="seed")
    more = rows[rows["technique"] == "adam"].assign(seed=lambda t: t["seed"] + 8, score=0.1)  # without a partner
    found = find(load_table(written(tmp_path, pd.concat([rows[~first], more])), options))
    whole = find(load_table(written(tmp_path, rows), options))
    assert isinstance(found, JudgedFindings)
    assert isinstance(whole, JudgedFindings)
    mine, before = found.judged.verdict("adam"), whole.judged.verdict("adam")
    assert [effect.interval for effect in mine.sets[1:]] == [effect.interval for effect in before.sets[1:]]
    assert (mine.sets[0].interval.count, mine.recommendation, mine.quality) == (
        7,
        before.recommendation,
        before.quality,
    )
    said = " ".join(advice.said(found)[0])
    assert "49 runs of either side have no partner with the same seed, and count for nothing here." in said
    assert found.left_out.groupby("reason")["count"].sum().to_dict() == {"sgd has no run": 49}


Spoil = Callable[[pd.DataFrame], pd.DataFrame]
BAD: list[tuple[Spoil, str]] = [
    (lambda t: pd.concat([t, t.iloc[[0]]]), "more than one row for technique sgd, workload a, seed 0"),
    (lambda t: t[(t["technique"] != "sgd") | (t["workload"] != "a")], "sgd has no row for workload a: every"),
    (
        lambda t: t.assign(seed=t["seed"] + 9 * ((t["technique"] == "adam") & (t["workload"] == "c"))),
        "adam and sgd have no seed in common on workload c",
    ),
    (lambda t: t.assign(score=t["score"].where(t.index != 3)), "score must be a finite number below 1e+38 for"),
    (lambda t: t.assign(score=t["score"].where(t.index != 3, 1e300)), "score must be a finite number below 1e+38 for"),
    (lambda t: t[t["technique"] == "sgd"], "one technique (sgd)"),
    (lambda t: t.assign(score=t["score"].astype(str).replace(str(t["score"][0]), "good")), "score holds numbers only"),
    (lambda t: t.assign(direction=["maximize"] * 40 + ["minimize"] * 56), "mixed directions"),
    (lambda t: t.drop(columns="seed"), "has no column seed"),
    (lambda t: t.assign(seed=t["seed"] + 0.5), "seed is not a whole number"),
    (lambda t: t.assign(state="RUNNING"), "state must be one of"),
    (lambda t: t.assign(technique=t["technique"].replace("sgd", "momentum")), "the baseline must be one of"),
    (lambda t: t.iloc[:0], "has no row"),
    (lambda t: t.assign(score=t["score"] * 100, metric="fps"), "that matters (--rope): scores"),
    (lambda t: t.assign(score=t["score"] * 100, metric="test/accuracy"), "divide percentages by 100"),
    (lambda t: t.assign(unit=np.where(t["workload"] < "c", "s", "ms")), "metric score has mixed units"),
    (lambda t: t.assign(num_train=0, num_test=10), "num_train must be a number above 0"),
    (lambda t: t.assign(cost_seconds=-1.0), "cost_seconds must be a number of 0 or more and below 1e+38"),
    (lambda t: t.assign(cost_seconds=1e308), "cost_seconds must be a number of 0 or more and below 1e+38"),
    (lambda t: t.assign(workload=t["workload"].replace("a", "")), "a row without a workload"),
    (lambda t: t.rename(columns={"workload": "score"}), "more than one column score"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_a_bad_table_is_refused_in_one_line(
    tmp_path: Path, spoil: Spoil, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, spoil(table()))
    assert main([str(file), "--baseline", "sgd", "--pairing", "seed", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_wide_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = pd.DataFrame({"dataset": ["a", "b"], "sgd": [0.1, 0.2], "adam": [0.3, np.nan]})
    for rows, message in (
        (wide, "finite number below 1e+38 for technique adam, workload b"),
        (wide.assign(dataset="a"), "more than one row"),
        (wide[["dataset", "sgd"]], "has 1 column of scores"),
        (wide.assign(adam=["x", "y"]), "holds numbers only"),
        (wide.rename(columns={"adam": "sgd"}), "more than one column sgd"),
        (table(), "holds numbers only"),  # a long one
    ):
        assert main([str(written(tmp_path, rows)), "--wide", "--baseline", "sgd"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"technique,workload,seed,score\nsgd,a,0,0.1,\nadam,a,0,0.2,\n", "line 2 has 5 fields, and the header 4"),
        (b"technique,workload,seed,score,\nsgd,a,0,0.1,\nadam,a,0,0.2,\n", "a column without a name"),
        ("technique,workload,seed,score\nsgd,é,0,0.1\n".encode("latin-1"), "is not UTF-8 text"),
        (
            b'technique,workload,seed,score\nsgd,"a,0,0.1\nadam,a,0,0.2\nadam,"b,0,0.2\n',
            "cannot be read as CSV: ',' expected",
        ),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.csv"
    file.write_bytes(content)
    assert main([str(file), "--baseline", "sgd", "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


UNITS = [  # what is declared, columns num_train and num_test, rho, what the interval speaks of
    ({}, (80, 20), 0.0, RowScope.UNKNOWN),  # never a silent 0: the scope says that it is not known
    ({"unit": "split"}, (80, 20), 0.25, RowScope.NEW_ROWS),
    ({"unit": "split"}, None, 0.0, RowScope.UNKNOWN),
    ({"unit": "fold"}, (90, 10), 1 / 9, RowScope.NEW_ROWS),
    ({"unit": "fold", "folds": 5}, None, 1 / 4, RowScope.NEW_ROWS),
    ({"unit": "seed"}, (80, 20), 0.0, RowScope.THESE_ROWS),
    ({"unit": "run"}, None, 0.0, RowScope.THESE_ROWS),
    ({"unit": "item"}, None, 0.0, RowScope.NEW_ROWS),
]


@pytest.mark.parametrize(("declared", "rows", "rho", "scope"), UNITS)
def test_what_the_rows_repeat_says_what_they_share(
    tmp_path: Path, declared: dict[str, Any], rows: tuple[int, int] | None, rho: float, scope: RowScope
) -> None:
    runs = table(5) if rows is None else table(5).assign(num_train=rows[0], num_test=rows[1])
    folder = load_table(written(tmp_path, runs), Options("sgd", "accuracy", **declared))
    found = scope_of(folder.evaluation, folder.results)
    assert found.rho == pytest.approx(dict.fromkeys("abcdef", rho))
    assert set(found.rows.values()) == {scope} == {found.words}


def test_the_narrowest_scope_is_that_of_all_workloads(tmp_path: Path) -> None:
    rows = table(5).assign(num_train=80.0, num_test=lambda t: np.where(t["workload"] == "b", np.nan, 20.0))
    folder = load_table(written(tmp_path, rows), Options("sgd", "accuracy", unit="split"))
    found = scope_of(folder.evaluation, folder.results)
    assert (found.rows["a"], found.rows["b"], found.words) == (RowScope.NEW_ROWS, RowScope.UNKNOWN, RowScope.UNKNOWN)


@pytest.mark.slow
def test_a_check_that_was_not_made_claims_nothing(tmp_path: Path) -> None:
    def outcomes(**options: Any) -> dict[str, str]:
        checks = with_verdicts(find(load_table(file, Options("sgd", **options)))).checks
        return {check.assumption.partition(",")[0]: check.holds for check in checks}

    file = written(tmp_path, table())
    found = outcomes()
    assert {name for name, holds in found.items() if holds == "not known"} == {
        *("repetitions are independent", "data sets are different ones", "no trial is missing by our fault"),
        *("the ROPE is not finer than the data", "the ROPE is small", "no optional stopping", "one kind of hardware"),
        "runs are independent",
    }
    assert outcomes(unit="seed", span=(0.0, 1.0)) == found | dict.fromkeys(
        ["repetitions are independent", "the ROPE is small"], "yes"
    )


@pytest.mark.slow
def test_the_report_says_what_a_row_is(tmp_path: Path) -> None:
    asked = [str(written(tmp_path, table())), "--baseline", "sgd", "--metric", "accuracy", "--out", str(tmp_path)]
    for unit, words in (
        ([], "does not say what its rows repeat (`--unit`): the intervals hold for these rows only"),
        (["--unit", "fold", "--folds", "5"], "A row is a fold of cross-validation: 0.25 is added to 1/n for the rows"),
        (["--unit", "item"], "(8 items each)"),
        (["--unit", "seed"], "A row is a seed, with the same test rows for all seeds: the intervals hold for these"),
        (["--unit", "split"], "but num_train and num_test are not given: the intervals hold for these rows only"),
    ):
        assert main([*asked, *unit]) == 0
        assert words in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_more_items_always_help(tmp_path: Path) -> None:
    """Items share no rows, so that some number of them decides, though it may be more than a report names."""
    rows = table(40, gain=0.0)
    rows = rows[rows["workload"] == "a"].assign(score=lambda t: (t["score"] * 1e4 % 2 < 1).astype(float))
    said = Report(find(load_table(written(tmp_path, rows), Options("sgd", "accuracy", unit="item")))).markdown
    assert "Price of the ROPE: more than 1,000 items." in said
    assert "No number of" not in said


def test_a_unit_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, table())
    for unit, words in (
        (["--unit", "fold"], "needs the number of folds of workload a: give it (--folds"),
        (["--unit", "fold", "--folds", "1"], "folds must be a whole number of at least 2, not 1"),
        (["--unit", "seed", "--folds", "5"], "folds go with the unit fold, not with seed: leave them out"),
        (["--unit", "ms"], "unit must be one of split, seed, fold, run, study, item, not 'ms'"),
    ):
        assert main([str(file), "--baseline", "sgd", *unit, "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err


def test_a_rope_above_a_tenth_of_the_span_must_be_confirmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(written(tmp_path, table())), "--baseline", "sgd", "--out", str(tmp_path / "out")]
    for options, said in (
        (["--metric", "accuracy", "--rope", "0.5"], "a tenth of the span of accuracy (1), not 0.5: a larger one needs"),
        (["--score-unit", "fraction", "--rope", "0.11"], "the span of score (1), not 0.11"),
        (["--span=0,2", "--rope", "0.21"], "the span of score (2), not 0.21"),
        (["--span=0,0.5", "--rope", "0.01"], "the span is 0 to 0.5, and a score is 0.79"),
        (["--span=1,0"], "span must be two numbers, the smaller first"),
        (["--span=1"], "--span: invalid"),
        (["--metric", "accuracy", "--span=0,1"], "span must be left out for accuracy, whose span is known"),
    ):
        assert main([*asked, *options]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_wide_rope_is_flagged_and_an_unknown_span_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, table())

    def declared(**options: Any) -> tuple[bool, bool]:
        found = find(load_table(file, Options("sgd", **options)))
        named = any("is not known: nobody checked the ROPE" in note for note in caveats(found))
        return found.evaluation.rope_wide, named

    assert declared(metric="accuracy", rope=0.5, confirm_rope=True) == (True, False)
    said = Report(find(load_table(file, Options("sgd", "accuracy", rope=0.5, confirm_rope=True)))).markdown
    assert "Mind the ROPE: ±50.00 is more than a tenth of the metric's span." in said
    assert declared(metric="accuracy", rope=0.1) == (False, False)
    assert declared(rope=0.5) == (False, True)  # scores between 0 and 1 say nothing about the possible ones
    assert declared(rope=0.5, span=(0.0, 10.0)) == (False, False)
    assert declared(rope=1.5, span=(0.0, 10.0), confirm_rope=True) == (True, False)


def test_the_command_line_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, table())
    assert main([str(file)]) == 2
    assert "--baseline" in capsys.readouterr().err
    assert main([str(tmp_path / "none.csv"), "--baseline", "sgd"]) == 2
    assert "none.csv does not exist: --baseline must be given with a CSV file" in capsys.readouterr().err
    assert main([str(file), "--index"]) == 2
    assert main([str(tmp_path), "--index"]) == 0
    assert main([str(file), "--baseline", "sgd", "--rope", "-1"]) == 2


def test_a_factor_called_like_a_column_of_ours_is_refused(tmp_path: Path) -> None:
    rows = [f"{t},{level},{seed},0.{seed},w" for t in "ab" for level in "pq" for seed in range(2)]
    for name in (*(RESERVED - KNOWN), "score_a", "state_b"):
        (tmp_path / "t.csv").write_text("\n".join([f"technique,{name},seed,score,workload", *rows]))
        with pytest.raises(TableError, match=f"a factor must not be called '{name}'"):
            load_table(tmp_path / "t.csv", Options("a"))


def test_options_of_tables_are_refused_for_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--out", "elsewhere"], ["--metric", "accuracy", "--wide"], ["--index", "--baseline", "sgd"]):
        assert main([str(tmp_path), *options]) == 2
        assert "must be given with a CSV file of results" in capsys.readouterr().err
