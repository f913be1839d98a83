"""Every state of the page, served by the real routes from reports as the daemon makes them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry

from qsticky.errors import Reason
from qsticky.record.health import Health
from qsticky.record.journal import Event, RecentEvent
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import PortChange, SyncReport
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
    "qBittorrent has port 51218 and no socket on tun0 for it; qSticky goes on re-opening it, and "
    "where that doesn't help, see that no other program has the port, set qBittorrent's network "
    "interface to the VPN's (Options > Advanced), and restart it"
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
        report = replace(report, finished_at=self.clock.now())
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
    site.tell(Event.PORT_CHANGE_NEEDED, "Port change needed: 58988 -> 51218")
    site.tell(Event.PORT_CHANGED, "Successfully updated port to 51218")
    site.record(synced(change=PortChange(58988, 51218, verified=True), listening=True))


def _listening(site: Site) -> None:
    _sync(site)
    site.record(synced(listening=True), after=3 * DAY)
    site.clock.advance(12)


def _not_visible(site: Site) -> None:
    _sync(site)
    firewalled = ConnectionStatus.FIREWALLED
    site.record(synced(connection_status=firewalled), after=5 * MINUTE)


def _waiting(site: Site) -> None:
    _start(site)
    site.tell(Event.LOGIN, "Logged in to qBittorrent")
    site.record(waiting(current_port=58988))
    site.record(waiting(current_port=58988), after=90)


def _failing(site: Site) -> None:
    _sync(site)
    site.tell(Event.LOGIN_REFUSED, "qBittorrent refused the login", "warning")
    site.record(
        failing(Reason.QBITTORRENT_BANNED, BANNED, gluetun_up=True, forwarded_port=43117),
        after=2 * HOUR,
    )
    site.tell(Event.SYNC_FAILED, BANNED, "error")
    site.clock.advance(20)


def _not_listening(site: Site) -> None:
    _sync(site)
    for _ in range(13):
        site.clock.advance(600)
        site.tell(
            Event.REBOUND, "Re-opened the listening socket on port 51218, as nothing listened"
        )
    report = synced(listening=False)
    failure = failing(Reason.NOT_LISTENING, NOT_LISTENING)
    site.record(
        replace(report, status=failure.status, failure=failure.failure, problem=failure.problem)
    )
    site.tell(Event.SYNC_FAILED, NOT_LISTENING, "error")


def _hanging(site: Site) -> None:
    _sync(site)
    site.clock.advance(7 * MINUTE)


def _recovered(site: Site) -> None:
    _sync(site)
    site.record(failing(Reason.GLUETUN_UNREACHABLE, REFUSED), after=HOUR)
    site.tell(Event.SYNC_FAILED, REFUSED, "error")
    site.record(synced(listening=True), after=13 * MINUTE)
    site.tell(Event.SYNC_RECOVERED, "Recovered from gluetun_unreachable after 780 s")
    site.record(synced(listening=True), after=3 * HOUR)


def _from_the_file(site: Site) -> None:
    _sync(site)
    site.record(degraded(REFUSED, listening=True), after=HOUR)


def _injected(site: Site) -> None:
    _sync(site)
    site.record(failing(Reason.INTERNAL, SCRIPT * 3))
    site.tell(Event.SYNC_FAILED, SCRIPT, "error")


SCENES: Mapping[str, Scene] = {
    "starting": Scene(_start, "Starting - qSticky", ("Starting", "not asked yet", "never")),
    "synced": Scene(
        _listening,
        "In sync, and listening: 51218 - qSticky",
        ("for 3 days", "51218", "yes, on the VPN's interface", "peers have come in", "12 s ago"),
    ),
    "not-visible": Scene(
        _not_visible,
        "In sync: 51218 - qSticky",
        ("can't be seen from here", "no peer has come in yet", "5 min ago"),
    ),
    "waiting": Scene(
        _waiting,
        "Waiting for Gluetun to forward a port - qSticky",
        ("none", "58988", "for 90 s"),
    ),
    "failing": Scene(
        _failing,
        "Can't check - qSticky",
        ("What is wrong, and what to do", BANNED, "43117", "51218", "last known", "for 20 s"),
    ),
    "not-listening": Scene(
        _not_listening, "Not listening - qSticky", (NOT_LISTENING, "=", "2 h ago")
    ),
    "hanging": Scene(
        _hanging, "The worker hangs - qSticky", ("for 7 min", "Restart qSticky", "51218")
    ),
    "recovered": Scene(
        _recovered,
        "In sync, and listening: 51218 - qSticky",
        ("Last error, which is over", REFUSED, "3 h ago", "Recovered from gluetun_unreachable"),
    ),
    "from-the-file": Scene(
        _from_the_file,
        "In sync, and listening: 51218 - qSticky",
        ("from the port file", "What is wrong, and what to do", REFUSED),
    ),
    "injected": Scene(_injected, "Can't check - qSticky", (SCRIPT,)),
}
