"""What can be known of the kernel's word without a namespace of one's own."""

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from qsticky.kernel import netlink
from qsticky.kernel.netlink import (
    Interface,
    InterfaceWatch,
    Listener,
    interface,
    listeners,
    listens,
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


def diagnosis(address: str, port: int, index: int = 0) -> bytes:
    """One listening IPv4 socket as sock_diag tells it."""
    ports = struct.pack("!HH", port, 0)
    packed = ip_address(address).packed.ljust(32, b"\0")
    return struct.pack("=4B", 2, 10, 0, 0) + ports + packed + struct.pack("=I28x", index)


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, sockets: ExitStack) -> Kernel:
    """Answer each request with the given datagrams; tells the sockets the requests came by."""

    def answers(*datagrams: bytes) -> list[socket.socket]:
        asked: list[socket.socket] = []

        def opened(*_: object) -> socket.socket:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            asked.append(sockets.enter_context(theirs))
            for datagram in datagrams:
                theirs.send(datagram)
            ours.settimeout(0.05)
            return ours

        monkeypatch.setattr(netlink, "_open", opened)
        return asked

    return answers


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


# --- the interface


def test_the_loopback_is_up_and_has_its_address() -> None:
    found = interface("lo")
    assert found is not None
    assert found.index == socket.if_nametoindex("lo")
    assert found.up
    assert ip_address("127.0.0.1") in found.addresses
    assert found.visible


@pytest.mark.parametrize("name", ["absent0", "a-name-of-more-than-15-bytes", ""])
def test_an_interface_that_does_not_exist_is_none(name: str) -> None:
    assert interface(name) is None


@pytest.mark.parametrize(
    ("up", "addresses", "visible"),
    [(True, (IPV4,), True), (True, (), False), (False, (IPV4,), False)],
)
def test_an_interface_is_visible_when_it_is_up_and_has_an_address(
    up: bool, addresses: tuple[IPv4Address | IPv6Address, ...], visible: bool
) -> None:
    assert Interface("tun0", 7, up, addresses).visible is visible


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
    family: socket.AddressFamily, address: str, dual_stack: bool, sockets: ExitStack
) -> None:
    server = sockets.enter_context(
        socket.create_server((address, 0), family=family, dualstack_ipv6=dual_stack)
    )
    port = server.getsockname()[1]
    ipv6_only = family == socket.AF_INET6 and not dual_stack
    assert listeners(port) == (Listener(ip_address(address), port, 0, ipv6_only),)


def test_connections_and_sockets_that_do_not_listen_are_left_out(sockets: ExitStack) -> None:
    server = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]
    sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
    connection, _ = server.accept()
    sockets.enter_context(connection)
    server.close()
    assert listeners(port) == ()


def test_nobody_listens_on_a_port_that_is_bound_only(sockets: ExitStack) -> None:
    bound = sockets.enter_context(socket.socket())
    bound.bind(("127.0.0.1", 0))
    assert listeners(bound.getsockname()[1]) == ()


def test_all_sockets_on_a_port_are_found(sockets: ExitStack) -> None:
    first = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = first.getsockname()[1]
    addresses = [f"127.0.{number}.1" for number in range(1, 200)]
    for address in addresses:  # more than the kernel tells in one datagram
        sockets.enter_context(socket.create_server((address, port)))
    found = [str(listener.address) for listener in listeners(port)]
    assert sorted(found) == sorted(["127.0.0.1", *addresses])


def test_proc_tells_the_same_where_sock_diag_is_refused(
    monkeypatch: pytest.MonkeyPatch, sockets: ExitStack
) -> None:
    first = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = first.getsockname()[1]
    sockets.enter_context(socket.create_server(("127.1.2.3", port)))
    sockets.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
    sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
    told = listeners(port)
    assert len(told) == 3

    def refuse(*_: object) -> socket.socket:
        raise PermissionError(errno.EPERM, "refused")

    monkeypatch.setattr(netlink, "_open", refuse)
    told_by_proc = listeners(port)
    assert len(told_by_proc) == 3
    assert {listener.address for listener in told_by_proc} == {one.address for one in told}
    assert {listener.interface_index for listener in told_by_proc} == {0}
    with pytest.raises(PermissionError):
        interface("lo")
    with pytest.raises(PermissionError):
        InterfaceWatch("lo", lambda: None).start()


@pytest.mark.parametrize(
    "refusal",
    [
        message(NLMSG_ERROR, status(errno.EPERM) + bytes(16)),
        message(NLMSG_DONE, status(errno.ENOENT)),  # a kernel without tcp_diag
        b"garbage",
    ],
)
def test_a_refused_dump_is_not_taken_for_nobody_listening(
    refusal: bytes, kernel: Kernel, sockets: ExitStack
) -> None:
    server = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]
    kernel(refusal)
    assert listeners(port) == (Listener(ip_address("127.0.0.1"), port, 0),)


def test_only_listening_sockets_of_that_port_are_asked_for(kernel: Kernel) -> None:
    asked = kernel(message(NLMSG_DONE, status(0)))
    assert listeners(PORT) == ()
    for asking, family in zip(asked, (socket.AF_INET, socket.AF_INET6), strict=True):
        request = asking.recv(1000)
        assert struct.unpack_from("=BBxxI", request, 16) == (family, socket.IPPROTO_TCP, 1 << 10)
        assert struct.unpack_from("!H", request, 24) == (PORT,)


# --- does one of them take what comes in on the interface


@pytest.mark.parametrize(
    ("address", "index", "ipv6_only", "on", "expected"),
    [
        ("10.2.0.2", 0, False, TUN, True),
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
    address: str, index: int, ipv6_only: bool, on: Interface, expected: bool
) -> None:
    listener = Listener(ip_address(address), PORT, index, ipv6_only)
    assert listens([listener], on) is expected


def test_one_listener_that_counts_is_enough() -> None:
    loopback = Listener(ip_address("127.0.0.1"), PORT, 0)
    stale = Listener(IPV4, PORT, 6)
    live = Listener(IPV4, PORT, 7)
    assert listens([loopback, stale, live], TUN)
    assert not listens([loopback, stale], TUN)
    assert not listens([], TUN)


# --- the kernel's messages


def test_an_answer_comes_in_several_datagrams_with_several_messages_each(kernel: Kernel) -> None:
    one, two, three = (
        message(SOCK_DIAG_BY_FAMILY, diagnosis(f"10.0.0.{number}", PORT, number))
        for number in (1, 2, 3)
    )
    kernel(one + two, three, message(NLMSG_DONE, status(0)))
    ipv4 = listeners(PORT)[:3]  # the same stands in for the IPv6 ones
    assert ipv4 == tuple(
        Listener(ip_address(f"10.0.0.{number}"), PORT, number) for number in (1, 2, 3)
    )


def test_an_interrupted_dump_is_asked_for_again_but_not_for_ever(kernel: Kernel) -> None:
    asked = kernel(
        message(SOCK_DIAG_BY_FAMILY, diagnosis("10.0.0.1", PORT), NLM_F_DUMP_INTR),
        message(NLMSG_DONE, status(0), NLM_F_DUMP_INTR),
    )
    assert listeners(PORT) == ()  # in the end /proc told
    assert 1 < len(asked) < 10


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
    with netlink._open(socket.NETLINK_ROUTE) as opened:
        assert opened.gettimeout() == 1.0


@pytest.mark.parametrize(
    "ask", [lambda: interface("lo"), lambda: interface("absent0"), lambda: listeners(PORT)]
)
def test_asking_leaves_no_descriptor_behind(ask: Callable[[], object]) -> None:
    ask()
    before = descriptors()
    for _ in range(3):
        ask()
    assert descriptors() == before


# --- the watch


def test_a_watch_stops_at_once_and_leaves_nothing_behind() -> None:
    before, threads = descriptors(), threading.active_count()
    watch = InterfaceWatch("absent0", lambda: None)
    for _ in range(3):
        watch.start()
        assert threading.active_count() == threads + 1
        began = time.monotonic()
        watch.stop()
        watch.stop()  # twice does no harm
        assert time.monotonic() - began < 0.5
        assert threading.active_count() == threads
    assert descriptors() == before


def test_a_watch_that_was_refused_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(netlink, "_link", refuse)
    before, threads = descriptors(), threading.active_count()
    watch = InterfaceWatch("lo", lambda: None)
    with pytest.raises(PermissionError):
        watch.start()
    watch.stop()
    assert descriptors() == before
    assert threading.active_count() == threads
