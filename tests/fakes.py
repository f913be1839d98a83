"""Collaborators that tests use in place of the real ones."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from qsticky.kernel.netlink import Connection, Interface, Listener, PortSockets


class FakeClock:
    """A `Clock` that stands still until somebody waits or a test advances it.

    ``waits`` are the seconds of every wait that came to its end, in order.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.waits: list[float] = []
        self._start = now
        self._elapsed = 0.0

    def now(self) -> float:
        """The wall clock, in seconds since the epoch."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._elapsed

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Return at once, the timeout later unless the event is set; tell whether it is set."""
        if not event.is_set():
            self.waits.append(timeout)
            self.advance(timeout)
        return event.is_set()

    def set(self, now: float) -> None:
        """Set the wall clock, as people and time servers do."""
        self._start = now - self._elapsed

    def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        self._elapsed += seconds


TUN0 = Interface("tun0", 7, up=True, addresses=(ip_address("10.2.0.2"),))


@dataclass
class FakeKernel:
    """A kernel that tells what the test wants; an error is raised. ``asked`` are the ports.

    ``first_looks`` are told first, one each, in the place of ``listeners`` that have the port.
    """

    tun0: Interface | OSError | None = TUN0
    listeners: Sequence[Listener] | OSError = ()
    connections: Sequence[Connection] = ()
    first_looks: list[Sequence[Listener]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def interface(self, name: str) -> Interface | None:
        """Tell of the interface of that name."""
        if isinstance(self.tun0, OSError):
            raise self.tun0
        return self.tun0 if self.tun0 and self.tun0.name == name else None

    def sockets(self, port: int) -> PortSockets:
        """Tell of the sockets of a port."""
        self.asked.append(port)
        if isinstance(self.listeners, OSError):
            raise self.listeners
        listeners = tuple(one for one in self.listeners if one.port == port)
        if listeners and self.first_looks:
            listeners = tuple(self.first_looks.pop(0))
        return PortSockets(listeners, tuple(self.connections))
