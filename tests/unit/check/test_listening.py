"""What `qsticky check` learns of whether peers can connect, and by what."""

import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from qsticky.check import findings
from qsticky.check.findings import Verdict
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.kernel.netlink import Listener
from tests.fakes import TUN0, FakeClock, FakeKernel
from tests.unit.check.conftest import PEER, PORT, Examine, Says


def test_a_missing_socket_is_looked_for_twice(
    examine: Examine, kernel: FakeKernel, clock: FakeClock
) -> None:
    kernel.first_looks = [[]]
    assert examine().failed == []
    assert clock.waits == [1.0]
    kernel.listeners = []
    found = examine()
    assert found.failed == ["socket"]
    assert f"port {PORT} and no socket on tun0" in found["socket"].text


def test_what_it_logged_counts_where_its_socket_cannot_be_told_from_another(
    examine: Examine, kernel: FakeKernel, qbittorrent: QBittorrentSimulator
) -> None:
    kernel.listeners = [Listener(ip_address("0.0.0.0"), PORT, 0)]
    assert "logged that it listens" in examine()["socket"].text
    qbittorrent.busy[PORT] = ["10.2.0.2"]
    qbittorrent.listen_port = PORT + 1
    qbittorrent.listen_port = PORT
    found = examine()
    assert found.failed == ["socket"]
    assert "logged: Failed to listen" in found["socket"].text


def test_a_kernel_that_does_not_tell_is_not_an_interface_that_is_gone(
    examine: Examine, kernel: FakeKernel
) -> None:
    kernel.tun0 = kernel.listeners = PermissionError()
    found = examine()
    assert found["interface"].verdict is Verdict.UNKNOWN
    assert "refuses to say" in found["interface"].text
    assert found["socket"].verdict is Verdict.UNKNOWN


def test_an_interface_that_is_down(examine: Examine, kernel: FakeKernel) -> None:
    kernel.tun0 = replace(TUN0, addresses=())
    assert examine().failed == ["interface"]


def test_an_interface_of_another_name(
    examine: Examine, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.tun0 = None
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    assert examine()["interface"].verdict is Verdict.SKIPPED
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "wg0")])
    assert examine().copied("interface") == ["VPN_INTERFACE=wg0"]


def test_a_tunnel_of_this_machine_is_not_the_vpn_s(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    # qBittorrent's port is published to this machine, which has a tun0 of its own.
    qbittorrent.interfaces = {"lo": ("127.0.0.1",), "tun0": ("10.9.9.9",)}
    found = examine()
    assert found["interface"].verdict is Verdict.SKIPPED
    assert "in another network" in found["interface"].text
    assert found["socket"].verdict is Verdict.UNKNOWN


def test_a_qbittorrent_elsewhere_cannot_be_looked_at(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.stop()
    found = examine(QBITTORRENT_HOST="192.0.2.1", REQUEST_TIMEOUT=0.1)
    assert found["interface"].verdict is Verdict.SKIPPED
    assert found["socket"].verdict is Verdict.SKIPPED


def test_without_a_session_the_interface_is_told_and_no_socket(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.stop()
    found = examine()
    assert "There is tun0, with 10.2.0.2" in found["interface"].text
    assert found["interface"].verdict is Verdict.SKIPPED
    assert found["socket"].verdict is Verdict.SKIPPED


def test_where_nothing_is_seen_it_is_not_known_but_by_a_running_qsticky(
    examine: Examine, kernel: FakeKernel, says: Says
) -> None:
    kernel.tun0 = None
    assert examine()["socket"].verdict is Verdict.UNKNOWN
    knows = {"healthy": True, "status": "synced", "connected": True, "listening_by": "qbittorrent"}
    says(**knows, listening=True, last_incoming_connection="2026-01-02T03:04:05Z")
    found = examine()
    assert found["socket"].verdict is Verdict.OK
    assert "knows that it listens, by qbittorrent" in found["socket"].text
    says(**knows, listening=False)
    assert examine()["socket"].verdict is Verdict.FAILED
    says(**knows, listening=None)
    assert examine()["socket"].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        (
            {"proxy_type": "SOCKS5", "proxy_peer_connections": True},
            {"proxy_peer_connections": False},
            ("untick", "Options > Connection > Proxy Server > Use proxy for peer connections"),
        ),
        (
            {"current_network_interface": "lo"},
            {"current_network_interface": "tun0"},
            ("set", "Options > Advanced > Network interface to tun0"),
        ),
        (
            {"current_interface_address": "192.168.1.5"},
            {"current_interface_address": "10.2.0.2"},
            (
                "set",
                "Options > Advanced > Optional IP address to bind to to All addresses, or to "
                "10.2.0.2",
            ),
        ),
    ],
)
def test_a_setting_that_shuts_peers_out_is_told_with_what_to_set(
    examine: Examine,
    qbittorrent: QBittorrentSimulator,
    setting: dict[str, object],
    value: dict[str, object],
    option: tuple[str, str],
) -> None:
    qbittorrent.preferences |= setting
    found = examine()
    assert found.failed == ["settings"]
    (remedy,) = found["settings"].remedies
    assert remedy.text == f"In qBittorrent, {option[0]}:"
    assert remedy.copy == (option[1],)
    qbittorrent.preferences |= value
    assert examine().failed == []


def test_who_came_in_is_told_and_nobody_proves_nothing(
    examine: Examine, kernel: FakeKernel, says: Says
) -> None:
    assert examine()["incoming"].verdict is Verdict.UNKNOWN
    kernel.connections = [PEER, PEER._replace(peer_port=7000)]
    assert examine()["incoming"].text == "2 peers that came in are connected now"
    kernel.connections = [PEER._replace(established=False)]
    assert "within the last minute" in examine()["incoming"].text
    kernel.connections = []
    says(connected=True, last_incoming_connection="2026-01-02T03:04:05Z")
    assert "the last came at 2026-01-02T03:04:05Z" in examine()["incoming"].text


def test_the_address_that_peers_see_is_laid_beside_gluetun_s(
    examine: Examine, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    gluetun.public_ip = "9.9.9.9"
    assert examine()["external_address"].verdict is Verdict.SKIPPED
    qbittorrent.external_address = "9.9.9.9"
    assert examine()["external_address"].verdict is Verdict.OK
    qbittorrent.external_address = "8.8.4.4"
    found = examine()
    told = found["external_address"]
    assert told.verdict is Verdict.WARNING
    assert "8.8.4.4" in told.text
    assert "9.9.9.9" in told.text
    document = str(findings.document(found.all))
    assert "8.8.4.4" not in document
    assert "9.9.9.9" not in document
    for not_to_be_compared in ("", "2a00:1450::7"):
        gluetun.public_ip = not_to_be_compared
        assert examine()["external_address"].verdict is Verdict.SKIPPED


def test_the_outside_is_not_asked_and_it_is_said_whom_it_would_tell_what(
    examine: Examine, kernel: FakeKernel
) -> None:
    url = {"PORT_CHECK_URL": "https://user:hunter2@outside.example/check/{port}?key=secret"}
    found = examine(**url)
    assert found["port_check"].verdict is Verdict.OK
    assert "tell outside.example the forwarded port" in found["port_check"].text
    assert "hunter2" not in repr(found.all)
    assert "secret" not in found["port_check"].text
    kernel.tun0 = None
    assert "is not asked by qSticky" in examine(**url)["port_check"].text
    assert "port_check" not in {finding.check for finding in examine().all}


def test_a_fixed_port_needs_gluetun_s_firewall_unless_somebody_came_in(
    examine: Examine, kernel: FakeKernel, gluetun: GluetunSimulator
) -> None:
    gluetun.stop()
    fixed = {"FORWARDED_PORT": PORT, "GLUETUN_HOST": None, "GLUETUN_APIKEY": None}
    found = examine(**fixed)
    assert found.failed == []
    assert found["firewall"].verdict is Verdict.UNKNOWN
    assert f"FIREWALL_VPN_INPUT_PORTS={PORT}" in found.copied("firewall")
    assert "the forwarded one" in found["listen_port"].text
    assert "port_file" not in {finding.check for finding in found.all}  # it would be a mistake
    kernel.connections = [PEER]
    assert "firewall" not in {finding.check for finding in examine(**fixed).all}


@pytest.mark.parametrize("port", ["web_ui_port", "METRICS_PORT"])
def test_a_forwarded_port_that_another_server_has_is_never_set(
    examine: Examine, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator, port: str
) -> None:
    others: dict[str, object] = {}
    if port == "web_ui_port":
        gluetun.ports = (qbittorrent.port,)
    else:
        others = {"METRICS_PORT": PORT, "METRICS_ADDRESS": "0.0.0.0"}
    fixed = {"FORWARDED_PORT": gluetun.ports[0]}
    for found in (examine(**others), examine(**others, **fixed)):
        assert "listen_port" in found.failed
        assert "so it is not set" in found["listen_port"].text
        # Nor is that server's port to be opened to the VPN.
        assert "firewall" not in {finding.check for finding in found.all}
