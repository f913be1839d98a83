"""Peers of the BitTorrent network, who reach the namespace by its VPN and no other way."""

import os
import select
import socket
import struct
import time
from ipaddress import IPv4Address

from tests.namespace.netns import Namespace, Vpn

PEER = IPv4Address("203.0.113.5")
_BOUND = 2.0  # seconds; the kernel answers at once
_TCP = 6
_RST, _SYN, _ACK = 0x04, 0x02, 0x10
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_TCP_HEADER = struct.Struct("!HHIIBBHHH")


class Tunnel(Vpn):
    """A VPN at whose other end there is a peer."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(namespace)
        self._next_port = 40_000

    def takes_a_connection(self, address: IPv4Address, port: int) -> bool:
        """Whether what the peer's SYN gets is a SYN and an ACK, and not a RST."""
        self._namespace.run(["ip", "route", "replace", f"{PEER}/32", "dev", self._name])
        ours, self._next_port = self._next_port, self._next_port + 1
        self._send(address, port, ours, _SYN, 1)
        flags = self._answer(address, port, ours)
        if flags & _RST:
            return False
        assert flags & (_SYN | _ACK) == _SYN | _ACK
        self._send(address, port, ours, _RST, 2)
        return True

    def _send(self, address: IPv4Address, port: int, ours: int, flags: int, number: int) -> None:
        def tcp(checksum: int) -> bytes:
            offset = _TCP_HEADER.size // 4 << 4
            return _TCP_HEADER.pack(ours, port, number, 0, offset, flags, 65535, checksum, 0)

        def ip(checksum: int) -> bytes:
            length = _IP_HEADER.size + _TCP_HEADER.size
            ends = PEER.packed, address.packed
            return _IP_HEADER.pack(0x45, 0, length, 0, 0, 64, _TCP, checksum, *ends)

        pseudo_header = PEER.packed + address.packed + struct.pack("!HH", _TCP, len(tcp(0)))
        packet = ip(_checksum(ip(0))) + tcp(_checksum(pseudo_header + tcp(0)))
        assert self._descriptor is not None
        os.write(self._descriptor, packet)

    def _answer(self, address: IPv4Address, port: int, ours: int) -> int:
        """Wait for the answer, among what else comes, and return its flags."""
        assert self._descriptor is not None
        deadline = time.monotonic() + _BOUND
        while select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
            packet = os.read(self._descriptor, 65536)
            if packet[0] >> 4 != 4 or packet[9] != _TCP:
                continue
            *_, source, destination = _IP_HEADER.unpack_from(packet)
            start = (packet[0] & 15) * 4
            source_port, destination_port, _, _, _, flags, *_ = _TCP_HEADER.unpack_from(
                packet, start
            )
            ends = (source, source_port, destination, destination_port)
            if ends == (address.packed, port, PEER.packed, ours):
                return int(flags)
        raise AssertionError(f"no answer from {address}:{port}")


class Peer(Namespace):
    """A peer with a namespace of its own, and a veth between: in ours it is called tun0.

    Ours has the addresses 10.2.0.2 and fd7d::2 there, the peer 10.2.0.1 and fd7d::1.
    """

    OURS = ("10.2.0.2", "fd7d::2")
    THEIRS = ("10.2.0.1", "fd7d::1")

    def __init__(self, ours: Namespace) -> None:
        super().__init__(beside=ours)
        self._ours = ours

    def up(self, *, ipv6: bool = True) -> None:
        """Make the veth, with its addresses and both links up."""
        pair = ["tun0", "type", "veth", "peer", "name", "far0", "netns", str(self.pid)]
        self._ours.run(["ip", "link", "add", *pair])
        for namespace, link, (ipv4_address, ipv6_address) in (
            (self._ours, "tun0", self.OURS),
            (self, "far0", self.THEIRS),
        ):
            namespace.run(["ip", "address", "add", f"{ipv4_address}/24", "dev", link])
            if ipv6:
                # Without nodad, the kernel first looks for a second, whether another has it.
                namespace.run(["ip", "address", "add", f"{ipv6_address}/64", "dev", link, "nodad"])
            namespace.run(["ip", "link", "set", link, "up"])

    def down(self) -> None:
        """Delete the veth."""
        self._ours.run(["ip", "link", "delete", "tun0"])

    def connect(self, address: str, port: int) -> socket.socket:
        """Come in at an address and port of ours."""
        return self.create_connection((address, port), _BOUND)


def _checksum(data: bytes) -> int:
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
