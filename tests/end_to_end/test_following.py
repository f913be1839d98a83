"""qBittorrent follows Gluetun's forwarded port, whatever changes it, and everyone can see it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import (
    OLD_PORT_ROUTE,
    PORT_ROUTE,
    GluetunRelease,
    GluetunSimulator,
)
from qsticky.demo.simulator import Hang, Simulator
from tests.end_to_end.command import BOUND, QSticky, mode
from tests.end_to_end.conftest import GLUETUN_KEY, Start, WebUI
from tests.real import free_port, missing, wait_until


def forward(gluetun: GluetunSimulator, *ports: int) -> int:
    """Have Gluetun forward other ports, and return the first."""
    gluetun.ports = ports or (free_port(),)
    return gluetun.ports[0]


def write_in_place(port_file: Path, *ports: int) -> None:
    """Write the port file as Gluetun does: emptied, then written, and no newline at the end."""
    with port_file.open("w") as file:
        file.write("\n".join(map(str, ports)))


def test_the_first_sync_sets_the_port_and_reports_it(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    began = time.time()
    (port,) = gluetun.ports
    before = qbittorrent.listen_port
    qsticky = start()
    qsticky.wait_for("synced")

    assert qbittorrent.listen_port == port
    socket.create_connection(("127.0.0.1", port), 5).close()

    metrics = qsticky.metrics()
    assert metrics["qsticky_forwarded_port"] == metrics["qsticky_current_port"] == port
    assert metrics["qsticky_in_sync"] == metrics["qsticky_healthy"] == 1
    assert metrics["qsticky_gluetun_up"] == metrics["qsticky_qbittorrent_up"] == 1
    assert metrics["qsticky_check_interval_seconds"] == 300
    assert metrics["qsticky_vpn_interface_visible"] == 0
    assert metrics["qsticky_port_changes_total"] == 1
    assert metrics["qsticky_qbittorrent_logins_total"] == 1
    assert metrics["qsticky_qbittorrent_login_failures_total"] == 0
    assert qsticky.syncs_by_trigger() == {"startup": 1}
    assert not any(
        value
        for name, value in metrics.items()
        if name.startswith(("qsticky_sync_failures", "qsticky_api_errors", "qsticky_rebinds"))
    )
    changed = metrics["qsticky_last_port_change_timestamp_seconds"]
    assert began < changed < time.time()
    assert metrics["qsticky_last_sync_timestamp_seconds"] == changed
    assert metrics["qsticky_last_success_timestamp_seconds"] == changed

    health = qsticky.health()
    assert health["healthy"] is True
    assert health["forwarded_port"] == health["current_port"] == port
    assert health["reason"] is health["last_error"] is health["last_error_at"] is None
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(changed))
    assert health["last_check"] == health["last_success"] == health["last_port_change"] == told
    gluetun_told = health["services"]["gluetun"]
    assert gluetun_told == {"connected": True, "port": port, "public_address": "203.0.113.7"}
    assert health["services"]["qbittorrent"]["connected"] is True
    assert health["services"]["qbittorrent"]["port_synced"] is True
    assert health["services"]["qbittorrent"]["listening_by"] in (None, "qbittorrent")
    assert '"healthy": true' in qsticky.health_file.read_text()
    assert mode(qsticky.health_file) == 0o644

    assert qsticky.events() == ["startup", "http", "login", "port_change_needed", "port_changed"]
    needed, done = qsticky.event("port_change_needed"), qsticky.event("port_changed")
    assert needed["message"] == f"Port change needed: {before} -> {port}"
    assert done["message"] == f"Successfully updated port to {port}"
    assert (done["old_port"], done["new_port"]) == (before, port)
    assert {line["logger"] for line in qsticky.log()} == {"qSticky"}


def test_a_port_that_is_right_already_is_left_alone(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    qbittorrent.use_port(port)
    qsticky = start()
    qsticky.wait_for("synced")
    assert qsticky.metric("port_changes_total") == 0
    assert qsticky.health()["last_port_change"] is None
    # Rebound once, so that qBittorrent logs anew whether it listens, which can't be seen here.
    assert qsticky.events() == ["startup", "http", "login", "rebound"]
    assert qsticky.event("rebound")["cause"] == "startup"
    assert qsticky.log()[-1]["message"] == f"In sync on port {port}"


def test_the_steady_state_costs_three_requests_a_sync_no_login_and_no_log_line(
    start: Start, gluetun: GluetunSimulator
) -> None:
    with GluetunSimulator(
        api_key=GLUETUN_KEY, ports=gluetun.ports, routes={PORT_ROUTE}
    ) as with_one_route:
        qsticky = start(GLUETUN_PORT=with_one_route.port, CHECK_INTERVAL=1)
        qsticky.wait_for("synced")
        qsticky.sync()
        before, log = qsticky.metrics(), qsticky.log()
        qsticky.wait_for_syncs(2, "interval")
        after = qsticky.metrics()
    for service, most in {"gluetun": 1, "qbittorrent": 2}.items():
        name = f'qsticky_api_requests_total{{service="{service}"}}'
        assert 0 < after[name] - before[name] <= 2 * most
    for unchanged in (
        "qsticky_qbittorrent_logins_total",
        "qsticky_port_changes_total",
        "qsticky_last_port_change_timestamp_seconds",
    ):
        assert after[unchanged] == before[unchanged]
    assert (
        after["qsticky_last_success_timestamp_seconds"]
        > before["qsticky_last_success_timestamp_seconds"]
    )
    assert qsticky.log() == log


def test_thirty_syncs_leave_no_thread_descriptor_or_series_behind(start: Start) -> None:
    qsticky = start()
    qsticky.wait_for("synced")
    qsticky.sync()
    series, descriptors = qsticky.metrics().keys(), qsticky.metrics()["process_open_fds"]
    threads = qsticky.threads
    for _ in range(30):
        qsticky.sync()
    assert qsticky.metrics().keys() == series
    wait_until(
        lambda: qsticky.metrics()["process_open_fds"] <= descriptors, BOUND, "descriptors to go"
    )
    wait_until(lambda: qsticky.threads <= threads, BOUND, "threads to go")


def test_a_port_change_is_followed_within_an_interval(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    port = forward(gluetun)
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    assert qsticky.metric("port_changes_total") == 2
    assert qsticky.syncs_by_trigger().keys() == {"startup", "interval"}
    assert qsticky.events()[-2:] == ["port_change_needed", "port_changed"]


@pytest.fixture
def port_file(tmp_path: Path) -> Path:
    return tmp_path / "gluetun" / "forwarded_port"


def test_a_port_file_written_in_place_is_followed_at_once(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, port_file: Path
) -> None:
    port_file.parent.mkdir()
    write_in_place(port_file, *gluetun.ports)
    qsticky = start(GLUETUN_PORT_FILE=port_file)
    qsticky.wait_for("synced")
    port = forward(gluetun)
    write_in_place(port_file, port)
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    assert qsticky.syncs_by_trigger().keys() == {"startup", "port_file"}


def test_a_port_file_whose_folder_comes_later_is_followed_too(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, port_file: Path
) -> None:
    qsticky = start(GLUETUN_PORT_FILE=port_file)
    qsticky.wait_for("synced")
    port = forward(gluetun)
    port_file.parent.mkdir()
    write_in_place(port_file, port)
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    assert qsticky.syncs_by_trigger().keys() == {"startup", "port_file"}
    assert {line["level"] for line in qsticky.log()} == {"info"}


def test_a_request_is_answered_at_once_and_its_sync_runs_when_gluetun_can_answer(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    qsticky = start(REQUEST_TIMEOUT=30)
    qsticky.wait_for("synced")
    before = qbittorrent.listen_port
    gluetun.fault = Hang()  # as its up command holds its lock
    port = forward(gluetun)
    asked = len(gluetun.requests)
    for _ in range(5):
        began = time.monotonic()
        assert qsticky.get("/-/sync", "POST").status == 202
        assert time.monotonic() - began < 1
    wait_until(lambda: len(gluetun.requests) > asked, BOUND, "Gluetun to be asked")
    assert qsticky.syncs_by_trigger() == {"startup": 1}
    assert qbittorrent.listen_port == before
    gluetun.fault = None  # the up command has ended
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    qsticky.sync()
    # The five made one run that hung and at most one more; the last is this test's own.
    syncs = qsticky.syncs_by_trigger()
    assert syncs.keys() == {"startup", "request"}
    assert 2 <= syncs["request"] <= 3


def test_a_hand_edit_in_qbittorrent_is_put_right(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    by_hand = free_port()
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    qbittorrent.set(f'{{"listen_port": {by_hand}}}')
    wait_until(
        lambda: qsticky.events().count("port_changed") == 2, BOUND, "the port to be put right"
    )
    assert qbittorrent.listen_port == port
    assert (qsticky.log()[-1]["old_port"], qsticky.log()[-1]["new_port"]) == (by_hand, port)
    assert qsticky.metric("port_changes_total") == 2


def test_a_random_port_and_upnp_are_turned_off_with_the_change(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    qbittorrent.set('{"random_port": true, "upnp": true}')
    assert qbittorrent.preferences()["upnp"] is True
    start().wait_for_port(port)
    preferences = qbittorrent.preferences()
    assert preferences["listen_port"] == port
    assert preferences["random_port"] is preferences["upnp"] is False


@pytest.mark.parametrize("release", ["3.41", "master"])
def test_the_second_of_two_ports_is_used_where_the_index_says_so(
    start: Start, qbittorrent: WebUI, release: GluetunRelease
) -> None:
    first, second = free_port(), free_port()
    with GluetunSimulator(api_key=GLUETUN_KEY, ports=[first, second], release=release) as gluetun:
        qsticky = start(GLUETUN_PORT=gluetun.port, GLUETUN_PORT_INDEX=2)
        wanted = max(first, second) if release == "master" else second  # which sorts them
        qsticky.wait_for_port(wanted)
        assert qbittorrent.listen_port == wanted
        assert qsticky.metric("forwarded_port") == wanted


def test_an_index_that_gluetun_has_no_port_for_fails_at_once(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    before = qbittorrent.listen_port
    qsticky = start(GLUETUN_PORT_INDEX=2)
    qsticky.wait_for("failing", "no_forwarded_port")
    assert "GLUETUN_PORT_INDEX" in qsticky.event("sync_failed")["message"]
    assert qsticky.metric("sync_failures_total", reason="no_forwarded_port") == 1
    assert qsticky.metric("healthy") == qsticky.metric("in_sync") == 0
    assert qsticky.metric("gluetun_up") == 1
    assert qbittorrent.listen_port == before
    port = free_port()
    forward(gluetun, *gluetun.ports, port)
    qsticky.sync()
    assert qsticky.health()["status"] == "synced"
    assert qbittorrent.listen_port == port


@pytest.fixture(params=["3.39.0", "3.40", "3.41", "master"])
def release(request: pytest.FixtureRequest) -> Iterator[GluetunSimulator]:
    """A Gluetun of each release, with a role that lists only the port's route."""
    old = request.param in ("3.39.0", "3.40")
    with GluetunSimulator(
        api_key=GLUETUN_KEY,
        ports=[free_port()],
        release=request.param,
        routes={OLD_PORT_ROUTE if old else PORT_ROUTE},
    ) as simulator:
        yield simulator


def test_every_release_of_gluetun_is_understood_and_its_route_remembered(
    start: Start, release: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = release.ports
    qsticky = start(GLUETUN_PORT=release.port)
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    qsticky.sync()
    before = asked_for_ports(release)
    qsticky.sync()
    assert asked_for_ports(release) == before + 1
    assert qsticky.metric("gluetun_up") == 1


def asked_for_ports(gluetun: Simulator) -> int:
    """Count the requests that a Gluetun got on either of its port's routes."""
    return sum(line in (PORT_ROUTE, OLD_PORT_ROUTE) for line in gluetun.requests)


def test_a_port_asked_for_over_ipv6_is_followed_and_shown_over_ipv6(
    start: Start, qbittorrent: WebUI
) -> None:
    if not has_ipv6():
        missing("IPv6")
    with GluetunSimulator(host="::1", api_key=GLUETUN_KEY, ports=[free_port()]) as gluetun:
        qsticky: QSticky = start(
            GLUETUN_HOST="::1",
            GLUETUN_PORT=gluetun.port,
            QBITTORRENT_HOST="[::1]",
            METRICS_ADDRESS="::1",
        )
        qsticky.wait_for("synced")
        assert qbittorrent.listen_port == gluetun.ports[0]
        with socket.create_connection(("::1", qsticky.port), 5) as connection:
            connection.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            assert b"200 OK" in connection.recv(100)


def has_ipv6() -> bool:
    """Tell whether there is an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
