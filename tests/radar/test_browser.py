"""The pages in a browser: search, hover, evidence, sorting; no error, and no request to a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalbench.radar import build
from radar.test_radar import evaluation, verdict

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as Debian's package chromium"),
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for number, date in enumerate(("2026-01-01", "2026-02-01")):
        qualities = ["BETTER", "WORSE", "INCONCLUSIVE"][number:]
        mine = [verdict(f"{name}{index}", q) for index, q in enumerate(qualities) for name in ("adam", "lion")]
        evaluation(folder, f"e{number}", date, *mine, factor=f"f{number}")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    requests: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    yield opened
    assert not complaints
    assert all(url.startswith("file:") for url in requests)
    assert opened.evaluate("document.documentElement.scrollWidth") == 390  # nothing is wider than a phone
    opened.close()


def test_a_blip_is_searched_hovered_and_opened(page: Any, reports: Path) -> None:
    page.goto(f"file://{reports}/radar.html")
    blips = page.locator(".blip")
    page.fill("#find", "lion0")
    assert page.locator(".blip.faded").count() == blips.count() - page.locator(".lists li:visible").count() > 0
    page.fill("#find", "adam2")  # is open
    assert page.locator(".lists li:visible").all_text_contents()[0].startswith("adam2")
    assert page.locator(".lists h4:visible").all_text_contents() == ["open"]
    assert page.locator("#matches").text_content() == "1 of 10 techniques"
    page.fill("#find", "none such")
    assert page.locator("#matches").text_content() == "nothing matches"
    assert page.locator(".lists .group:visible").count() == 0
    page.fill("#find", "")
    assert page.locator(".blip.faded").count() == 0
    blips.first.hover()
    assert page.locator("#pointed").text_content().startswith("1. adam0: Trial, better (+1.00 accuracy points)")
    assert page.locator(".lists li.pointed").count() == 1
    blips.first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("details[open]")  # the page opens it when its address has changed
    (opened,) = page.locator("details[open]").all()
    assert opened.locator("tbody tr").count() == 1


def test_the_index_is_sorted_and_filtered(page: Any, reports: Path) -> None:
    page.set_viewport_size({"width": 1200, "height": 800})
    page.goto(f"file://{reports}/index.html")
    names = page.locator("#evaluations tbody tr:visible strong")
    assert names.all_text_contents() == ["e1", "e0"]
    page.locator("th", has_text="date").click()
    assert names.all_text_contents() == ["e0", "e1"]
    page.locator("th", has_text="evaluation").focus()
    for expected in (["e0", "e1"], ["e1", "e0"]):
        page.keyboard.press("Enter")
        assert names.all_text_contents() == expected
    page.fill("#find", "F1")
    assert names.all_text_contents() == ["e1"]
    assert page.locator("output").text_content() == "1 of 2 rows"
    page.set_viewport_size({"width": 390, "height": 800})
