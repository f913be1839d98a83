"""What the kernel says of interfaces and sockets, as far as that can be seen on the loopback."""

import errno
import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from qsticky.kernel import messages
from qsticky.kernel.netlink import (
    Connection,
    Interface,
    Listener,
    PortSockets,
    interface,
    sockets,
)

IPV4 = ip_address("10.2.0.2")
IPV6 = ip_address("fd7d::2")
TUN = Interface("tun0", 7, up=True, addresses=(IPV4, IPV6))
TUN_WITHOUT_IPV4 = Interface("tun0", 7, up=True, addresses=(IPV6,))
PORT = 51500

NLMSG_ERROR, NLMSG_DONE, SOCK_DIAG_BY_FAMILY = 2, 3, 20
NLM_F_DUMP_INTR = 0x10

Kernel = Callable[..., list[socket.socket]]


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def status(number: int) -> bytes:
    return struct.pack("=i", -number)


def diagnosis(address: str, port: int, index: int = 0, uid: int = 0, inode: int = 0) -> bytes:
    """One listening IPv4 socket as sock_diag tells it."""
    ports = struct.pack("!HH", port, 0)
    packed = ip_address(address).packed.ljust(32, b"\0")
    numbers = struct.pack("=I20xII", index, uid, inode)
    return struct.pack("=4B", 2, 10, 0, 0) + ports + packed + numbers


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Close in the end what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, opened: ExitStack) -> Kernel:
    """Answer each request with the given datagrams; tells the sockets the requests came by."""

    def answers(*datagrams: bytes) -> list[socket.socket]:
        asked: list[socket.socket] = []

        def open_socket(*_: object) -> socket.socket:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            asked.append(opened.enter_context(theirs))
            for datagram in datagrams:
                theirs.send(datagram)
            ours.settimeout(0.05)
            return ours

        monkeypatch.setattr(messages, "open_socket", open_socket)
        return asked

    return answers


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def proc_counters(name: str) -> tuple[int, int]:
    """Read the bytes that an interface received and transmitted."""
    found = re.search(rf"^ *{name}: *(.*)$", Path("/proc/net/dev").read_text(), re.MULTILINE)
    assert found
    numbers = [int(number) for number in found[1].split()]
    return numbers[0], numbers[8]


def inode_of(opened: socket.socket) -> int:
    return os.fstat(opened.fileno()).st_ino


def inode(listener: Listener) -> int:
    return listener.inode


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


# --- the interface


def test_the_loopback_is_up_and_has_its_address() -> None:
    found = interface("lo")
    assert found is not None
    assert found.index == socket.if_nametoindex("lo")
    assert found.up
    assert ip_address("127.0.0.1") in found.addresses
    assert found.usable


@pytest.mark.parametrize("name", ["absent0", "a-name-of-more-than-15-bytes", ""])
def test_an_interface_that_does_not_exist_is_none(name: str) -> None:
    assert interface(name) is None


@pytest.mark.parametrize(
    ("up", "addresses", "usable"),
    [(True, (IPV4,), True), (True, (), False), (False, (IPV4,), False)],
)
def test_an_interface_is_usable_when_it_is_up_and_has_an_address(
    up: bool, addresses: tuple[IPv4Address | IPv6Address, ...], usable: bool
) -> None:
    assert Interface("tun0", 7, up, addresses).usable is usable


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [((IPV6, IPV4), (IPV4,)), ((IPV6,), (IPV6,)), ((), ())],
)
def test_a_port_is_forwarded_to_its_ipv4_address_or_else_to_its_ipv6_one(
    addresses: tuple[IPv4Address | IPv6Address, ...],
    expected: tuple[IPv4Address | IPv6Address, ...],
) -> None:
    assert Interface("tun0", 7, up=True, addresses=addresses).vpn_addresses == expected


def test_the_bytes_through_an_interface_are_those_that_proc_counts(opened: ExitStack) -> None:
    sender = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    before = proc_counters("lo")
    sender.sendto(bytes(1000), ("127.0.0.1", 9))
    found = interface("lo")
    after = proc_counters("lo")
    assert found is not None
    assert found.received_bytes is not None
    assert found.transmitted_bytes is not None
    assert before[0] + 1000 < found.received_bytes <= after[0]
    assert before[1] + 1000 < found.transmitted_bytes <= after[1]


def test_bytes_make_no_other_interface_of_it() -> None:
    assert replace(TUN, received_bytes=1, transmitted_bytes=2) == TUN


def test_where_the_kernel_tells_no_counters_they_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As gVisor's does."""
    monkeypatch.setattr(messages, "attributes", lambda *_: {})
    found = interface("lo")
    assert found is not None
    assert (found.received_bytes, found.transmitted_bytes) == (None, None)


# --- who listens


@pytest.mark.parametrize(
    ("family", "address", "dual_stack"),
    [
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", False),
        (socket.AF_INET6, "::", False),
        (socket.AF_INET6, "::", True),
    ],
)
def test_a_listening_socket_is_found_by_its_port(
    family: socket.AddressFamily, address: str, dual_stack: bool, opened: ExitStack
) -> None:
    server = opened.enter_context(
        socket.create_server((address, 0), family=family, dualstack_ipv6=dual_stack)
    )
    port = server.getsockname()[1]
    ipv6_only = family == socket.AF_INET6 and not dual_stack
    owner = os.getuid() or 1234
    os.fchown(server.fileno(), owner, -1)
    expected = Listener(ip_address(address), port, 0, ipv6_only, uid=owner, inode=inode_of(server))
    assert sockets(port).listeners == (expected,)


def test_nobody_listens_on_a_port_that_is_bound_only(opened: ExitStack) -> None:
    bound = opened.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    assert sockets(bound.getsockname()[1]) == PortSockets()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_there_is_no_socket_on_what_is_no_port(port: int, opened: ExitStack) -> None:
    """QBittorrent stores such; the kernel would take 0 for any port."""
    opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    assert sockets(port) == PortSockets()


def test_all_sockets_on_a_port_are_found(opened: ExitStack) -> None:
    first = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = first.getsockname()[1]
    addresses = [f"127.0.{number}.1" for number in range(1, 200)]
    for address in addresses:  # more than the kernel tells in one datagram
        opened.enter_context(socket.create_server((address, port)))
    found = [str(listener.address) for listener in sockets(port).listeners]
    assert sorted(found) == sorted(["127.0.0.1", *addresses])


def test_proc_tells_the_same_where_sock_diag_is_refused(
    monkeypatch: pytest.MonkeyPatch, opened: ExitStack
) -> None:
    first = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = first.getsockname()[1]
    second = opened.enter_context(socket.create_server(("127.1.2.3", port)))
    both = socket.create_server(("::1", port), family=socket.AF_INET6)
    opened.enter_context(both)
    opened.enter_context(socket.create_connection(("127.0.0.1", port)))
    opened.enter_context(socket.create_connection(("::1", port)))
    opened.enter_context(both.accept()[0])
    closing = socket.create_connection(("127.1.2.3", port))
    second.accept()[0].close()
    closing.close()  # it is in TIME_WAIT, which has no socket any more
    told = sockets(port)
    assert len(told.listeners) == 3
    assert {str(one.local) for one in told.connections} == {"127.0.0.1", "127.1.2.3", "::1"}

    monkeypatch.setattr(messages, "open_socket", refuse)
    told_by_proc = sockets(port)
    unknown = [one._replace(interface_index=None, ipv6_only=None) for one in told.listeners]
    assert sorted(told_by_proc.listeners, key=inode) == sorted(unknown, key=inode)
    assert sorted(told_by_proc.connections, key=str) == sorted(told.connections, key=str)
    with pytest.raises(PermissionError):
        interface("lo")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        sockets(port)


@pytest.mark.parametrize(
    "refusal",
    [
        message(NLMSG_ERROR, status(errno.EPERM) + bytes(16)),
        message(NLMSG_DONE, status(errno.ENOENT)),  # a kernel without tcp_diag
        b"garbage",
    ],
)
def test_a_refused_dump_is_not_taken_for_nobody_listening(
    refusal: bytes, kernel: Kernel, opened: ExitStack
) -> None:
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]
    kernel(refusal)
    (listener,) = sockets(port).listeners
    assert (listener.address, listener.interface_index) == (ip_address("127.0.0.1"), None)


def test_one_dump_a_family_asks_for_the_sockets_of_that_port(kernel: Kernel) -> None:
    asked = kernel(message(NLMSG_DONE, status(0)))
    assert sockets(PORT) == PortSockets()
    for asking, family in zip(asked, (socket.AF_INET, socket.AF_INET6), strict=True):
        request = asking.recv(1000)
        assert struct.unpack_from("=BBxx", request, 16) == (family, socket.IPPROTO_TCP)
        assert struct.unpack_from("!H", request, 24) == (PORT,)


# --- who came in


@pytest.fixture(params=["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def server(request: pytest.FixtureRequest, opened: ExitStack) -> socket.socket:
    """Listen on an address; the last one's sockets are IPv6 ones that talk IPv4.

    Connections that went out from its port before may still be in TIME_WAIT.
    """
    if request.param == "::ffff:127.0.0.1":
        mapped = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        return opened.enter_context(mapped)
    family = socket.AF_INET6 if request.param == "::1" else socket.AF_INET
    return opened.enter_context(socket.create_server((request.param, 0), family=family))


def test_a_connection_is_told_of_at_its_own_port_only(
    server: socket.socket, opened: ExitStack
) -> None:
    name, port, *_ = server.getsockname()
    peer = opened.enter_context(
        socket.create_connection(("127.0.0.1" if name == "::" else name, port))
    )
    accepted = opened.enter_context(server.accept()[0])
    assert accepted.getsockname()[1] == port
    local, peer_port, *_ = peer.getsockname()
    expected = Connection(ip_address(local), ip_address(local), peer_port, True)
    found = sockets(port).connections
    assert [one for one in found if one.peer_port in (peer_port, port)] == [expected]


def test_what_goes_out_from_the_port_is_not_told_of_before_it_is_connected(
    opened: ExitStack,
) -> None:
    silent = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    opened.enter_context(socket.create_connection(silent.getsockname()))  # its queue is full now
    going = opened.enter_context(socket.socket())
    going.setblocking(False)
    going.bind(("127.0.0.1", 0))
    going.connect_ex(silent.getsockname())
    assert re.search(rf":{going.getsockname()[1]:04X} \S+ 02 ", Path("/proc/net/tcp").read_text())
    assert sockets(going.getsockname()[1]) == PortSockets()


# --- does one of them take what comes in on the interface


@pytest.mark.parametrize(
    ("address", "index", "ipv6_only", "on", "expected"),
    [
        ("10.2.0.2", 0, False, TUN, True),
        ("10.2.0.2", None, None, TUN, True),  # by /proc
        ("10.2.0.2", 7, False, TUN, True),
        ("10.2.0.2", 6, False, TUN, False),  # bound to the tun0 that was deleted
        ("10.2.0.3", 0, False, TUN, False),
        ("127.0.0.1", 0, False, TUN, False),
        ("0.0.0.0", 0, False, TUN, True),
        ("0.0.0.0", 7, False, TUN, True),
        ("0.0.0.0", 6, False, TUN, False),
        ("::", 0, False, TUN, True),
        ("::", 6, False, TUN, False),
        ("::", 0, True, TUN, False),
        ("fd7d::2", 0, False, TUN, False),  # the port is forwarded to its IPv4 address
        ("fd7d::2", 0, False, TUN_WITHOUT_IPV4, True),
        ("fd7d::2", 6, False, TUN_WITHOUT_IPV4, False),
        ("::", 0, True, TUN_WITHOUT_IPV4, True),
        ("0.0.0.0", 0, False, TUN_WITHOUT_IPV4, False),
    ],
)
def test_a_listener_counts_by_its_address_and_its_interface(
    address: str, index: int | None, ipv6_only: bool | None, on: Interface, expected: bool
) -> None:
    assert Listener(ip_address(address), PORT, index, ipv6_only).serves(on) is expected


# --- the kernel's messages


def test_an_answer_comes_in_several_datagrams_with_several_messages_each(kernel: Kernel) -> None:
    one, two, three = (
        message(SOCK_DIAG_BY_FAMILY, diagnosis(f"10.0.0.{number}", PORT, number))
        for number in (1, 2, 3)
    )
    kernel(one + two, three, message(NLMSG_DONE, status(0)))
    ipv4 = sockets(PORT).listeners[:3]  # the same stands in for the IPv6 ones
    assert ipv4 == tuple(
        Listener(ip_address(f"10.0.0.{number}"), PORT, number) for number in (1, 2, 3)
    )


def test_an_interrupted_dump_is_asked_for_again_but_not_for_ever(
    kernel: Kernel, opened: ExitStack
) -> None:
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    asked = kernel(
        message(SOCK_DIAG_BY_FAMILY, diagnosis("10.0.0.1", PORT), NLM_F_DUMP_INTR),
        message(NLMSG_DONE, status(0), NLM_F_DUMP_INTR),
    )
    (listener,) = sockets(server.getsockname()[1]).listeners
    assert listener.interface_index is None  # in the end /proc told
    assert 1 < len(asked) < 10


@pytest.mark.parametrize("refused", [False, True])
def test_of_very_many_sockets_the_listeners_are_told_and_some_connections(
    refused: bool, monkeypatch: pytest.MonkeyPatch, opened: ExitStack
) -> None:
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    for _ in range(10):
        opened.enter_context(socket.create_connection(server.getsockname()))
        opened.enter_context(server.accept()[0])
    monkeypatch.setattr(messages, "MOST_ANSWERS", 5)
    if refused:
        monkeypatch.setattr(messages, "open_socket", refuse)
    found = sockets(server.getsockname()[1])
    assert (len(found.listeners), len(found.connections)) == (1, 4)


@pytest.mark.parametrize(
    "datagram",
    [
        b"\0",
        b"garbage that is longer than a header",
        bytes(64),
        message(16, b"too short"),
        message(16, bytes(16) + struct.pack("=HH", 2, 3)),  # an attribute shorter than its header
        message(16, bytes(16) + struct.pack("=HH", 99, 3)),  # one longer than its message
        message(16, bytes(16) + b"\0"),
        message(16, bytes(64))[:40],
        message(NLMSG_ERROR, b"\0"),
        message(NLMSG_ERROR, status(errno.EPERM)),
    ],
)
def test_what_is_no_answer_is_an_os_error(datagram: bytes, kernel: Kernel) -> None:
    kernel(datagram)
    before = time.monotonic()
    with pytest.raises(OSError, match=r".") as caught:
        interface("tun0")
    assert not isinstance(caught.value, TimeoutError)
    assert time.monotonic() - before < 1


def test_silence_is_a_time_out(kernel: Kernel) -> None:
    kernel()
    with pytest.raises(TimeoutError):
        interface("tun0")


def test_a_real_socket_to_the_kernel_waits_a_second_at_most() -> None:
    with messages.open_socket(socket.NETLINK_ROUTE) as opened:
        assert opened.gettimeout() == 1.0


@pytest.mark.parametrize(
    "ask", [lambda: interface("lo"), lambda: interface("absent0"), lambda: sockets(PORT)]
)
def test_asking_leaves_no_descriptor_behind(ask: Callable[[], object]) -> None:
    ask()
    before = descriptors()
    for _ in range(3):
        ask()
    assert descriptors() == before
