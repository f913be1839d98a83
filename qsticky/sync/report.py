"""What one sync saw and did: the one thing that metrics, health and log are made from."""

from dataclasses import dataclass
from enum import StrEnum

from qsticky.errors import SyncError
from qsticky.services.qbittorrent import ConnectionStatus


class Trigger(StrEnum):
    """What a sync was run for: the `trigger` label of `qsticky_syncs_total`."""

    STARTUP = "startup"
    INTERVAL = "interval"
    PORT_FILE = "port_file"
    INTERFACE = "interface"
    REQUEST = "request"
    RETRY = "retry"


class RebindCause(StrEnum):
    """Why the listening socket was re-opened: the `cause` label of `qsticky_rebinds_total`."""

    NOT_LISTENING = "not_listening"
    PORT_RETURNED = "port_returned"
    ADDRESS_CHANGED = "address_changed"
    PORT_FILE = "port_file"
    REQUEST = "request"
    DISCONNECTED = "disconnected"


class Status(StrEnum):
    """The state at a glance: `status` in the health file."""

    STARTING = "starting"
    SYNCED = "synced"
    WAITING = "waiting"
    FAILING = "failing"

    @property
    def healthy(self) -> bool:
        """Whether a health check passes. Waiting is healthy: a VPN may take its time."""
        return self in (Status.SYNCED, Status.WAITING)


@dataclass(frozen=True)
class PortChange:
    """A change of qBittorrent's listening port; `verified` once reading back showed it."""

    old: int
    new: int
    verified: bool


@dataclass(frozen=True)
class SyncReport:
    """The facts of one sync. Times are seconds since the epoch, durations seconds.

    A port is None where it could not be learnt, and the forwarded port 0 where Gluetun has none.
    `problem` is the last thing that went wrong, also where the sync succeeded all the same;
    `failure` is what it failed by. `again_in` asks for another sync after so many seconds.
    `listening` is None where the VPN interface is not visible.
    """

    trigger: Trigger
    finished_at: float
    duration: float
    status: Status
    forwarded_port: int | None = None
    current_port: int | None = None
    connection_status: ConnectionStatus | None = None
    gluetun_up: bool = False
    qbittorrent_up: bool = False
    failure: SyncError | None = None
    problem: SyncError | None = None
    change: PortChange | None = None
    port_lost: bool = False
    port_restored: bool = False
    interface_visible: bool = False
    listening: bool | None = None
    rebinds: tuple[RebindCause, ...] = ()
    again_in: float | None = None

    @property
    def in_sync(self) -> bool:
        """Whether both ports were read and are the same."""
        return bool(self.forwarded_port) and self.forwarded_port == self.current_port
