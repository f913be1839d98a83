"""Clients of both services as the tests' own process uses them."""

import threading
from pathlib import Path
from typing import Any

from qsticky.clock import Clock
from qsticky.services.gluetun import Gluetun, gluetun_service
from qsticky.services.gluetun_roles import Credential
from qsticky.services.http import HttpClient, unobserved
from qsticky.services.login_limit import Credentials, LoginLimit
from qsticky.services.port_check import PortCheck
from qsticky.services.port_file import PortFile
from qsticky.services.qbittorrent import QBittorrent, qbittorrent_service
from qsticky.sync.options import Options
from qsticky.sync.synchronizer import Synchronizer
from qsticky.sync.vpn_interface import Kernel

_TIMEOUT = 5.0


def gluetun_client(url: str, *, api_key: str = "", port_file: Path | None = None) -> Gluetun:
    """Make a client of the Gluetun at a URL."""
    credential = Credential({"X-API-Key": api_key.encode()} if api_key else {})
    file = PortFile(port_file) if port_file else None
    http = HttpClient(gluetun_service(url), _TIMEOUT, unobserved)
    return Gluetun(http, lambda: credential, file)


def qbittorrent_client(url: str, clock: Clock) -> QBittorrent:
    """Make a client of the qBittorrent at a URL, with its usual name and password."""
    return QBittorrent(
        HttpClient(qbittorrent_service(url), _TIMEOUT, unobserved),
        lambda: Credentials("admin", "adminadmin"),
        lambda: "",
        LoginLimit(clock),
    )


def make_synchronizer(
    gluetun: Gluetun | None,
    qbittorrent: QBittorrent,
    *,
    kernel: Kernel,
    clock: Clock,
    stopping: threading.Event | None = None,
    port_check: PortCheck | None = None,
    **options: Any,
) -> Synchronizer:
    """Make a synchronizer of both clients, with these `Options`, all in one network if unsaid."""
    usual = Options(vpn_interface="tun0", webui_port=8080, beside=True, same_network=True)
    return Synchronizer(
        gluetun,
        qbittorrent,
        usual._replace(**options),
        kernel=kernel,
        clock=clock,
        stopping=stopping or threading.Event(),
        port_check=port_check,
    )
