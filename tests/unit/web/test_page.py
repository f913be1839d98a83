"""The page: every state, safe whatever it shows, and nothing from anywhere else."""

import base64
import hashlib
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qsticky import HOME, __version__
from qsticky.errors import Reason
from qsticky.record.events import RecentEvent
from qsticky.record.health import Health
from qsticky.sync.report import ListeningBy, PortChange, PortSource, SyncReport
from qsticky.web.page import CONTENT_SECURITY_POLICY, render
from tests.fakes import FakeClock
from tests.reports import ENDED, START, WALL, degraded, failing, synced, waiting

VOID = {"meta", "link", "img", "br", "hr", "input", "path", "circle"}
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
        return section["class"], self.texts["h1"][0], self.texts["time"][1]

    @property
    def said(self) -> list[str]:
        """What is said below the headline, but for how long it has been so."""
        return self.texts["section"][0].strip().split("\n")[2:]

    @property
    def facts(self) -> dict[str, str]:
        """The details."""
        return dict(zip(self.texts["dt"], self.texts["dd"], strict=True))

    @property
    def ports(self) -> list[str]:
        """Each port with what is said of its service, the sign between them, and the ages."""
        (ports,) = (text for text in self.texts["section"] if "qBittorrent has" in text)
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


PEERS: dict[str, Any] = {
    "port_source": PortSource.CONTROL_SERVER,
    "listening": True,
    "listening_by": ListeningBy.KERNEL,
    "incoming_connections": 12,
    "last_incoming": 65.0,
}
BY_KERNEL = "The kernel shows its socket on the VPN's address"


def test_starting(health: Health) -> None:
    page = shown(health.document(), later=0)
    assert page.state == ("state wait", "Starting", "for 100 s")
    assert page.texts["title"] == ["Starting - qSticky"]
    assert page.texts["header"][0].startswith(f" qSticky {__version__}")
    assert page.ports == [
        "Gluetun forwards?not asked yet",
        "",
        "qBittorrent has?not asked yet",
        "Checked never Changed never In sync never",
    ]
    assert page.facts == {
        "Connection": "not known",
        "Address": "not known",
        "qBittorrent": "not known",
        "Running": "for 100 s",
    }
    assert page.texts["h2"] == ["Last events", "Details"]
    assert "None yet" in page.text


def test_peers_can_connect(health: Health) -> None:
    change = PortChange(58988, 51218, verified=True)
    earlier = synced(finished_at=40.0, **PEERS)
    page = shown(after(health, earlier, synced(change=change, **PEERS)))
    assert page.state == ("state good", "Peers can connect", "for 65 s")
    assert page.said == [BY_KERNEL, "Last peer came in 40 s ago, 12 now"]
    assert page.texts["title"] == ["Peers can connect: 51218 - qSticky"]
    assert page.ports == [
        "Gluetun forwards51218answers",
        "=",
        "qBittorrent has51218answers",
        "Checked 5 s ago Changed 5 s ago In sync for 65 s",
    ]


@pytest.mark.parametrize(
    ("facts", "looks", "headline", "said"),
    [
        ({}, "good", "Peers can connect", BY_KERNEL),
        ({"listening_by": ListeningBy.QBITTORRENT}, "good", "Peers can connect", "since can't be"),
        ({"listening": None}, "good", "Peers can connect", "Last peer came in"),
        ({"listening": None, "incoming_connections": 0}, "wait", "Not known", "PORT_CHECK_URL"),
        (
            {"listening": None, "incoming_connections": None, "reachable": True},
            "good",
            "Peers can connect",
            "Open from outside, 15 s ago",
        ),
        ({"reachable": False}, "wait", "Closed from outside, ", "Closed from outside, 15 s ago"),
        ({"incoming_connections": 0, "last_incoming": None}, "good", "Peers", "No peer was seen"),
        ({"incoming_connections": None}, "good", "Peers can connect", "came in 40 s ago"),
    ],
)
def test_what_is_not_known_is_never_told_as_a_yes(
    health: Health, facts: dict[str, Any], looks: str, headline: str, said: str
) -> None:
    page = shown(after(health, synced(**{**PEERS, "reachable_at": 90.0, **facts})))
    assert page.attributes("section")[0]["class"] == f"state {looks}"
    assert page.texts["h1"][0].startswith(headline)
    assert any(said in line for line in page.said), page.said


def test_waiting_says_until_when(health: Health) -> None:
    page = shown(after(health, waiting(patient_until=300.0)))
    assert page.state == ("state wait", "Waiting for a forwarded port", "for 5 s")
    assert page.said == ["That is a failure from 20:11:33 UTC on"]
    assert page.ports[:2] == ["Gluetun forwardsnoneanswers", ""]


HEADLINES = {
    Reason.GLUETUN_UNREACHABLE: "Gluetun doesn't answer",
    Reason.GLUETUN_UNAUTHORIZED: "Refused by Gluetun",
    Reason.GLUETUN_INVALID_RESPONSE: "Gluetun's answer can't be used",
    Reason.NO_FORWARDED_PORT: "No forwarded port",
    Reason.QBITTORRENT_UNREACHABLE: "qBittorrent doesn't answer",
    Reason.QBITTORRENT_UNAUTHORIZED: "Refused by qBittorrent",
    Reason.QBITTORRENT_BANNED: "Banned by qBittorrent",
    Reason.QBITTORRENT_INVALID_RESPONSE: "qBittorrent's answer can't be used",
    Reason.PORT_REJECTED: "qBittorrent doesn't keep the port",
    Reason.NOT_LISTENING: "Peers can't connect: not listening",
    Reason.PORT_CLOSED: "Peers can't connect: closed from outside",
    Reason.INTERNAL: "Internal error",
}


@pytest.mark.parametrize("reason", [*Reason])
def test_failing_says_what_happened(health: Health, reason: Reason) -> None:
    page = shown(after(health, synced(), failing(reason, "It broke; mend it")))
    assert page.state == ("state bad", HEADLINES[reason], "for 5 s")
    assert page.texts["title"] == [f"{HEADLINES[reason]} - qSticky"]
    assert "What is wrong, and what to do It broke; mend it 5 s ago" in page.text
    assert page.ports[:3] == [
        "Gluetun forwards51218no usable answer, last known",
        "",
        "qBittorrent has51218no usable answer, last known",
    ]


def test_the_index_of_the_runbooks_has_the_same_headlines() -> None:
    index = (Path(__file__).parents[3] / "docs/runbooks/README.md").read_text()
    listed = re.findall(r"^\| \[`(\w+)`\].* \| ([^|,]+)[^|]* \|$", index, re.MULTILINE)
    assert dict(listed) == HEADLINES


def test_a_refused_password_is_told_from_what_else_is_refused(health: Health) -> None:
    sentence = "qBittorrent at http://localhost:8080 refused the user name or the password; mend it"
    page = shown(after(health, failing(Reason.QBITTORRENT_UNAUTHORIZED, sentence)))
    assert page.texts["h1"] == ["Password refused"]


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (ListeningBy.KERNEL, "The kernel shows no socket on the VPN's address"),
        (ListeningBy.QBITTORRENT, "qBittorrent logged that it can't open the port"),
        (ListeningBy.SETTINGS, "A setting of qBittorrent's keeps them out"),
    ],
)
def test_not_listening_says_by_what_it_is_known(health: Health, by: ListeningBy, said: str) -> None:
    report = failing(Reason.NOT_LISTENING, listening=False, listening_by=by)
    assert shown(after(health, report)).said == [said]


def test_what_does_not_make_it_fail_is_told_beside_a_green_headline(health: Health) -> None:
    warnings = ("There is no UDP socket; mend it", "<b>Another</b> program sets the port")
    page = shown(after(health, synced(warnings=warnings, **PEERS)))
    assert page.state[:2] == ("state good", "Peers can connect")
    assert "Worth mending all the same " + " ".join(warnings) in page.text
    assert "Worth mending" not in shown(after(health, synced(**PEERS))).text


def test_ports_that_differ(health: Health) -> None:
    rejected = failing(Reason.PORT_REJECTED, forwarded_port=51218, current_port=6881)
    report = rejected._replace(gluetun_up=True, qbittorrent_up=True)
    assert shown(after(health, report)).ports[1] == "≠"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"port_source": PortSource.FIXED, "gluetun_up": None}, "Fixed port51218as configured"),
        ({"port_index": 2, "port_count": 3}, "Gluetun forwards51218answers, port 2 of 3"),
        ({"port_index": 1, "port_count": 1}, "Gluetun forwards51218answers"),
    ],
)
def test_which_port_it_is(health: Health, facts: dict[str, Any], told: str) -> None:
    assert shown(after(health, synced(**{**PEERS, **facts}))).ports[:2] == [told, "="]


@pytest.mark.parametrize(
    ("public", "external", "told"),
    [
        (None, None, "not known"),
        ("198.51.100.1", None, "198.51.100.1"),
        (None, "198.51.100.1", "not known"),
        ("198.51.100.1", "198.51.100.1", "198.51.100.1, where peers see qBittorrent too"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1, but peers saw qBittorrent at 203.0.113.9"),
    ],
)
def test_both_addresses(
    health: Health, public: str | None, external: str | None, told: str
) -> None:
    report = synced(public_address=public, external_address=external)
    assert shown(after(health, report)).facts["Address"].startswith(told)


def test_a_service_that_never_answered(health: Health) -> None:
    page = shown(after(health, failing(Reason.GLUETUN_UNREACHABLE)))
    assert page.ports[0] == "Gluetun forwards?no usable answer"


def test_an_error_that_is_over_stands_below_as_such(health: Health) -> None:
    broken = failing(Reason.INTERNAL, "It broke; mend it")
    page = shown(after(health, broken, synced(finished_at=ENDED + 30, **PEERS)), later=60)
    assert page.texts["h2"] == ["Last events", "Details"]
    assert page.facts["Last error, which is over"] == "60 s ago: It broke; mend it"


def test_a_port_from_the_file(health: Health) -> None:
    page = shown(after(health, degraded("Gluetun is away; start it", **PEERS)))
    assert page.state[:2] == ("state good", "Peers can connect")
    assert page.ports[:2] == ["Gluetun forwards51218from the port file", "="]
    assert "What is wrong, and what to do Gluetun is away; start it" in page.text
    assert "Last error, which is over" not in page.facts


@pytest.mark.parametrize("report", [synced(), waiting(), failing(Reason.INTERNAL)])
def test_a_document_that_is_not_fresh_any_more_tells_of_a_worker_that_hangs(
    health: Health, report: SyncReport
) -> None:
    page = shown(after(health, report), later=7 * MINUTE, fresh=False)
    assert page.state == ("state bad", "qSticky hangs", "for 7 min")
    assert page.texts["title"] == ["qSticky hangs - qSticky"]
    assert "Restart qSticky" in page.text


def test_a_first_sync_that_hangs(health: Health) -> None:
    health.write()
    assert shown(health.document(), later=HOUR, fresh=False).state == (
        "state bad",
        "qSticky hangs",
        "for 61 min",
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
def test_times_are_told_as_people_do_and_exactly(health: Health, age: float, told: str) -> None:
    event = RecentEvent(WALL, "info", "login", "Logged in")
    page = shown(health.document(), [event], later=age + 0.01)
    assert page.texts["li"] == [f"{told} agoLogged in"]
    assert page.attributes("time")[-2] == {
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
    assert page.texts["header"][0].startswith(f" qSticky {evil}")
    assert evil in page.texts["section"][1]
    assert page.texts["li"][0].endswith(evil)
    assert page.elements == harmless.elements


def policy() -> dict[str, str]:
    directives = (directive.partition(" ") for directive in CONTENT_SECURITY_POLICY.split("; "))
    return {name: value for name, _, value in directives}


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_lets_its_own_style_script_and_icon_in_and_nothing_else(
    health: Health,
) -> None:
    page = shown(health.document())
    (style,), (script,) = page.texts["style"], page.texts["script"]
    assert policy() == {
        "default-src": "'none'",
        "style-src": digest(style),
        "script-src": digest(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert not any(word in script for word in ("fetch", "import", "http", "innerHTML"))
    assert "url(" not in style
    assert "@import" not in style


def test_it_loads_nothing_from_anywhere(health: Health) -> None:
    page = shown(health.document())
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
        assert tag not in {"img", "iframe", "object", "form", "base"}
        assert not loads & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)


def test_the_icon_has_the_colours_of_the_style(health: Health) -> None:
    page = shown(health.document())
    (colour,) = re.findall("%23([0-9a-f]{6})", page.attributes("link")[0]["href"] or "")
    assert f"--wait: #{colour}" in page.texts["style"][0]


def test_it_is_readable_on_a_phone_light_and_dark(health: Health) -> None:
    page = shown(health.document())
    metas = page.attributes("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert {"charset": "utf-8"} in metas
    assert {"http-equiv": "refresh", "content": "5"} in metas
    assert page.attributes("html") == [{"lang": "en"}]
    assert "color-scheme: light dark" in page.texts["style"][0]
