"""`qsticky check` beside a running qSticky, and what one needs to run."""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsticky.check import running_daemon
from qsticky.check.findings import Verdict
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.arbitrary import json_values
from tests.unit.check.conftest import PORT, Examine, Says, document
from tests.unit.conftest import Certificates, Serve, always, read_request


@pytest.mark.parametrize("reason", ["qbittorrent_unauthorized", "qbittorrent_banned"])
def test_where_the_daemon_was_refused_no_login_is_tried(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, reason: str
) -> None:
    says(reason=reason)
    found = examine()
    assert found.failed == ["authentication", "daemon"]
    assert "POST /api/v2/auth/login" not in qbittorrent.requests
    told = found["authentication"].text
    assert told.startswith("No login was tried, as refused ones bring a ban")
    assert "qBittorrent refused the password" in told
    lifts = "docker restart qbittorrent" in found.copied("authentication")
    assert lifts is (reason == "qbittorrent_banned")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("failing", "gluetun_unreachable"),
        ("failing", "qbittorrent_unreachable"),
        ("starting", None),
    ],
)
def test_where_the_daemon_is_not_let_in_whatever_it_says_no_login_is_tried(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, status: str, reason: str | None
) -> None:
    # Gluetun's failure is told before qBittorrent's, and hides that one.
    says(status=status, reason=reason)
    found = examine()
    assert found["authentication"].verdict is Verdict.SKIPPED
    assert "POST /api/v2/auth/login" not in qbittorrent.requests


@pytest.mark.parametrize(
    "facts",
    [{"connected": True}, {"connected": True, "stale_after": "2000-01-01T00:00:00Z"}],
    ids=["it has a session", "it died with one"],
)
def test_a_login_is_tried_where_the_daemon_can_not_have_been_refused(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, facts: dict[str, object]
) -> None:
    says(**facts)
    assert examine()["authentication"].verdict is Verdict.OK
    assert "POST /api/v2/auth/login" in qbittorrent.requests


def test_a_refusal_beside_a_daemon_that_is_let_in_is_told_to_count_with_its_own(
    examine: Examine, says: Says
) -> None:
    says(connected=True)
    told = examine(QBITTORRENT_PASS="hunter2")["authentication"].text
    beside = "this check tried once beside the running qSticky, which tries four when its session"
    assert f"{beside} ends; the fifth refusal in a row bans this address" in told


def test_where_the_daemon_died_without_a_session_no_login_is_tried(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, health_file: Path
) -> None:
    # qBittorrent goes on counting: this one could be the fifth.
    says(stale_after="2000-01-01T00:00:00Z")
    found = examine()
    assert found["authentication"].verdict is Verdict.SKIPPED
    assert f"remove {health_file}" in found["authentication"].text
    assert "POST /api/v2/auth/login" not in qbittorrent.requests
    health_file.unlink()
    assert examine()["authentication"].verdict is Verdict.OK


def test_an_api_key_is_tried_in_any_case(examine: Examine, says: Says) -> None:
    says()
    with QBittorrentSimulator(release="5.3", api_key="qbt_right", listen_port=PORT) as modern:
        found = examine(QBITTORRENT_PORT=modern.port, QBITTORRENT_API_KEY="qbt_right")
    assert found["authentication"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"healthy": True, "status": "synced", "connected": True}, Verdict.OK),
        ({"healthy": True, "status": "waiting", "connected": True}, Verdict.OK),
        ({"status": "starting", "reason": None}, Verdict.WARNING),
        ({"reason": "not_listening", "connected": True}, Verdict.FAILED),
    ],
)
def test_the_daemon_s_word_is_told(
    examine: Examine, says: Says, facts: dict[str, object], verdict: Verdict
) -> None:
    says(**facts)
    assert examine()["daemon"].verdict is verdict


@pytest.mark.parametrize(
    ("stale_after", "problem"),
    [
        ("2000-01-01T00:00:00Z", "the daemon hangs or died"),
        ("2999-01-01T00:00:00Z", "the clock was set back"),
    ],
)
def test_a_health_file_that_does_not_count_is_told(
    examine: Examine, says: Says, stale_after: str, problem: str
) -> None:
    says(stale_after=stale_after, healthy=True)
    found = examine()
    assert found["health_file"].verdict is Verdict.WARNING
    assert problem in found["health_file"].text
    assert found["daemon"].verdict is Verdict.SKIPPED


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    facts=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(document(), json_values()),
    ),
    whole=st.booleans(),
)
def test_whatever_is_in_the_health_file_the_check_goes_on(
    examine: Examine, health_file: Path, facts: dict[str, object], whole: bool
) -> None:
    health_file.parent.mkdir(exist_ok=True)
    health_file.write_text(json.dumps(document(**facts) if whole else facts))
    assert "internal" not in {finding.check for finding in examine().all}


@pytest.mark.parametrize("kind", ["below a file", "a FIFO"])
def test_a_health_file_in_a_wrong_place(
    examine: Examine, health_file: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "below a file":
        health_file.parent.touch()
    else:
        health_file.parent.mkdir()
        os.mkfifo(health_file)
    before = sorted(tmp_path.rglob("*"))
    found = examine()
    assert found.failed == ([] if kind == "a FIFO" else ["health_file"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_health_file_s_folder_that_is_closed_to_us(
    examine: Examine, health_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root is never refused
    found = examine()
    assert found.failed == ["health_file"]
    assert "tmpfs: [/tmp]" in found.copied("health_file")
    assert not health_file.parent.exists()


def test_a_metrics_port_that_another_program_has(examine: Examine, serve: Serve) -> None:
    received: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        while request := read_request(connection):
            received.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\nServer: other\r\nContent-Length: 0\r\n\r\n")

    stranger = serve(listen)
    credentials = {"METRICS_USERNAME": "me", "METRICS_PASSWORD": "secret"}
    found = examine(METRICS_PORT=stranger.port, **credentials)
    assert found.failed == ["metrics_port"]
    assert received
    assert not any(b"authorization" in request.lower() for request in received)
    (line,) = found.copied("metrics_port")
    name, _, value = line.partition("=")
    assert examine(**{name: value}).failed == []


def test_a_daemon_that_refuses_the_metrics_credentials(examine: Examine, serve: Serve) -> None:
    answer = b"HTTP/1.1 401 Unauthorized\r\nServer: qSticky\r\nContent-Length: 0\r\n\r\n"
    found = examine(METRICS_PORT=serve(always(answer)).port)
    assert found.failed == ["metrics_port"]
    assert "refuses METRICS_USERNAME and METRICS_PASSWORD" in found["metrics_port"].text


def test_a_daemon_is_also_known_by_what_it_serves(
    examine: Examine, serve: Serve, qbittorrent: QBittorrentSimulator
) -> None:
    body = json.dumps(document()).encode()
    head = f"HTTP/1.1 503 No\r\nServer: qSticky\r\nContent-Length: {len(body)}\r\n\r\n"
    found = examine(METRICS_PORT=serve(always(head.encode() + body)).port)
    assert found.failed == ["authentication", "daemon"]
    assert "POST /api/v2/auth/login" not in qbittorrent.requests


def test_a_metrics_address_that_is_not_ours(examine: Examine) -> None:
    found = examine(METRICS_ADDRESS="192.0.2.1")
    assert found.failed == ["metrics_port"]
    assert "METRICS_ADDRESS=0.0.0.0" in found.copied("metrics_port")


def test_looking_at_the_port_keeps_no_daemon_from_it(variables: dict[str, object]) -> None:
    port = int(str(variables["METRICS_PORT"]))
    with socket.create_server(("127.0.0.1", port)):
        assert running_daemon._bind("127.0.0.1", port)
    assert running_daemon._bind("127.0.0.1", port) is None


def test_a_certificate_without_its_key(examine: Examine, certificates: Certificates) -> None:
    pem = certificates.ca  # no key in it
    found = examine(METRICS_TLS_CERT_FILE=pem, METRICS_TLS_KEY_FILE=pem)
    assert found.failed == ["metrics_tls"]
