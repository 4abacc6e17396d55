"""The folder of an evaluation: what evalbench 0.1.0 wrote is read, what a newer one writes is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.record.declared import declaration, read_evaluation
from evalbench.record.schema import VERSION
from evalbench.record.skill import best_possible
from evalbench.report import Report, read
from report.conftest import make

FIRST = Path(__file__).parents[1] / "data" / "version_0_1_0" / "report"
MEASURED = [
    "technique", "updates", "examples", "flops", "cost_class", "unit", "effect", "rope", "wins", "ties", "losses",
    "failed_alone", "baseline_failed_alone", "cost_ratio", "cost_low", "cost_high", "num_datasets", "num_pairs",
    "floor",
]  # fmt: skip
"""Columns that no later rule of decision changes."""


@pytest.mark.slow
def test_a_folder_of_the_first_version_gives_the_numbers_that_it_gave() -> None:
    report = read(FIRST)
    expected = pd.read_csv(FIRST / "verdicts.csv")[MEASURED].replace({"unit": {"skill": "skill points"}})
    expected[["effect", "rope", "floor"]] *= 100  # 0.1.0 printed skill as a share
    pd.testing.assert_frame_equal(report.verdicts[MEASURED], expected, check_dtype=False, rtol=1e-8)
    assert len(report.frame("tuning_choices")) == 10
    (default,) = report.frame("default_verdicts").to_dict("records")  # as 0.1.0 wrote it
    assert (default["candidate"], default["quality"]) == ("adam", "INCONCLUSIVE")
    assert default["effect"] == pytest.approx(-18.35555806)


@pytest.mark.parametrize("version", [VERSION + 1, -1, "2", None])
def test_a_version_that_nobody_knows_is_refused_in_one_line(tmp_path: Path, version: object) -> None:
    raw = json.loads((FIRST / "evaluation.json").read_text(encoding="utf-8"))
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**raw, "version": version}), encoding="utf-8")
    with pytest.raises(TableError, match=f"version must be 0 to {VERSION}, not {version!r}"):
        read_evaluation(path)
    shutil.copy(FIRST / "evaluation.json", path)
    assert read_evaluation(path).name == "old"


@pytest.mark.slow
def test_a_metric_of_the_users_is_averaged_as_it_was_declared(tmp_path: Path) -> None:
    folder = make(tmp_path, workloads=("digits", "wine"), techniques=("sgd", "adam"))

    def declare(**more: object) -> Report:
        raw = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        for workload in raw["workloads"].values():
            workload.update(metric="test/gain", unit="", **more)
        (folder / "evaluation.json").write_text(json.dumps(raw), encoding="utf-8")
        for name in ("results.csv", "references.csv"):
            table = pd.read_csv(folder / name).assign(metric="test/gain", unit="")
            table.to_csv(folder / name, index=False)
        return read(folder)

    assert "in **skill**" in declare(best=1.0, words="relative gain").markdown
    with pytest.raises(TableError, match="no smallest difference that matters is declared for 'gain'"):
        declare(best=None)
    raw = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    (folder / "evaluation.json").write_text(json.dumps({**raw, "rope": {"gain": 0.01}}), encoding="utf-8")
    report = read(folder)
    assert report.verdicts["unit"].iloc[1] == "relative gain"
    assert "in **relative gain**" in report.markdown


def test_best_possible_is_declared_never_guessed() -> None:
    workload = next(iter(read_evaluation(FIRST / "evaluation.json").workloads.values()))
    scores = [best_possible(replace(workload, metric=f"test/{name}")) for name in ("r2", "rmse", "perplexity")]
    assert scores == [1.0, 0.0, 1.0]
    assert best_possible(replace(workload, metric="test/bleu", best=100.0)) == 100.0
    with pytest.raises(TableError, match="metric 'test/bleu' has no best possible score"):
        best_possible(replace(workload, metric="test/bleu"))


def test_looks_are_read_as_they_were_declared(tmp_path: Path) -> None:
    path, raw = tmp_path / "evaluation.json", json.loads((FIRST / "evaluation.json").read_text(encoding="utf-8"))

    def looks(**more: object) -> tuple[int, ...]:
        path.write_text(json.dumps({**raw, **more}), encoding="utf-8")
        return read_evaluation(path).looks

    assert looks() == (3,)  # version 0.1.0 declares none
    assert looks(looks=[2, 3], declared=declaration({**raw, "looks": [2, 3]})) == (2, 3)
    with pytest.raises(TableError, match=r"\(ROPE, baseline, targets, looks\) was altered"):
        looks(looks=[2, 3])
    for wrong in ([3, 2], [2], [3, 3], []):
        with pytest.raises(TableError, match="looks must be ascending numbers that end at num_seeds"):
            looks(looks=wrong, declared=None)
