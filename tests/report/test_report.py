"""The report as a whole. `EVALBENCH_GOLDEN=1 pytest tests/report` writes the golden report anew: read what changed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from evalbench.errors import TableError
from evalbench.report import read, write
from evalbench.report.__main__ import main

GOLDEN = Path(__file__).parent / "golden" / "report.md"
Make = Callable[..., Path]


def text(folder: Path) -> str:
    return read(folder).markdown


def files(folder: Path) -> dict[str, bytes]:
    made = [
        folder / "report.md",
        folder / "report.html",
        *(folder / "figures").iterdir(),
        *(folder / "numbers").iterdir(),
    ]
    return {path.name: path.read_bytes() for path in made}


def section(report: str, heading: str) -> str:
    return report.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]


def test_golden_report(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, diverged=("sgd", "diabetes", 1), failed=("adam", "wine"))
    written = text(folder)
    if os.environ.get("EVALBENCH_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(written, encoding="utf-8", newline="\n")
    assert written.encode() == GOLDEN.read_bytes()


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_same_bytes_whatever_the_order_of_the_rows(tmp_path: Path, make_folder: Make) -> None:
    factors = {"activation": ["relu", "none"]}
    first = make_folder(tmp_path / "a", workloads=("digits",), factors=factors, diverged=("sgd", "digits", 0))
    second = make_folder(tmp_path / "b", workloads=("digits",), factors=factors, diverged=("sgd", "digits", 0))
    for name in ("results.csv", "curves.csv", "references.csv"):
        table = pd.read_csv(second / name, keep_default_na=False, dtype=str)
        table.sample(frac=1, random_state=3).to_csv(second / name, index=False)
    write(first)
    write(second)
    assert {"scores.png", "differences.png", "curves_epochs.png", "curves_steps.png"} < set(files(first))
    assert files(first) == files(second)
    before = files(second)
    write(second)  # what an earlier report left behind changes nothing
    assert files(second) == before


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_figures_carry_no_trace_of_the_software(tmp_path: Path, make_folder: Make) -> None:
    write(make_folder(tmp_path, workloads=("digits",)))
    for path in (tmp_path / "figures").glob("*.png"):
        assert not re.search(rb"tEXt|iTXt|zTXt|tIME", path.read_bytes())


@pytest.mark.slow
def test_every_figure_of_the_report_exists_with_its_numbers(tmp_path: Path, make_folder: Make) -> None:
    report = write(make_folder(tmp_path)).read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(((?:figures|numbers)/[^)]+)\)", report))
    assert {f"figures/{path.name}" for path in (tmp_path / "figures").iterdir()} <= links
    assert all((tmp_path / link).is_file() for link in links)
    assert re.findall(r"!\[\]", report) == []  # every figure has a text for those who cannot see it


@pytest.mark.slow
def test_the_numbers_beside_a_figure_are_those_of_a_plain_calculation(tmp_path: Path, make_folder: Make) -> None:
    write(make_folder(tmp_path, workloads=("digits",)))
    results = pd.read_csv(tmp_path / "results.csv").pivot(index="seed", columns="technique", values="score")
    gain = 100 * (results["adam"] - results["sgd"])
    half = stats.t.ppf(1 - 0.05 / 2 / 2, 3) * gain.std() * (1 / 4 + 20 / 60) ** 0.5
    numbers = pd.read_csv(tmp_path / "figures" / "differences.csv").set_index("candidate").loc["adam"]
    assert numbers["mean"] == pytest.approx(gain.mean())
    assert (numbers["low"], numbers["high"]) == pytest.approx((gain.mean() - half, gain.mean() + half))
    assert numbers["wins"] == (gain > 0).sum()


@pytest.mark.slow
def test_a_technique_that_failed_everywhere_is_reported_without_numbers(tmp_path: Path, make_folder: Make) -> None:
    report = write(make_folder(tmp_path, workloads=("digits",), failed=("adam", "digits"))).read_text(encoding="utf-8")
    assert "| `adam` | **INVALID** | no pairs with the baseline |" in report
    assert "4 failed and are left out" in report


@pytest.mark.slow
def test_curves_and_references_may_be_empty(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits", "wine"))
    for name in ("curves.csv", "references.csv"):
        pd.read_csv(folder / name).iloc[:0].to_csv(folder / name, index=False)
    report = write(folder).read_text(encoding="utf-8")
    assert "Learning curves" not in report
    assert "linear model had" not in report


@pytest.mark.slow
def test_test_rows_that_the_data_set_gives_are_described_as_what_they_are(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits", "wine"))
    raw = json.loads((folder / "evaluation.json").read_text())
    raw["workloads"]["wine"]["fixed_test_rows"] = 20
    raw["provenance"]["code"] = {"own.Net": {"own": "00ff", "made": "1.0"}}
    (folder / "evaluation.json").write_text(json.dumps(raw))
    mixed = text(folder)
    for words in (
        "- Splits: `wine` has the same 20 test rows for every seed, given by the data set; 20 % of its 100 rows",
        "20 % test of the rows of the other workloads, drawn anew for each of 4 seeds (root seed 0).",
        "All trials of `wine` are tested on the same rows, which the data set gives: the intervals hold for these test",
        "Every seed redraws its split of `digits` from one pool of rows",
        "Own code, by hashes of its syntax trees and versions of packages: `own.Net` (`own` 00ff, `made` 1.0).",
    ):
        assert words in mixed
    raw["workloads"]["digits"]["fixed_test_rows"] = 20
    (folder / "evaluation.json").write_text(json.dumps(raw))
    fixed = text(folder)
    assert "the same 20 test rows for every seed, given by the data set; 20 % of its 100 rows for validation" in fixed
    assert not re.findall(r"seed redraws|splits are redrawn|every seed draws its split|20 % test", fixed)


@pytest.mark.slow
def test_unequal_work_is_named_only_where_it_is_unequal(tmp_path: Path, make_folder: Make) -> None:
    unequal = text(make_folder(tmp_path / "a"))
    assert "Equal budgets were not equal work: it took 1/60 times the optimizer updates." in unequal
    folder = make_folder(tmp_path / "b")
    results = pd.read_csv(folder / "results.csv").assign(steps=7)
    results.to_csv(folder / "results.csv", index=False)
    equal = text(folder)
    assert "not equal work" not in equal
    assert "unequal work" not in equal


def test_a_descriptive_evaluation_is_set_against_its_references(tmp_path: Path, make_folder: Make) -> None:
    said = text(make_folder(tmp_path, techniques=("sgd",), factor=None))
    differences = section(said, "## Paired differences from the references")
    assert "### `sgd` − linear model" in differences
    assert "### `sgd` − trivial predictor" in differences
    assert "baseline" not in differences.split("</details>")[0]


def test_generated_workloads_do_not_count_as_data_sets(tmp_path: Path, make_folder: Make) -> None:
    said = text(make_folder(tmp_path))
    assert "mean over 3 data sets" in said
    assert "`moons` is generated" in said


@pytest.mark.slow
def test_accuracies_alone_are_averaged_in_points_and_mixed_metrics_in_skill(tmp_path: Path, make_folder: Make) -> None:
    points = text(make_folder(tmp_path / "a", workloads=("digits", "wine")))
    assert "in **accuracy points**" in points
    assert "skill" not in points
    assert "in **skill**" in text(make_folder(tmp_path / "b"))


def test_what_cannot_be_judged_keeps_its_name_and_is_not_called_worse(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, failed=("adam", "wine"))
    for file in (*folder.glob("*.csv"), *folder.glob("*.json")):
        file.write_text(file.read_text().replace("adam", "AdamW"))
    said = text(folder)
    assert "`AdamW` cannot be judged." in said
    assert "| `AdamW` | **INVALID** |" in said


def test_other_factors_have_an_effect_per_level(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits", "wine"), factors={"model.depth": ["1", "2", "4"]})
    said = text(folder)
    assert "### By `model.depth`: 1, 2, 4" in said
    assert "| `bgd` − `sgd` | **mean over 2 data sets** |" in said


@pytest.mark.slow
def test_one_seed_gives_means_without_intervals(tmp_path: Path, make_folder: Make) -> None:
    said = text(make_folder(tmp_path, seeds=1))
    assert "– (n = 1)" in said
    assert "With one seed no interval can be computed" in said


def test_identical_techniques_are_never_called_different(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits",), techniques=("sgd", "adam"))
    results = pd.read_csv(folder / "results.csv")
    results["score"] = 0.9
    results.to_csv(folder / "results.csv", index=False)
    said = text(folder)
    assert "– (no spread)" in section(said, "## Paired differences from the baseline `sgd`")
    assert "**90.0**" not in said


def test_names_that_pandas_takes_for_missing_are_kept(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path, workloads=("digits",), factors={"penalty": ["None", "NA"]})
    assert "`penalty` = `NA`" in text(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.iloc[1:], "no trial of 'sgd' for workload digits, seed 0"),
        (
            lambda table: pd.concat([table, table.iloc[[0]]]),
            "more than one row for technique sgd, workload digits, seed 0",
        ),
        (lambda table: table.drop(columns="state"), "has no column state"),
        (lambda table: table.assign(state="RUNNING"), "state must be one of COMPLETE, DIVERGED, FAILED, not 'RUNNING'"),
        (lambda table: table.assign(score=None), "score must be a finite number"),
        (lambda table: table.assign(direction="minimize"), "declares maximize test/accuracy"),
        (lambda table: table.assign(workload="mnist"), "workload must be one of digits, not 'mnist'"),
        (lambda table: table.iloc[:0], "has no trial"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(
    tmp_path: Path, make_folder: Make, spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    folder = make_folder(tmp_path, workloads=("digits",))
    spoil(pd.read_csv(folder / "results.csv")).to_csv(folder / "results.csv", index=False)
    with pytest.raises(TableError, match=re.escape(message)) as caught:
        text(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command_line_ends_with_0_or_2(
    tmp_path: Path, make_folder: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(make_folder(tmp_path, workloads=("digits",)))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Report   {tmp_path / 'report.html'}"
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "evaluation.json").write_text(json.dumps({"name": "x"}))
    assert main([str(tmp_path)]) == 2
    assert "does not describe an evaluation" in capsys.readouterr().err


@pytest.mark.slow
def test_a_report_needs_no_training_library() -> None:
    code = (
        "import sys, evalbench.report.__main__;"
        "print({'torch', 'wandb', 'hydra', 'lightning', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
