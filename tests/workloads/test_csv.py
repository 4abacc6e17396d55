from pathlib import Path

import numpy as np
import pytest

from evalbench.errors import ConfigError, DataError
from evalbench.workloads import Kind
from evalbench.workloads.csv import load


def write(folder: Path, text: str) -> str:
    path = folder / "table.csv"
    path.write_text(text)
    return str(path)


def rows(line: str, count: int) -> str:
    return "".join(line.replace("#", str(number)) + "\n" for number in range(count))


def test_numbers_categories_and_missing_values(tmp_path: Path) -> None:
    path = write(tmp_path, "age,colour,kind,label\n" + rows("#,red,x,yes", 6) + ",,y,no\n" + rows("#,blue,y,no", 5))
    dataset = load(path, drop=["kind"])
    assert dataset.name == "table"
    assert dataset.kind is Kind.BINARY
    assert dataset.classes == ("no", "yes")
    assert dataset.features == ("age", "colour=(missing)", "colour=blue", "colour=red")
    assert dataset.numeric.tolist() == [True, False, False, False]
    assert np.isnan(dataset.inputs[6, 0])
    assert dataset.inputs[6, 1:].tolist() == [1.0, 0.0, 0.0]
    assert dataset.targets.tolist() == [1] * 6 + [0] * 6


def test_the_target_is_named_or_the_last_column_and_numbers_can_be_classes(tmp_path: Path) -> None:
    path = write(tmp_path, "label,x\n" + rows("1,#", 6) + rows("0,#", 6) + rows("2,#", 6))
    dataset = load(path, target="label")
    assert dataset.kind is Kind.MULTICLASS
    assert dataset.classes == ("0", "1", "2")
    assert load(path, kind="regression").targets.tolist() == [*range(6)] * 3


def test_content_makes_the_fingerprint_the_file_name_does_not(tmp_path: Path) -> None:
    text = "x,y\n" + rows("#,0", 6) + rows("#,1", 6)
    one = load(write(tmp_path, text))
    (tmp_path / "other.csv").write_text(text)
    other = load(str(tmp_path / "other.csv"))
    changed = load(write(tmp_path, text.replace("5,1", "6,1")))
    assert one.fingerprint == other.fingerprint != changed.fingerprint


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("", {}, "the file is empty"),
        ("x,y\n", {}, "no rows"),
        ("y\n1\n2\n", {}, "only one column"),
        ("x,y\n" + rows("#,1", 12), {}, "one class only"),
        ("x,y\n" + rows("#,1", 12) + "3,0\n", {}, "at least 5 rows"),
        ("x,y\n" + rows("#,1", 12) + "3,\n", {}, "missing in line 14"),
        ("x,y\n" + rows("#,1", 12) + "3,abc\n", {"kind": "regression"}, "must be a number, not 'abc'"),
        ("x,y\n" + rows("#,1", 12), {"kind": "regression"}, "one value only"),
        ("x,y\n" + rows("#,#", 30), {}, "dataset.kind=regression"),
        ("x,y\n" + rows("#,1", 6) + rows("#,0", 6), {"target": "z"}, "no column 'z'"),
        ("x,y\n" + rows("#,1", 6) + rows("inf,0", 6), {}, "infinite"),
        ("x,y\n" + rows("text#,1", 60) + rows("more#,0", 60), {}, "dataset.drop="),
        ("x,y\n1,2,3\n1,2\n1\n1,2,3,4,5\n", {}, "cannot be read as CSV"),
        ("y,x\n" + rows("1,#", 6) + rows("0,#", 6), {"target": "y", "drop": ["x"]}, "at least one input column"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, text: str, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(DataError, match=reason.replace("(", r"\(")):
        load(write(tmp_path, text), **settings)  # type: ignore[arg-type]


def test_no_such_file_and_no_such_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(str(tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match=r"dataset\.kind"):
        load("x.csv", kind="ranking")
