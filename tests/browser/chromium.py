"""A real Chromium that speaks to nobody but the page that it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.real import require

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE, DESKTOP = 320, 1280  # pixels
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP qsticky.test 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; the test is skipped where there is none."""
    program = require("chromium")
    from playwright.sync_api import sync_playwright  # it takes a while, in each test process

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


def look(page: Page, scheme: str, width: int) -> None:
    """Have the page shown light or dark, and so many pixels wide."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
