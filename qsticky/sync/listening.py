"""Whether qBittorrent really listens, and when its socket is to be re-opened."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qsticky.kernel import netlink
from qsticky.kernel.netlink import Interface, Listener
from qsticky.sync.report import RebindCause

_BELONGS_TO_THE_LAST = 5.0
_EVIDENCE_WAITS = 10.0
_PAUSE = 30.0
_LONG_PAUSE = 600.0
_PATIENCE = 3
DISCONNECTED_FOR = 2.0


class Kernel(Protocol):
    """What is asked of the kernel: `qsticky.kernel.netlink`, or a test's word."""

    def interface(self, name: str) -> Interface | None:
        """Ask for an interface; None where there is none."""

    def listeners(self, port: int) -> Sequence[Listener]:
        """List the TCP sockets that listen on a port."""


@dataclass(frozen=True)
class Look:
    """What a look at the VPN interface shows; `interface` is None where it is not visible.

    `lost` tells that it was visible once and is not now. `listening` is None where nothing can
    be seen.
    """

    interface: Interface | None = None
    lost: bool = False
    listening: bool | None = None


class Lookout:
    """Looks at the VPN interface for a socket that listens on it.

    `beside` tells whether qBittorrent shares our network namespace, as it does when it is spoken
    to at a loopback address: otherwise its sockets can't be seen.
    """

    def __init__(self, name: str, *, beside: bool, kernel: Kernel) -> None:
        self.name = name
        self.seen = False
        self.changed = False
        self._beside = beside
        self._kernel = kernel
        self._last: Interface | None = None

    def look(self, port: int) -> Look:
        """Look for a socket that listens on `port`.

        Sets `changed` when the interface is another one than at the last look, or back.
        """
        interface = self.visible_interface()
        self.changed, self._last = interface != self._last, interface
        if interface is None:
            return Look(lost=self.seen)
        self.seen = True
        if not 1 <= port <= 65535:  # qBittorrent stores any number; 0 is any port to the kernel
            return Look(interface)
        try:
            found = self._kernel.listeners(port)
        except OSError:
            return Look(interface)
        return Look(interface, listening=netlink.listens(found, interface))

    def visible_interface(self) -> Interface | None:
        """The interface, if qBittorrent's sockets on it can be seen from here."""
        interface = self.interface() if self._beside else None
        return interface if interface and interface.usable else None

    def interface(self) -> Interface | None:
        """The interface of that name; None also where the kernel refuses to tell."""
        try:
            return self._kernel.interface(self.name)
        except OSError:
            return None


class Reopening:
    """Decides when the listening socket is to be re-opened, and for which cause.

    Times are monotonic seconds. What is seen to be wrong is acted on at once; while that does not
    help, once in 30 s, and from the third time on every 10 minutes. Evidence, which is never seen
    to help, is acted on once, 10 s after the last opening.
    """

    def __init__(self) -> None:
        self._opened = -math.inf
        self._useless = 0
        self._evidence: RebindCause | None = None
        self._disconnected_since: float | None = None

    def changed(self, now: float) -> None:
        """Note that the sockets were opened on another port."""
        self._opened = now
        self._evidence = None
        self._disconnected_since = None

    def reopened(self, now: float) -> None:
        """Note that they were opened anew on the same port, with what use is yet to be seen."""
        self.changed(now)
        self._useless += 1

    def well(self) -> None:
        """Note that nothing is wrong, or that all is different now: the limits start afresh."""
        self._useless = 0

    def visible(self) -> None:
        """Note that the sockets can be seen: what was noted in place of that counts no more."""
        if self._evidence is not RebindCause.REQUEST:
            self._evidence = None

    def evidence(self, cause: RebindCause, now: float) -> None:
        """Note evidence that the VPN came back. Just after an opening it is that one's own."""
        if now - self._opened > _BELONGS_TO_THE_LAST:
            self._evidence = self._evidence or cause

    def disconnected(self, disconnected: bool, now: float) -> bool:
        """Note a look at qBittorrent's status; tell whether it is `disconnected` for good.

        For good is at two looks: 4.6.7 and later say so for up to 1.5 s without cause.
        """
        if not disconnected:
            self._disconnected_since = None
        elif self._disconnected_since is None:
            self._disconnected_since = now
        since = self._disconnected_since
        return since is not None and now - since >= DISCONNECTED_FOR

    def due(self, wrong: RebindCause | None, now: float) -> tuple[RebindCause | None, float | None]:
        """Return the cause to re-open for now, if there is one, or else the seconds until then."""
        dates: list[tuple[float, RebindCause]] = []
        if wrong and not self._useless:
            dates.append((now, wrong))
        elif wrong:
            pause = _PAUSE if self._useless < _PATIENCE else _LONG_PAUSE
            dates.append((self._opened + pause, wrong))
        if self._evidence:
            dates.append((self._opened + _EVIDENCE_WAITS, self._evidence))
        if not dates:
            return None, None
        when, cause = min(dates)
        return (cause, None) if when <= now else (None, when - now)
