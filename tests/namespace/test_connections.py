"""Who came in, by a real kernel: a peer in another namespace, across a veth called tun0."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from qsticky.kernel.netlink import Connection, interface, sockets
from tests.namespace.netns import Namespace
from tests.namespace.peer import Peer
from tests.real import wait_until

pytestmark = pytest.mark.usefixtures("inside", "peer")

PORT = 51500
BOUND = 5.0  # seconds; what is waited for comes within milliseconds


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Close in the end what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["10.2.0.2", "fd7d::2", "::"])
def server(
    request: pytest.FixtureRequest, namespace: Namespace, opened: ExitStack
) -> socket.socket:
    """Listen on the VPN's address, or on the wildcard for both."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    listener = opened.enter_context(namespace.open_socket(family))
    listener.bind((request.param, PORT))
    listener.listen()
    return listener


def came_in() -> tuple[Connection, ...]:
    return sockets(PORT).connections


def come_in(peer: Peer, server: socket.socket) -> tuple[socket.socket, socket.socket, Connection]:
    """Have the peer connect; return its socket, ours, and what is to be told of it."""
    address = server.getsockname()[0]
    at = 1 if address == "fd7d::2" else 0  # the wildcard gets IPv4
    theirs = peer.connect(Peer.OURS[at], PORT)
    ours, _ = server.accept()
    told = Connection(
        ip_address(Peer.OURS[at]), ip_address(Peer.THEIRS[at]), theirs.getsockname()[1], True
    )
    return theirs, ours, told


def state_of(namespace: Namespace) -> str:
    """Look up the state of the one connection that came in, as `ss` calls it."""
    told = namespace.run(["ss", "-Htan", "state", "all", f"sport = :{PORT}"]).stdout
    states = [line.split()[0] for line in told.splitlines()]
    return " ".join(state for state in states if state != "LISTEN")


def test_a_veth_is_an_interface_as_usable_as_a_tun_device() -> None:
    found = interface("tun0")
    assert found is not None
    assert found.usable
    assert [str(address) for address in found.vpn_addresses] == ["10.2.0.2"]


def test_what_comes_in_is_counted_by_the_interface(
    namespace: Namespace, peer: Peer, opened: ExitStack
) -> None:
    sink = opened.enter_context(namespace.open_socket(type=socket.SOCK_DGRAM))
    sink.bind(("10.2.0.2", PORT))
    sink.settimeout(BOUND)
    before = interface("tun0")
    opened.enter_context(peer.open_socket(type=socket.SOCK_DGRAM)).sendto(
        bytes(1000), ("10.2.0.2", PORT)
    )
    sink.recv(2000)
    after = interface("tun0")
    assert before == after  # as an interface: what it counts makes no other one of it
    assert before is not None
    assert after is not None
    assert before.received_bytes is not None
    assert after.received_bytes is not None
    assert after.received_bytes >= before.received_bytes + 1000


def test_a_peer_that_came_in_is_told_of_while_it_is_connected(
    peer: Peer, server: socket.socket, opened: ExitStack
) -> None:
    assert came_in() == ()
    theirs, ours, told = come_in(peer, server)
    opened.enter_context(theirs)
    opened.enter_context(ours)
    assert came_in() == (told,)


def test_one_whose_connection_we_closed_first_is_told_of_for_a_while_longer(
    namespace: Namespace, peer: Peer, server: socket.socket
) -> None:
    """As qBittorrent does with a peer that asks for nothing it has: FIN_WAIT2, then TIME_WAIT."""
    theirs, ours, told = come_in(peer, server)
    over = told._replace(established=False)
    ours.close()
    wait_until(lambda: state_of(namespace) == "FIN-WAIT-2", BOUND, "the peer to acknowledge")
    assert came_in() == (over,)
    theirs.close()
    wait_until(lambda: state_of(namespace) == "TIME-WAIT", BOUND, "both ends to be closed")
    assert came_in() == (over,)


def test_one_that_closed_first_is_told_of_no_more(peer: Peer, server: socket.socket) -> None:
    theirs, ours, _ = come_in(peer, server)
    theirs.close()
    wait_until(lambda: not any(one.established for one in came_in()), BOUND, "its end to arrive")
    assert len(came_in()) == 1
    ours.close()
    wait_until(lambda: came_in() == (), BOUND, "the connection to go")


def test_one_that_is_not_through_with_coming_in_is_not_told_of(
    namespace: Namespace, peer: Peer, server: socket.socket, opened: ExitStack
) -> None:
    """It sent a SYN, and whoever sends that need not be who it says."""
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)  # until it sends something
    at = 1 if server.getsockname()[0] == "fd7d::2" else 0
    theirs = opened.enter_context(peer.connect(Peer.OURS[at], PORT))
    wait_until(lambda: state_of(namespace) == "SYN-RECV", BOUND, "its SYN to arrive")
    assert came_in() == ()
    theirs.send(b"hello")
    opened.enter_context(server.accept()[0])
    assert len(came_in()) == 1
