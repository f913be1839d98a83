"""Where the VPN's interface is out of sight, evidence that it came back re-opens the socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.end_to_end.command import QSticky, assert_failing, assert_recovered
from tests.end_to_end.conftest import ABSENT, Start, WebUI

Restart = Callable[[QSticky, GluetunSimulator, Path], None]


def sockets(port: int) -> set[str]:
    """The kernel's numbers of the sockets that listen on a port; another one is a new socket."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
                found.add(fields[9])
    return found


def ask(qsticky: QSticky, _: GluetunSimulator, __: Path) -> None:
    qsticky.sync("?rebind=true")


def lose_and_regain_the_port(qsticky: QSticky, gluetun: GluetunSimulator, _: Path) -> None:
    port, gluetun.ports = gluetun.ports, ()
    qsticky.sync()
    assert qsticky.health()["status"] == "waiting"
    gluetun.ports = port
    qsticky.sync()


def move_to_another_server(qsticky: QSticky, gluetun: GluetunSimulator, _: Path) -> None:
    gluetun.public_ip = "203.0.113.8"
    qsticky.sync()


def write_the_same_port_anew(_: QSticky, gluetun: GluetunSimulator, port_file: Path) -> None:
    port_file.write_text(str(gluetun.ports[0]))


RESTARTS: dict[str, Restart] = {
    "request": ask,
    "port_returned": lose_and_regain_the_port,
    "address_changed": move_to_another_server,
    "port_file": write_the_same_port_anew,
}


@pytest.mark.parametrize("cause", RESTARTS)
def test_the_socket_is_opened_anew_once_and_the_port_stays(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, tmp_path: Path, cause: str
) -> None:
    port_file = tmp_path / "forwarded_port"
    (port,) = gluetun.ports
    qbittorrent.use_port(port)
    qsticky = start(GLUETUN_PORT_FILE=port_file)
    qsticky.wait_for("synced")
    before = sockets(port)
    RESTARTS[cause](qsticky, gluetun, port_file)
    qsticky.wait_for_event("rebound")
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    assert before
    assert sockets(port)
    assert not before & sockets(port)
    qsticky.sync()
    assert qsticky.metric("rebinds_total", cause=cause) == 1
    assert qsticky.metric("port_changes_total") == 0
    rebound = qsticky.event("rebound")
    assert (rebound["cause"], rebound["port"]) == (cause, port)
    assert qsticky.health()["healthy"] is True


def test_nothing_is_opened_anew_where_that_is_switched_off(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    qbittorrent.use_port(port)
    qsticky = start(QBITTORRENT_REBIND="false")
    qsticky.wait_for("synced")
    before = sockets(port)
    qsticky.sync("?rebind=true")
    assert sockets(port) == before
    assert "rebound" not in qsticky.events()


def test_a_qbittorrent_without_a_socket_is_not_listening_until_it_has_one(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    qbittorrent.use_port(port)
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    qbittorrent.set(f'{{"current_network_interface": "{ABSENT}"}}')
    try:
        qsticky.wait_for("failing", "not_listening")
        assert_failing(qsticky, "not_listening", "disconnected", f"port {port}")
        assert qsticky.metric("rebinds_total", cause="disconnected") == 1
        assert qsticky.metric("qbittorrent_connection_status", status="disconnected") == 1
        assert qsticky.metric("in_sync") == 1  # the ports are equal, and that is not enough
    finally:
        qbittorrent.set('{"current_network_interface": ""}')
    qsticky.wait_for("synced")
    assert_recovered(qsticky, "not_listening")
    assert sockets(port)
