import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import make_cell
from evalbench.errors import ConfigError, DataError
from evalbench.workloads import Kind
from evalbench.workloads.csv import load


def write(folder: Path, text: str) -> str:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
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


@pytest.mark.slow
def test_columns_to_leave_out_are_one_or_several_and_a_few_numbers_among_words_are_words(tmp_path: Path) -> None:
    path = write(tmp_path, "id,2,grade,y\n" + rows("#,7,1,a", 6) + rows("#,8,2b,b", 6))
    assert load(path, drop=["id", 2]).features == ("grade=1", "grade=2b")
    assert load(path, drop="id").features == ("2", "grade=1", "grade=2b")
    by_table: dict[str, str | list[str | int]] = {"other": ["x"], "mine": ["id", 2]}
    assert load(path, name="mine", drop=by_table).features == ("grade=1", "grade=2b")
    with pytest.raises(ConfigError, match=r"must have columns for the table another too.*: add another: "):
        load(path, name="another", drop=by_table)
    for given in ("[id,2]", f"{{{Path(path).stem}:[id,2],other:[x]}}"):
        composed = make_cell("dataset=csv", f"dataset.path={path}", f"dataset.drop={given}")
        assert composed.dataset.features == ("grade=1", "grade=2b")


def column(folder: Path, values: Iterable[str], delimiter: str = ",") -> NDArray[Any]:
    """The one input of a table with these values, which must be read as numbers."""
    lines = [f"{value}{delimiter}{'ab'[place % 2]}\n" for place, value in enumerate(values)]
    dataset = load(write(folder, f"x{delimiter}y\n" + "".join(lines)))
    assert dataset.features == ("x",)
    assert dataset.description.startswith("numbers read: x: ")
    return dataset.inputs[:, 0]


def test_numbers_in_dress_are_numbers(tmp_path: Path) -> None:
    numbers = np.array([1234, -0.5, 12345.25, 99, 7, 1000, 0, -2, 3, 4, 5, 6], np.float32)
    for dress in (
        '"{:,.2f}"', "{:.2f}%", "${:.2f}", "{:.2f} €", "{:.2f}h", "{:.2f} km/h", "{:.2f}\N{NO-BREAK SPACE}°C",
        '"US$ {:,.2f}"',
    ):  # fmt: skip
        assert column(tmp_path, map(dress.format, numbers.tolist())).tolist() == numbers.tolist()
    bracketed = [f'"({-number:,})"' if number < 0 else f'"{number:,}"' for number in numbers.tolist()]
    assert column(tmp_path, bracketed).tolist() == numbers.tolist()
    continental = [f"{number:,}".translate({44: ".", 46: ","}) for number in numbers.tolist()]
    assert column(tmp_path, continental, ";").tolist() == numbers.tolist()
    assert column(tmp_path, (number.replace(".", " ") for number in continental), ";").tolist() == numbers.tolist()
    missing = column(tmp_path, ["5%", "NA", "", *map("{}%".format, range(9))])
    assert np.isnan(missing).tolist() == [False, True, True, *[False] * 9]
    prices = load(write(tmp_path, "x,y\n" + rows('#,"$1,#00.5"', 10)), kind="regression")
    assert prices.targets.tolist() == [1000.5 + 100 * place for place in range(10)]
    assert prices.description == "numbers read: y: $1,000.5 as 1000.5"


def test_a_comma_is_what_the_file_shows_it_to_be_or_the_choice_is_refused(tmp_path: Path) -> None:
    def read(delimiter: str, *columns: str, **settings: Any) -> list[float]:
        lines = [delimiter.join([*columns, "ab"[place % 2]]) for place in range(12)]
        names = delimiter.join([*(f"x{place}" for place in range(len(columns))), "y"])
        inputs: NDArray[Any] = load(write(tmp_path, "\n".join([names, *lines])), **settings).inputs
        return list(inputs[0])

    half = 0.5
    assert read(",", '"1,234"') == [1234]  # beside commas, a comma is no decimal mark
    assert read(",", '"1,234"', '"0,5"') == [np.float32(1.234), half]  # unless another column shows it
    assert read(";", "1,234", "0,5") == [np.float32(1.234), half]
    assert read(";", "1,234", "0.5") == [1234, half]
    assert read(";", "1.234") == [np.float32(1.234)]
    assert read(";", "1.234", "0,5") == [1234, half]
    assert read(";", "1,234,567", "1,234") == [1234567, 1234]
    for columns in (("1,234",), ("1,234", "0,5", "0.5")):
        with pytest.raises(DataError, match=r"'1,234' in line 2 may be 1234 or 1\.234: say dataset\.decimal="):
            read(";", *columns)
    assert read(";", "1,234", decimal="comma") == [np.float32(1.234)]
    assert read(";", "1,234", decimal="point") == [1234]


def test_what_is_no_number_is_neither_a_number_nor_a_category_of_each_row(tmp_path: Path) -> None:
    for value in (
        "2024-01-{:02}", "{}/2", "{}.3.2024", "{}:30", "A{}", "<{}", "{}-9", "1.2.{}", "--{}", "(-{})", "id_{}",
        "12 345{}", '"1,2,3{}"', "0x{}",
    ):  # fmt: skip
        text = "x,z,y\n" + "".join(f"{value.format(place)},{place}.5,{place % 2}\n" for place in range(10, 40))
        with pytest.raises(DataError, match=r"text column 'x' has 30 different values in 30 rows.*dataset\.drop=\[x\]"):
            load(write(tmp_path, text))
    for odd in ("3.5", "3.5 EUR", "-", "n.a.", "NAN", "(5", "5 5", "inf"):
        text = "x,y\n" + "".join(f"{place}%,{place % 2}\n" for place in range(30)) + f"{odd},0\n7%,1\n{odd},1\n"
        with pytest.raises(
            DataError, match=re.escape(f"'x' holds numbers, but {odd!r} in line 32, {odd!r} in line 34:")
        ):
            load(write(tmp_path, text))
    few = load(write(tmp_path, "x,y\n" + rows("5%,a", 6) + rows("7 EUR,b", 6)))
    assert few.features == ("x=5%", "x=7 EUR")


def test_white_space_makes_no_class_category_or_column(tmp_path: Path) -> None:
    blanks = ["", " ", "\t", "\N{NO-BREAK SPACE}", "\u2003", "\u3000", "\ufeff", "\u200b"]
    lines = [f"{blank}red  wine{blank},{blank}{place}.5{blank},{blank}yes{blank}" for place, blank in enumerate(blanks)]
    lines += ['"blue ", 9,no'] * 8 + ["NA , n/a ,no"]
    dataset = load(write(tmp_path, "\ufeff \ufeffcolour\t,\N{NO-BREAK SPACE}size , label \n" + "\n".join(lines)))
    assert dataset.features == ("colour=(missing)", "colour=blue", "colour=red wine", "size")
    assert dataset.classes == ("no", "yes")
    assert dataset.inputs[:8, 3].tolist() == [place + 0.5 for place in range(8)]
    accents = load(write(tmp_path, "x,y\n" + rows("#,caf\u00e9", 6) + rows("#,cafe\u0301", 6) + rows("#,tea", 6)))
    assert accents.classes == ("caf\u00e9", "tea")


def test_truth_values_are_words(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, "x,y\n" + rows("TRUE,true", 5) + rows("False,false", 5) + rows(",True", 2)))
    assert dataset.features == ("x=(missing)", "x=False", "x=True")
    assert dataset.classes == ("False", "True")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_the_file(tmp_path: Path, end: str) -> None:
    text = 'sep=;\n\n"x";note;y\n\n1;"two\nlines";a\n \n' + rows("#;plain;b", 40) + '?;"a ""quoted""; one";a\n5;;\n'
    (tmp_path / "table.csv").write_bytes(text.replace("\n", end).encode())
    with pytest.raises(DataError) as refused:
        load(str(tmp_path / "table.csv"))
    assert "(1) column 'x' holds numbers, but '?' in line 48" in str(refused.value)
    assert "(2) the target 'y' is missing in line 49" in str(refused.value)


def test_a_column_of_texts_may_have_lines_that_look_like_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "source,text\n" + rows('a,"one\ntwo, three"', 6) + rows("b,five", 6))
    with pytest.raises(DataError, match=r"swallows the rows .* name columns of texts .* dataset\.text=\[COLUMN\]"):
        load(path, target="source")
    assert load(path, target="source", text=["text"], text_as="tokens").targets.tolist() == [0] * 6 + [1] * 6


def test_no_row_is_lost(tmp_path: Path) -> None:
    good = rows("#,plain,no", 20) + rows("#,plain,yes", 20)
    for bad, reason in (
        ('1,"pipe,yes\n' + good + '2,"hose,no\n', "the row in line 42 do not match (line 83: "),
        ('1,"pipe,yes\n' + good, "the row in line 42 do not match (line 82: unexpected end of data)"),
        ('1,"pipe,yes\n' + good + '2,hose",no\n', "a quote that opens in line 42 swallows the rows up to line 83"),
        ('1,"pipe,yes\n2,hose",no\n', "a quote that opens in line 42 swallows the rows up to line 43"),
        ('1,"pi"pe,yes\n', "the row in line 42 do not match"),
        ("1,pipe\n2,pi,pe,no\n3\n", "not 2 in line 42, 4 in line 43, 1 in line 44"),
        (rows("1,2", 9), "2 in line 46 and 4 more"),
        ("1,\0pipe,no\n", "line 42 has a zero byte"),
    ):
        with pytest.raises(DataError, match=re.escape(reason)):
            load(write(tmp_path, "x,part,y\n" + good + bad))
    inches = load(write(tmp_path, "x,part,y\n" + good + rows('#,5" pipe,yes', 2) + rows('#,"3"" pipe,\nlong",no', 2)))
    assert len(inches.inputs) == 44
    assert inches.features[1:] == ('part=3" pipe, long', 'part=5" pipe', "part=plain")
    trailing = load(write(tmp_path, "x,part,y,\n" + good.replace("\n", ",\n")))  # every line ends with a comma
    assert trailing.features == ("x", "part=plain")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    lines = [f"{place},{place}.5,t{place},{place % 2}" for place in range(40)]
    lines[3], lines[5], lines[7], lines[9] = "1,2", "1,?,t,1", "1,inf,t,", "x,0,t,0"
    with pytest.raises(DataError) as refused:
        load(write(tmp_path, "a,b,c,y\n" + "\n".join(lines)), drop=["z"])
    said = str(refused.value)
    assert "6 things are wrong: (1) a row must have 4 values" in said
    for part in (
        "2 in line 5",
        "no column 'z'",
        "'x' in line 11",
        "'?' in line 7",
        "text column 'c'",
        "missing in line 9",
    ):
        assert part in said
    many = ",".join(f"c{place}" for place in range(50))
    broken = "".join(
        ",".join(f"{'?' * 99 if place == line else line}" for place in range(50)) + ",1\n" for line in range(50)
    )
    with pytest.raises(DataError) as refused:
        load(write(tmp_path, f"{many},y\n" + broken))
    assert "50 things are wrong" in str(refused.value)
    assert "and 40 more" in str(refused.value)
    assert len(str(refused.value)) < 3000


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("", {}, "the file is empty"),
        ("\ufeff\n \n", {}, "the file is empty"),
        ("sep=;\n", {}, "the file is empty"),
        ("x, x ,y\n" + rows("1,#,1", 6), {}, "two columns are called 'x'"),
        ("x,y\n" + rows("true,true", 6) + rows("false,false", 6), {"kind": "regression"}, "not 'true' in line 2"),
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
        ("x,y\n1,2,3\n1,2\n1\n1,2,3,4,5\n", {}, "not 3 in line 2, 1 in line 4, 5 in line 5"),
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
        load("x.csv", kind="guessing")
    with pytest.raises(ConfigError, match=r"dataset\.delimiter"):
        load("x.csv", delimiter="")
    with pytest.raises(ConfigError, match=r"dataset\.decimal"):
        load("x.csv", decimal=",")
    (tmp_path / "latin.csv").write_bytes("naïve,y\n1,1".encode("latin-1"))
    with pytest.raises(DataError, match="not text in UTF-8"):
        load(str(tmp_path / "latin.csv"))


def test_codes_may_be_numbers_and_others(tmp_path: Path) -> None:
    path = write(tmp_path, "zip,y\n" + (rows("98#,a", 30) + rows("98#,b", 30)) * 3 + "98115-4820,a\n")
    with pytest.raises(DataError, match=r"'98115-4820' in line 182: write plain .* dataset\.categories=\[zip\]"):
        load(path)
    assert {"zip=98115-4820", "zip=989"} < set(load(path, categories=["zip"]).features)
