"""What a kernel would tell of the simulated qBittorrent: the VPN's interface, sockets and peers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final

from qsticky.clock import Clock, SystemClock
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.kernel.netlink import Connection, Interface, Listener, PortSockets

VPN_INTERFACE: Final = "demo"  # no machine has one of that name
_ADDRESS: Final = IPv4Address("10.2.0.2")
_LOOPBACK: Final = IPv4Address("127.0.0.1")
_FIRST_PEER: Final = IPv4Address("198.51.100.1")  # of a range for examples
_PEERS: Final = 200
_COMES_EVERY, _STAYS = 2.0, 10.0  # seconds
_BYTES_A_SECOND = 1_500_000
_QBITTORRENTS_USER, _ANOTHER_USER = 1000, 1001


class KernelSimulator:
    """The kernel's part beside a simulated qBittorrent; asked as `qsticky.kernel.netlink` is.

    The VPN's interface is there until `stop_vpn`. After `start_vpn` it is another one, on which
    qBittorrent listens no more until it opens its sockets anew. While it listens, a peer comes in
    every 2 seconds and stays for 10; `peers_come` is whether the provider forwards the port to it.
    """

    def __init__(self, qbittorrent: QBittorrentSimulator, clock: Clock | None = None) -> None:
        self._qbittorrent = qbittorrent
        self._clock = clock or SystemClock()
        self._index = 7
        self._up_since: float | None = self._clock.monotonic()
        self._works_from = 0  # the number of the opening
        self._peers_since, self._peers_until = -math.inf, math.inf
        qbittorrent.interfaces = {"lo": (str(_LOOPBACK),), VPN_INTERFACE: (str(_ADDRESS),)}
        qbittorrent.reached = self.somebody_came

    def interface(self, name: str) -> Interface | None:
        """Tell of the interface of that name, which is there when the VPN is up."""
        if name != VPN_INTERFACE or self._up_since is None:
            return None
        received = int((self._clock.monotonic() - self._up_since) * _BYTES_A_SECOND)
        return Interface(name, self._index, True, (_ADDRESS,), received, received // 10)

    def sockets(self, port: int) -> PortSockets:
        """Tell of the sockets of a port: the WebUI's, qBittorrent's or another program's."""
        if self._qbittorrent.running and port == self._qbittorrent.port:
            return PortSockets((_socket(_LOOPBACK, port, self._qbittorrent.runs),))
        if self._is_taken(port):
            return PortSockets((Listener(_ADDRESS, port, 0, uid=_ANOTHER_USER),))
        if not self._listens() or port != self._qbittorrent.listen_port:
            return PortSockets()
        socket = _socket(_ADDRESS, port, self._qbittorrent.openings)
        return PortSockets((socket,), tuple(self._connections()))

    def stop_vpn(self) -> None:
        """Have the VPN's interface go away."""
        self._up_since = None

    def start_vpn(self) -> None:
        """Have it come back, without the socket that qBittorrent had on it."""
        self._index += 1
        self._up_since = self._clock.monotonic()
        self._works_from = self._qbittorrent.openings + 1

    @property
    def peers_come(self) -> bool:
        """Whether peers come in, where something listens."""
        return self._peers_until == math.inf

    @peers_come.setter
    def peers_come(self, come: bool) -> None:
        if come and not self.peers_come:
            if self.somebody_came():
                self._qbittorrent.connection_status = "connected"  # which it stays
            self._peers_since, self._peers_until = self._clock.monotonic(), math.inf
        elif not come:
            self._peers_until = min(self._peers_until, self._clock.monotonic())

    def somebody_came(self) -> bool:
        """Whether a peer came in since qBittorrent opened its sockets."""
        first = self._open_since() + _COMES_EVERY
        return self._listens() and first <= min(self._clock.monotonic(), self._peers_until)

    def _listens(self) -> bool:
        qbittorrent = self._qbittorrent
        works = self._up_since is not None and qbittorrent.openings >= self._works_from
        return qbittorrent.running and works and not self._is_taken(qbittorrent.listen_port)

    def _is_taken(self, port: int) -> bool:
        return str(_ADDRESS) in self._qbittorrent.busy.get(port, ())

    def _open_since(self) -> float:
        return max(self._qbittorrent.opened_at, self._peers_since)

    def _connections(self) -> Iterator[Connection]:
        now, since = self._clock.monotonic(), self._open_since()
        oldest = max(0, math.ceil((now - _STAYS - since) / _COMES_EVERY))
        newest = math.floor((min(now, self._peers_until) - since) / _COMES_EVERY)
        for number in range(oldest, newest):
            peer = _FIRST_PEER + number % _PEERS
            yield Connection(_ADDRESS, peer, 40_000 + number % 20_000, True)


def _socket(address: IPv4Address, port: int, opening: int) -> Listener:
    return Listener(address, port, 0, uid=_QBITTORRENTS_USER, inode=port * 1000 + opening)
