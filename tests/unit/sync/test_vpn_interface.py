"""Whether the VPN's interface is visible, was, or is lost, and which addresses are the VPN's."""

import errno
from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from qsticky.kernel.netlink import Interface, Listener, PortSockets
from qsticky.sync.vpn_interface import VpnInterface, vpn_addresses
from tests.fakes import TUN0, FakeKernel

PORT = 51500
SOCKET = Listener(TUN0.addresses[0], PORT, TUN0.index)
REFUSED = OSError(errno.EPERM, "Operation not permitted")

IPAddress = IPv4Address | IPv6Address


class QBittorrent:
    """A qBittorrent with these addresses; None is no answer. ``asked`` counts the questions."""

    def __init__(self) -> None:
        self.answer: Collection[IPAddress] | None = TUN0.addresses
        self.asked = 0

    def __call__(self, name: str) -> Collection[IPAddress] | None:
        assert name == "tun0"
        self.asked += 1
        return self.answer


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(listeners=[SOCKET])


@pytest.fixture
def vpn(kernel: FakeKernel) -> VpnInterface:
    return VpnInterface("tun0", beside=True, kernel=kernel)


@pytest.fixture
def qbittorrent() -> QBittorrent:
    return QBittorrent()


def observe(vpn: VpnInterface, qbittorrent: QBittorrent, process: int = 1) -> None:
    vpn.observe()
    vpn.compare(qbittorrent, process)


def test_it_is_visible_where_qbittorrent_has_its_address_too(
    vpn: VpnInterface, qbittorrent: QBittorrent
) -> None:
    vpn.observe()
    assert vpn.visible is None  # not before it is known
    vpn.compare(qbittorrent, 1)
    assert vpn.visible == TUN0
    assert vpn.was_visible
    assert vpn.sockets(PORT) == PortSockets((SOCKET,))


@pytest.mark.parametrize("answer", [(), (ip_address("172.18.0.2"),), None])
def test_a_tunnel_of_the_hosts_own_is_not_qbittorrents(
    vpn: VpnInterface, qbittorrent: QBittorrent, answer: Collection[IPAddress] | None
) -> None:
    qbittorrent.answer = answer
    observe(vpn, qbittorrent)
    assert vpn.visible is None
    assert not vpn.was_visible
    assert vpn.found == TUN0
    assert vpn.sockets(PORT) is None


def test_qbittorrent_is_asked_once_for_each_interface_address_and_process(
    vpn: VpnInterface, qbittorrent: QBittorrent, kernel: FakeKernel
) -> None:
    for _ in range(3):
        observe(vpn, qbittorrent)
    assert qbittorrent.asked == 1
    observe(vpn, qbittorrent, process=2)
    assert qbittorrent.asked == 2
    kernel.tun0 = replace(TUN0, index=8)
    observe(vpn, qbittorrent, process=2)
    assert qbittorrent.asked == 3


def test_no_answer_is_asked_for_again(vpn: VpnInterface, qbittorrent: QBittorrent) -> None:
    qbittorrent.answer = None
    observe(vpn, qbittorrent)
    qbittorrent.answer = TUN0.addresses
    observe(vpn, qbittorrent)
    assert vpn.visible == TUN0


def test_a_qbittorrent_elsewhere_is_not_asked_and_nothing_is_visible(
    kernel: FakeKernel, qbittorrent: QBittorrent
) -> None:
    vpn = VpnInterface("tun0", beside=False, kernel=kernel)
    observe(vpn, qbittorrent)
    assert (vpn.visible, vpn.found, qbittorrent.asked) == (None, TUN0, 0)


@pytest.mark.parametrize(
    ("tun0", "absent", "lost"),
    [
        (None, True, True),
        (replace(TUN0, up=False), False, True),
        (replace(TUN0, addresses=()), False, True),
        (REFUSED, False, False),
    ],
    ids=["absent", "down", "without an address", "can't tell"],
)
def test_what_was_visible_and_is_not_is_lost_unless_the_kernel_can_not_tell(
    vpn: VpnInterface,
    qbittorrent: QBittorrent,
    kernel: FakeKernel,
    tun0: Interface | OSError | None,
    absent: bool,
    lost: bool,
) -> None:
    kernel.tun0 = tun0
    observe(vpn, qbittorrent)
    assert not vpn.lost  # it was never visible
    kernel.tun0 = TUN0
    observe(vpn, qbittorrent)
    assert not vpn.lost
    kernel.tun0 = tun0
    observe(vpn, qbittorrent)
    assert (vpn.visible, vpn.absent, vpn.lost) == (None, absent, lost)
    kernel.tun0 = TUN0
    observe(vpn, qbittorrent)
    assert vpn.visible == TUN0


def test_sockets_that_the_kernel_does_not_tell_are_not_known(
    vpn: VpnInterface, qbittorrent: QBittorrent, kernel: FakeKernel
) -> None:
    observe(vpn, qbittorrent)
    kernel.listeners = REFUSED
    assert vpn.sockets(PORT) is None
    assert vpn.visible == TUN0


# --- the VPN's addresses, where its interface can't be seen

ADDRESSES = {
    "lo": ["127.0.0.1"],
    "eth0": ["172.18.0.2"],
    "tun0": ["fe80::1", "10.2.0.2", "fd00::2"],
    "wg0": ["fe80::2", "fd00::9"],
}


def ask(name: str) -> list[IPAddress]:
    return [ip_address(address) for address in ADDRESSES[name]]


@pytest.mark.parametrize(
    ("interfaces", "bound_to", "found"),
    [
        (["lo", "eth0", "tun0"], "", ["10.2.0.2"]),
        (["lo", "eth0", "tun0"], "tun0", ["10.2.0.2"]),
        (["lo", "eth0", "wg0"], "wg0", ["fd00::9"]),  # IPv6, where there is no IPv4
        (["lo", "wg0"], "", ["fd00::9"]),  # its only one
        (["lo", "eth0", "wg0"], "", []),  # which may be any, as docker0 is
        (["lo", "wg0"], "lo", ["fd00::9"]),
        (["lo", "wg0", "wg1"], "", []),  # which of them can't be told
        (["lo", "eth0"], "", []),  # the VPN is down
        (["lo", "eth0"], "eth0", ["172.18.0.2"]),
        (["lo", "eth0", "tun0"], "wg7", ["10.2.0.2"]),
        (["lo"], "", []),
        ([], "", []),
    ],
)
def test_the_vpns_addresses_are_those_of_the_interface_it_most_likely_has(
    interfaces: list[str], bound_to: str, found: list[str]
) -> None:
    addresses = vpn_addresses(interfaces, bound_to, "tun0", ask)
    assert [str(address) for address in addresses] == found


def test_an_interface_whose_addresses_nobody_tells_has_none() -> None:
    assert vpn_addresses(["lo", "tun0"], "", "tun0", lambda _: None) == ()
