"""Serves on loopback as the daemon does, and what a client reads there."""

import os
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from qsticky.web.server import Server
from tests import certificates

SOON = 5.0  # seconds, for what takes milliseconds
LISTEN = "0A"
NO_INODE = "0"  # of a connection that is yet to be accepted, or was closed


@dataclass(frozen=True)
class Reply:
    """An answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, answer: bytes) -> "Reply":
        head, _, body = answer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return cls(
            int(status_line.split()[1]), {name.lower(): value for name, value in pairs}, body
        )

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A server that runs, and how its clients reach it."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.address, self.port = server.address
        self._tls = tls

    def connections(self) -> int:
        """How many connections the server has open, as the kernel counts them."""
        lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        return sum(
            line[1].endswith(f":{self.port:04X}") and line[3] != LISTEN and line[9] != NO_INODE
            for line in lines
        )

    def dial(self) -> socket.socket:
        """Connect, and say nothing: no handshake either."""
        return socket.create_connection((str(self.address), self.port), SOON)

    def connect(self) -> socket.socket:
        """Connect, with TLS where it has that."""
        plain = self.dial()
        return self._tls.wrap_socket(plain, server_hostname="localhost") if self._tls else plain

    def exchange(self, *sent: bytes) -> bytes:
        """Send, and return what is answered up to the end."""
        with self.connect() as connection:
            for part in sent:
                connection.sendall(part)
            return received(connection)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Reply:
        """Send one request; its answer."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        return Reply.parse(self.exchange("\r\n".join(lines).encode("latin-1") + body))


def received(connection: socket.socket) -> bytes:
    """All that comes up to the end of the connection."""
    answer = bytearray()
    while chunk := connection.recv(65536):
        answer += chunk
    return bytes(answer)


class Pair:
    """A TLS certificate and its key on disk, made anew as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self._renewals = 0
        self.write(*certificates.make())

    def write(self, certificate: bytes | None, key: bytes | None) -> None:
        """Put a new certificate, or key, or both in place."""
        self._renewals += 1
        for path, content in ((self.certificate, certificate), (self.key, key)):
            if content is not None:
                path.write_bytes(content)
                modified = time.time_ns() + self._renewals * 1_000_000_000  # file times are coarse
                os.utime(path, ns=(modified, modified))

    def trust(self) -> ssl.SSLContext:
        """What a client trusts that knows the certificate of now."""
        return ssl.create_default_context(cafile=self.certificate)

    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number
