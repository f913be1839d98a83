"""The kernel's word on the VPN interface: its state, its changes, who listens on a port.

All is asked by netlink, which needs no privileges, and concerns the network namespace that this
process is in: with `network_mode: container:gluetun`, Gluetun's.
"""

import errno
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from struct import Struct
from typing import Any

# linux/netlink.h: every message is a `struct nlmsghdr` (length, type, flags, sequence number,
# port), then a structure of its type's own, then attributes, each after a `struct nlattr`
# (length, type). Messages and attributes are padded to 4 bytes.
_MESSAGE = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_DUMP = 0x1, 0x10, 0x300
_STATUS = Struct("=i")  # what NLMSG_ERROR and NLMSG_DONE begin with: 0, or -errno

# linux/rtnetlink.h, if_link.h and if_addr.h: `struct ifinfomsg` (family, type, index, flags,
# change) and `struct ifaddrmsg` (family, prefix length, flags, scope, index).
_LINK = Struct("=BxHiII")
_ADDRESS = Struct("=BBBBI")
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_IFLA_IFNAME, _IFA_ADDRESS, _IFA_LOCAL = 3, 1, 2

# linux/if.h: up, running, and with a carrier. A tun device is the latter two while a process
# holds it open, though its state reads UNKNOWN. Programs go by "running", which follows late.
_USABLE = 0x1 | 0x40 | 0x10000  # IFF_UP, IFF_RUNNING, IFF_LOWER_UP

# linux/inet_diag.h: `struct inet_diag_req_v2` (family, protocol, extensions, states) and `struct
# inet_diag_msg` (family, state, timer, retransmits, …, five counters) with in them `struct
# inet_diag_sockid` (two ports, two addresses, all big-endian, the interface, a cookie).
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_DIAG_REQUEST = Struct("=BBBxI 2s2s16s16sI8s")
_DIAG_ANSWER = Struct("=BBBB 2s2s16s16sI8s 5I")
_INET_DIAG_SKV6ONLY = 11
_TCP_LISTEN = 10

_TIMEOUT = 1.0  # seconds for each wait; the kernel needs microseconds
_BUFFER = 65536  # bytes; the kernel sends at most 32 KiB at once
_ATTEMPTS = 5  # to read a list that changes meanwhile

_Address = IPv4Address | IPv6Address
_Answer = tuple[tuple[Any, ...], dict[int, bytes]]  # the fixed fields, and the attributes


@dataclass(frozen=True)
class Interface:
    """A network interface as the kernel has it now."""

    name: str
    index: int
    up: bool  # and with a carrier: for a tun device, held open by its VPN
    addresses: tuple[_Address, ...]  # no IPv6 link-local ones: nobody forwards a port to them

    @property
    def visible(self) -> bool:
        """Whether a program can listen on it."""
        return self.up and bool(self.addresses)


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens."""

    address: _Address
    port: int
    interface_index: int  # of the interface it is bound to, which may be gone; 0: to none
    ipv6_only: bool = False  # for the wildcard `::`, whether it leaves IPv4 out

    def accepts(self, address: _Address) -> bool:
        """Whether it listens on `address`, as its own or by the wildcard."""
        if not self.address.is_unspecified:
            return self.address == address
        dual_stack = self.address.version == 6 and not self.ipv6_only
        return dual_stack or self.address.version == address.version


def interface(name: str) -> Interface | None:
    """Ask for the interface of that name; None where there is none.

    Raises OSError where the kernel refuses netlink, as that of some hardened runtimes does.
    """
    link = _link(name)
    if link is None:
        return None
    index, flags = link
    addresses = []
    request = _ADDRESS.pack(0, 0, 0, 0, 0)
    for fields, attributes in _ask(socket.NETLINK_ROUTE, _RTM_GETADDR, request, _ADDRESS):
        *_, owner = fields
        # Of a point-to-point link, IFA_ADDRESS is the other end's, and IFA_LOCAL ours.
        packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
        if owner == index and len(packed) in (4, 16):
            address = ip_address(packed)
            if address.version == 4 or not address.is_link_local:
                addresses.append(address)
    return Interface(name, index, flags & _USABLE == _USABLE, tuple(addresses))


def listeners(port: int) -> tuple[Listener, ...]:
    """List the TCP sockets that listen on `port`, IPv4 and IPv6.

    Where the kernel refuses `sock_diag`, /proc tells, but neither which interface they are bound
    to nor whether `::` leaves IPv4 out. Raises OSError where neither can be read.
    """
    try:
        return (*_diagnosed(socket.AF_INET, port), *_diagnosed(socket.AF_INET6, port))
    except OSError:
        return (*_listed("tcp", port), *_listed("tcp6", port))


def listens(listeners: Iterable[Listener], interface: Interface) -> bool:
    """Whether one of them takes what comes in on the interface: IPv4, or IPv6 where it has none.

    One that is bound to an interface that had the name before does not: qBittorrent 4.5.2 keeps
    such a socket after a VPN restart.
    """
    ipv4 = [address for address in interface.addresses if address.version == 4]
    return any(
        listener.interface_index in (0, interface.index) and listener.accepts(address)
        for listener in listeners
        for address in ipv4 or interface.addresses
    )


class InterfaceWatch:
    """Calls `changed()` when the interface of that name comes, goes or changes.

    That is when it gets or loses an address, or its link goes up or down; a call too many does
    no harm. `changed()` is called on the watch's own thread, which sleeps in between.
    """

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self._name = name
        self._changed = changed
        self._index = 0  # messages about addresses carry this instead of the name
        self._running: tuple[threading.Thread, socket.socket] | None = None

    def start(self) -> None:
        """Begin to watch. Raises OSError where the kernel refuses netlink."""
        groups = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR
        kernel = _open(socket.NETLINK_ROUTE, groups)
        try:
            self._look()  # after joining the groups, so that no change falls in between
            stopping, stopper = socket.socketpair()
        except OSError:
            kernel.close()
            raise
        thread = threading.Thread(
            target=self._watch, args=(kernel, stopping), name="interface-watch", daemon=True
        )
        thread.start()
        self._running = thread, stopper

    def stop(self) -> None:
        """End watching: when this returns, `changed()` is not called any more."""
        if self._running:
            thread, stopper = self._running
            self._running = None
            stopper.close()
            thread.join()

    def _watch(self, kernel: socket.socket, stopping: socket.socket) -> None:
        kernel.setblocking(False)
        with kernel, stopping:
            ready = select.poll()
            ready.register(kernel, select.POLLIN)
            ready.register(stopping, select.POLLIN)
            while all(descriptor != stopping.fileno() for descriptor, _ in ready.poll()):
                if self._is_concerned(kernel):
                    self._changed()

    def _is_concerned(self, kernel: socket.socket) -> bool:
        """Read all that the kernel has to tell: whether some of it is about the interface."""
        concerned = lost = False
        while True:
            try:
                data = kernel.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True  # and more is, until all that the kernel still has is read
                continue
            for (kind, *_), body in _records(_MESSAGE, data):
                concerned |= self._is_about_it(kind, body)
        if lost:
            self._look()
        return concerned or lost

    def _is_about_it(self, kind: int, body: bytes) -> bool:
        if kind in (_RTM_NEWADDR, _RTM_DELADDR):
            (*_, owner), _ = _parse(_ADDRESS, body)
            return bool(owner == self._index)
        if kind not in (_RTM_NEWLINK, _RTM_DELLINK):
            return False
        (_, _, index, *_), attributes = _parse(_LINK, body)
        named = attributes.get(_IFLA_IFNAME) == _c_string(self._name)
        known = index == self._index
        if named:
            self._index = index
        elif known:  # it was renamed
            self._index = 0
        return named or known

    def _look(self) -> None:
        self._index, _ = _link(self._name) or (0, 0)


def _link(name: str) -> tuple[int, int] | None:
    """Ask for the index and the flags of the interface of that name."""
    text = _c_string(name)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), _IFLA_IFNAME) + text
    request = _LINK.pack(0, 0, 0, 0, 0) + attribute + bytes(-len(text) % 4)
    try:
        answers = _ask(socket.NETLINK_ROUTE, _RTM_GETLINK, request, _LINK, dump=False)
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ERANGE):  # there is none, or the name is too long
            return None
        raise
    ((_, _, index, flags, _), _), *_ = answers
    return index, flags


def _diagnosed(family: int, port: int) -> Iterator[Listener]:
    """List the sockets that listen on `port` by sock_diag: the kernel sends no others."""
    source = port.to_bytes(2, "big")
    request = _DIAG_REQUEST.pack(
        family, socket.IPPROTO_TCP, 0, 1 << _TCP_LISTEN, source, b"", b"", b"", 0, b""
    )
    answers = _ask(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request, _DIAG_ANSWER)
    for (_, _, _, _, _, _, packed, _, index, *_), attributes in answers:
        address = ip_address(packed[:4] if family == socket.AF_INET else packed)
        yield Listener(address, port, index, attributes.get(_INET_DIAG_SKV6ONLY) == b"\1")


def _listed(table: str, port: int) -> Iterator[Listener]:
    """List the same by /proc/net."""
    path = Path("/proc/net", table)
    if table == "tcp6" and not path.exists():  # a kernel without IPv6
        return
    for line in path.read_text("ascii").splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        words, local_port = local.split(":")
        if int(local_port, 16) == port and int(state, 16) == _TCP_LISTEN:
            # Each 32-bit word of the address is printed as a number of this machine's order.
            numbers = [int(words[at : at + 8], 16) for at in range(0, len(words), 8)]
            packed = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
            yield Listener(ip_address(packed), port, 0)


def _open(protocol: int, groups: int = 0) -> socket.socket:
    """Open a socket to the kernel, with a bound on each wait."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        kernel.settimeout(_TIMEOUT)
        kernel.bind((0, groups))
        kernel.connect((0, 0))
    except OSError:
        kernel.close()
        raise
    return kernel


def _ask(
    protocol: int, kind: int, body: bytes, layout: Struct, *, dump: bool = True
) -> list[_Answer]:
    """Return the kernel's answers to one request."""
    flags = _NLM_F_REQUEST | (_NLM_F_DUMP if dump else 0)
    for _ in range(_ATTEMPTS):
        with _open(protocol) as kernel:
            kernel.send(_MESSAGE.pack(_MESSAGE.size + len(body), kind, flags, 0, 0) + body)
            answers = _answers(kernel, layout, dump)
        if answers is not None:
            return answers
    raise OSError(errno.EAGAIN, "the kernel's answer kept changing while it was read")


def _answers(kernel: socket.socket, layout: Struct, dump: bool) -> list[_Answer] | None:
    """Read what the kernel sends, up to its last message; None if it changed meanwhile."""
    answers: list[_Answer] = []
    interrupted = False
    while dump or not answers:
        for (kind, flags, *_), body in _records(_MESSAGE, kernel.recv(_BUFFER)):
            interrupted |= bool(flags & _NLM_F_DUMP_INTR)
            if kind not in (_NLMSG_ERROR, _NLMSG_DONE):
                answers.append(_parse(layout, body))
                continue
            # sock_diag without its tcp_diag says so in NLMSG_DONE, after no answers.
            (status,) = _unpack(_STATUS, body)
            if status:
                raise OSError(-status, os.strerror(-status))
            return None if interrupted else answers
    return answers


def _parse(layout: Struct, body: bytes) -> _Answer:
    records = _records(_ATTRIBUTE, body[layout.size :])
    return _unpack(layout, body), {kind: value for (kind,), value in records}


def _records(header: Struct, data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Split messages or attributes: each one's header without the length, and its content."""
    while data:
        length, *fields = _unpack(header, data)
        if not header.size <= length <= len(data):
            raise _malformed()
        yield tuple(fields), data[header.size : length]
        data = data[length + -length % 4 :]


def _unpack(layout: Struct, data: bytes) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(data)
    except struct.error:
        raise _malformed() from None


def _malformed() -> OSError:
    return OSError(errno.EBADMSG, "the kernel sent something that is no netlink message")


def _c_string(text: str) -> bytes:
    return os.fsencode(text) + b"\0"
