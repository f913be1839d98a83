"""Either service goes away, hangs, loses what it had or talks nonsense, and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunRelease, GluetunSimulator
from qsticky.demo.simulator import Answer
from tests.end_to_end.command import BOUND, assert_failing, assert_recovered
from tests.end_to_end.conftest import GLUETUN_KEY, Start, WebUI
from tests.real import free_port, wait_until

GRACE = 2


def test_a_restart_of_qbittorrent_between_two_syncs_costs_a_login_and_no_failure(
    start: Start, qbittorrent: WebUI
) -> None:
    qsticky = start()
    qsticky.wait_for("synced")
    qbittorrent.kill()
    qbittorrent.start()
    qsticky.sync()
    assert qsticky.health()["status"] == "synced"
    assert qsticky.metric("qbittorrent_logins_total") == 2
    assert qsticky.metric("port_changes_total") == 1  # it kept the port
    assert qsticky.metric("api_errors_total", service="qbittorrent", reason="unauthorized") == 0
    assert "sync_failed" not in qsticky.events()


def test_qbittorrent_gets_the_port_that_changed_while_it_was_gone(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    qsticky = start()
    qsticky.wait_for("synced")
    qbittorrent.kill()
    qsticky.sync()
    assert_failing(qsticky, "qbittorrent_unreachable", "QBITTORRENT_HOST", "QBITTORRENT_PORT")
    assert qsticky.metric("qbittorrent_up") == qsticky.metric("in_sync") == 0
    assert qsticky.metric("gluetun_up") == 1
    assert qsticky.metric("api_errors_total", service="qbittorrent", reason="connection") >= 1
    assert qsticky.health()["services"]["qbittorrent"]["connected"] is False
    gluetun.ports = (free_port(),)
    qbittorrent.start()
    qsticky.wait_for_port(gluetun.ports[0])
    assert qbittorrent.listen_port == gluetun.ports[0]
    assert qsticky.syncs_by_trigger()["retry"] >= 1  # long before the interval is over
    assert_recovered(qsticky, "qbittorrent_unreachable")


def test_a_frozen_qbittorrent_is_a_time_out_and_is_followed_again_when_it_thaws(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    qsticky = start(CHECK_INTERVAL=1, REQUEST_TIMEOUT=1.5)
    qsticky.wait_for("synced")
    qbittorrent.server.freeze()
    gluetun.ports = (free_port(),)
    qsticky.wait_for("failing", "qbittorrent_unreachable")
    assert_failing(qsticky, "qbittorrent_unreachable", "1.5 s", "REQUEST_TIMEOUT")
    assert qsticky.metric("api_errors_total", service="qbittorrent", reason="timeout") >= 1
    assert qsticky.metric("forwarded_port") == gluetun.ports[0]
    qbittorrent.start()
    qsticky.wait_for_port(gluetun.ports[0])
    assert qbittorrent.listen_port == gluetun.ports[0]
    assert_recovered(qsticky, "qbittorrent_unreachable")


def test_gluetun_restarts_with_another_port(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (before,) = gluetun.ports
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    gluetun.stop()
    qsticky.wait_for("failing", "gluetun_unreachable")
    assert_failing(qsticky, "gluetun_unreachable", "GLUETUN_HOST", "GLUETUN_PORT")
    assert qsticky.metric("gluetun_up") == qsticky.metric("in_sync") == 0
    assert qsticky.metric("qbittorrent_up") == 1
    assert qsticky.metric("api_errors_total", service="gluetun", reason="connection") >= 1
    assert qbittorrent.listen_port == before
    gluetun.ports = (free_port(),)
    gluetun.start()
    qsticky.wait_for_port(gluetun.ports[0])
    assert qbittorrent.listen_port == gluetun.ports[0]
    assert_recovered(qsticky, "gluetun_unreachable")


def test_the_port_file_serves_while_gluetuns_api_is_gone(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, tmp_path: Path
) -> None:
    port_file = tmp_path / "forwarded_port"
    port_file.write_text(str(gluetun.ports[0]))
    qsticky = start(GLUETUN_PORT_FILE=port_file)
    qsticky.wait_for("synced")
    gluetun.stop()
    port = free_port()
    port_file.write_text(str(port))
    qsticky.wait_for_port(port)
    assert qbittorrent.listen_port == port
    metrics = qsticky.metrics()
    assert metrics["qsticky_healthy"] == metrics["qsticky_in_sync"] == 1
    assert metrics["qsticky_forwarded_port"] == port
    assert metrics["qsticky_gluetun_up"] == 0
    assert metrics['qsticky_api_errors_total{reason="connection",service="gluetun"}'] >= 1
    assert metrics['qsticky_sync_failures_total{reason="gluetun_unreachable"}'] == 0
    health = qsticky.health()
    gluetun_told = health["services"]["gluetun"]
    assert gluetun_told == {"connected": False, "port": port, "public_address": None}
    assert "GLUETUN_HOST" in health["last_error"]
    assert "sync_failed" not in qsticky.events()
    (warning,) = (line["message"] for line in qsticky.log() if line["level"] == "warning")
    assert "port file" in warning

    # Without a port in it, the file is no help. The next retry or request finds that out.
    port_file.write_text("")
    qsticky.wait_for("failing", "gluetun_unreachable")
    assert qbittorrent.listen_port == port
    gluetun.start()
    qsticky.sync()
    qsticky.wait_for_port(gluetun.ports[0])
    assert qsticky.metric("gluetun_up") == 1


@pytest.mark.parametrize("release", ["3.40", "3.41", "master"])
def test_a_vpn_without_a_port_yet_is_waited_for(
    start: Start, qbittorrent: WebUI, release: GluetunRelease
) -> None:
    before = qbittorrent.listen_port
    with GluetunSimulator(api_key=GLUETUN_KEY, release=release) as gluetun:
        qsticky = start(GLUETUN_PORT=gluetun.port)
        qsticky.wait_for("waiting")
        metrics, health = qsticky.metrics(), qsticky.health()
        assert metrics["qsticky_healthy"] == 1
        assert metrics["qsticky_in_sync"] == 0
        assert metrics["qsticky_forwarded_port"] == 0
        assert metrics["qsticky_forwarded_port_losses_total"] == 0  # there was none to lose
        assert metrics["qsticky_last_success_timestamp_seconds"] == 0
        assert metrics["qsticky_last_sync_timestamp_seconds"] > 0
        assert health["healthy"] is True
        assert health["last_success"] is None
        assert health["services"]["qbittorrent"]["port_synced"] is False
        assert qsticky.get("/-/ready").status == 200
        assert qbittorrent.listen_port == before
        gluetun.ports = (free_port(),)
        qsticky.sync()
        assert qsticky.health()["status"] == "synced"
        assert qbittorrent.listen_port == gluetun.ports[0]
        assert "port_lost" not in qsticky.events()


def test_a_port_that_is_lost_for_too_long_is_a_failure_until_it_is_back(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    (port,) = gluetun.ports
    qsticky = start(CHECK_INTERVAL=1, PORT_GRACE=GRACE)
    qsticky.wait_for("synced")
    gluetun.ports = ()
    qsticky.wait_for("waiting")
    metrics = qsticky.metrics()
    assert metrics["qsticky_healthy"] == 1
    assert metrics["qsticky_in_sync"] == metrics["qsticky_forwarded_port"] == 0
    assert metrics["qsticky_forwarded_port_losses_total"] == 1
    assert qsticky.event("port_lost")["level"] == "warning"
    assert qbittorrent.listen_port == port

    qsticky.wait_for("failing", "no_forwarded_port", timeout=GRACE + BOUND)
    assert_failing(qsticky, "no_forwarded_port", "VPN_PORT_FORWARDING=on", f"{GRACE} s")
    assert qsticky.metric("forwarded_port_losses_total") == 1  # one loss, however long
    assert qsticky.metric("gluetun_up") == 1
    assert qbittorrent.listen_port == port

    gluetun.ports = (port,)
    qsticky.wait_for_port(port)
    assert qsticky.event("port_restored")["port"] == port
    assert_recovered(qsticky, "no_forwarded_port")
    assert qsticky.metric("port_changes_total") == 1  # it had never been another one
    wait_until(lambda: qbittorrent.listen_port == port, BOUND, "the port to be as before")


NONSENSE = (
    '{"port":0.5}',
    '{"port":70000}',
    '{"port":-1}',
    '{"port":"51820"}',
    '{"port":true}',
    '{"ports":[70000,51820]}',
    "{}",
    "51820",
    "<html>Please log in</html>",
    "",
)


def test_no_nonsense_of_gluetuns_reaches_qbittorrent(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI
) -> None:
    qsticky = start()
    qsticky.wait_for("synced")
    for count, answer in enumerate(NONSENSE, start=1):
        gluetun.fault = Answer(body=answer)
        qsticky.sync()
        assert qsticky.health()["reason"] == "gluetun_invalid_response", answer
        assert_failing(qsticky, "gluetun_invalid_response", gluetun.url)
        errors = qsticky.metric("api_errors_total", service="gluetun", reason="invalid_response")
        assert errors >= count, answer
        assert qbittorrent.listen_port == gluetun.ports[0], answer
        assert qsticky.metric("forwarded_port") == gluetun.ports[0]  # the last that was known
        gluetun.fault = None
        qsticky.sync()
        assert qsticky.health()["status"] == "synced"
    assert qsticky.metric("port_changes_total") == 1
