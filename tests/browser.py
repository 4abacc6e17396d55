"""Debian's Chromium, driven by Playwright; the tests of pages, and the script of screenshots, share it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = os.environ.get("EVALBENCH_CI") == "1"
"""Whether a missing browser is an error instead of a reason to skip."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser without a window; nothing is downloaded."""
    assert CHROMIUM, "Chromium is not installed: make services"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
