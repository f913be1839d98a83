"""The memory of a daemon that notifies: at rest, and at most while it sends to the worst services.

Each service speaks TLS, since every message then reads all of the CAs' certificates: one takes
its messages, one never ends its answer, one packs 64 MiB into it.
"""

from __future__ import annotations

import gzip
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import certifi

from tests.certificates import self_signed
from tests.end_to_end.command import QSticky
from tests.real import free_port, wait_until
from tests.unit.conftest import Server, read_request
from tools.bench.figures import Figure
from tools.bench.measure import MIB, SYNCS
from tools.bench.stage import Plan, stage

SHIPPED = 64
MESSAGES = 5


def notifications(plan: Plan) -> Iterator[Figure]:
    """Measure the resident memory, and its peak while messages go to all services at once."""
    idle, peaks = [], []
    for _ in range(plan.rounds):
        with ExitStack() as stack:
            scene = stack.enter_context(stage(plan, real=True))
            services = _Services(stack, scene.folder)
            daemon = stack.enter_context(scene.unpaced_daemon(**services.variables))
            daemon.wait_for("synced")
            for _ in range(SYNCS):
                daemon.sync()
            idle.append(daemon.metrics()["process_resident_memory_bytes"] / MIB)
            Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # the peak starts anew
            for count in range(1, MESSAGES + 1):
                scene.gluetun.ports = (free_port(),)
                daemon.sync()
                services.wait_for(count)
            peaks.append(_peak(daemon))
    yield Figure(f"memory with notifications, idle after {SYNCS} syncs", "MiB", idle, most=SHIPPED)
    yield Figure("its peak while they are sent", "MiB", peaks, most=SHIPPED)


class _Services:
    """Three services on loopback, and the variables that have the daemon notify them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        pair = self_signed(folder)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.chain, pair.key)
        trusted = folder / "trusted.pem"
        trusted.write_bytes(Path(certifi.where()).read_bytes() + pair.chain.read_bytes())
        self._servers = [
            stack.enter_context(Server(script, tls)) for script in (_take, _flood, _unpack)
        ]
        urls = (f"jsons://127.0.0.1:{server.port}/" for server in self._servers)
        self.variables = {
            "NOTIFY_URLS": " ".join(urls),
            "NOTIFY_ON": "port_changed",
            "REQUESTS_CA_BUNDLE": trusted,
        }

    def wait_for(self, messages: int) -> None:
        """Wait until each had so many messages, and no connection is open any more."""

        def had_them() -> bool:
            return all(each.accepted >= messages and not each.threads for each in self._servers)

        wait_until(had_them, 20, f"message {messages}")


def _take(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    connection.recv(65536)


def _flood(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def _unpack(connection: socket.socket) -> None:
    read_request(connection)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(_PACKED) + _PACKED)
    connection.recv(65536)


_PACKED = gzip.compress(bytes(64 * MIB))


def _peak(daemon: QSticky) -> float:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024
