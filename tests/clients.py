"""Clients of both services as the tests' own process uses them."""

from pathlib import Path

from qsticky.clock import Clock
from qsticky.errors import Reason
from qsticky.gluetun import Gluetun
from qsticky.http_client import Exchange, HttpClient, Service
from qsticky.qbittorrent import Credentials, LoginLimit, QBittorrent

_TIMEOUT = 5.0


def gluetun_client(url: str, *, api_key: str = "", port_file: Path | None = None) -> Gluetun:
    """Make a client of the Gluetun at a URL."""
    service = Service(
        label="gluetun",
        name="Gluetun's control server",
        url=url,
        unreachable=Reason.GLUETUN_UNREACHABLE,
        invalid_response=Reason.GLUETUN_INVALID_RESPONSE,
    )
    headers = {"X-API-Key": api_key.encode()} if api_key else {}
    return Gluetun(HttpClient(service, _TIMEOUT, _ignore), lambda: headers, port_file)


def qbittorrent_client(url: str, clock: Clock) -> QBittorrent:
    """Make a client of the qBittorrent at a URL, with its usual name and password."""
    service = Service(
        label="qbittorrent",
        name="qBittorrent",
        url=url,
        unreachable=Reason.QBITTORRENT_UNREACHABLE,
        invalid_response=Reason.QBITTORRENT_INVALID_RESPONSE,
    )
    return QBittorrent(
        HttpClient(service, _TIMEOUT, _ignore),
        lambda: Credentials("admin", "adminadmin"),
        lambda: "",
        LoginLimit(clock),
    )


def _ignore(exchange: Exchange) -> None:
    """Observe nothing."""
