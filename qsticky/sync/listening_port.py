"""Makes qBittorrent's listening port the forwarded one, against whoever else sets it."""

import threading
from collections import deque
from collections.abc import Sequence

from qsticky.clock import Clock
from qsticky.errors import Reason, SyncError
from qsticky.services.qbittorrent import QBittorrent
from qsticky.sync.report import PortChange

_READ_BACK_FOR = 2.0
_READ_BACK_EVERY = 0.01
_SYNCS_IN_A_ROW = 3
_TIMES, _WITHIN = 5, 600.0


class ListeningPort:
    """Sets the listening port, and remembers the change until reading back has shown it.

    `found` is the port that qBittorrent reported last, None until it did, and `change` the one that
    is not settled yet. `stopping` ends a wait early.
    """

    def __init__(self, qbittorrent: QBittorrent, clock: Clock, stopping: threading.Event) -> None:
        self._qbittorrent = qbittorrent
        self._clock = clock
        self._stopping = stopping
        self.found: int | None = None
        self.change: PortChange | None = None

    def set(self, ports: Sequence[int]) -> None:
        """Set one port after the other, and read the last one back.

        The way over a neighbouring port and back is a rebind: qBittorrent does nothing when it is
        told the port that it has. Raises `SyncError`.
        """
        wanted, old = ports[-1], self.found
        if old is not None and old != wanted:
            self.change = PortChange(old, wanted, verified=False)
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
        self.found = found
        if self.change and self.change.new != wanted:
            self.change = None
        if self.change and self.change.new == found:
            self.change = self.change._replace(verified=True)

    def settle(self) -> None:
        """Note that the change was told, if it is verified."""
        if self.change and self.change.verified:
            self.change = None


class OtherHand:
    """Notices another program that sets the port: it was right, and is another one again.

    Three syncs in a row, or five times in ten minutes, while the forwarded port stayed. Moments are
    monotonic seconds.
    """

    def __init__(self) -> None:
        self._verified: int | None = None
        self._in_a_row = 0
        self._undone: deque[tuple[float, int]] = deque(maxlen=_TIMES)  # when, and to which port

    def note(self, found: int, wanted: int, now: float) -> None:
        """Note which port a sync found, before it set the wanted one."""
        if found == wanted:
            self.note_verified(wanted)
        if found == wanted or wanted != self._verified:
            self._in_a_row = 0
        else:
            self._in_a_row += 1
            self._undone.append((now, found))

    def note_verified(self, port: int) -> None:
        """Note that a change to this port was read back."""
        if port != self._verified:
            self._undone.clear()
        self._verified = port

    def warning(self, now: float) -> str | None:
        """Name it, if there is one."""
        often = len(self._undone) == _TIMES and now - self._undone[0][0] <= _WITHIN
        if self._in_a_row < _SYNCS_IN_A_ROW and not often:
            return None
        theirs = self._undone[-1][1]
        return (
            f"Another program sets qBittorrent's listening port: it was {theirs} again "
            f"after qSticky had set {self._verified}; look for another tool that sets it, for "
            "Gluetun's up or down command, and for a second qSticky, and leave it to one"
        )
