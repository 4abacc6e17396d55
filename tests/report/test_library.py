"""The library of the figures: one copy beside the reports, one in a folder that stands alone, or inside the page."""

from pathlib import Path

import pytest

from evalbench.report import Report, judge
from evalbench.report.render import library
from report.test_many import results


@pytest.fixture(scope="module")
def report() -> Report:
    return judge(results(2, 2), baseline="t00", score="accuracy", pairing="seed", test_size=100)


def sources(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_reports_below_an_index_share_one_copy_which_is_written_once(report: Report, tmp_path: Path) -> None:
    (tmp_path / "index.md").touch()
    report.save(tmp_path / "one")
    copy = tmp_path / library.name()
    assert copy.read_bytes() == library.source()
    written = copy.stat().st_mtime_ns
    report.save(tmp_path / "two")
    assert copy.stat().st_mtime_ns == written
    assert f'src="../{library.name()}"' in sources(tmp_path / "two")
    assert not list(tmp_path.glob(f"*/{library.name()}"))


@pytest.mark.slow
def test_a_report_elsewhere_has_its_own_copy_or_the_library_inside(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "own")
    assert f'src="{library.name()}"' in sources(tmp_path / "own")
    assert (tmp_path / "own" / library.name()).exists()
    report.save(tmp_path / "alone", standalone=True)
    assert library.name() not in sources(tmp_path / "alone").split("<script")[-1]
    assert "plotly.js v" in sources(tmp_path / "alone")
    assert not (tmp_path / "alone" / library.name()).exists()
