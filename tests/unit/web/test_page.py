"""The page: every state, safe whatever it shows, and nothing from anywhere else."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qsticky import HOME, __version__
from qsticky.errors import Reason
from qsticky.record.health import Health
from qsticky.record.journal import RecentEvent
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import PortChange, SyncReport
from qsticky.web.page import CONTENT_SECURITY_POLICY, render
from tests.fakes import FakeClock
from tests.reports import ENDED, START, WALL, degraded, failing, synced, waiting

VOID = {"meta", "link", "img", "br", "hr", "input", "path"}
SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86400


class Parsed(HTMLParser):
    """The page as a browser takes it: its elements, and the text within each kind of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += text

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All that it says, in words."""
        return " ".join(self.texts["main"][0].split())

    @property
    def state(self) -> tuple[str | None, str, str]:
        """The class, the words and the duration of the state."""
        section = self.attributes("section")[0]
        return section["class"], self.texts["h1"][0], self.texts["time"][0]

    @property
    def facts(self) -> dict[str, str]:
        """The details."""
        return dict(zip(self.texts["dt"], self.texts["dd"], strict=True))

    @property
    def ports(self) -> list[str]:
        """Each port with what is said of its service, and the sign between them."""
        (ports,) = (text for text in self.texts["section"] if "forwards" in text)
        return ports.split("\n")[1:-1]


@pytest.fixture
def health(tmp_path: Path) -> Health:
    clock = FakeClock(START)
    return Health(tmp_path / "status.json", check_interval=30, request_timeout=10, clock=clock)


def shown(
    document: dict[str, Any],
    events: Sequence[RecentEvent] = (),
    *,
    later: float = 5,
    fresh: bool = True,
) -> Parsed:
    """The page, so many seconds after the last report."""
    return Parsed(render(document, events, now=WALL + later, fresh=fresh))


def after(health: Health, *reports: SyncReport) -> dict[str, Any]:
    """The document after these reports."""
    for report in reports:
        health.record(report, 30)
    return health.document()


def test_starting(health: Health) -> None:
    page = shown(health.document(), later=0)
    assert page.state == ("state wait", "Starting", "100 s")
    assert page.texts["title"] == ["Starting - qSticky"]
    assert page.texts["header"][0].startswith(f"qSticky {__version__}")
    assert page.ports == ["Gluetun forwards?not asked yet", "", "qBittorrent has?not asked yet"]
    assert page.facts == {
        "Really listening": "not known while qBittorrent gives no answer",
        "Connection": "not known",
        "Port changed": "never",
        "Last success": "never",
        "Last check": "never",
        "Running": "for 100 s",
    }
    assert page.texts["h2"] == ["Details", "Last events"]
    assert "None yet" in page.text


def test_in_sync(health: Health) -> None:
    change = PortChange(58988, 51218, verified=True)
    page = shown(after(health, synced(change=change, listening=True)))
    assert page.state == ("state good", "In sync, and listening", "5 s")
    assert page.texts["title"] == ["In sync, and listening: 51218 - qSticky"]
    assert page.ports == [
        "Gluetun forwards51218answers",
        "=",
        "qBittorrent has51218answers",
    ]
    assert page.facts == {
        "Really listening": "yes, on the VPN's interface",
        "Connection": "connected: peers have come in",
        "Port changed": "5 s ago",
        "Last success": "5 s ago",
        "Last check": "5 s ago",
        "Running": "for 105 s",
    }


def test_in_sync_where_listening_cannot_be_seen(health: Health) -> None:
    page = shown(after(health, synced(connection_status=ConnectionStatus.FIREWALLED)))
    assert page.state == ("state good", "In sync", "5 s")
    assert page.facts["Really listening"].startswith("can't be seen from here: ")
    assert page.facts["Connection"] == "firewalled: no peer has come in yet"


def test_waiting(health: Health) -> None:
    page = shown(after(health, waiting()))
    assert page.state == ("state wait", "Waiting for Gluetun to forward a port", "5 s")
    assert page.texts["title"] == ["Waiting for Gluetun to forward a port - qSticky"]
    assert page.ports[:2] == ["Gluetun forwardsnoneanswers", ""]


@pytest.mark.parametrize("reason", [*Reason])
def test_failing(health: Health, reason: Reason) -> None:
    page = shown(after(health, synced(), failing(reason, "It broke; mend it")))
    headline = "Not listening" if reason is Reason.NOT_LISTENING else "Can't check"
    assert page.state == ("state bad", headline, "5 s")
    assert page.texts["title"] == [f"{headline} - qSticky"]
    assert "What is wrong, and what to do It broke; mend it 5 s ago" in page.text
    assert page.ports == [
        "Gluetun forwards51218no usable answer, last known",
        "",
        "qBittorrent has51218no usable answer, last known",
    ]


def test_ports_that_differ(health: Health) -> None:
    report = replace(
        failing(Reason.PORT_REJECTED, forwarded_port=51218, current_port=6881),
        gluetun_up=True,
        qbittorrent_up=True,
    )
    page = shown(after(health, report))
    assert page.ports[1] == "≠"
    assert page.state[1] == "Not in sync"


def test_a_service_that_never_answered(health: Health) -> None:
    page = shown(after(health, failing(Reason.GLUETUN_UNREACHABLE)))
    assert page.ports[0] == "Gluetun forwards?no usable answer"


def test_an_error_that_is_over_stands_below_as_such(health: Health) -> None:
    broken = failing(Reason.INTERNAL, "It broke; mend it")
    page = shown(after(health, broken, synced(finished_at=ENDED + 30)), later=60)
    assert page.state == ("state good", "In sync", "30 s")
    assert page.texts["h2"] == ["Details", "Last error, which is over", "Last events"]
    assert "Last error, which is over It broke; mend it 60 s ago" in page.text


def test_a_port_from_the_file(health: Health) -> None:
    page = shown(after(health, degraded("Gluetun is away; start it")))
    assert page.state[:2] == ("state good", "In sync")
    assert page.ports[:2] == ["Gluetun forwards51218from the port file", "="]
    assert "What is wrong, and what to do Gluetun is away; start it" in page.text


def test_not_listening(health: Health) -> None:
    failure = failing(Reason.NOT_LISTENING).failure
    report = synced(listening=False, failure=failure, problem=failure)
    assert shown(after(health, report)).facts["Really listening"] == "no"


@pytest.mark.parametrize("report", [synced(), waiting(), failing(Reason.INTERNAL)])
def test_a_document_that_is_not_fresh_any_more_tells_of_a_worker_that_hangs(
    health: Health, report: SyncReport
) -> None:
    page = shown(after(health, report), later=7 * MINUTE, fresh=False)
    assert page.state == ("state bad", "The worker hangs", "7 min")
    assert page.texts["title"] == ["The worker hangs - qSticky"]
    assert "Restart qSticky" in page.text


def test_a_first_sync_that_hangs(health: Health) -> None:
    health.write()
    assert shown(health.document(), later=HOUR, fresh=False).state == (
        "state bad",
        "The worker hangs",
        "61 min",
    )


def test_before_the_first_heartbeat_it_is_starting(health: Health) -> None:
    assert shown(health.document(), fresh=False).state[1] == "Starting"


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (-5 * SECOND, "0 s"),
        (0.5 * SECOND, "0 s"),
        (119.5 * SECOND, "119 s"),
        (2 * MINUTE, "2 min"),
        (119 * MINUTE, "119 min"),
        (2 * HOUR, "2 h"),
        (47 * HOUR, "47 h"),
        (2 * DAY, "2 days"),
        (400 * DAY, "400 days"),
    ],
)
def test_times_are_told_as_people_do_and_exactly(age: float, told: str) -> None:
    event = RecentEvent(WALL, "info", "login", "Logged in")
    page = shown(HARMLESS, [event], later=age + 0.01)
    assert page.texts["time"][-1] == f"{told} ago"
    assert page.attributes("time")[-1] == {
        "datetime": "2025-01-24T20:08:13Z",
        "title": "2025-01-24 20:08:13 UTC",
    }


def test_the_events_are_listed_as_they_are_given(health: Health) -> None:
    events = [
        RecentEvent(WALL - 10, "error", "sync_failed", "It broke; mend it"),
        RecentEvent(WALL - HOUR, "info", "login", "Logged in to qBittorrent"),
    ]
    page = shown(health.document(), events, later=0)
    assert page.texts["li"] == [
        "10 s agoerror It broke; mend it",
        "60 min agoLogged in to qBittorrent",
    ]


def test_whatever_it_shows_is_text(health: Health) -> None:
    evil = "<script>alert('\"&amp;</dd></style>')</script><img src=x onerror=alert(1)>"
    document = after(health, synced(), failing(Reason.INTERNAL, evil))
    events = [RecentEvent(WALL, "error", "sync_failed", evil)]
    page, harmless = (
        shown(document | {"version": text, "last_error": text}, [event])
        for text, event in ((evil, events[0]), ("text", RecentEvent(WALL, "error", "x", "text")))
    )
    assert page.texts["header"][0].startswith(f"qSticky {evil}")
    assert evil in page.texts["section"][1]
    assert page.texts["li"][0].endswith(evil)
    assert page.elements == harmless.elements


HARMLESS: dict[str, Any] = {
    "healthy": True,
    "status": "synced",
    "status_since": "2025-01-24T20:08:13Z",
    "reason": None,
    "forwarded_port": 1,
    "current_port": 1,
    "last_error": None,
    "last_error_at": None,
    "last_check": None,
    "last_success": None,
    "last_port_change": None,
    "started_at": "2025-01-24T20:08:13Z",
    "stale_after": "2025-01-24T20:08:58Z",
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


def test_the_policy_lets_this_style_and_its_own_icon_in_and_nothing_else() -> None:
    (style,) = shown(HARMLESS).texts["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy() == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert "url(" not in style
    assert "@import" not in style


def test_it_loads_nothing_from_anywhere() -> None:
    page = shown(HARMLESS)
    assert [link["href"] for link in page.attributes("a")] == [
        "metrics",
        "-/ready",
        f"{HOME}#readme",
        f"{HOME}/blob/main/docs/troubleshooting.md",
    ]
    (icon,) = page.attributes("link")
    assert icon["rel"] == "icon"
    assert (icon["href"] or "").startswith("data:image/svg+xml,")
    loads = {"src", "srcset", "data", "action", "style", "background", "poster"}
    for tag, attributes in page.elements:
        assert tag not in {"script", "img", "iframe", "object", "form", "base"}
        assert not loads & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)


def test_the_icon_has_the_colours_of_the_style() -> None:
    page = shown(HARMLESS)
    (colour,) = re.findall("%23([0-9a-f]{6})", page.attributes("link")[0]["href"] or "")
    assert f"--good: #{colour}" in page.texts["style"][0]


def test_it_is_readable_on_a_phone_light_and_dark() -> None:
    page = shown(HARMLESS)
    metas = page.attributes("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert {"charset": "utf-8"} in metas
    assert {"http-equiv": "refresh", "content": "5"} in metas
    assert page.attributes("html") == [{"lang": "en"}]
    assert "color-scheme: light dark" in page.texts["style"][0]
