"""Take the pictures in docs/images of the shipped examples: `python docs/screenshots.py`, with Debian's Chromium.

Args:
    the example whose first screen is shown (default: optimizers).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pypdfium2
from playwright.sync_api import Browser, Page

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "reports" / "examples"
sys.path.insert(0, str(DOCS.parent / "tests"))

from browser import chromium  # noqa: E402 - the browser of the tests
from evalbench.report import __main__ as judge  # noqa: E402
from evalbench.report.render import library  # noqa: E402


def opened(browser: Browser, page: Path, width: int, height: int, scheme: str = "light") -> Page:
    """Return a page after its figures have been drawn."""
    shown = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()  # type: ignore[arg-type]
    shown.goto(page.resolve().as_uri())
    shown.wait_for_timeout(1500)
    return shown


def published_ranks(image: Path) -> None:
    """Write the figure of a published table that has one run per technique."""
    table = DOCS.parent / "tests" / "report" / "published" / "peft.csv"
    with tempfile.TemporaryDirectory() as folder:
        judge.main([str(table), "--test-size", "1319", "--out", folder])
        shutil.copy(Path(folder) / "figures" / "possible_ranks.png", image)


def main(example: str = "optimizers") -> None:
    """Write the pictures."""
    images, page = DOCS / "images", EXAMPLES / example / "report.html"
    images.mkdir(exist_ok=True)
    published_ranks(images / "published-ranks.png")
    library.put(EXAMPLES)
    with chromium() as browser:
        opened(browser, page, 1400, 1060).screenshot(path=images / "first-screen.png")
        opened(browser, page, 390, 844).screenshot(path=images / "first-screen-phone.png")
        opened(browser, page, 1400, 1060, "dark").screenshot(path=images / "first-screen-dark.png")
        with tempfile.TemporaryDirectory() as folder:
            paper = Path(folder) / "report.pdf"
            opened(browser, page, 1400, 900).pdf(path=paper, prefer_css_page_size=True)
            first = pypdfium2.PdfDocument(paper)[0]
            first.render(scale=1.6).to_pil().quantize(128).save(images / "first-page.png", optimize=True)
        if (EXAMPLES / "radar.html").exists():
            opened(browser, EXAMPLES / "radar.html", 1400, 1060).screenshot(path=images / "radar.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
