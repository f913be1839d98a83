"""How a connection to qBittorrent's WebUI fails."""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack, suppress

import pytest
import requests

from tests.certificates import Certificate
from tests.contract.targets import TARGETS, Options, Start, Subject, every_release


@every_release
def test_a_frozen_process_accepts_connections_and_never_answers(start: Start) -> None:
    qbittorrent = start()
    client = qbittorrent.logged_in()
    with qbittorrent.frozen():
        with socket.create_connection(("127.0.0.1", qbittorrent.port), 1):
            pass
        with pytest.raises(requests.ReadTimeout):
            client.get("app/version", timeout=0.3)
    assert client.get("app/version").status_code == 200


@every_release
def test_a_stopped_one_refuses_connections(start: Start) -> None:
    qbittorrent = start()
    qbittorrent.server.stop()
    with pytest.raises(requests.ConnectionError, match="refused"):
        qbittorrent.client().get("app/version")


@every_release
def test_plain_http_to_an_https_port_is_closed_without_a_byte(
    start: Start, certificate: Certificate
) -> None:
    qbittorrent = start(certificate=certificate)
    with socket.create_connection(("127.0.0.1", qbittorrent.port), 5) as connection:
        connection.sendall(b"GET /api/v2/app/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


@every_release
def test_https_is_served_with_the_given_certificate(start: Start, certificate: Certificate) -> None:
    url = start(certificate=certificate).url
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{url}/api/v2/app/version", verify=str(certificate.chain), timeout=5)
        assert answer.status_code == 403
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{url}/api/v2/app/version", timeout=5)


@every_release
def test_https_to_an_http_port_hangs_until_the_time_out(qbittorrent: Subject) -> None:
    with requests.Session() as session:
        session.trust_env = False
        with pytest.raises((requests.ReadTimeout, requests.ConnectTimeout)):
            session.get(f"https://127.0.0.1:{qbittorrent.port}/", timeout=0.3)


def test_an_idle_connection_is_closed_after_about_8_seconds() -> None:
    targets = [target for target in TARGETS if target.kind == "real"] + [TARGETS[0]]
    with ExitStack() as stack:
        idle: dict[socket.socket, str] = {}
        for target in targets:
            port = stack.enter_context(target.run(Options())).port
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            connection.sendall(b"GET /api/v2/app/version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 403")
            idle[connection] = str(target)
        began, closed_after = time.monotonic(), {}
        while idle:
            readable, _, _ = select.select(list(idle), [], [], 15)
            assert readable, f"still open: {sorted(idle.values())}"
            for connection in readable:
                if connection.recv(4096) == b"":
                    closed_after[idle.pop(connection)] = time.monotonic() - began
    assert all(6 < seconds < 12 for seconds in closed_after.values()), closed_after
