"""Every state of the page, served by the real routes from reports as the daemon makes them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry

from qsticky.errors import Reason
from qsticky.record.events import Event, RecentEvent
from qsticky.record.health import Health
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import ListeningBy, PortChange, PortSource, SyncReport
from qsticky.web.routes import Routes
from qsticky.web.server import Server
from tests.fakes import FakeClock
from tests.reports import degraded, failing, synced, waiting

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SCRIPT = "<script>document.title='taken'</script><img src=/x onerror=alert(1)>"
BANNED = (
    "qBittorrent at http://localhost:8080 has banned this address after too many failed logins; "
    "restart qBittorrent to lift the ban, correct QBITTORRENT_USER and QBITTORRENT_PASS, and look "
    "for other programs with a wrong password"
)
NOT_LISTENING = (
    "qBittorrent has port 51218 and no socket on tun0 for it; qSticky goes on rebinding it, and "
    "where that doesn't help, see that no other program has the port, set qBittorrent's network "
    "interface to the VPN's (Options > Advanced), and restart it"
)
PASSWORD = (
    "qBittorrent at http://localhost:8080 refused the user name or the password; correct "
    "QBITTORRENT_USER and QBITTORRENT_PASS (Options > Web UI > Authentication)"
)
REFUSED = (
    "Gluetun's control server at http://localhost:8000 refused the connection; check that it runs "
    "and that GLUETUN_HOST and GLUETUN_PORT are right"
)


class Site:
    """The page on the real server, in a time of the test's own; `paths` is what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.paths: list[str] = []
        self._folder = folder
        self._server = Server("127.0.0.1", 0, self._answer, None)
        self.url = f"http://127.0.0.1:{self._server.address[1]}/"
        self.clear()

    def clear(self) -> None:
        """Start afresh, as a process does that has just started."""
        self.clock = FakeClock()
        self.events: list[RecentEvent] = []
        self.syncs: list[bool] = []
        self.health = Health(
            self._folder / "status.json", check_interval=30, request_timeout=10, clock=self.clock
        )
        self.health.write()
        self._routes = Routes(
            CollectorRegistry(),
            self.health,
            lambda: self.events,
            self.clock,
            self._request_sync,
            lambda: None,
        )
        self.paths.clear()

    def record(self, report: SyncReport, after: float = 0.0) -> None:
        """Take in a report, so many seconds after what was before."""
        self.clock.advance(after)
        report = report._replace(finished_at=self.clock.monotonic())
        self.health.record(report, 30)

    def tell(self, name: Event, message: str, level: str = "info") -> None:
        """Have an event happen now."""
        self.events.insert(0, RecentEvent(self.clock.now(), level, name, message))

    def _request_sync(self, rebind: bool) -> str:
        self.syncs.append(rebind)
        return "A sync will run"

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.paths.append(environ["PATH_INFO"])
        return self._routes(environ, start_response)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()


@dataclass(frozen=True)
class Scene:
    """What happened, and what the page then says: in its title, and anywhere."""

    play: Callable[[Site], None]
    title: str
    says: tuple[str, ...]


PEERS: dict[str, object] = {
    "port_source": PortSource.CONTROL_SERVER,
    "listening": True,
    "listening_by": ListeningBy.KERNEL,
    "interface_visible": True,
    "incoming_connections": 12,
    "public_address": "198.51.100.23",
    "external_address": "198.51.100.23",
    "qbittorrent_version": "v5.1.2",
}


def _start(site: Site) -> None:
    site.tell(
        Event.STARTUP,
        "qSticky 0.1.0: Gluetun at http://localhost:8000 with an API key, qBittorrent at "
        "http://localhost:8080 with user and password, checked every 30 s",
    )
    site.tell(Event.HTTP, "Serving the page and metrics at http://localhost:10058")


def _sync(site: Site) -> None:
    _start(site)
    site.tell(Event.LOGIN, "Logged in to qBittorrent")
    site.tell(Event.PORT_CHANGED, "Port changed: 58988 → 51218")
    site.record(synced(change=PortChange(58988, 51218, verified=True), **PEERS))


def _peers(site: Site, after: float, **facts: object) -> None:
    """Have a peer come in 40 s before the sync."""
    last = site.clock.monotonic() + after - 40
    site.record(synced(**{**PEERS, "last_incoming": last, **facts}), after=after)


def _connectable(site: Site) -> None:
    _sync(site)
    _peers(site, 3 * DAY, port_index=2, port_count=3)
    site.clock.advance(12)


def _reached(site: Site) -> None:
    _sync(site)
    _peers(
        site,
        HOUR,
        port_source=PortSource.FIXED,
        gluetun_up=None,
        reachable=True,
        reachable_at=HOUR - 5 * MINUTE,
        external_address="203.0.113.9",
    )


def _by_its_word(site: Site) -> None:
    _sync(site)
    word = {"listening_by": ListeningBy.QBITTORRENT, "incoming_connections": None}
    site.record(synced(**{**PEERS, **word}), after=5 * MINUTE)


def _not_known(site: Site) -> None:
    _sync(site)
    firewalled = ConnectionStatus.FIREWALLED
    site.record(synced(connection_status=firewalled), after=5 * MINUTE)


def _waiting(site: Site) -> None:
    _start(site)
    site.tell(Event.LOGIN, "Logged in to qBittorrent")
    for after in (0, 90):
        site.record(waiting(current_port=58988, patient_until=300.0), after=after)


def _banned(site: Site) -> None:
    _sync(site)
    site.tell(Event.LOGIN_REFUSED, "qBittorrent refused the login", "warning")
    site.record(
        failing(Reason.QBITTORRENT_BANNED, BANNED, gluetun_up=True, forwarded_port=43117),
        after=2 * HOUR,
    )
    site.tell(Event.SYNC_FAILED, BANNED, "error")
    site.clock.advance(20)


def _password(site: Site) -> None:
    _start(site)
    site.tell(Event.LOGIN_REFUSED, "qBittorrent refused the login", "warning")
    reason = Reason.QBITTORRENT_UNAUTHORIZED
    site.record(failing(reason, PASSWORD, gluetun_up=True, forwarded_port=43117))
    site.tell(Event.SYNC_FAILED, PASSWORD, "error")


def _not_listening(site: Site) -> None:
    _sync(site)
    for _ in range(13):
        site.clock.advance(600)
        site.tell(Event.REBOUND, "Rebound the listening socket to port 51218, as nothing listened")
    report = synced(**{**PEERS, "listening": False, "incoming_connections": 0})
    failure = failing(Reason.NOT_LISTENING, NOT_LISTENING)
    site.record(
        report._replace(status=failure.status, failure=failure.failure, problem=failure.problem)
    )
    site.tell(Event.SYNC_FAILED, NOT_LISTENING, "error")


def _hanging(site: Site) -> None:
    _sync(site)
    site.clock.advance(7 * MINUTE)


def _recovered(site: Site) -> None:
    _sync(site)
    site.record(failing(Reason.GLUETUN_UNREACHABLE, REFUSED), after=HOUR)
    site.tell(Event.SYNC_FAILED, REFUSED, "error")
    _peers(site, 13 * MINUTE)
    site.tell(Event.SYNC_RECOVERED, "Recovered from gluetun_unreachable after 780 s")
    _peers(site, 3 * HOUR)


def _from_the_file(site: Site) -> None:
    _sync(site)
    site.record(degraded(REFUSED, **PEERS), after=HOUR)


def _injected(site: Site) -> None:
    _sync(site)
    site.record(failing(Reason.INTERNAL, SCRIPT * 3))
    site.tell(Event.SYNC_FAILED, SCRIPT, "error")


SCENES: Mapping[str, Scene] = {
    "starting": Scene(_start, "Starting - qSticky", ("Starting", "not asked yet", "never")),
    "connectable": Scene(
        _connectable,
        "Peers can connect: 51218 - qSticky",
        ("for 3 days", "51218", "port 2 of 3", "Last peer came in", "52 s ago", "The kernel shows"),
    ),
    "reached": Scene(
        _reached,
        "Peers can connect: 51218 - qSticky",
        ("Fixed port", "Open from outside", "5 min ago", "203.0.113.9"),
    ),
    "by-its-word": Scene(
        _by_its_word,
        "Peers can connect: 51218 - qSticky",
        ("qBittorrent logged that it opened the port", "where peers see qBittorrent too"),
    ),
    "not-known": Scene(
        _not_known,
        "Not known whether peers can connect - qSticky",
        ("PORT_CHECK_URL", "firewalled: no peer came in", "5 min"),
    ),
    "waiting": Scene(
        _waiting,
        "Waiting for a forwarded port - qSticky",
        ("none", "58988", "for 90 s", "That is a failure from"),
    ),
    "banned": Scene(
        _banned,
        "Banned by qBittorrent - qSticky",
        ("What is wrong, and what to do", BANNED, "43117", "51218", "last known", "for 20 s"),
    ),
    "password": Scene(_password, "Password refused - qSticky", (PASSWORD,)),
    "not-listening": Scene(
        _not_listening,
        "Peers can't connect: not listening - qSticky",
        (NOT_LISTENING, "=", "2 h ago", "The kernel shows no socket"),
    ),
    "hanging": Scene(
        _hanging, "qSticky hangs - qSticky", ("for 7 min", "Restart qSticky", "51218")
    ),
    "recovered": Scene(
        _recovered,
        "Peers can connect: 51218 - qSticky",
        ("Last error", REFUSED, "3 h ago", "Recovered from gluetun_unreachable"),
    ),
    "from-the-file": Scene(
        _from_the_file,
        "Peers can connect: 51218 - qSticky",
        ("from the port file", "What is wrong, and what to do", REFUSED),
    ),
    "injected": Scene(_injected, "Internal error - qSticky", (SCRIPT,)),
}
