"""The page: every state, safe whatever it shows, and nothing from anywhere else."""

import base64
import hashlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qsticky import __version__
from qsticky.errors import Reason
from qsticky.health import Health
from qsticky.page import CONTENT_SECURITY_POLICY, render
from qsticky.report import PortChange, SyncReport
from tests.fakes import FakeClock
from tests.reports import degraded, failing, synced, waiting

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Parsed(HTMLParser):
    """The page as a browser takes it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.facts: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self._term = ""
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.texts[inside] = self.texts.get(inside, "") + text
        if inside == "dt":
            self._term = text
        elif inside == "dd":
            self.facts[self._term] = self.facts.get(self._term, "") + text

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def health(tmp_path: Path) -> Health:
    return Health(
        tmp_path / "status.json", check_interval=30, request_timeout=10, clock=FakeClock()
    )


def shown(document: dict[str, Any], *, fresh: bool = True) -> Parsed:
    return Parsed(render(document, fresh=fresh))


def after(health: Health, *reports: SyncReport) -> dict[str, Any]:
    """The document after these reports."""
    for report in reports:
        health.record(report, 30)
    return health.document()


def state(page: Parsed) -> tuple[str | None, str]:
    """The class and the words of the state."""
    return page.attributes("p")[0]["class"], page.texts["p"]


def test_starting(health: Health) -> None:
    page = shown(health.document())
    assert state(page) == ("state starting", "Starting")
    assert page.texts["title"] == "qSticky: Starting"
    assert page.texts["small"] == __version__
    assert page.facts == {
        "Gluetun's port": "-",
        "qBittorrent's port": "-",
        "Gluetun reachable": "no",
        "qBittorrent reachable": "no",
        "Really listening": "can't be seen from here",
        "Connection status": "-",
        "Last change": "-",
        "Last success": "-",
        "Last check": "-",
        "Last error": "-",
        "at": "-",
    }


def test_in_sync(health: Health) -> None:
    change = PortChange(58988, 51218, verified=True)
    page = shown(after(health, synced(change=change, listening=True)))
    assert state(page) == ("state synced", "In sync")
    assert page.facts == {
        "Gluetun's port": "51218",
        "qBittorrent's port": "51218",
        "Gluetun reachable": "yes",
        "qBittorrent reachable": "yes",
        "Really listening": "yes",
        "Connection status": "connected",
        "Last change": "2025-01-24T20:08:13Z",
        "Last success": "2025-01-24T20:08:13Z",
        "Last check": "2025-01-24T20:08:13Z",
        "Last error": "-",
        "at": "-",
    }


def test_waiting(health: Health) -> None:
    page = shown(after(health, waiting()))
    assert state(page) == ("state waiting", "Waiting for Gluetun to forward a port")
    assert page.facts["Gluetun's port"] == "-"


@pytest.mark.parametrize("reason", Reason)
def test_failing(health: Health, reason: Reason) -> None:
    page = shown(after(health, synced(), failing(reason, "It broke; mend it")))
    assert state(page) == ("state failing", "Not in sync")
    assert page.facts["Last error"] == "It broke; mend it"
    assert page.facts["at"] == "2025-01-24T20:08:13Z"
    assert page.facts["Gluetun's port"] == "51218"


def test_a_port_from_the_file(health: Health) -> None:
    page = shown(after(health, degraded("Gluetun is away; start it")))
    assert state(page) == ("state synced", "In sync")
    assert page.facts["Gluetun reachable"] == "no"
    assert page.facts["Last error"] == "Gluetun is away; start it"


def test_not_listening(health: Health) -> None:
    assert shown(after(health, synced(listening=False))).facts["Really listening"] == "no"


@pytest.mark.parametrize("report", [synced(), waiting(), failing(Reason.INTERNAL)])
def test_a_document_that_is_not_fresh_any_more_tells_of_a_worker_that_hangs(
    health: Health, report: SyncReport
) -> None:
    page = shown(after(health, report), fresh=False)
    assert state(page) == ("state failing", "The worker hangs")


def test_before_the_first_heartbeat_it_is_starting(health: Health) -> None:
    assert state(shown(health.document(), fresh=False)) == ("state starting", "Starting")


def test_whatever_it_shows_is_text(health: Health) -> None:
    evil = "<script>alert('\"&amp;</dd></style>')</script><img src=x onerror=alert(1)>"
    document = after(health, failing(Reason.INTERNAL, evil))
    document["version"] = document["last_port_change"] = document["last_success"] = evil
    services = document["services"]
    services["qbittorrent"]["connection_status"] = evil
    page = shown(document)
    assert page.facts["Last error"] == page.facts["Connection status"] == evil
    assert page.facts["Last change"] == page.facts["Last success"] == evil
    assert page.texts["small"] == evil
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in shown(HARMLESS).elements]


HARMLESS: dict[str, Any] = {
    "status": "synced",
    "forwarded_port": 1,
    "current_port": 1,
    "last_error": None,
    "last_error_at": None,
    "last_check": None,
    "last_success": None,
    "last_port_change": None,
    "services": {
        "gluetun": {"connected": True, "port": 1},
        "qbittorrent": {
            "connected": True,
            "port_synced": True,
            "connection_status": None,
            "listening": None,
        },
    },
    "version": __version__,
}


def policy() -> dict[str, str]:
    directives = (directive.partition(" ") for directive in CONTENT_SECURITY_POLICY.split("; "))
    return {name: value for name, _, value in directives}


def test_the_policy_lets_this_style_in_and_nothing_else() -> None:
    style = shown(HARMLESS).texts["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy() == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert "url(" not in style
    assert "@import" not in style


def test_it_refers_to_nothing_outside() -> None:
    page = shown(HARMLESS)
    assert [link["href"] for link in page.attributes("a")] == ["metrics", "-/ready"]
    loads = {"src", "srcset", "data", "action", "style", "background", "poster"}
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "img", "iframe", "object", "form", "base"}
        assert not loads & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert not any("//" in (value or "") for value in attributes.values())


def test_it_is_readable_on_a_phone_light_and_dark() -> None:
    page = shown(HARMLESS)
    metas = page.attributes("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert {"charset": "utf-8"} in metas
    assert {"http-equiv": "refresh", "content": "5"} in metas
    assert page.attributes("html") == [{"lang": "en"}]
    assert "color-scheme: light dark" in page.texts["style"]
