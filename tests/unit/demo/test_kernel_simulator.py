"""The demonstration's kernel: its interface, and when something listens and somebody comes in."""

from collections.abc import Iterator

import pytest

from qsticky.demo.kernel_simulator import VPN_INTERFACE, KernelSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.fakes import FakeClock

PORT = 51500


@pytest.fixture
def qbittorrent() -> Iterator[QBittorrentSimulator]:
    with QBittorrentSimulator(listen_port=PORT) as simulator:
        simulator.opened_at = 0.0  # by the kernel's clock
        yield simulator


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kernel(qbittorrent: QBittorrentSimulator, clock: FakeClock) -> KernelSimulator:
    return KernelSimulator(qbittorrent, clock)


def listens(kernel: KernelSimulator, port: int = PORT) -> bool:
    return bool(kernel.sockets(port).listeners)


def rebind(qbittorrent: QBittorrentSimulator) -> None:
    for port in (PORT + 1, PORT):
        qbittorrent.listen_port = port


def test_the_interface_is_the_one_that_qbittorrent_tells_of(
    kernel: KernelSimulator, qbittorrent: QBittorrentSimulator, clock: FakeClock
) -> None:
    clock.advance(10)
    interface = kernel.interface(VPN_INTERFACE)
    assert interface
    assert interface.usable
    assert [str(one) for one in interface.addresses] == list(qbittorrent.interfaces[VPN_INTERFACE])
    assert interface.received_bytes
    assert kernel.interface("tun0") is None


def test_qbittorrent_listens_while_it_runs(
    kernel: KernelSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    assert listens(kernel)
    assert not listens(kernel, PORT + 1)
    qbittorrent.stop()
    assert not listens(kernel)


def test_its_sockets_are_others_after_a_restart_and_its_webuis_only_then(
    kernel: KernelSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    before = [kernel.sockets(port).listeners for port in (qbittorrent.port, PORT)]
    rebind(qbittorrent)
    assert kernel.sockets(qbittorrent.port).listeners == before[0]
    assert kernel.sockets(PORT).listeners != before[1]
    qbittorrent.stop()
    qbittorrent.start()
    assert kernel.sockets(qbittorrent.port).listeners != before[0]


def test_after_a_restart_of_the_vpn_it_listens_once_it_opened_its_sockets_anew(
    kernel: KernelSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    before = kernel.interface(VPN_INTERFACE)
    kernel.stop_vpn()
    assert kernel.interface(VPN_INTERFACE) is None
    assert not listens(kernel)
    kernel.start_vpn()
    assert kernel.interface(VPN_INTERFACE) != before
    assert not listens(kernel)
    rebind(qbittorrent)
    assert listens(kernel)


def test_another_program_that_has_the_port_is_somebody_elses(
    kernel: KernelSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    (webui,) = kernel.sockets(qbittorrent.port).listeners
    qbittorrent.busy = {PORT: qbittorrent.interfaces[VPN_INTERFACE]}
    (found,) = kernel.sockets(PORT).listeners
    assert found.uid != webui.uid


def test_peers_come_and_go_and_a_first_one_makes_it_connected(
    kernel: KernelSimulator, clock: FakeClock
) -> None:
    assert not kernel.somebody_came()
    seen = set()
    for _ in range(30):
        clock.advance(1)
        connections = kernel.sockets(PORT).connections
        assert len(connections) <= 5
        seen |= {(one.peer, one.peer_port) for one in connections}
    assert kernel.somebody_came()
    assert len(seen) == 15


def test_when_the_provider_forwards_no_more_those_that_are_there_stay_for_a_while(
    kernel: KernelSimulator, clock: FakeClock
) -> None:
    clock.advance(20)
    kernel.peers_come = False
    clock.advance(5)
    assert kernel.sockets(PORT).connections
    clock.advance(60)
    assert not kernel.sockets(PORT).connections
    assert kernel.somebody_came()
    kernel.peers_come = True
    clock.advance(5)
    assert kernel.sockets(PORT).connections
