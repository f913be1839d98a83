"""The page in a real Chromium: every state, light and dark, on a phone and on a desktop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import DESKTOP, PHONE, chromium, look
from tests.browser.scenes import SCENES, Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REFRESHED = 10_000  # milliseconds; the page refreshes itself every 5 seconds

# What the page is seen as, by element with text of its own: its contrast to what lies behind it.
CONTRASTS = """() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = numbers(colour).map(n => n / 255)
      .map(n => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    const colour = getComputedStyle(element).backgroundColor;
    return numbers(colour)[3] === 0 ? behind(element.parentElement) : colour;
  };
  return [...document.body.querySelectorAll("*")]
    .filter(element => [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(element => {
      const shades = [light(getComputedStyle(element).color), light(behind(element))];
      return [element.textContent.slice(0, 40),
              (Math.max(...shades) + 0.05) / (Math.min(...shades) + 0.05)];
    });
}"""
# Elements that stick out of the window to the side, and ports that take more than one line.
MISFITS = """() => {
  const lines = element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return new Set([...range.getClientRects()].map(rect => rect.top)).size;
  };
  return [...document.body.querySelectorAll("*")]
    .filter(element => element.getBoundingClientRect().right > innerWidth
                       || element.matches(".ports b") && lines(element) > 1)
    .map(element => element.outerHTML);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    served.clear()
    return served


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A window, in which nothing may be complained of, and nothing asked for but the page."""
    page = browser.new_page()
    complaints: list[str] = []
    requests: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.add(request.url))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.log(e.violatedDirective))"
    )
    yield page
    page.close()
    assert complaints == []
    assert requests == {site.url}
    assert set(site.paths) == {"/"}


@pytest.mark.parametrize("name", SCENES)
def test_it_says_what_is_and_fits(page: Page, site: Site, name: str) -> None:
    scene = SCENES[name]
    scene.play(site)
    page.goto(site.url)
    assert page.title() == scene.title
    for text in scene.says:
        assert page.get_by_text(text).first.is_visible(), text
    for scheme in ("light", "dark"):
        for width in (PHONE, DESKTOP):
            look(page, scheme, width)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(MISFITS) == []
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 20
        assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []


def test_light_and_dark_are_the_reader_s_choice(page: Page, site: Site) -> None:
    page.goto(site.url)
    shades = {}
    for scheme in ("light", "dark"):
        look(page, scheme, DESKTOP)
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shades == {"light": "rgb(246, 248, 250)", "dark": "rgb(13, 17, 23)"}


def test_it_refreshes_itself_without_a_script_and_stays_where_it_was_read(
    browser: Browser, site: Site
) -> None:
    SCENES["not-listening"].play(site)
    page = browser.new_page(java_script_enabled=False)
    look(page, "light", PHONE)
    page.goto(site.url)
    page.evaluate("scrollTo(0, 300)")
    SCENES["recovered"].play(site)
    page.get_by_role("heading", name="Peers can connect").wait_for(timeout=REFRESHED)
    assert page.evaluate("scrollY") > 200  # the browser keeps the text in place, not the pixels
    assert set(site.paths) == {"/"}
    page.close()


def test_its_icon_tells_the_state_too(page: Page, site: Site) -> None:
    icons = []
    for name in ("waiting", "connectable", "banned"):
        site.clear()
        SCENES[name].play(site)
        page.goto(site.url)
        icon = page.locator("link[rel=icon]").get_attribute("href")
        width = page.evaluate(
            "async url => { const i = new Image(); i.src = url; await i.decode(); return i.width }",
            icon,
        )
        assert width == 40
        icons.append(icon)
    assert len(set(icons)) == 3


def test_it_is_read_out_in_order(page: Page, site: Site) -> None:
    SCENES["banned"].play(site)
    page.goto(site.url)
    headings = page.get_by_role("heading")
    assert headings.all_inner_texts() == [
        "Banned by qBittorrent",
        "What is wrong, and what to do",
        "Last events",
        "Details",
    ]
    assert page.get_by_role("main").count() == page.get_by_role("navigation").count() == 1
    links = page.get_by_role("link")
    assert links.all_inner_texts() == ["Metrics", "Health", "Documentation", "Troubleshooting"]
    assert page.get_by_role("listitem").count() == 6


def test_times_are_told_in_the_reader_s_own_zone(browser: Browser, site: Site) -> None:
    SCENES["waiting"].play(site)
    for scripts, told in ((True, "07:18:20"), (False, "22:18:20 UTC")):
        page = browser.new_page(
            timezone_id="Asia/Tokyo", locale="en-GB", java_script_enabled=scripts
        )
        page.goto(site.url)
        assert page.get_by_text(f"from {told} on").is_visible()
        page.close()


@pytest.mark.parametrize("name", ["connectable", "by-its-word", "waiting"])
def test_on_a_phone_the_events_begin_on_the_first_screen(page: Page, site: Site, name: str) -> None:
    SCENES[name].play(site)
    look(page, "light", PHONE)
    page.goto(site.url)
    box = page.get_by_role("heading", name="Last events").bounding_box()
    assert box is not None
    assert box["y"] < 500


def test_a_wide_screen_is_used(page: Page, site: Site) -> None:
    SCENES["connectable"].play(site)
    look(page, "light", DESKTOP)
    page.goto(site.url)
    ports, events = (page.locator(kind).bounding_box() for kind in (".ports", ".events"))
    assert ports is not None
    assert events is not None
    assert ports["y"] == events["y"]
    assert events["x"] + events["width"] - ports["x"] > 1000
