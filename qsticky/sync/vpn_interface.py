"""The VPN's network interface, as far as it can be seen from this process."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from qsticky.kernel.netlink import Interface, PortSockets
from qsticky.services.qbittorrent import Address


class Kernel(Protocol):
    """What is asked of the kernel: `qsticky.kernel.netlink`, or a simulation."""

    def interface(self, name: str) -> Interface | None:
        """Ask for an interface; None where there is none. Raises OSError where it can't tell."""

    def sockets(self, port: int) -> PortSockets:
        """Ask for the TCP sockets of a local port. Raises OSError where it can't tell."""


class VpnInterface:
    """Remembers what the kernel showed of the interface last, and whether it was ever visible.

    It is *visible* where it is up and has an address, and qBittorrent is in this network namespace
    too: at a loopback address (`beside`), and with that address in its own list. A published port
    on a host with a tunnel of its own is not the same namespace.

    `found` is the interface of that name at the last observation, whoever's it is, and `absent`
    that there was none; where the kernel couldn't tell, it is neither. `was_visible` tells that it
    was visible at the last observation or an earlier one.
    """

    def __init__(self, name: str, *, beside: bool, kernel: Kernel) -> None:
        self.name = name
        self.found: Interface | None = None
        self.absent = False
        self.was_visible = False
        self._beside = beside
        self._kernel = kernel
        self._shared: bool | None = None
        self._asked_about: object = None

    @property
    def visible(self) -> Interface | None:
        """The interface, if qBittorrent's sockets on it can be seen from here."""
        return self.found if self._usable and self._beside and self._shared else None

    @property
    def lost(self) -> bool:
        """Whether it was visible once and is not there now, or is down: an outage of the VPN."""
        return self.was_visible and (self.absent or self.found is not None) and not self._usable

    def observe(self) -> None:
        """Ask the kernel anew."""
        try:
            self.found = self._kernel.interface(self.name)
            self.absent = self.found is None
        except OSError:
            self.found, self.absent = None, False

    def compare(
        self, addresses: Callable[[str], Collection[Address] | None], process: object
    ) -> None:
        """Ask qBittorrent for its addresses of the interface, unless that was answered already.

        `process` is another value when qBittorrent may be another process. `addresses` returns
        None where it has no answer, which is asked for again.
        """
        if self.found is None or not (self._beside and self._usable):
            return
        question = (self.found.index, self.found.addresses, process)
        if self._shared is None or question != self._asked_about:
            answer = addresses(self.name)
            self._asked_about = question
            self._shared = None if answer is None else any(a in answer for a in question[1])
            self.was_visible = self.was_visible or bool(self._shared)

    def sockets(self, port: int) -> PortSockets | None:
        """Look at the TCP sockets of a port; None where they can't be seen."""
        try:
            # 0 is a random one, of which qBittorrent doesn't tell the number.
            return self._kernel.sockets(port) if self.visible and port else None
        except OSError:
            return None

    @property
    def _usable(self) -> bool:
        return self.found is not None and self.found.usable


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
