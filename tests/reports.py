"""Reports as tests need them: a good one and a bad one, changed where it matters."""

from typing import Any

from qsticky.errors import Reason, SyncError
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import RestartNews, Status, SyncReport, Trigger

WALL = 1_737_749_293.25  # 2025-01-24T20:08:13.250Z
ENDED = 100.0  # the same as a moment, by a `FakeClock(START)` that stands at its beginning
START = WALL - ENDED

_SYNCED = SyncReport(
    trigger=Trigger.INTERVAL,
    finished_at=ENDED,
    duration=0.02,
    status=Status.SYNCED,
    forwarded_port=51218,
    current_port=51218,
    connection_status=ConnectionStatus.CONNECTED,
    gluetun_up=True,
    qbittorrent_up=True,
)


def synced(**facts: Any) -> SyncReport:
    """Both services answered, and have the same port."""
    return _SYNCED._replace(**facts)


def waiting(**facts: Any) -> SyncReport:
    """Gluetun has no forwarded port yet."""
    return _SYNCED._replace(**{"status": Status.WAITING, "forwarded_port": 0, **facts})


def failing(reason: Reason, sentence: str = "It failed; mend it", **facts: Any) -> SyncReport:
    """A sync that failed, nothing being known but why."""
    error = SyncError(reason, sentence)
    bare = SyncReport(
        trigger=Trigger.INTERVAL,
        finished_at=ENDED,
        duration=0.02,
        status=Status.FAILING,
        failure=error,
        problem=error,
    )
    return bare._replace(**facts)


def degraded(sentence: str = "Gluetun is away; start it", **facts: Any) -> SyncReport:
    """Gluetun's API could not be read, and the port came from the file."""
    problem = SyncError(Reason.GLUETUN_UNREACHABLE, sentence)
    return _SYNCED._replace(**{"gluetun_up": False, "problem": problem, **facts})


KNOWN = synced(
    interface_visible=True,
    received_bytes=4096,
    transmitted_bytes=1024,
    listening=True,
    incoming_connections=12,
    last_incoming=ENDED - 40,
    reachable=False,
    dht_nodes=300,
    external_address="203.0.113.9",
    public_address="203.0.113.7",
    country="Netherlands",
    address_changed=True,
    gluetun_version="3.41.3",
    qbittorrent_version="5.1.0",
    vpn_restart=RestartNews("Restarting the VPN", Reason.NO_FORWARDED_PORT),
)
