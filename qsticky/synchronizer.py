"""One sync: compares Gluetun's port with qBittorrent's, changes it where needed, and verifies."""

import threading
from dataclasses import dataclass, replace

from qsticky.clock import Clock
from qsticky.errors import Reason, SyncError
from qsticky.gluetun import Gluetun
from qsticky.qbittorrent import ConnectionStatus, QBittorrent
from qsticky.report import PortChange, RebindCause, Status, SyncReport, Trigger

_READ_BACK_FOR = 2.0
_READ_BACK_EVERY = 0.05


class Synchronizer:
    """Runs one sync at a time, and remembers between them only what a comparison needs.

    `port_index` counts from 1, `port_grace` is in seconds; `stopping` ends a wait early.
    """

    def __init__(
        self,
        gluetun: Gluetun,
        qbittorrent: QBittorrent,
        *,
        port_index: int,
        port_grace: float,
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._gluetun = gluetun
        self._qbittorrent = qbittorrent
        self._port_index = port_index
        self._port_grace = port_grace
        self._clock = clock
        self._stopping = stopping
        self._forwarded_port: int | None = None
        self._portless_since: float | None = None
        self._unverified: PortChange | None = None
        self._lost = False

    def sync(self, trigger: Trigger, rebind: bool = False) -> SyncReport:  # noqa: ARG002
        """Compare, change and verify, once; whatever goes wrong is in the report."""
        started = self._clock.monotonic()
        seen = _Sight()
        try:
            status = self._reconcile(seen)
        except SyncError as error:
            seen.failure = seen.problem = error
            status = Status.FAILING
        return SyncReport(
            trigger=trigger,
            finished_at=self._clock.now(),
            duration=self._clock.monotonic() - started,
            status=status,
            **vars(seen),
        )

    def _reconcile(self, seen: "_Sight") -> Status:
        # Both are asked, also when the first fails: what is wrong with each is worth knowing.
        failures = [self._look_at_gluetun(seen), self._look_at_qbittorrent(seen)]
        for failure in failures:
            if failure:
                raise failure
        if not seen.forwarded_port:
            # Left alone: with port 0 qBittorrent would listen on random ones.
            return self._wait_for_port(seen)
        self._set_port(seen, seen.forwarded_port)
        return Status.SYNCED

    def _look_at_gluetun(self, seen: "_Sight") -> SyncError | None:
        try:
            ports = self._gluetun.forwarded_ports()
            seen.gluetun_up = True
        except SyncError as error:
            ports = self._gluetun.ports_in_file()
            if not ports:
                return error
            seen.problem = error
        index = self._port_index
        seen.forwarded_port = ports[index - 1] if index <= len(ports) else 0
        self._follow(seen, seen.forwarded_port)
        if ports and not seen.forwarded_port:
            return SyncError(
                Reason.NO_FORWARDED_PORT,
                f"Gluetun has {len(ports)} forwarded port{'s' if len(ports) > 1 else ''}, and "
                f"GLUETUN_PORT_INDEX asks for number {index}; set it to 1 to {len(ports)}, or "
                "have the VPN provider forward more ports",
            )
        return None

    def _follow(self, seen: "_Sight", port: int) -> None:
        """Notice when the forwarded port goes away and comes back."""
        if port:
            seen.port_restored = self._lost
            self._lost = False
            self._portless_since = None
        else:
            seen.port_lost = bool(self._forwarded_port)
            self._lost = self._lost or seen.port_lost
            if self._portless_since is None:
                self._portless_since = self._clock.monotonic()
        self._forwarded_port = port

    def _look_at_qbittorrent(self, seen: "_Sight") -> SyncError | None:
        try:
            seen.current_port = self._qbittorrent.preferences().listen_port
            seen.connection_status = self._qbittorrent.connection_status()
        except SyncError as error:
            return error
        seen.qbittorrent_up = True
        return None

    def _wait_for_port(self, seen: "_Sight") -> Status:
        """Be patient with a VPN that has no forwarded port yet, for as long as PORT_GRACE."""
        since = self._portless_since or 0.0
        left = since + self._port_grace - self._clock.monotonic()
        if left > 0:
            seen.again_in = left
            return Status.WAITING
        raise SyncError(
            Reason.NO_FORWARDED_PORT,
            f"Gluetun has had no forwarded port for {self._port_grace:g} s or longer; set "
            "VPN_PORT_FORWARDING=on for Gluetun, choose a server that forwards ports "
            "(PORT_FORWARD_ONLY=on), and look at Gluetun's log",
        )

    def _set_port(self, seen: "_Sight", wanted: int) -> None:
        """Make qBittorrent's listening port the wanted one, and read back until it shows."""
        old = seen.current_port or 0
        if old != wanted:
            seen.change = self._unverified = PortChange(old, wanted, verified=False)
            self._qbittorrent.set_listen_port(wanted)
            self._read_back(seen, wanted)
        # A change that a lost answer hid from the sync that made it is verified by the next.
        if self._unverified and self._unverified.new == wanted:
            seen.change = replace(self._unverified, verified=True)
        self._unverified = None

    def _read_back(self, seen: "_Sight", wanted: int) -> None:
        deadline = self._clock.monotonic() + _READ_BACK_FOR
        while True:
            seen.current_port = self._qbittorrent.preferences().listen_port
            if seen.current_port == wanted:
                return
            if self._clock.monotonic() >= deadline:
                raise SyncError(
                    Reason.PORT_REJECTED,
                    f"qBittorrent took port {wanted} and still reports {seen.current_port} "
                    f"{_READ_BACK_FOR:g} s later; look for another program that sets its port, "
                    "and at its log",
                )
            self._clock.wait(self._stopping, _READ_BACK_EVERY)


@dataclass
class _Sight:
    """What a sync has seen so far: the report's fields while they come in."""

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
