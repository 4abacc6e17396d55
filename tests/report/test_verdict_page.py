"""The page that decides: what it says of planted results."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from evalbench.errors import TableError
from evalbench.record.folder import load
from evalbench.report import judge, read, write, write_index
from evalbench.report.analysis.cost import cost_ratios
from evalbench.report.render.units import p_is
from evalbench.statistics.judging import Verdict
from evalbench.statistics.verdicts import CostClass, Quality, Recommendation
from report.conftest import with_verdicts

Make = Callable[..., Path]


def text(folder: Path) -> str:
    return read(folder).markdown


def change(folder: Path, **values: Any) -> None:
    path = folder / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.slow
def test_the_verdict_table_and_a_sentence_for_each_technique(tmp_path: Path, make_folder: Make) -> None:
    said = text(
        make_folder(tmp_path, workloads=("digits", "wine"), seeds=10, costs={"sgd": 1.0, "bgd": 1.0, "adam": 1.0})
    )
    page = said.split("# Appendix")[0]
    assert "| rank | technique | recommendation | effect (accuracy points) [98 % CI] | wins | cost ratio |" in page
    assert "- On new rows of these 2 data sets (10 seeds each), `adam` vs `sgd`: +2.0" in page
    assert "at 0.10× cost" in page
    assert "CHEAPER" in page


@pytest.mark.slow
def test_measured_seconds_give_a_cost_class_and_their_absence_none(tmp_path: Path, make_folder: Make) -> None:
    costs = {"sgd": 1.0, "bgd": 60.0, "adam": 20.0}
    measured = with_verdicts(read(make_folder(tmp_path / "a", seeds=6, costs=costs)).findings).judged
    # Seconds per step times steps: one epoch takes sgd 60 seconds, bgd 60 and adam 120.
    assert measured.verdict("bgd").cost_class is CostClass.SAME
    assert measured.verdict("adam").cost_class is CostClass.DEARER
    assert measured.verdict("adam").cost.value == pytest.approx(2.0, rel=0.02)
    unmeasured = with_verdicts(read(make_folder(tmp_path / "b", seeds=6)).findings).judged
    assert unmeasured.verdict("adam").cost_class is CostClass.UNCLEAR


@pytest.mark.slow
def test_a_cell_that_was_not_timed_leaves_a_ratio_of_the_others(tmp_path: Path, make_folder: Make) -> None:
    """A failed cell has no cost, and its baseline has: what both sides have is compared, and the rest is named."""
    costs = {"sgd": 1.0, "bgd": 60.0, "adam": 20.0}
    folder = make_folder(tmp_path, workloads=("digits", "wine"), failed=("adam", "wine"), seeds=6, costs=costs)
    table = pd.read_csv(folder / "costs.csv")
    failed = (table["technique"] == "adam") & (table["workload"] == "wine")
    broken_off = (table["technique"] == "bgd") & (table["round"] == 4)
    table[~failed & ~broken_off].to_csv(folder / "costs.csv", index=False)
    ratios = cost_ratios(load(folder))
    assert [ratios[name].value for name in ("bgd", "adam")] == pytest.approx([1.0, 2.0], rel=0.02)
    assert [ratios[name].count for name in ("bgd", "adam")] == [4, 5]
    said = text(folder)
    assert "in 4 rounds interleaved over the techniques. The cost ratio of `adam` leaves out `wine`: not every" in said
    assert "- `adam` has no pair with `sgd` on `wine` (adam FAILED): it cannot be judged → **INVALID**." in said


def test_flops_that_cannot_be_counted_are_not_known_and_never_zero(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, techniques=("sgd", "adam"), workloads=("digits", "wine"), seeds=6)
    table = pd.read_csv(folder / "results.csv")
    table["flops"] = table["flops"].where(table["technique"] != "adam")
    table.to_csv(folder / "results.csv", index=False)
    found = with_verdicts(read(folder).findings)
    assert found.milestones is not None
    assert found.milestones.measured_by == "optimizer updates"  # what is known of both
    reached = [m for m in found.milestones.rows if math.isfinite(m.steps)]
    assert [(m.technique, math.isnan(m.flops)) for m in reached if m.workload == "wine"][-1] == ("adam", True)
    assert not found.front
    said = text(folder)
    assert "| `adam` | 99 | 18 | 180 | not known | 0.1 | – |" in said
    assert "| 18 | 180 | not known | 2 | 6 |" in said  # in the table that decides
    assert "| 6/6 | 18 | not known | not measured |" in said  # and not missed


@pytest.mark.slow
def test_nobody_tuned_caps_the_ring(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits",), seeds=10)
    change(folder, rope={"accuracy": 0.001})
    results = pd.read_csv(folder / "results.csv")
    results.loc[results["technique"] == "adam", "score"] += 0.05
    results.to_csv(folder / "results.csv", index=False)
    said = text(folder)
    assert "**TRIAL**" in said
    tuned = with_verdicts(read(folder).findings).judged
    assert "at default settings" not in [cap.reason for cap in tuned.verdict("adam").advice.caps]  # TRIAL needs no cap
    change(folder, tuning={"parity": False})
    unfair = with_verdicts(read(folder).findings).judged
    assert unfair.verdict("adam").recommendation is Recommendation.ASSESS


@pytest.mark.slow
def test_a_failed_cell_makes_the_comparison_invalid(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits", "moons"), failed=("adam", "moons"), seeds=6)
    judged = with_verdicts(read(folder).findings).judged
    assert judged.verdict("adam").recommendation is Recommendation.INVALID
    assert judged.verdict("bgd").recommendation is not Recommendation.INVALID
    assert "**INVALID** (cells are missing: adam FAILED)" in text(folder)


@pytest.mark.slow
def test_a_technique_that_always_diverges_loses_also_where_the_others_are_no_better_than_the_trivial_predictor(
    tmp_path: Path, make_folder: Make
) -> None:
    cheap = {"sgd": 1.0, "bgd": 1.0, "adam": 0.1}
    folder = make_folder(tmp_path, workloads=("digits",), seeds=6, costs=cheap)
    table = pd.read_csv(folder / "results.csv")

    def judged(gone: "pd.Series[bool]", level: float, state: str = "DIVERGED") -> Verdict:
        scores = (level + 1e-4 * table["seed"]).mask(gone, 0.1 if state == "DIVERGED" else math.nan)  # trivial: 0.1
        changed = table.assign(score=scores, state=table["state"].mask(gone, state))
        changed.to_csv(folder / "results.csv", index=False)
        found = with_verdicts(read(folder).findings).judged
        return found.verdict("adam")

    adam, sgd, early = table["technique"] == "adam", table["technique"] == "sgd", table["seed"] < 3
    for level in (0.1, 0.05):
        assert (judged(adam, level).quality, judged(adam, level).recommendation) == (
            Quality.INFERIOR,
            Recommendation.HOLD,
        )
        assert judged(sgd, level).quality is Quality.SUPERIOR
        partly = judged(adam & early, level)
        assert -1e-3 < partly.effect.mean <= 0  # failing gains nothing
        assert (partly.quality, partly.next_step.what) == (Quality.INCONCLUSIVE, "failures")
    missing = judged(adam & early, 0.1, "FAILED")
    assert (missing.quality, missing.recommendation) == (Quality.INCONCLUSIVE, Recommendation.INVALID)


@pytest.mark.slow
def test_a_diverged_trial_is_a_loss_and_a_missed_target(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "gone", workloads=("digits",), diverged=("adam", "digits", 1), seeds=6)
    found = with_verdicts(read(folder).findings)
    verdict, other = found.judged.verdict("adam"), found.judged.survivors["adam"]
    assert verdict.losses >= 1
    assert other.effect.mean > verdict.effect.mean
    assert not verdict.guards.failures_ok  # 1 of 6 is more than 10 %, and the baseline has none
    adam = next(row for row in found.milestones.rows if row.technique == "adam")
    assert adam.count == 6
    clean = read(make_folder(tmp_path / "clean", workloads=("digits",), seeds=6)).findings.milestones
    assert clean is not None
    assert adam.reached == next(row for row in clean.rows if row.technique == "adam").reached - 1
    assert "without them" in text(folder)


def test_what_was_declared_cannot_be_altered(tmp_path: Path, make_folder: Make) -> None:
    from evalbench.record.declared import declaration

    folder = make_folder(tmp_path, workloads=("digits",))
    change(folder, declared=declaration(json.loads((folder / "evaluation.json").read_text())))
    assert "(declaration `" in text(folder)
    change(folder, rope={"accuracy": 0.05, "skill": 0.01})
    with pytest.raises(TableError, match="was altered"):
        text(folder)


def test_an_absent_baseline_is_refused(tmp_path: Path, make_folder: Make) -> None:
    for baseline in (None, "lion"):
        folder = make_folder(tmp_path, workloads=("digits",))
        change(folder, baseline=baseline)
        with pytest.raises(TableError, match="baseline must be one of"):
            text(folder)


@pytest.mark.slow
def test_an_old_folder_that_was_extended_is_marked(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits",), seeds=12)
    change(folder, pilot_seeds=5)
    assert "| not declared: seeds were added after a look at 5 | no |" in text(folder)
    assert "The seeds from 5 on were added after a look that was not declared." in text(folder)
    table = pd.read_csv(folder / "results.csv")
    table["stage"] = ["pilot" if seed < 5 else "extension" for seed in table["seed"]]
    report = judge(table, "sgd", metric="accuracy", unit="split")
    assert "The seeds from 5 on were added after a look that was not declared." in report.markdown


@pytest.mark.slow
def test_the_page_says_whether_the_choice_depends_on_another_factor(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits", "wine"), factors={"depth": ["1", "4"]}, seeds=6)
    table = pd.read_csv(folder / "results.csv", dtype={"depth": str})
    table.loc[(table["technique"] == "adam") & (table["depth"] == "4"), "score"] -= 0.1
    table.to_csv(folder / "results.csv", index=False)
    said = text(folder)
    assert (
        "Whether `adam` is better than `sgd` depends on `depth`: +2.00 accuracy points at `1` and −8.02 accuracy"
        " points at `4`; `1` minus `4` +10.02 [" in said
    )
    assert "Whether the difference between `bgd` and `sgd` depends on `depth` is not known: the interval" in said
    adam = next(each for each in with_verdicts(read(folder).findings).interactions if each.candidate == "adam")
    gaps = table.pivot_table("score", ["workload", "seed"], ["technique", "depth"])
    gap = ((gaps["adam", "1"] - gaps["sgd", "1"]) - (gaps["adam", "4"] - gaps["sgd", "4"])).groupby("workload")
    errors = gap.var() * (1 / 6 + 1 / 3)
    freedom = errors.sum() ** 2 / (errors**2 / 5).sum()
    half = stats.t.ppf(1 - 0.05 / 2 / 2, freedom) * errors.sum() ** 0.5 / 2  # two candidates, one pair of levels
    assert (adam.main.low, adam.main.high) == pytest.approx((gap.mean().mean() - half, gap.mean().mean() + half))
    shares = {share.factors: share.share for share in with_verdicts(read(folder).findings).robustness.shares}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["optimizer", "depth"] > 0.05


@pytest.mark.slow
def test_at_equal_updates_only_where_the_curves_overlap(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits", "wine"), seeds=6)
    assert "At equal updates they cannot be compared" in text(folder)
    curves, results = pd.read_csv(folder / "curves.csv"), pd.read_csv(folder / "results.csv")
    adam = curves["technique"] == "adam"
    curves.loc[adam, "step"] = curves.loc[adam, "epoch"] * 30  # half the updates of sgd: its last is sgd's second half
    curves.to_csv(folder / "curves.csv", index=False)
    results.loc[results["technique"] == "adam", "steps"] = 90
    results.to_csv(folder / "results.csv", index=False)
    match = next(m for m in with_verdicts(read(folder).findings).matched if m.candidate == "adam" and m.by == "updates")
    assert match.workloads == ("digits", "wine")
    wide = curves[curves["workload"] == "digits"].pivot_table(
        index="seed", columns=["technique", "step"], values="val_score"
    )
    wine = curves[curves["workload"] == "wine"].pivot_table(
        index="seed", columns=["technique", "step"], values="val_score"
    )
    # Adam ends at 90 updates; the last validation of sgd within them was at 60.
    expected = [(t["adam", 90] - t["sgd", 60]).mean() for t in (wide, wine)]
    assert match.effect is not None
    assert match.effect.mean == pytest.approx(sum(expected) / 2)


@pytest.mark.slow
def test_generated_data_alone_is_said_to_be_no_data_set(tmp_path: Path, make_folder: Make) -> None:
    said = text(make_folder(tmp_path, workloads=("moons",), seeds=6))
    assert "generated data alone" in said
    judged = with_verdicts(read(tmp_path).findings).judged
    assert judged.verdict("adam").num_datasets == 0


def test_equivalence_is_refused_below_the_floor_of_the_test_set(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits",), techniques=("sgd", "adam"), seeds=6)
    results = pd.read_csv(folder / "results.csv").assign(num_test=1000)
    jitter = results["seed"].map({0: 1e-4, 1: -1e-4, 2: 2e-4, 3: -2e-4, 4: 1e-4, 5: -1e-4})
    results["score"] = 0.93 + jitter.where(results["technique"] == "adam", 0.0)
    results["num_train"] = 100_000
    results.to_csv(folder / "results.csv", index=False)
    judged = with_verdicts(read(folder).findings).judged
    verdict = judged.verdict("adam")
    assert verdict.floor == pytest.approx((0.93 * 0.07 / 1000) ** 0.5)
    assert verdict.quality is Quality.NON_INFERIOR
    change(folder, rope={"accuracy": 0.01})
    judged = with_verdicts(read(folder).findings).judged
    assert judged.verdict("adam").quality is Quality.EQUIVALENT


@pytest.mark.slow
def test_every_number_of_the_verdict_table_is_in_its_csv(tmp_path: Path, make_folder: Make) -> None:
    said = write(make_folder(tmp_path, workloads=("digits", "wine"), seeds=6)).read_text(encoding="utf-8")
    table = pd.read_csv(tmp_path / "numbers" / "verdicts.csv").set_index("technique")
    adam = table.loc["adam"]
    shown = f"| {adam['effect']:+.2f} [{adam['low']:+.2f}, {adam['high']:+.2f}] |".replace("-", "−")
    assert shown in said
    assert f"| {adam['wins']:.0f}/12" in said
    assert str(adam["sentence"]) in said


@pytest.mark.slow
def test_the_page_is_one_file(tmp_path: Path, make_folder: Make) -> None:
    write(make_folder(tmp_path, workloads=("digits", "wine")))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'src="figures' not in page
    assert page.count('src="data:image/png;base64,') == said_figures(tmp_path)
    assert "//" not in page.split("<body>")[0]
    assert '<table class="sortable"' in page
    assert "prefers-color-scheme: dark" in page


def said_figures(folder: Path) -> int:
    return (folder / "report.md").read_text(encoding="utf-8").count("![")


@pytest.mark.slow
def test_an_index_says_nothing_of_a_baseline_where_nothing_is_compared(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "one", techniques=("sgd",), workloads=("digits",), factor=None)
    change(folder, question=None)
    assert "**How good is sgd?**" in write(folder).read_text(encoding="utf-8")
    assert "| How good is sgd? | – | – |" in write_index(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "p < .001"), (0.0009, "p < .001"), (0.001, "p = .001"), (0.25, "p = .250"), (1.0, "p = 1")],
)
def test_a_p_value_has_one_sign(value: float, words: str) -> None:
    assert p_is(value) == words


@pytest.mark.slow
def test_the_index_lists_every_evaluation(tmp_path: Path, make_folder: Make) -> None:
    write(make_folder(tmp_path / "one", workloads=("digits",)))
    write(make_folder(tmp_path / "two", workloads=("digits",), techniques=("sgd",), factor=None))
    (tmp_path / "notes").mkdir()
    index = write_index(tmp_path).read_text(encoding="utf-8")
    assert "| 2026-01-01 | [optimizers](one/report.md) | Which optimizer is best? | `sgd` | `bgd` " in index
    assert "[optimizers](two/report.md)" in index
    assert "notes" not in index
    (tmp_path / "empty").mkdir()
    assert "No evaluation" in write_index(tmp_path / "empty").read_text(encoding="utf-8")
