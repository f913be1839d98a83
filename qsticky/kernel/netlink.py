"""What the kernel says of an interface, of who listens on a port, and of who came in by it.

All is asked by netlink, which needs no privileges, and concerns the network namespace that this
process is in: with `network_mode: container:gluetun`, Gluetun's.
"""

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from qsticky.kernel import messages

# linux/rtnetlink.h, if_link.h and if_addr.h: `struct ifinfomsg` (family, type, index, flags,
# change), `struct ifaddrmsg` (family, prefix length, flags, scope, index), and of `struct
# rtnl_link_stats64` the third and fourth counter, bytes received and transmitted.
_LINK = Struct("=BxHiII")
_ADDRESS = Struct("=BBBBI")
_STATISTICS = Struct("=16xQQ")
_RTM_GETLINK, _RTM_GETADDR = 18, 22
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_IFLA_IFNAME, _IFLA_STATS64, _IFA_ADDRESS, _IFA_LOCAL = 3, 23, 1, 2

# linux/if.h: up, running, and with a carrier. A tun device is the latter two while a process
# holds it open, though its state reads UNKNOWN. Programs go by "running", which follows late.
_USABLE = 0x1 | 0x40 | 0x10000  # IFF_UP, IFF_RUNNING, IFF_LOWER_UP

# linux/inet_diag.h: `struct inet_diag_req_v2` (family, protocol, extensions, states) and `struct
# inet_diag_msg` (family, state, timer, retransmits, …, a time, two queues, user, inode) with in it
# `struct inet_diag_sockid` (two ports, two addresses, all big-endian, the interface, a cookie).
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_DIAG_REQUEST = Struct("=BBBxI 2s2s16s16sI8s")
_DIAG_ANSWER = Struct("=BBxx 2xH16s16sI8x 12xII")
_INET_DIAG_SKV6ONLY = 11

# net/tcp_states.h. What comes in is in SYN_RECV until the peer has answered, which proves its
# address; SYN_SENT is only what goes out. Those after 11 are the kernel's own.
_ESTABLISHED, _SYN_SENT, _SYN_RECV, _LISTEN = 1, 2, 3, 10
_STATES = frozenset(range(1, 12)) - {_SYN_SENT, _SYN_RECV}

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Interface:
    """A network interface as the kernel has it now.

    The counters are the bytes since it was made, None where the kernel doesn't count; two that
    differ in nothing else are equal.
    """

    name: str
    index: int
    up: bool  # and with a carrier: for a tun device, held open by its VPN
    addresses: tuple[_Address, ...]  # no IPv6 link-local ones: nobody forwards a port to them
    received_bytes: int | None = field(default=None, compare=False)
    transmitted_bytes: int | None = field(default=None, compare=False)

    @property
    def usable(self) -> bool:
        """Whether a program can listen on it."""
        return self.up and bool(self.addresses)

    @property
    def vpn_addresses(self) -> tuple[_Address, ...]:
        """Those that a port is forwarded to: IPv4, or IPv6 where it has no IPv4."""
        return tuple(one for one in self.addresses if one.version == 4) or self.addresses


class Listener(NamedTuple):
    """A TCP socket that listens; what only `sock_diag` tells is None where /proc was read.

    `interface_index` is the interface's that it is bound to, which may be gone; 0: to none.
    `ipv6_only` says for the wildcard `::` whether it leaves IPv4 out. `uid` is its owner's, as
    this process's user namespace has it, and `inode` its number, which no other socket has.
    """

    address: _Address
    port: int
    interface_index: int | None
    ipv6_only: bool | None = False
    uid: int = 0
    inode: int = 0

    def serves(self, interface: Interface) -> bool:
        """Whether it takes what comes in on the interface: by IPv4, or IPv6 where that has none.

        One that is bound to an interface that had the name before does not: qBittorrent 4.5.2 keeps
        such a socket after a VPN restart.
        """
        bound_to_it = self.interface_index in (None, 0, interface.index)
        return bound_to_it and any(map(self._accepts, interface.vpn_addresses))

    def _accepts(self, address: _Address) -> bool:
        if not self.address.is_unspecified:
            return self.address == address
        dual_stack = self.address.version == 6 and not self.ipv6_only
        return dual_stack or self.address.version == address.version


class Connection(NamedTuple):
    """A TCP connection whose local port is the one that was asked for.

    It is `established`, or being closed, or was: TIME_WAIT keeps it for a minute where our side
    closed first.
    """

    local: _Address
    peer: _Address
    peer_port: int
    established: bool


class PortSockets(NamedTuple):
    """The TCP sockets whose local port is the one that was asked for."""

    listeners: tuple[Listener, ...] = ()
    connections: tuple[Connection, ...] = ()


def interface(name: str) -> Interface | None:
    """Ask for the interface of that name; None where there is none.

    Raises OSError where the kernel refuses to say, as that of some hardened runtimes does.
    """
    named = messages.attribute(_IFLA_IFNAME, os.fsencode(name) + b"\0")
    request = _LINK.pack(0, 0, 0, 0, 0) + named
    try:
        link, *_ = messages.ask(socket.NETLINK_ROUTE, _RTM_GETLINK, request, _read_link, dump=False)
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ERANGE):  # there is none, or the name is too long
            return None
        raise
    index, flags, counters = link
    request = _ADDRESS.pack(0, 0, 0, 0, 0)
    told = messages.ask(socket.NETLINK_ROUTE, _RTM_GETADDR, request, _read_address)
    addresses = tuple(
        address
        for owner, address in told
        if owner == index and address and (address.version == 4 or not address.is_link_local)
    )
    return Interface(name, index, flags & _USABLE == _USABLE, addresses, *counters)


def sockets(port: int) -> PortSockets:
    """List the TCP sockets with that local port, IPv4 and IPv6: one dump of the kernel's each.

    An IPv4 address within IPv6, as a socket of the wildcard `::` has, is told as IPv4. Of more than
    20,000 sockets the later ones are left out; those that listen come first. Raises OSError where
    neither `sock_diag` nor /proc can be read.
    """
    if not 1 <= port <= 65535:  # qBittorrent stores any number; 0 is any port to the kernel
        return PortSockets()
    try:
        families = socket.AF_INET, socket.AF_INET6
        found = [one for family in families for one in _diagnosed(family, port)]
    except OSError:
        tables = "tcp", "tcp6"
        found = [one for t in tables for one in islice(_listed(t, port), messages.MOST_ANSWERS)]
    return PortSockets(
        tuple(one for one in found if isinstance(one, Listener)),
        tuple(one for one in found if isinstance(one, Connection)),
    )


def open_monitor() -> socket.socket:
    """Open a socket to which the kernel tells what changes of links and addresses.

    Raises OSError where the kernel refuses.
    """
    return messages.open_socket(
        socket.NETLINK_ROUTE, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR
    )


def _read_link(body: bytes) -> tuple[int, int, tuple[int, ...]]:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    counters = messages.attributes(body, _LINK).get(_IFLA_STATS64)
    return index, flags, _STATISTICS.unpack_from(counters) if counters else ()


def _read_address(body: bytes) -> tuple[int, _Address | None]:
    *_, owner = _ADDRESS.unpack_from(body)
    attributes = messages.attributes(body, _ADDRESS)
    # Of a point-to-point link, IFA_ADDRESS is the other end's, and IFA_LOCAL ours.
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
    return owner, ip_address(packed) if len(packed) in (4, 16) else None


def _diagnosed(family: int, port: int) -> list[Listener | Connection]:
    """List them by sock_diag: the kernel sends no others."""
    mask = sum(1 << state for state in _STATES)
    source = port.to_bytes(2, "big")
    request = _DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, mask, source, b"", b"", b"", 0, b"")

    def read(body: bytes) -> Listener | Connection:
        _, state, peer_port, local, peer, index, uid, inode = _DIAG_ANSWER.unpack_from(body)
        if state == _LISTEN:
            ipv6_only = messages.attributes(body, _DIAG_ANSWER).get(_INET_DIAG_SKV6ONLY) == b"\1"
            return Listener(_address(family, local), port, index, ipv6_only, uid, inode)
        return Connection(
            _address(family, local),
            _address(family, peer),
            socket.ntohs(peer_port),
            state == _ESTABLISHED,
        )

    return messages.ask(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request, read)


def _listed(table: str, port: int) -> Iterator[Listener | Connection]:
    """List the same by /proc/net, line by line: the table has all ports."""
    path = Path("/proc/net", table)
    if table == "tcp6" and not path.exists():  # a kernel without IPv6
        return
    wanted = f":{port:04X}"
    with path.open(encoding="ascii") as lines:
        next(lines, None)  # the headings
        for line in lines:
            _, local, peer, state, _, _, _, uid, _, inode, *_ = line.split()
            number = int(state, 16)
            if not local.endswith(wanted) or number not in _STATES:
                continue
            address, _ = _proc_address(local)
            if number == _LISTEN:
                yield Listener(address, port, None, None, int(uid), int(inode))
            else:
                yield Connection(address, *_proc_address(peer), number == _ESTABLISHED)


def _proc_address(text: str) -> tuple[_Address, int]:
    """Read an address and port of /proc/net/tcp, such as `0100007F:1F90`."""
    words, port = text.split(":")
    # Each 32-bit word of the address is printed as a number of this machine's order.
    numbers = [int(words[at : at + 8], 16) for at in range(0, len(words), 8)]
    packed = Struct(f"={len(numbers)}I").pack(*numbers)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return _address(family, packed), int(port, 16)


def _address(family: int, packed: bytes) -> _Address:
    """Make an address of one that is padded to the length of the longest."""
    if family == socket.AF_INET:
        return IPv4Address(packed[:4])
    address = IPv6Address(packed)
    return address.ipv4_mapped or address
