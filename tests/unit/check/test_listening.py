"""What `qsticky check` sees of the VPN's interface, and of a socket on it."""

import socket
from dataclasses import replace

import pytest

from qsticky.check.findings import Verdict
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.kernel.netlink import PortSockets
from tests.fakes import FakeClock
from tests.unit.check.conftest import ANYBODY, PORT, TUN0, Examine, Kernel


def test_a_missing_socket_is_looked_for_twice(
    examine: Examine, kernel: Kernel, clock: FakeClock
) -> None:
    kernel.looks = [[], [ANYBODY]]
    assert examine().failed == []
    assert clock.waits == [1.0]
    kernel.looks = [[]]
    found = examine()
    assert found.failed == ["socket"]
    assert f"port {PORT} and no socket on tun0" in found["socket"].text


def test_a_kernel_that_does_not_tell(
    examine: Examine, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> PortSockets:
        raise OSError

    monkeypatch.setattr(kernel, "sockets", refuse)
    assert examine()["socket"].verdict is Verdict.SKIPPED


def test_an_interface_that_is_down(examine: Examine, kernel: Kernel) -> None:
    kernel.there = replace(TUN0, addresses=())
    assert examine().failed == ["interface"]


def test_an_interface_of_another_name(
    examine: Examine, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.there = None
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    assert examine()["interface"].verdict is Verdict.SKIPPED
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "wg0")])
    assert examine().copied("interface") == ["VPN_INTERFACE=wg0"]


def test_a_qbittorrent_elsewhere_cannot_be_looked_at(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.stop()
    found = examine(QBITTORRENT_HOST="192.0.2.1", REQUEST_TIMEOUT=0.1)
    assert found["interface"].verdict is Verdict.SKIPPED
