"""`judge` and `Report`: what the command line writes, from Python and in memory."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from evalbench.errors import InputError
from evalbench.report import judge, read
from evalbench.report.__main__ import main


def table(seeds: int = 6) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    rows = [
        {"technique": t, "workload": w, "seed": s, "score": 0.8 + 0.05 * (t == "b") + 0.01 * generator.normal()}
        for t in ("a", "b")
        for w in ("x", "y")
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_a_frame_is_judged_as_its_file_is(tmp_path: Path) -> None:
    rows = table().assign(depth=[1, 2] * 12)
    rows.to_csv(tmp_path / "results.csv", index=False)
    options = ["--baseline", "a", "--metric", "accuracy", "--pairing", "seed", "--out", str(tmp_path / "file")]
    assert main([str(tmp_path / "results.csv"), *options]) == 0
    report = judge(rows, "a", metric="accuracy", pairing="seed")
    report.save(tmp_path / "frame")
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="is a file, and a report needs a folder"):
        report.save(tmp_path / "taken")
    reproduced = re.compile(r"<b>How to reproduce</b>.*?\n- ", re.DOTALL)  # a frame was given by no command
    said = [reproduced.sub("", (tmp_path / name / "report.md").read_text()) for name in ("file", "frame")]
    in_python = {"(--unit)": "(unit)", "(`--unit`)": "(`unit`)", "`--pairing seed`": "`pairing='seed'`"}
    for command, python in in_python.items():  # options are named as the caller writes them
        assert command in said[0]
        said[0] = said[0].replace(command, python)
    assert said[0] == said[1]
    for name in report.frames:
        path = tmp_path / "file" / (f"{name}.csv" if "/" in name else f"numbers/{name}.csv")
        if path.is_file():
            assert len(pd.read_csv(path)) == len(report.frame(name))
    assert {path.stem for path in (tmp_path / "file" / "figures").glob("*.png")} == set(report.figures)


def test_columns_have_any_names_and_seeds_may_be_absent() -> None:
    rows = table(seeds=1).rename(columns={"technique": "framework", "workload": "task", "score": "auroc"})
    rows = rows.assign(score="not this one")
    report = judge(rows, "a", technique="framework", workload="task", seed=None, score="auroc")
    assert report.verdicts["unit"].iloc[1] == "AUROC points"
    assert report.verdicts["technique"].tolist() == ["a", "b"]
    wide = rows.pivot(index="task", columns="framework", values="auroc").reset_index()
    assert judge(wide, "a", wide=True, metric="auroc").verdicts["effect"].iloc[1] == pytest.approx(
        report.verdicts["effect"].iloc[1]
    )


@pytest.mark.slow
def test_names_may_be_numbers_and_columns_an_index() -> None:
    rows = table()
    expected = judge(rows, "a").frame("effects")
    indexed = rows.set_index(["technique", "workload", "seed"])
    pd.testing.assert_frame_equal(judge(indexed, "a").frame("effects"), expected)
    numbered = rows.set_axis(range(4), axis=1).replace({"a": 1, "b": 2})
    report = judge(numbered, 1, technique=0, workload=1, seed=2, score=3)  # type: ignore[arg-type]
    assert report.verdicts["technique"].tolist() == ["1", "2"]
    wide = rows.pivot_table(index="workload", columns="technique", values="score")
    assert judge(wide, "a", wide=True).verdicts["technique"].tolist() == ["a", "b"]


@pytest.mark.slow
def test_a_report_shows_itself(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    report = read(make_folder(tmp_path, workloads=("digits",)))
    assert isinstance(report.figure("scores"), Figure)
    assert report.frame("scores")["shown"].unique().tolist() == ["mean", "reference", "trial"]
    shown = report._repr_markdown_()
    assert "| `bgd` | **OPEN** |" in shown
    assert "](" not in shown  # no link into a folder that does not exist
    assert "<table>" in report._repr_html_()
    described = read(make_folder(tmp_path / "one", techniques=("sgd",), factor=None, workloads=("digits",)))
    assert described.verdicts.empty
    assert "was trained for 3 epochs" in described._repr_markdown_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "c"}, "the baseline must be one of the techniques (a, b), not 'c'"),
        ({"score": "acc"}, "the table has no column acc: it has technique, workload, seed, score, state: name"),
        ({"seed": "run"}, "or seed=None for one run each"),
        ({"rope": "0.1"}, "rope must be a number above 0, not '0.1'"),
        ({"results": {"a": 1}}, "results must be a pandas DataFrame, not dict"),
        ({"rope": -1.0}, "rope must be a number above 0, not -1.0"),
        ({"rope": 0.5, "metric": "accuracy"}, "rope must be at most a tenth of the span of accuracy (1), not 0.5"),
        ({"span": (0.0,)}, "span must be two numbers, the smaller first, not (0.0,)"),
        ({"span": ("a", "b")}, "span must be two numbers"),
        ({"unit": "day"}, "unit must be one of split, seed, fold, run, study, item, not 'day'"),
        ({"targets": {"x": "high"}}, "the target of x must be a number, not 'high'"),
        ({"targets": {"x": 0.9}}, "a target needs the curves of its workload"),
        ({"direction": "up"}, "direction must be maximize or minimize, not 'up'"),
        ({"score": "technique"}, "technique, workload, seed and score must be four different columns"),
        ({"score": "state"}, "column score holds numbers only"),
        ({"seed": None}, "more than one row for technique a, workload x"),
    ],
)
def test_bad_input_is_refused_in_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        judge(**{"results": table().assign(state="COMPLETE"), "baseline": "a", **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_what_a_report_lacks_is_said() -> None:
    report = judge(table(), "a")
    with pytest.raises(InputError, match="no table 'tuning': it has evaluation, verdicts"):
        report.frame("tuning")
    with pytest.raises(InputError, match="no figure 'tradeoff': it has differences, scores"):
        report.figure("tradeoff")
