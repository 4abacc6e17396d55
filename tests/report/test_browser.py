"""A page in Chromium: tables, figures, folding, the dark, a phone, paper; no error and no request to the network."""

import html
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser import CHROMIUM, REQUIRED, chromium
from evalbench.report import judge
from test_names import HOSTILE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason="Chromium is not installed: make services"),
]
EVIL = f"evil {HOSTILE[0]} <b>bold</b> <a href='https://example.org'>x</a>"
TECHNIQUES = ("sgd", "adam", EVIL)


def results() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "technique": technique,
            "workload": workload,
            "seed": seed,
            "accuracy": 0.7 + 0.03 * index + 0.01 * ((7 * seed + 3 * index + len(workload)) % 5),
            "cost_seconds": 1.0 + index + 0.01 * seed,
        }
        for index, technique in enumerate(TECHNIQUES)
        for workload in ("digits", "wine", "iris")
        for seed in range(6)
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "report"
    return judge(results(), baseline="sgd", score="accuracy", unit="split", test_size=100).save(folder).parent


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


class Visit:
    """A page that is open, and all that it should not have done."""

    def __init__(self, browser: Browser, path: Path, **settings: Any) -> None:
        self.page = browser.new_context(**settings).new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", lambda request: self.asked(request.url))
        self.page.goto(path.as_uri())

    def asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.faults.append(url)


@pytest.fixture(scope="module")
def visit(browser: Browser, report: Path) -> Visit:
    return Visit(browser, report / "report.html", viewport={"width": 1400, "height": 900}, color_scheme="light")


@pytest.fixture
def page(visit: Visit) -> Iterator[Page]:
    visit.page.set_viewport_size({"width": 1400, "height": 900})
    visit.page.emulate_media(media="screen", color_scheme="light")
    visit.page.evaluate("scrollTo(0, 0)")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator(".js-plotly-plot").nth(2)).to_be_visible()
    yield visit.page
    assert visit.faults == []


def chapter(page: Page, title: str) -> Locator:
    return page.locator("details.chapter", has=page.get_by_role("heading", name=title, exact=True))


def first_cells(table: Locator, column: int) -> list[str]:
    return table.locator(f"tbody tr:not([hidden]) td:nth-child({column})").all_inner_texts()


POINT = """(box, [trace, number]) => {
    const {xaxis, yaxis} = box._fullLayout, data = box._fullData[trace], area = box.getBoundingClientRect();
    const x = xaxis.d2p(data.x[number]), y = yaxis.d2p(data.y[number]);
    return [area.left + xaxis._offset + x, area.top + yaxis._offset + y];
}"""
"""Where a point is, in pixels."""


def hover(page: Page, figure: str, trace: int, number: int = 0) -> Locator:
    """Move to a point of a figure's first panel until its card is there: figures above it may still be drawn."""
    box, card = page.locator(f"figure[data-plot={figure}] .js-plotly-plot").first, page.locator(".card")
    page.locator(f"figure[data-plot={figure}]").evaluate("(figure) => figure.scrollIntoView({behavior: 'instant'})")
    box.evaluate("(box) => box.scrollIntoView({block: 'center', behavior: 'instant'})")
    for step in range(40):
        x, y = box.evaluate(POINT, [trace, number])
        page.mouse.move(x + step % 2, y)
        page.wait_for_timeout(50)
        if card.is_visible():
            break
    return card


def test_a_table_is_sorted_and_filtered(page: Page) -> None:
    chapter(page, "Every trial").locator("summary").click()
    table = page.locator("#every-trial")
    header = table.get_by_role("columnheader", name="score")
    header.click()
    scores = [float(text) for text in first_cells(table, 4)]
    assert scores == sorted(scores)
    header.click()
    assert [float(text) for text in first_cells(table, 4)] == scores[::-1]
    page.locator("input[data-filter='#every-trial']").fill("adam wine")
    assert first_cells(table, 1) == ["adam"] * 6
    assert first_cells(table, 2) == ["wine"] * 6
    page.locator("input[data-filter='#every-trial']").fill("adam beer")
    expect(page.locator("#trials output")).to_have_text("nothing matches")


COLUMNS = (
    ("16 ms", "0.23 s (1/15)", "1.4 s", "2 min", "1.5 h", "missed (∞)", "never"),
    ("[−17.86, −0.37]", "[−5.78, +3.65]", "0.28 [−1, 2]", "[+1.5, ∞]", "", "–"),
    ("1/1,079", "1/16", "0.5", "2/3 (1 tied)", "1", "10", "n/a"),
    ("1,250", "28.9 kFLOP", "1.2 MFLOP", "2.64 million", "3 GFLOP", "not known"),
    ("800 B", "1 KiB", "2 kB", "900 MiB", "1.5 GiB", "–"),
    ("< .001", "0.02×", "0.5 %", "5 (there)", "cannot be had"),
    ("−∞", "-3", "−2.5 ± 1", "1e-8", "∞"),
    ("2025-12-31", "2026-01-02", "2026-01-10", ""),
    ("0.9.1", "0.10.0", "0.11.0"),
    ("2 layers", "10 layers", "adam"),
    ("a", "B", "layer 2", "layer 10", "–"),
)
"""Columns of cells in ascending order; those that have no value stay at the end."""
LAST = {"never", "n/a", "not known", "cannot be had", "–", "", "adam"}
SORT_COLUMNS = """() => [...document.querySelectorAll("table")].map((table) => ["ascending", "descending"].map(() => {
    table.tHead.rows[0].cells[0].click();
    return [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
}))"""


def test_cells_with_units_are_in_order(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(
        "".join(
            "<table class=sortable><thead><tr><th>x</th></tr></thead><tbody>"
            + "".join(f"<tr><td>{html.escape(cell)}</td></tr>" for cell in column[1::2] + column[::2])
            + "</tbody></table>"
            for column in COLUMNS
        )
    )
    page.add_script_tag(content=(files("evalbench.report.render") / "tables.js").read_text("utf-8"))
    orders = page.evaluate(SORT_COLUMNS)
    page.close()
    for column, (ascending, descending) in zip(COLUMNS, orders, strict=True):
        known = [cell for cell in column if cell not in LAST]
        assert ascending[: len(known)] == known
        assert descending[: len(known)] == known[::-1]


def test_a_trial_says_which_it_is_and_leads_to_its_row(page: Page) -> None:
    page.evaluate(
        "document.querySelectorAll('details.chapter:not(#each-data-set)').forEach((one) => (one.open = false))"
    )
    page.locator("input[data-filter='#every-trial']").evaluate("""(input) => {
        input.value = "adam";
        input.dispatchEvent(new Event("input"));
    }""")
    card = hover(page, "scores", 0, 2)
    expect(card).to_contain_text("sgd")
    expect(card).to_contain_text("digits, split 2")
    card.get_by_role("link", name="its row").click()
    row = page.locator("#trial-2")
    expect(row).to_be_visible()  # its chapter has unfolded, and the filter is gone
    assert row.locator("td").nth(2).inner_text() == "2"


def test_a_hostile_name_is_text_in_a_figure(page: Page) -> None:
    traces = "() => document.querySelector('figure[data-plot=tradeoff] .js-plotly-plot').data.map(t => t.text?.[0])"
    texts = page.evaluate(traces)
    assert [text for text in texts if text and "<" in text.replace("<br>", "")] == []
    card = hover(page, "tradeoff", next(i for i, text in enumerate(texts) if text and "&lt;b&gt;" in text))
    expect(card).to_contain_text("<b>bold</b>")
    expect(card).to_contain_text("recommendation:")
    assert page.locator("a[href^='https'], .js-plotly-plot a, img[onerror]").count() == 0


def test_a_technique_is_hidden_in_all_figures(page: Page) -> None:
    hidden = """() => [...document.querySelectorAll('.js-plotly-plot')].map(
        (box) => box.data.filter((trace) => trace.visible === false).length)"""
    assert not any(page.evaluate(hidden))
    button = page.locator(".legend button", has_text="adam")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert sum(count > 0 for count in page.evaluate(hidden)) > 1
    assert page.evaluate(hidden)[0] == 2  # with the line through all techniques of the Pareto front
    button.click()
    assert not any(page.evaluate(hidden))
    button.click(modifiers=["Shift"])
    assert page.locator(".legend button[aria-pressed=true]").all_inner_texts() == ["adam"]
    button.click(modifiers=["Shift"])


def test_chapters_fold_and_links_unfold_them(page: Page) -> None:
    cost = chapter(page, "Cost")
    expect(cost).not_to_have_attribute("open", "")
    page.locator(".contents a", has_text="Cost").click()
    expect(cost).to_have_attribute("open", "")
    expect(cost.locator("h2")).to_be_in_viewport()
    cost.locator("summary").click()
    expect(cost).not_to_have_attribute("open", "")
    term = page.locator("a.term").first
    assert term.get_attribute("title")
    term.click()
    expect(page.locator("dt:target")).to_be_visible()


def test_figures_follow_the_dark(page: Page) -> None:
    tick = page.locator(".js-plotly-plot .xtick text").first
    expect(tick).to_have_css("fill", "rgb(89, 99, 110)")
    page.emulate_media(color_scheme="dark")
    expect(tick).to_have_css("fill", "rgb(154, 164, 175)")
    expect(page.locator("body")).to_have_css("background-color", "rgb(13, 17, 23)")


CUT = """() => [...document.querySelectorAll('.js-plotly-plot .xtitle')].filter((title) => {
    const own = title.getBoundingClientRect(), box = title.closest('.js-plotly-plot').getBoundingClientRect();
    return own.left < box.left || own.right > box.right || own.bottom > box.bottom;
}).map((title) => title.textContent)"""
"""The titles of axes that do not fit into their figures."""


def test_a_phone_scrolls_in_one_direction(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator(".legend")).to_be_in_viewport()
    assert page.evaluate(CUT) == []
    table = page.locator(".wide").first
    table.scroll_into_view_if_needed()
    expect(table).to_have_class("wide cut")
    table.evaluate("(table) => table.scrollTo(1000, 0)")
    expect(table).to_have_class("wide")
    expect(table.locator("td").first).to_be_in_viewport()


def test_paper_has_pictures_and_whole_tables(page: Page, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    expect(page.locator("figure[data-plot=tradeoff] > img")).to_be_visible()
    expect(page.locator("figure[data-plot=tradeoff] .panels")).to_be_hidden()
    page.set_viewport_size({"width": 695, "height": 1000})  # A4 without its margins
    cut = """() => [...document.querySelectorAll('.wide')].filter((box) => {
        const across = box.matches('.most');
        return box.firstElementChild.scrollWidth > (across ? 1024 : 695);
    }).length"""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(cut) == 0
    assert page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True).count(b"/Type /Page\n") > 2


def test_without_the_library_or_scripts_there_are_pictures(browser: Browser, report: Path, tmp_path: Path) -> None:
    alone = tmp_path / "report.html"
    alone.write_bytes((report / "report.html").read_bytes())
    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        opened = context.new_page()
        opened.goto(alone.as_uri())
        expect(opened.locator("figure > img").first).to_be_visible()
        expect(opened.locator("p.note.script")).to_be_visible(visible=scripts)
        context.close()
