"""One Gluetun with several ports, and for each of them a qBittorrent and a qSticky."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunRelease, GluetunSimulator
from qsticky.kernel import netlink
from tests.end_to_end.command import QSticky
from tests.end_to_end.conftest import GLUETUN_KEY, Start, WebUI
from tests.real import RealQBittorrent, free_port, wait_until

Arrange = Callable[[Sequence[int]], list[int]]


def as_given(ports: Sequence[int]) -> list[int]:
    """Arrange ports as Gluetun to 3.41 does."""
    return list(ports)


def listens(qbittorrent: WebUI, port: int) -> bool:
    """Whether a socket of this process listens on the port, and not another one's."""
    own = set()
    for descriptor in Path(f"/proc/{qbittorrent.server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            own.add(os.readlink(descriptor))
    return any(f"socket:[{listener.inode}]" in own for listener in netlink.sockets(port).listeners)


IN_BOTH_ORDERS = pytest.mark.parametrize(
    ("release", "arranged"), [("3.41", as_given), ("master", sorted)], ids=["3.41", "master"]
)


@pytest.fixture(scope="module")
def qbittorrents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[WebUI]]:
    """Three real ones."""
    with ExitStack() as running:
        webuis = []
        for _ in range(3):
            folder = tmp_path_factory.mktemp("qbittorrent")
            webuis.append(WebUI(running.enter_context(RealQBittorrent(folder))))
            running.callback(webuis[-1].close)
        yield webuis


@pytest.fixture
def start_all(
    start: Start, qbittorrents: list[WebUI]
) -> Callable[[GluetunSimulator], list[QSticky]]:
    """Starts a qSticky for each, with an index of its own."""
    return lambda gluetun: [
        start(
            GLUETUN_PORT=gluetun.port,
            GLUETUN_PORT_INDEX=index,
            QBITTORRENT_PORT=qbittorrent.server.port,
            CHECK_INTERVAL=2,
        )
        for index, qbittorrent in enumerate(qbittorrents, 1)
    ]


@IN_BOTH_ORDERS
def test_each_qbittorrent_follows_the_port_of_its_rank(
    start_all: Callable[[GluetunSimulator], list[QSticky]],
    qbittorrents: list[WebUI],
    release: GluetunRelease,
    arranged: Arrange,
) -> None:
    highest, middle, lowest, new = sorted((free_port() for _ in range(4)), reverse=True)

    def wait_until_listening(*forwarded: int) -> None:
        ports = arranged(forwarded)
        for qsticky, port in zip(running, ports, strict=True):
            qsticky.wait_for_port(port, timeout=60)
        pairs = list(zip(qbittorrents, ports, strict=True))
        wait_until(lambda: all(listens(*pair) for pair in pairs), 60, "sockets on those ports")

    with GluetunSimulator(
        release=release, api_key=GLUETUN_KEY, ports=[middle, highest, lowest]
    ) as gluetun:
        running = start_all(gluetun)
        wait_until_listening(middle, highest, lowest)
        # One port changes: one qBittorrent's, or where they are sorted everyone's, so that one
        # may want what another still has, and gets it at its next rebind.
        gluetun.ports = (middle, new, lowest)
        wait_until_listening(middle, new, lowest)
