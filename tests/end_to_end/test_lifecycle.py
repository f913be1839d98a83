"""How the command starts, is judged by Docker, and ends."""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
import socket
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.simulator import Hang
from tests.end_to_end.command import BOUND, TIME_TO_STOP, QSticky
from tests.end_to_end.conftest import Start, WebUI
from tests.real import wait_until


@pytest.mark.parametrize("received", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_signal_ends_it_cleanly_when_idle(start: Start, received: signal.Signals) -> None:
    qsticky = start()
    qsticky.wait_for("synced")
    assert_ends_cleanly(qsticky, received)


def test_a_signal_that_comes_while_it_starts_is_not_lost(start: Start) -> None:
    qsticky = start()
    qsticky.wait_for_event("startup")
    assert qsticky.stop(timeout=TIME_TO_STOP) == 0
    assert qsticky.events()[-1] == "shutdown"
    assert not qsticky.health_file.exists()


def test_a_variable_that_nobody_reads_is_told_at_the_start(start: Start) -> None:
    qsticky = start(QBITTORRENT_PASSWORD="not-read", GLUETUN_MOOD="calm")
    qsticky.wait_for("synced")
    told = {
        line["message"]: line["level"] for line in qsticky.log() if "not read" in f"{line}".lower()
    }
    assert told == {
        "QBITTORRENT_PASSWORD is not read by qSticky; in its place, set "
        "QBITTORRENT_PASS": "warning",
        "Not read, as qSticky has no variables of these names: GLUETUN_MOOD": "info",
    }


def test_it_ends_in_time_while_a_request_to_gluetun_hangs(
    start: Start, gluetun: GluetunSimulator
) -> None:
    gluetun.fault = Hang()
    qsticky = start(REQUEST_TIMEOUT=60)
    wait_until(lambda: gluetun.requests, BOUND, "Gluetun to be asked")
    assert qsticky.health()["status"] == "starting"
    assert_ends_cleanly(qsticky)


def test_it_ends_in_time_while_qbittorrent_is_frozen(start: Start, qbittorrent: WebUI) -> None:
    qsticky = start(REQUEST_TIMEOUT=60)
    qsticky.wait_for("synced")
    qbittorrent.server.freeze()
    asked = qsticky.metric("api_requests_total", service="gluetun")
    assert qsticky.get("/-/sync", "POST").status == 202
    wait_until(
        lambda: qsticky.metric("api_requests_total", service="gluetun") > asked,
        BOUND,
        "Gluetun to have answered, which is asked first",
    )
    assert qsticky.syncs_by_trigger() == {"startup": 1}
    assert_ends_cleanly(qsticky)


def assert_ends_cleanly(qsticky: QSticky, received: signal.Signals = signal.SIGTERM) -> None:
    """Check its end: in time, with exit code 0, told, and no health file left behind."""
    assert qsticky.health_file.exists()
    assert qsticky.stop(received, timeout=TIME_TO_STOP) == 0
    assert list(qsticky.health_file.parent.iterdir()) == []
    assert qsticky.event("shutdown")["message"] == f"Stopped: received {received.name}"
    assert qsticky.events()[-1] == "shutdown"
    with pytest.raises(ConnectionRefusedError):
        qsticky.get("/-/healthy")
    check = qsticky.healthcheck()
    assert check.returncode == 1
    assert "no health file" in check.stdout


def test_a_port_that_is_taken_ends_it_with_a_sentence(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        qsticky = start(METRICS_PORT=port)
        assert qsticky.wait() == 1
    told = qsticky.log()[-1]
    assert (told["level"], told["event"]) == ("critical", "http")
    assert f"port {port}" in told["message"]
    assert "METRICS_PORT" in told["message"]
    assert qsticky.stderr == ""
    assert not qsticky.health_file.exists()


def test_files_that_are_no_tls_pair_end_it_with_a_sentence(start: Start, tmp_path: Path) -> None:
    neither = tmp_path / "neither.pem"
    neither.write_text("neither a certificate nor a key\n")
    qsticky = start(METRICS_TLS_CERT_FILE=neither, METRICS_TLS_KEY_FILE=neither)
    assert qsticky.wait() == 1
    told = qsticky.log()[-1]
    assert (told["level"], told["event"]) == ("critical", "http")
    assert "TLS pair" in told["message"]
    assert qsticky.stderr == ""


def test_every_mistake_of_the_configuration_is_named_at_once(start: Start, tmp_path: Path) -> None:
    mistakes: dict[str, object] = {
        "QBITTORRENT_HOST": "http://qbittorrent",
        "QBITTORRENT_PORT": "0",
        "QBITTORRENT_HTTPS": "maybe",
        "QBITTORRENT_CA_FILE": tmp_path / "missing.pem",
        "GLUETUN_PORT": "70000",
        "GLUETUN_AUTH_TYPE": "digest",
        "GLUETUN_PORT_INDEX": "first",
        "VPN_INTERFACE": "far-too-long-a-name",
        "CHECK_INTERVAL": "0",
        "REQUEST_TIMEOUT": "10s",
        "PORT_GRACE": "-1",
        "METRICS_PORT": "1e4",
        "LOG_LEVEL": "LOUD",
        "LOG_FORMAT": "xml",
    }
    qsticky = start(
        **mistakes,
        QBITTORRENT_PASS="hidden\nsecret",
        GLUETUN_APIKEY="hidden key",
        GLUETUN_APIKEY_FILE=tmp_path / "key",
        METRICS_USERNAME="hidden-user",
    )
    assert qsticky.wait() == 2
    lines = qsticky.stderr.splitlines()
    for name, value in mistakes.items():
        assert sum(name in line and str(value) in line for line in lines) == 1, name
    for name in ("QBITTORRENT_PASS", "GLUETUN_APIKEY_FILE", "METRICS_PASSWORD"):
        assert sum(name in line for line in lines) == 1, name
    assert len(lines) == len(mistakes) + 3
    assert "hidden" not in qsticky.stderr
    assert qsticky.stdout == ""
    assert not qsticky.health_file.exists()


def test_healthcheck_passes_on_the_daemons_verdict_and_its_reason(
    start: Start, gluetun: GluetunSimulator
) -> None:
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    check = qsticky.healthcheck()
    assert (check.returncode, check.stdout, check.stderr) == (0, "healthy\n", "")
    gluetun.stop()
    qsticky.wait_for("failing", "gluetun_unreachable")
    check = qsticky.healthcheck()
    assert (check.returncode, check.stderr) == (1, "")
    (line,) = check.stdout.splitlines()
    assert line.startswith("unhealthy: gluetun_unreachable: ")
    assert "GLUETUN_HOST" in line
    gluetun.start()
    qsticky.wait_for("synced")
    assert qsticky.healthcheck().returncode == 0


def test_a_daemon_that_is_starting_is_not_healthy_yet(
    start: Start, gluetun: GluetunSimulator
) -> None:
    gluetun.fault = Hang()
    qsticky = start(REQUEST_TIMEOUT=60)
    wait_until(lambda: gluetun.requests, BOUND, "Gluetun to be asked")
    check = qsticky.healthcheck()
    assert check.returncode == 1
    assert check.stdout.startswith("unhealthy: starting")
    assert qsticky.get("/-/ready").status == 503
    assert qsticky.get("/-/healthy").status == 200
    assert qsticky.metrics()["qsticky_healthy"] == 0


def test_a_daemon_killed_or_frozen_is_unhealthy_once_its_word_is_stale(start: Start) -> None:
    limits = {"CHECK_INTERVAL": 1, "REQUEST_TIMEOUT": 1.5}
    killed, frozen = start(**limits), start(**limits)
    for qsticky in (killed, frozen):
        qsticky.wait_for("synced")
    killed.kill()
    frozen.freeze()
    try:
        for qsticky in (killed, frozen):
            assert qsticky.healthcheck().returncode == 0  # its last word still counts
        stale_after = max(
            dt.datetime.fromisoformat(qsticky.health()["stale_after"])
            for qsticky in (killed, frozen)
        )
        left = (stale_after - dt.datetime.now(dt.UTC)).total_seconds()
        assert 0 < left <= 7.5  # interval, time-out and 5 s
        wait_until(lambda: dt.datetime.now(dt.UTC) > stale_after, 8, "their word to be stale")
        for qsticky in (killed, frozen):
            check = qsticky.healthcheck()
            assert check.returncode == 1
            assert re.fullmatch(r"unhealthy: the health file is stale since .*\n", check.stdout)
    finally:
        frozen.thaw()
    wait_until(lambda: frozen.healthcheck().returncode == 0, BOUND, "it to be healthy again")


def test_a_health_file_that_cant_be_written_is_told_once_and_stops_nothing(
    start: Start, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "in-the-way"
    in_the_way.write_text("")
    qsticky = start(HEALTH_FILE=in_the_way / "status.json", CHECK_INTERVAL=1)
    wait_until(lambda: "health_file_failed" in qsticky.events(), BOUND, "the failure to be told")
    qsticky.wait_for_syncs(2, "interval")
    assert "HEALTH_FILE" in qsticky.event("health_file_failed")["message"]
    assert qsticky.metric("health_file_write_failures_total") >= 3
    assert qsticky.metric("in_sync") == qsticky.metric("healthy") == 1
    assert qsticky.get("/-/ready").status == 200
    in_the_way.unlink()
    wait_until((in_the_way / "status.json").exists, BOUND, "the health file")
    assert json.loads((in_the_way / "status.json").read_text())["healthy"] is True
