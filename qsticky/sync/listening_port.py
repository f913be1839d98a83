"""Makes qBittorrent's listening port the forwarded one."""

import threading
from collections.abc import Sequence

from qsticky.clock import Clock
from qsticky.errors import Reason, SyncError
from qsticky.services.qbittorrent import QBittorrent
from qsticky.sync.report import PortChange

_READ_BACK_FOR = 2.0
_READ_BACK_EVERY = 0.01


class ListeningPort:
    """Sets the listening port, and remembers the change until reading back has shown it.

    `stopping` ends a wait early. Moments are monotonic seconds.
    """

    def __init__(self, qbittorrent: QBittorrent, clock: Clock, stopping: threading.Event) -> None:
        self._qbittorrent = qbittorrent
        self._clock = clock
        self._stopping = stopping
        self._found: int | None = None
        self._change: PortChange | None = None

    @property
    def found(self) -> int | None:
        """The port that qBittorrent reported last; None until it did."""
        return self._found

    @property
    def change(self) -> PortChange | None:
        """The change that is not settled yet."""
        return self._change

    def set(self, ports: Sequence[int]) -> None:
        """Set one port after the other, and read the last one back.

        The way over a neighbouring port and back is a rebind: qBittorrent does nothing when it is
        told the port that it has. Raises `SyncError`.
        """
        wanted, old = ports[-1], self._found
        if old is not None and old != wanted:
            self._change = PortChange(old, wanted, verified=False)
        for port in ports:
            self._qbittorrent.set_listen_port(port)
        deadline = self._clock.monotonic() + _READ_BACK_FOR
        while True:
            found = self._qbittorrent.preferences().listen_port
            self.note(found, wanted)
            if found == wanted:
                return
            if self._clock.monotonic() >= deadline:
                raise SyncError(
                    Reason.PORT_REJECTED,
                    f"qBittorrent took port {wanted} and still reports {found} "
                    f"{_READ_BACK_FOR:g} s later; look for another program that sets its port, "
                    "and at its log",
                )
            if self._clock.wait(self._stopping, _READ_BACK_EVERY):
                return

    def note(self, found: int, wanted: int | None) -> None:
        """Note what qBittorrent reports: a change that a lost answer hid is verified by that.

        One to a port that is not wanted any more never came about.
        """
        self._found = found
        if self._change and self._change.new != wanted:
            self._change = None
        if self._change and self._change.new == found:
            self._change = self._change._replace(verified=True)

    def settle(self) -> None:
        """Note that the change was told, if it is verified."""
        if self._change and self._change.verified:
            self._change = None
