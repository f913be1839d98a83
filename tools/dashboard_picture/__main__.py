"""Takes the README's pictures of the dashboard, in dark and light, into docs/pictures.

They are drawn by Grafana's component library, which `make dashboard-picture` has built into a page;
there is no Grafana in it, and the page is shown nothing but the built files and the run's data.
How both dashboards look on a laptop and on a phone is put beside the built page, to be looked at.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Route

from tests.browser.chromium import chromium
from tests.observability.dashboard import ONE
from tools.dashboard_picture.run import Picture, play
from tools.page_pictures import with_a_palette

_LAPTOP, _PHONE, _SCALE = 1280, 390, 1.125
_PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_SITE = "http://dashboard.invalid"
_INTER = "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"
# They come last: one at each panel's title, and others in the table.
_ALL_ICONS = "panels => document.querySelectorAll('main svg').length >= panels"


def _take(
    browser: Browser, build: Path, picture: Picture, scheme: str, width: int = _LAPTOP
) -> bytes:
    modules = build / "node_modules"
    mistakes: list[str] = []

    def answer(route: Route) -> None:
        """Give the files that Grafana has at these places, and its font from another package."""
        path = urlsplit(route.request.url).path
        if path == "/data.json":
            return route.fulfill(json=picture)
        if path.startswith("/public/fonts/inter/"):
            return route.fulfill(path=modules / _INTER)
        if path.startswith("/public/build/"):
            file = modules / "@grafana/ui/dist/public" / path.removeprefix("/public/build/")
        else:
            file = build / "dist" / (path[1:] or "index.html")
        if route.request.url.startswith(f"{_SITE}/") and file.is_file():
            return route.fulfill(path=file)
        mistakes.append(f"there is no {route.request.url}")
        return route.abort()

    page = browser.new_page(viewport={"width": width, "height": 800}, device_scale_factor=_SCALE)
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.clock.set_fixed_time(picture["to"] / 1000)  # "a minute ago" is before the run's end
    page.route("**/*", answer)
    page.goto(f"{_SITE}/?mode={scheme}")
    page.wait_for_function(_ALL_ICONS, arg=len(picture["panels"]))
    taken = page.locator("main").screenshot()
    assert not mistakes, mistakes
    page.unroute_all()
    page.goto("about:blank")
    return with_a_palette(page, taken)


def main(build: Path) -> None:
    """Play the run, and take the pictures of it."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = play(Path(folder))
    with chromium() as browser:
        for scheme in ("light", "dark"):
            png = _take(browser, build, pictures[ONE], scheme)
            (_PICTURES / f"dashboard-{scheme}.png").write_bytes(png)
        for board, picture in pictures.items():
            for device, width in (("laptop", _LAPTOP), ("phone", _PHONE)):
                png = _take(browser, build, picture, "light", width)
                (build / f"{board}-{device}.png").write_bytes(png)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
