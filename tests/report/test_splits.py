"""What the report says of splits, and what they add to the intervals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalbench.record.folder import load
from evalbench.record.repetitions import RowScope
from evalbench.report.analysis.findings import find
from evalbench.report.sections import splits

Make = Callable[..., Path]


def with_splits(folder: Path, **workloads: dict[str, Any]) -> Path:
    """Declare how the rows of some workloads were divided."""
    path = folder / "evaluation.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for name, fields in workloads.items():
        raw["workloads"][name] |= fields
    path.write_text(json.dumps(raw), encoding="utf-8")
    return folder


GIVEN = {"fixed_test_rows": 20, "fixed_validation_rows": 10}
EQUAL = {"test": 20, "inputs": 3, "all": 1}


def test_each_method_has_its_rho_and_its_words(tmp_path: Path, make_folder: Make) -> None:
    folder = with_splits(
        make_folder(tmp_path, techniques=("sgd", "bgd")),
        digits={"split": "group", "equal_rows": EQUAL},
        wine={"split": "kfold", "folds": 5, "equal_rows": {**EQUAL, "inputs": 0, "all": 0}},
        moons={"split": "time"},
        diabetes=GIVEN,
    )
    findings = find(load(folder))
    assert findings.rho == pytest.approx({"digits": 1 / 3, "wine": 1 / 4, "moons": 0, "diabetes": 0})
    new, same = RowScope.NEW_ROWS, RowScope.THESE_ROWS
    assert findings.scope.rows == {"digits": new, "wine": new, "moons": same, "diabetes": same}
    assert splits.splits(findings).split("; ") == [
        "`diabetes` has the same 20 test and 10 validation rows for every seed, given by the data set",
        "the others are for training",
        "60 % train, 20 % validation, 20 % test of the rows of `digits`, whole groups each, drawn anew for each of"
        " 4 seeds (root seed 0)",
        "5 folds of the rows of `wine` (root seed 0), each seed is tested on one of them",
        "20 % of the rows for validation come from the other folds",
        "60 % train, 20 % validation, 20 % test of the rows of `moons`, from the earliest to the latest, the same for"
        " every seed",
    ]
    given, latest, fold, drawn, *equal = splits.caveats(findings)
    assert "of `diabetes` are tested on the same rows, which the data set gives: the intervals hold for these" in given
    assert "of `moons` are tested on the same rows, the latest ones, and trained on the same rows" in latest
    assert "Every seed of `wine` is tested on a fold" in fold
    assert "add 1 / (folds − 1) (here 0.25) to 1/n" in fold
    assert "Every seed redraws its split of `digits` from one pool" in drawn
    assert equal == [
        "3 of 20 test rows of `digits` equal a training row in all inputs, 1 of them in the target too (first split): a"
        " model may know these by heart.",
        "No test row of `wine` equals a training row in all inputs (first split).",
        "Whether test rows of `moons` and `diabetes` equal training rows is not known.",
    ]


def test_folds_drawn_anew_one_split_and_given_validation_rows(tmp_path: Path, make_folder: Make) -> None:
    folder = with_splits(
        make_folder(tmp_path, techniques=("sgd", "bgd")),
        digits={"split": "repeated_kfold", "folds": 3},
        wine={"split": "fixed"},
        diabetes={"fixed_validation_rows": 10},
    )
    findings = find(load(folder))
    assert findings.rho == pytest.approx({"digits": 1 / 2, "wine": 0, "moons": 1 / 3, "diabetes": 1 / 3})
    said = splits.splits(findings)
    assert "; 20 % of its 100 rows for the test and the others for training are drawn anew for each of 4 seeds" in said
    assert "each 3 seeds draw the folds anew" in said
    assert "20 % test of the rows of `wine`, drawn once for all seeds (root seed 0)" in said
    assert "tested on the same rows, drawn once, and" in splits.caveats(findings)[0]
