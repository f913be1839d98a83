"""What one sync learnt and did: the one thing that every recorder takes its facts from."""

from enum import StrEnum
from typing import NamedTuple

from qsticky.errors import Reason, SyncError
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
    """Why the listening sockets were opened anew: the `cause` label of `qsticky_rebinds_total`.

    `startup`: where the VPN's interface can't be seen, what qBittorrent logged before this process
    began, or before its binding changed, says nothing about now, and a rebind makes it log anew.
    """

    NOT_LISTENING = "not_listening"
    PORT_RETURNED = "port_returned"
    ADDRESS_CHANGED = "address_changed"
    PORT_FILE = "port_file"
    REQUEST = "request"
    DISCONNECTED = "disconnected"
    PORT_CLOSED = "port_closed"
    STARTUP = "startup"


class Status(StrEnum):
    """The state at a glance: `status` in the health document."""

    STARTING = "starting"
    SYNCED = "synced"
    WAITING = "waiting"
    FAILING = "failing"

    @property
    def healthy(self) -> bool:
        """Whether a health check passes. Waiting is healthy: a VPN may take its time."""
        return self in (Status.SYNCED, Status.WAITING)


class PortSource(StrEnum):
    """Where the forwarded port was learnt: `port_source` in the health document."""

    CONTROL_SERVER = "control_server"
    PORT_FILE = "port_file"
    FIXED = "fixed"


class ListeningBy(StrEnum):
    """By what it is known whether qBittorrent listens: `listening_by` in the health document."""

    SETTINGS = "settings"
    KERNEL = "kernel"
    QBITTORRENT = "qbittorrent"


class PortChange(NamedTuple):
    """A change of qBittorrent's listening port; `verified` once reading back showed it."""

    old: int
    new: int
    verified: bool


class RestartNews(NamedTuple):
    """What became of a VPN restart, in a sentence, and why; `failed` if it needs somebody."""

    sentence: str
    reason: Reason
    failed: bool = False


class SyncReport(NamedTuple):
    """The facts of one sync. Moments are monotonic seconds, durations seconds.

    What could not be learnt is None, and the forwarded port 0 where Gluetun has none. `problem` is
    the last thing that went wrong, also where the sync succeeded all the same; `failure` is what it
    failed by; `warnings` are sentences about what it didn't fail by. `again_in` asks for another
    sync after so many seconds.
    """

    trigger: Trigger
    finished_at: float
    duration: float
    status: Status
    failure: SyncError | None = None
    problem: SyncError | None = None
    warnings: tuple[str, ...] = ()
    again_in: float | None = None

    # The forwarded port: `port_index` counts from 1, of `port_count` that Gluetun has.
    forwarded_port: int | None = None
    port_source: PortSource | None = None
    port_index: int = 1
    port_count: int | None = None
    port_lost: bool = False
    port_restored: bool = False
    patient_until: float | None = None  # without a port, the moment at which PORT_GRACE is over

    # Gluetun; `gluetun_up` is None where the port is fixed and Gluetun is not asked.
    gluetun_up: bool | None = False
    gluetun_version: str | None = None
    public_address: str | None = None
    country: str | None = None
    address_changed: bool = False
    vpn_restart: RestartNews | None = None  # since the last report Gluetun was told to

    # qBittorrent
    qbittorrent_up: bool = False
    qbittorrent_version: str | None = None
    current_port: int | None = None
    change: PortChange | None = None
    connection_status: ConnectionStatus | None = None
    dht_nodes: int | None = None
    external_address: str | None = None  # where peers last saw it

    # Whether peers can connect. Bytes are the interface's, since it was made.
    interface_visible: bool = False
    received_bytes: int | None = None
    transmitted_bytes: int | None = None
    listening: bool | None = None
    listening_by: ListeningBy | None = None
    incoming_connections: int | None = None  # established ones
    last_incoming: float | None = None  # the moment at which one was seen that was new
    reachable: bool | None = None  # by the port check
    reachable_at: float | None = None
    rebinds: tuple[RebindCause, ...] = ()

    @property
    def in_sync(self) -> bool:
        """Whether both ports were read and are the same."""
        return bool(self.forwarded_port) and self.forwarded_port == self.current_port

    @property
    def address_matches(self) -> bool | None:
        """Whether peers see qBittorrent at Gluetun's public address; None unless both are known."""
        if self.external_address is None or self.public_address is None:
            return None
        return self.external_address == self.public_address
