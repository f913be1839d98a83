"""What the tests of several modules need."""

import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from qsticky import config
from qsticky.services.http import Exchange
from tests.certificates import Issued

LONG = 10.0  # seconds, for what takes milliseconds

Load = Callable[..., config.Config]
Script = Callable[[socket.socket], None]


@pytest.fixture(scope="session")
def load() -> Load:
    """Loads a configuration from these variables alone, and the secrets in a folder, if any."""

    def load(secrets: Path = Path("/no/such/folder"), **variables: object) -> config.Config:
        return config.load({name: str(value) for name, value in variables.items()}, secrets)

    return load


@pytest.fixture
def exchanges() -> list[Exchange]:
    """What an observer was told: hand its ``append`` to a client."""
    return []


@dataclass(frozen=True)
class Certificates:
    """A CA's certificate, and servers with certificates of several kinds.

    ``right`` is signed by the CA for 127.0.0.1.
    """

    ca: Path
    right: ssl.SSLContext
    wrong_name: ssl.SSLContext
    nameless: ssl.SSLContext
    expired: ssl.SSLContext
    not_yet: ssl.SSLContext
    self_signed: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates as a strict verifier wants them, made once."""
    folder = tmp_path_factory.mktemp("certificates")
    ca = Issued()
    (folder / "ca.pem").write_bytes(ca.pem)
    return Certificates(
        ca=folder / "ca.pem",
        right=Issued(issuer=ca).context(folder / "right.pem"),
        wrong_name=Issued("192.0.2.1", issuer=ca).context(folder / "wrong_name.pem"),
        nameless=Issued(None, issuer=ca).context(folder / "nameless.pem"),
        not_yet=Issued(issuer=ca, age=dt.timedelta(days=-2)).context(folder / "not_yet.pem"),
        expired=Issued(issuer=ca, age=dt.timedelta(days=2)).context(folder / "expired.pem"),
        self_signed=Issued().context(folder / "self_signed.pem"),
    )


class Server:
    """Accepts connections on loopback and has a script deal with each; a context manager."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.accepted = 0
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in tuple(self._threads):
            thread.join(5)
            assert not thread.is_alive()
        self._listener.close()

    @property
    def threads(self) -> int:
        """How many connections are being dealt with."""
        return sum(thread.is_alive() for thread in self._threads) - 1

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(connection)
            thread = threading.Thread(target=self._deal_with, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _deal_with(self, connection: socket.socket) -> None:
        connection.settimeout(LONG)
        plain = connection
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            self._script(connection)
        for each in {connection, plain}:
            self._open.discard(each)
            each.close()


def read_request(connection: socket.socket) -> bytes:
    """Read a request's head, and its body if it has one; empty when there is none any more."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    return received


def answering(*answers: bytes) -> Script:
    """Give these answers, one to a request, and then close the connection."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            if read_request(connection):
                connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return script


def always(answer: bytes) -> Script:
    """Give this answer to every request, and keep the connection."""

    def script(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(answer)

    return script


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server with a script."""
    with ExitStack() as running:
        yield lambda *args: running.enter_context(Server(*args))
