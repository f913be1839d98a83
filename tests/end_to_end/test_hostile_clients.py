"""What clients that mean harm cost the daemon: its memory is the bound that is shipped, 64 MiB."""

import contextlib
import os
import re
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import certificates
from tests.end_to_end.command import QSticky
from tests.real import free_port, wait_until

BOUND = 64 * 1024  # KiB
CLIENTS = 32
# 98 headers of 65,000 bytes: as many and as long as Python's own server takes.
HEAD = b"GET /metrics HTTP/1.1\r\n" + (b"X: " + b"y" * 65_000 + b"\r\n") * 98 + b"\r\n"
# As many small ones as fit.
MANY = b"GET /metrics HTTP/1.1\r\n" + b"".join(b"a%02d:%b\r\n" % (n, b"b" * 600) for n in range(99))


@contextlib.contextmanager
def alone(folder: Path, *, tls: bool = False) -> Iterator[QSticky]:
    """Run a daemon whose services are both away."""
    variables: dict[str, object] = {
        "GLUETUN_PORT": free_port(),
        "QBITTORRENT_PORT": free_port(),
        "VPN_INTERFACE": "absent0",
    }
    if tls:
        pair = certificates.self_signed(folder)
        variables |= {"METRICS_TLS_CERT_FILE": pair.chain, "METRICS_TLS_KEY_FILE": pair.key}
    with QSticky(folder, variables) as running:
        wait_until(lambda: "Serving" in running.stdout, 20, "the server")
        yield running


@pytest.fixture
def qsticky(tmp_path: Path) -> Iterator[QSticky]:
    with alone(tmp_path) as running:
        yield running


@pytest.fixture(scope="module", params=["plain", "tls"])
def crowded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QSticky]:
    """One whose peak includes what an earlier crowd has left behind."""
    with alone(tmp_path_factory.mktemp("crowded"), tls=request.param == "tls") as running:
        yield running


def connect(qsticky: QSticky) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", qsticky.port), 20)
    if "METRICS_TLS_CERT_FILE" not in qsticky.environment:
        return plain
    context = ssl.create_default_context(cafile=qsticky.environment["METRICS_TLS_CERT_FILE"])
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def peak(qsticky: QSticky) -> int:
    """The most memory that it ever had resident, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{qsticky.pid}/status").read_text())
    assert found
    return int(found[1])


@pytest.mark.parametrize("head", [MANY, HEAD], ids=["many headers", "long headers"])
def test_32_huge_requests_at_once_stay_within_the_memory_that_is_shipped(
    crowded: QSticky, head: bytes
) -> None:
    ready = threading.Barrier(CLIENTS)

    def send() -> None:
        with connect(crowded) as client, contextlib.suppress(OSError):
            ready.wait()
            for start in range(0, len(head), 16384):
                client.sendall(head[start : start + 16384])
            if head is MANY:
                ready.wait()  # all of them have all but the end in memory
                client.sendall(b"\r\n")
            while client.recv(65536):
                pass

    before = peak(crowded)
    clients = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    print(f"peak {before} -> {peak(crowded)} KiB")
    assert before <= peak(crowded) < BOUND


def processor_time(qsticky: QSticky) -> float:
    """How many seconds of a processor it has taken so far."""
    fields = Path(f"/proc/{qsticky.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def allow(qsticky: QSticky, more: int) -> None:
    """Let it have so many descriptors more than it has open."""
    most = max(int(name) for name in os.listdir(f"/proc/{qsticky.pid}/fd")) + 1 + more
    resource.prlimit(qsticky.pid, resource.RLIMIT_NOFILE, (most, 4096))


def scrape(qsticky: QSticky) -> bytes:
    with connect(qsticky) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return client.recv(12)


def test_without_descriptors_the_idlest_makes_room(qsticky: QSticky) -> None:
    allow(qsticky, 4)
    with contextlib.ExitStack() as crowd:
        for _ in range(50):
            crowd.enter_context(connect(qsticky))
        started = time.monotonic()
        assert scrape(qsticky) == b"HTTP/1.0 200"
        assert time.monotonic() - started < 3
    assert "Traceback" not in qsticky.stdout


def test_without_any_descriptor_it_pauses_until_there_is_one(qsticky: QSticky) -> None:
    allow(qsticky, 0)
    with contextlib.ExitStack() as crowd:
        for _ in range(5):
            crowd.enter_context(connect(qsticky))
        before = processor_time(qsticky)
        time.sleep(1)
        assert processor_time(qsticky) - before < 0.3
        allow(qsticky, 10)
        assert scrape(qsticky) == b"HTTP/1.0 200"
    assert "Traceback" not in qsticky.stdout


def test_empty_secret_files_let_nobody_in(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    variables = {
        "GLUETUN_PORT": free_port(),
        "QBITTORRENT_PORT": free_port(),
        "METRICS_USERNAME_FILE": secret,
        "METRICS_PASSWORD_FILE": secret,
    }
    with QSticky(tmp_path, variables) as running:
        wait_until(lambda: "Serving" in running.stdout, 20, "the server")
        assert running.get("/metrics").status == 401
        nobody = {"Authorization": "Basic Og=="}  # an empty name and an empty password
        assert running.get("/metrics", headers=nobody).status == 401
        secret.write_text("filled")
        assert running.get("/metrics").status == 401
