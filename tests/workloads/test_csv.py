import re
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


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_and_beside_others_commas_are_decimal(tmp_path: Path, delimiter: str) -> None:
    decimal = "." if delimiter == "," else ","
    text = "\ufeffsize kg,label\n" + rows("#@5,a", 6) + rows("-#@25,b", 6)
    path = write(tmp_path, text.replace(",", delimiter).replace("@", decimal))
    for given in (None, "\\t" if delimiter == "\t" else delimiter):
        dataset = load(path, delimiter=given)
        assert dataset.features == ("size kg",)
        assert dataset.inputs[[1, 7], 0].tolist() == [1.5, -1.25]


def test_columns_to_leave_out_are_one_or_several_and_a_few_numbers_among_words_are_words(tmp_path: Path) -> None:
    path = write(tmp_path, "id,2,grade,y\n" + rows("#,7,1,a", 6) + rows("#,8,2b,b", 6))
    assert load(path, drop=["id", 2]).features == ("grade=1", "grade=2b")
    assert load(path, drop="id").features == ("2", "grade=1", "grade=2b")


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
        ("x,y\n" + rows("#,1", 30) + "?,0\n" + rows("#,0", 30), {}, "'?' in line 32"),
        ("x,y\n" + rows("17000000##,1", 9) + rows("1700000#00,0", 9), {}, "32 bits cannot tell"),
        ("x,y\n" + rows("#,10000000#", 9), {"kind": "regression"}, "32 bits cannot tell"),
        ("x,y\n" + rows("#e300,1", 6) + rows("#,0", 6), {}, "too large for 32 bits"),
        ("6,148,33.6,1\n" + rows("1,#,0.5,1", 6) + rows("1,#,0.5,0", 6), {}, "data instead of names"),
        ("x,y,x\n" + rows("1,#,1", 6) + rows("1,#,0", 6), {}, "two columns are called 'x'"),
        ("x,y\n" + rows("1,#,1", 6) + rows("1,#,0", 6), {}, "more values than the header line has names"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, text: str, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        load(write(tmp_path, text), **settings)  # type: ignore[arg-type]


def test_no_such_file_kind_delimiter_or_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(str(tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match=r"dataset\.kind"):
        load("x.csv", kind="ranking")
    with pytest.raises(ConfigError, match=r"dataset\.delimiter"):
        load("x.csv", delimiter="")
    (tmp_path / "latin.csv").write_bytes("naïve,y\n1,1".encode("latin-1"))
    with pytest.raises(DataError, match="not text in UTF-8"):
        load(str(tmp_path / "latin.csv"))
