"""Which settings of qBittorrent shut peers out, and what each sentence has people set."""

from ipaddress import ip_address

import pytest

from qsticky.services.qbittorrent import Address, Preferences
from qsticky.sync.settings import Network, port_conflict, shut_out_by
from tests.fakes import TUN0

V4, V6 = ip_address("10.2.0.2"), ip_address("fd00::2")
FINE = Preferences(listen_port=51500, random_port=False, upnp=False, interface="", web_ui_port=8080)
HERE = Network("tun0", TUN0, TUN0.vpn_addresses)
ELSEWHERE = Network("tun0", None, (V4,), ("lo", "eth0", "wg0"))
BOTH_ELSEWHERE = ELSEWHERE._replace(interfaces=("lo", "eth0", "tun0"))
UNKNOWN = Network("tun0")


@pytest.mark.parametrize("network", [HERE, ELSEWHERE, UNKNOWN])
def test_the_defaults_shut_nobody_out(network: Network) -> None:
    assert shut_out_by(FINE, network) is None


@pytest.mark.parametrize("network", [HERE, ELSEWHERE, UNKNOWN])
def test_a_proxy_for_peer_connections_does(network: Network) -> None:
    problem = shut_out_by(FINE._replace(peer_proxy=True), network)
    assert problem is not None
    assert "untick Options > Connection > Proxy Server > Use proxy for peer connections" in problem


@pytest.mark.parametrize(
    ("bound_to", "network", "remedy"),
    [
        ("tun0", HERE, None),
        ("eth0", HERE, "set Options > Advanced > Network interface to tun0"),
        ("lo", HERE, "set Options > Advanced > Network interface to tun0"),
        ("lo", ELSEWHERE, "set Options > Advanced > Network interface to the VPN's"),
        ("tun0", BOTH_ELSEWHERE, None),
        ("eth0", BOTH_ELSEWHERE, "set Options > Advanced > Network interface to tun0"),
        ("lo", BOTH_ELSEWHERE, "set Options > Advanced > Network interface to tun0"),
        ("lo", UNKNOWN, "set Options > Advanced > Network interface to the VPN's"),
        ("wg0", ELSEWHERE, None),
        ("eth0", ELSEWHERE, None),
        ("eth0", UNKNOWN, None),
        ("wg1", ELSEWHERE, "set Options > Advanced > Network interface to Any interface"),
        ("tun0", ELSEWHERE, "if tun0 is the VPN's, see in Gluetun's log why the VPN is down"),
    ],
)
def test_an_interface_that_is_not_the_vpns_does(
    bound_to: str, network: Network, remedy: str | None
) -> None:
    problem = shut_out_by(FINE._replace(interface=bound_to), network)
    assert (problem is None) is (remedy is None)
    assert (remedy or "") in (problem or "")


@pytest.mark.parametrize(
    ("bound_to", "addresses", "fine"),
    [
        ("10.2.0.2", (V4,), True),
        ("0.0.0.0", (V4,), True),
        ("::", (V4,), False),
        ("192.0.2.9", (V4,), False),
        ("fd00::2", (V4,), False),
        ("nonsense", (V4,), False),
        ("::", (V6,), True),
        ("0.0.0.0", (V6,), False),
        ("192.0.2.9", (), True),  # nothing is known to hold it against
    ],
)
def test_an_address_that_is_none_of_the_vpns_does(
    bound_to: str, addresses: tuple[Address, ...], fine: bool
) -> None:
    network = ELSEWHERE._replace(vpn_addresses=addresses)
    problem = shut_out_by(FINE._replace(interface_address=bound_to), network)
    assert (problem is None) is fine
    if problem:
        option = "set Options > Advanced > Optional IP address to bind to to All addresses, or to"
        assert f"{option} {addresses[0]}" in problem


def test_of_thousands_of_addresses_a_few_are_named() -> None:
    network = ELSEWHERE._replace(vpn_addresses=(V4,) * 10_000)
    problem = shut_out_by(FINE._replace(interface_address="192.0.2.9"), network)
    assert problem
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("port", "metrics_port", "says"),
    [
        (51500, None, None),
        (8080, None, "is that of qBittorrent's own WebUI"),
        (10058, 10058, "METRICS_PORT"),
        (10058, None, None),
    ],
)
def test_a_port_that_another_server_has_is_never_to_be_set(
    port: int, metrics_port: int | None, says: str | None
) -> None:
    conflict = port_conflict(port, 8080, metrics_port)
    assert (conflict is None) is (says is None)
    assert (says or "") in (conflict or "")
