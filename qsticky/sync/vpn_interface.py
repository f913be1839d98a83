"""The VPN's network interface, as far as it can be seen from this process."""

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Protocol

from qsticky.kernel.netlink import Interface, PortSockets
from qsticky.services.qbittorrent import Address


class Kernel(Protocol):
    """What is asked of the kernel: `qsticky.kernel.netlink`, or a simulation."""

    def interface(self, name: str) -> Interface | None:
        """Ask for an interface; None where there is none. Raises OSError where it can't tell."""

    def sockets(self, port: int) -> PortSockets:
        """Ask for the TCP sockets of a local port. Raises OSError where it can't tell."""


class Presence(Enum):
    """Three answers, of which none stands in for another."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class VpnInterface:
    """Remembers what the kernel showed of the interface last, and whether it was ever visible.

    It is *visible* where it is up and has an address, and qBittorrent is in this network namespace
    too: at a loopback address (`beside`), and with that address in its own list. A published port
    on a host with a tunnel of its own is not the same namespace.
    """

    def __init__(self, name: str, *, beside: bool, kernel: Kernel) -> None:
        self.name = name
        self._beside = beside
        self._kernel = kernel
        self._found: Interface | None = None
        self._before: Interface | None = None
        self._presence = Presence.UNKNOWN
        self._shared: bool | None = None
        self._asked_about: object = None
        self._was_visible = False

    @property
    def presence(self) -> Presence:
        """Whether an interface of that name was there at the last observation, whoever's it is."""
        return self._presence

    @property
    def found(self) -> Interface | None:
        """The interface of that name at the last observation, whoever's it is."""
        return self._found

    @property
    def changed(self) -> bool:
        """Whether it is another one than at the observation before, or has other addresses."""
        return self._found != self._before

    @property
    def visible(self) -> Interface | None:
        """The interface, if qBittorrent's sockets on it can be seen from here."""
        found = self._found
        return found if found and found.usable and self._beside and self._shared else None

    @property
    def was_visible(self) -> bool:
        """Whether it was visible at this observation or an earlier one."""
        return self._was_visible

    @property
    def lost(self) -> bool:
        """Whether it was visible once and is not there now, or is down: an outage of the VPN."""
        usable = self._found is not None and self._found.usable
        return self._was_visible and not usable and self._presence is not Presence.UNKNOWN

    def observe(self) -> None:
        """Ask the kernel anew."""
        self._before = self._found
        try:
            self._found = self._kernel.interface(self.name)
        except OSError:
            self._found, self._presence = None, Presence.UNKNOWN
        else:
            self._presence = Presence.PRESENT if self._found else Presence.ABSENT
        self._was_visible = self._was_visible or self.visible is not None

    def compare(
        self, addresses: Callable[[str], Collection[Address] | None], process: object
    ) -> None:
        """Ask qBittorrent for its addresses of the interface, unless that was answered already.

        `process` is another value when qBittorrent may be another process. `addresses` returns
        None where it has no answer, which is asked for again.
        """
        found = self._found
        if not (self._beside and found and found.usable):
            return
        question = (found.index, found.addresses, process)
        if self._shared is not None and self._asked_about == question:
            return
        answer = addresses(self.name)
        self._asked_about = question
        self._shared = None if answer is None else any(a in answer for a in found.addresses)
        self._was_visible = self._was_visible or self.visible is not None

    def sockets(self, port: int) -> PortSockets | None:
        """Look at the TCP sockets of a port; None where they can't be seen."""
        if not self.visible or not 1 <= port <= 65535:  # qBittorrent stores any number
            return None
        try:
            return self._kernel.sockets(port)
        except OSError:
            return None


def vpn_addresses(
    interfaces: Sequence[str],
    bound_to: str,
    vpn_name: str,
    addresses: Callable[[str], Collection[Address] | None],
) -> tuple[Address, ...]:
    """Ask qBittorrent for the VPN's addresses, where its interface can't be seen from here.

    That is the one that it is bound to, else the VPN's by name, else its only one beside `lo`,
    unless that is Ethernet: a container's `eth0` is there while the VPN is down, too. Empty where
    none tells.
    """
    others = [name for name in interfaces if name != "lo"]
    candidates = [name for name in (bound_to, vpn_name) if name in others]
    if not candidates and len(others) == 1 and not others[0].startswith(("eth", "en")):
        candidates = others
    found = addresses(candidates[0]) if candidates else None
    usable = [a for a in found or () if not (a.is_link_local or a.is_loopback)]
    return tuple([a for a in usable if a.version == 4] or usable)
