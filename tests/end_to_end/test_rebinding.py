"""Where the VPN's interface can't be seen, evidence and requests have the socket rebound.

How each kind of evidence counts is in tests/unit/sync/test_synchronizer.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.end_to_end.command import BOUND, QSticky, assert_failing, assert_recovered
from tests.end_to_end.conftest import ABSENT, Start, WebUI
from tests.real import wait_until

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


def write_the_same_port_anew(_: QSticky, gluetun: GluetunSimulator, port_file: Path) -> None:
    port_file.write_text(str(gluetun.ports[0]))


RESTARTS: dict[str, Restart] = {"request": ask, "port_file": write_the_same_port_anew}
ITS_OWN = 5.2  # seconds after an opening, in which evidence belongs to that, and a little more


@pytest.mark.parametrize("cause", RESTARTS)
def test_the_socket_is_opened_anew_once_and_the_port_stays(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, tmp_path: Path, cause: str
) -> None:
    port_file = tmp_path / "forwarded_port"
    (port,) = gluetun.ports
    qbittorrent.use_port(port)
    qsticky = start(GLUETUN_PORT_FILE=port_file)
    qsticky.wait_for("synced")
    qsticky.wait_for_event("rebound")  # at the start
    before, opened = sockets(port), time.monotonic()
    wait_until(lambda: time.monotonic() - opened > ITS_OWN, BOUND, "the start to be over")
    RESTARTS[cause](qsticky, gluetun, port_file)
    wait_until(lambda: qsticky.metric("rebinds_total", cause=cause) == 1, BOUND, "the rebind")
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    assert before
    assert sockets(port)
    assert not before & sockets(port)
    assert qsticky.metric("port_changes_total") == 0
    rebound = qsticky.log()[-1]
    assert (rebound["event"], rebound["cause"], rebound["port"]) == ("rebound", cause, port)
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


def test_a_qbittorrent_bound_to_nothing_is_not_listening_until_it_is_bound_to_something(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    qbittorrent.use_port(port)
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    qbittorrent.set(f'{{"current_network_interface": "{ABSENT}"}}')
    try:
        qsticky.wait_for("failing", "not_listening")
        assert_failing(qsticky, "not_listening", ABSENT, "set Options > Advanced > Network")
        assert qsticky.health()["services"]["qbittorrent"]["listening_by"] == "settings"
        assert qsticky.metric("in_sync") == 1  # the ports are equal, and that is not enough
    finally:
        qbittorrent.set('{"current_network_interface": ""}')
    qsticky.wait_for("synced")
    assert_recovered(qsticky, "not_listening")
    assert sockets(port)
