"""Many techniques and workloads: an overview with details to choose, pictures and tables that people can look at."""

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from evalbench.report import Report, judge
from evalbench.report.render import style
from evalbench.report.render.markdown import MOST_COLUMNS, MOST_ROWS, markdown

TALLEST = 2200  # pixels


def results(techniques: int, workloads: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "technique": f"t{t:02d}",
            "workload": f"w{w:03d}",
            "seed": seed,
            "accuracy": 0.6 + 0.01 * t + 0.003 * ((5 * t + 3 * w + 7 * seed) % 11),
        }
        for t, w, seed in product(range(techniques), range(workloads), range(2))
    )


def data_of(folder: Path) -> dict[str, Any]:
    page = (folder / "report.html").read_text(encoding="utf-8")
    match = re.search(r'id="page-data">(.*?)</script>', page, re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def height(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.height


@pytest.fixture(scope="module")
def many() -> Report:
    return judge(results(9, 16), baseline="t00", score="accuracy", pairing="seed", test_size=100)


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_many_differences_are_means_and_a_heat_map_with_details_to_choose(many: Report, tmp_path: Path) -> None:
    folder = many.save(tmp_path).parent
    plot = data_of(folder)["plots"]["differences"]
    means, heat = plot["panels"]
    assert [trace["technique"] for trace in means["data"]] == list(range(8, 0, -1))  # the best on top
    shown = pd.DataFrame(heat["data"][0]["z"], heat["data"][0]["rows"], heat["data"][0]["columns"])
    numbers = many.frame("differences").dropna(subset=["pairs"]).set_index(["candidate", "workload"])["mean"]
    assert shown.stack().to_dict() == pytest.approx(numbers.to_dict(), rel=1e-5, abs=1e-12)
    assert [(detail["choose"], len(detail["panels"])) for detail in plot["details"]] == [
        ("technique", 8),
        ("workload", 16),
    ]
    for picture in (folder / "figures").glob("*.png"):
        assert height(picture) < TALLEST, picture


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_a_figure_of_many_workloads_shows_some_in_the_picture_and_all_in_the_page(tmp_path: Path) -> None:
    report = judge(results(2, 40), baseline="t00", score="accuracy", pairing="seed", test_size=100)
    folder = report.save(tmp_path).parent
    (detail,) = data_of(folder)["plots"]["scores"]["details"]
    assert len(detail["panels"]) == 40
    assert height(folder / "figures" / "scores.png") < TALLEST
    assert "The picture has the first 21 of 40 workloads, `report.html` has all." in report.markdown


def test_thirty_techniques_can_be_told_apart() -> None:
    looks = [style.look(index) for index in range(30)]
    for kinds in (("color", "symbol"), ("color", "dash"), ("dark", "symbol"), ("dark", "dash")):
        assert len({tuple(look[kind] for kind in kinds) for look in looks}) == 30
    drawn = [(style.color(index), str(style.dashes(index))) for index in range(30)]
    assert len(set(drawn)) == 30


def test_a_table_that_is_too_large_is_cut_and_says_so() -> None:
    header = [f"c{index}" for index in range(MOST_COLUMNS + 3)]
    lines = markdown(header, [header] * (MOST_ROWS + 1)).split("\n")
    assert lines[-1] == "*The table shows 300 of 301 rows and 32 of 35 columns.*"
    assert len(lines) == 2 + MOST_ROWS + 2
    assert {line.count("|") for line in lines[:-2]} == {MOST_COLUMNS + 1}
    assert "table shows" not in markdown(header[:3], [header[:3]])
