"""A table of times to target by AlgoPerf's rules: what is accepted, what is refused, and what is said."""

from pathlib import Path

import pandas as pd
import pytest

from evalbench.report.__main__ import main

STUDIES = {  # seconds of three studies, empty if the target was missed
    ("a", "w1"): (10, 12, 14), ("b", "w1"): (30, 20, None), ("c", "w1"): (100, 100, None),
    ("a", "w2"): (5, None, None), ("b", "w2"): (4, 4, 6), ("c", "w2"): (5, 5, 5),
    ("a", "w1+"): (1, 1, 1), ("b", "w1+"): (5, 5, 5), ("c", "w1+"): (1, 1, 1),
}  # fmt: skip


def written(folder: Path, **columns: str) -> Path:
    rows = [
        {"technique": t, "workload": w, "study": study, "seconds": seconds}
        for (t, w), times in STUDIES.items()
        for study, seconds in enumerate(times)
    ]
    pd.DataFrame(rows).rename(columns=columns).to_csv(folder / "times.csv", index=False)
    return folder / "times.csv"


def scored(folder: Path, *options: str, **columns: str) -> "pd.Series[float]":
    asked = [str(written(folder, **columns)), "--protocol", "algoperf", "--out", str(folder / "out"), *options]
    assert main(asked) == 0
    table = pd.read_csv(folder / "out" / "numbers" / "scores.csv").set_index("technique")
    assert table["rank"].tolist() == sorted(table["rank"])
    return table["algoperf_score"]


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_a_table_of_times_is_scored(tmp_path: Path) -> None:
    # Medians 12, 30, 100 (over 4 times the fastest) on w1; missed, 4, 5 on w2; 1, 5, 1 on w1+.
    by_three = scored(tmp_path)
    assert by_three["a"] == pytest.approx((1 + 0 + 1) / 3)
    assert by_three["b"] == pytest.approx(((99 - 50 + 0.5) / 99 + 1 + 0) / 3)  # 2.5 is reached at the 51st point
    assert by_three["c"] == pytest.approx((0 + (99 - 9 + 0.5) / 99 + 1) / 3)
    with_held_out = scored(tmp_path, "--held-out", "w1+=w1")
    assert with_held_out["b"] == pytest.approx((0 + 1) / 2)  # five times the fastest on the held-out workload
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| `w1` | 12 s | 30 s (over 4 times the fastest on the held-out workload) | 100 s (over 4 times the" in said
    assert "| `w2` | missed | 4 s | 5 s |" in said
    assert "median over 3 studies, a miss being infinite; AlgoPerf prescribes 5" in said
    assert "depends on the pool" in said
    assert (tmp_path / "out" / "report.html").is_file()


def test_columns_may_have_the_names_of_results(tmp_path: Path) -> None:
    assert scored(tmp_path).equals(scored(tmp_path, study="seed", seconds="score"))
    mapped = scored(tmp_path, "--map", "technique=submission", "study=run", technique="submission", study="run")
    assert mapped.equals(scored(tmp_path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--baseline", "a"], "--baseline must be left out with --protocol algoperf"),
        (["--held-out", "w1+=w9"], "--held-out w1+=w9 must name a held-out workload, and a fixed one"),
        (["--held-out", "w1+"], "--held-out must be VARIANT=WORKLOAD, not 'w1+'"),
        (["--where", "technique=a"], "has one technique or none"),
        (["--where", "technique=d"], "no row of times.csv has technique=d"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(written(tmp_path)), "--protocol", "algoperf", "--out", str(tmp_path / "out"), *options]
    assert main(asked) == 2
    assert said in capsys.readouterr().err


def test_a_bad_table_of_times_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(written(tmp_path))
    for bad, said in (
        (table.drop(columns="seconds"), "has no column seconds"),
        (table.assign(seconds=-1), "seconds must be above 0, or empty if the target was missed"),
        (table[(table["technique"] != "c") | (table["workload"] != "w2")], "c has no row for workload w2"),
        (table.assign(study=0), "more than one row for technique a, workload w1, study 0"),
    ):
        bad.to_csv(tmp_path / "bad.csv", index=False)
        assert main([str(tmp_path / "bad.csv"), "--protocol", "algoperf", "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert main([str(tmp_path / "times.csv"), "--baseline", "a", "--held-out", "w1+=w1"]) == 2
    assert "--held-out belongs to --protocol algoperf" in capsys.readouterr().err
