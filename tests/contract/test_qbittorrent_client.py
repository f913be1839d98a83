"""What our client reads of a qBittorrent, and that it is what the qBittorrent does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from qsticky.services.listen_log import ListenLog, LogMark
from qsticky.services.qbittorrent import ConnectionStatus, Protocol, QBittorrent
from tests.clients import qbittorrent_client
from tests.contract.targets import Client, Start, Subject, every_real_one, every_release
from tests.fakes import FakeClock
from tests.real import free_port, wait_until

LOOPBACK = ip_address("127.0.0.1")


@pytest.fixture
def client(qbittorrent: Subject) -> QBittorrent:
    return qbittorrent_client(qbittorrent.url, FakeClock())


def change(client: Client, **preferences: object) -> None:
    assert client.post("app/setPreferences", {"json": json.dumps(preferences)}).status_code == 200


def log_with(
    client: QBittorrent,
    port: int,
    after: LogMark | None,
    wanted: Callable[[ListenLog], object],
) -> ListenLog:
    """Read the log until it has what is wanted."""
    found: list[ListenLog] = []

    def has() -> bool:
        log = client.listen_log(port, after)
        assert log, "the log could not be read"
        found.append(log)
        return bool(wanted(log))

    wait_until(has, 5, "qBittorrent to log it")
    return found[-1]


@every_release
def test_preferences_tell_what_a_listener_depends_on(
    qbittorrent: Subject, client: QBittorrent
) -> None:
    port = free_port()
    client.set_listen_port(port)
    found = client.preferences()
    assert (found.listen_port, found.random_port, found.upnp) == (port, False, False)
    assert (found.interface, found.interface_address) == ("", "")
    assert found.web_ui_port == qbittorrent.port
    assert (found.protocol, found.peer_proxy) == (Protocol.TCP_AND_UTP, False)


@every_real_one
def test_a_bound_interface_and_another_protocol_are_read(start: Start) -> None:
    subject = start()
    client = qbittorrent_client(subject.url, FakeClock())
    wanted = {"current_network_interface": "lo", "current_interface_address": "127.0.0.1"}
    change(subject.logged_in(), bittorrent_protocol=2, **wanted)
    found = client.preferences()
    assert (found.interface, found.interface_address) == ("lo", "127.0.0.1")
    assert found.protocol is Protocol.UTP


@every_real_one
@pytest.mark.parametrize("kinds", [(5, "SOCKS4"), (2, "SOCKS5"), (1, "HTTP")], ids=str)
def test_a_proxy_for_peers_leaves_no_tcp_listener(start: Start, kinds: tuple[int, str]) -> None:
    subject = start()
    client = qbittorrent_client(subject.url, FakeClock())
    port, kind = free_port(), kinds[subject.version >= (4, 6)]
    proxy = {"proxy_type": kind, "proxy_ip": "127.0.0.1", "proxy_port": 9}
    change(subject.logged_in(), proxy_peer_connections=True, listen_port=port, **proxy)
    assert client.preferences().peer_proxy
    log = log_with(client, port, None, lambda log: log.entries)
    assert {entry.protocol for entry in log.entries} == {"UTP"}


@every_release
def test_the_transfer_info_is_read(client: QBittorrent) -> None:
    client.set_listen_port(free_port())
    wait_until(
        lambda: client.transfer_info().connection_status is ConnectionStatus.FIREWALLED,
        5,
        "the status to be firewalled",
    )
    assert client.transfer_info().dht_nodes is not None


@every_real_one
def test_interfaces_and_addresses_are_those_of_its_network(client: QBittorrent) -> None:
    assert "lo" in client.interfaces()
    of_lo, of_all = client.interface_addresses("lo"), client.interface_addresses("")
    assert of_lo
    assert of_all
    assert LOOPBACK in of_lo
    assert set(of_lo) <= set(of_all)
    assert client.interface_addresses("missing0") == ()


@every_real_one
def test_the_log_tells_successes_by_address_and_protocol(client: QBittorrent) -> None:
    port = free_port()
    before = client.listen_log(port, None)
    assert before
    client.set_listen_port(port)
    log = log_with(client, port, before.mark, lambda log: len(log.entries) >= 2)
    assert log.continues
    opened = {(each.address, each.protocol) for each in log.entries if each.listening}
    assert {(LOOPBACK, "TCP"), (LOOPBACK, "UTP")} <= opened
    assert client.listen_log(free_port(), before.mark) != log


@every_real_one
@pytest.mark.parametrize(
    ("kind", "protocol"), [(socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UTP")]
)
def test_the_log_tells_a_port_that_is_taken(
    client: QBittorrent, kind: socket.SocketKind, protocol: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        client.set_listen_port(port)
        log = log_with(client, port, None, lambda log: any(not e.listening for e in log.entries))
        failures = {(e.address, e.protocol) for e in log.entries if not e.listening}
        assert failures == {(LOOPBACK, protocol)}


@every_release
def test_a_mark_is_found_again_in_the_same_process_alone(start: Start) -> None:
    subject = start()
    client, port = qbittorrent_client(subject.url, FakeClock()), free_port()
    client.set_listen_port(port)
    log = log_with(client, port, None, lambda log: log.entries)
    again = log_with(client, port, log.mark, lambda log: log.continues)
    assert set(again.entries) <= set(log.entries)
    differs = client.sockets_may_differ
    subject.server.stop()
    subject.server.start()
    restarted = client.listen_log(port, again.mark)
    assert restarted
    assert not restarted.continues
    assert client.sockets_may_differ != differs


@every_real_one
def test_a_ban_list_of_77_000_addresses_keeps_no_port_from_being_set(start: Start) -> None:
    subject = start()
    client, port = qbittorrent_client(subject.url, FakeClock()), free_port()
    addresses = (f"203.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(77_000))
    change(subject.logged_in(), banned_IPs="\n".join(addresses))
    client.set_listen_port(port)
    assert client.preferences().listen_port == port


@every_release
def test_a_logout_ends_our_session(qbittorrent: Subject, client: QBittorrent) -> None:
    client.version()
    client.log_out()
    client.version()
    assert qbittorrent.client().get("app/version").status_code == 403
