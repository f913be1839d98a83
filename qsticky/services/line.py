"""How far a connection to a service came, the means to end it, and its bounds in bytes."""

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import cast

from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from qsticky.services.bounded_answer import BoundedResponse

_FOR_ANOTHER = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and ..._IP_ADDRESS_MISMATCH

# It would log headers that it can't parse, with the path, a traceback and cookies, at each request.
logging.getLogger("urllib3.connection").setLevel(logging.CRITICAL + 1)


class ForAnotherHostError(Exception):
    """A certificate that is not for the host that was asked for, but for these `names`.

    They are None where they could not be found out.
    """

    def __init__(self, names: tuple[str, ...] | None) -> None:
        super().__init__(names)
        self.names = names


class Stage(Enum):
    """How far a connection came. Only over an established one anything was sent."""

    CONNECTING = "connecting"
    SECURING = "securing"
    ESTABLISHED = "established"


def _names(connection: HTTPSConnection) -> tuple[str, ...] | None:
    """Ask once more for a certificate that is for another host, to tell for which."""
    try:
        context = ssl.create_default_context(
            cafile=connection.ca_certs, capath=connection.ca_cert_dir
        )
        context.check_hostname = False
        address = (connection.host, connection.port)
        with (
            socket.create_connection(address, connection.timeout) as plain,
            context.wrap_socket(plain, server_hostname=connection.host) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except OSError:
        return None
    found = cast(tuple[tuple[str, str], ...], certificate.get("subjectAltName", ()))
    return tuple(name for kind, name in found if kind in ("DNS", "IP Address"))


class Line:
    """How far a client's connection has come, and the means to end it from another thread.

    `kept` tells that the last request needed no new connection; `limit` is in bytes, and
    `established_at` in monotonic seconds.
    """

    def __init__(self) -> None:
        self.limit = 0
        self.kept = False
        self.closed = False
        self.established_at = 0.0
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._stage = Stage.CONNECTING
        self._lock = threading.Lock()

    @property
    def stage(self) -> Stage:
        """How far it is now."""
        connection = self._connection
        if self._stage is Stage.CONNECTING and isinstance(connection, HTTPSConnection):
            return Stage.CONNECTING if connection.sock is None else Stage.SECURING
        return self._stage

    @contextlib.contextmanager
    def connecting(self, connection: HTTPConnection) -> Iterator[None]:
        """Follow a new connection; raises TimeoutError when it came too late to be used."""
        self.kept = False
        self._connection, self._stage = connection, Stage.CONNECTING
        connection.socket_options = _Options(connection.socket_options or (), self)
        try:
            yield
        finally:
            self._stage = self.stage  # of a failed one the socket is taken away afterwards
        with self._lock:
            if self.closed:
                raise TimeoutError
            self._stage = Stage.ESTABLISHED
            self.established_at = time.monotonic()
            # The connection itself drops it early where the answer ends with it.
            self._socket = connection.sock

    def forget(self) -> None:
        """Let go of the connection, which is over: over TLS, it holds 1 MiB or more.

        The classes that report here live on until they are next collected.
        """
        with self._lock:
            self._connection = self._socket = None

    def close(self) -> Stage:
        """End whatever the connection waits for: a trickle of bytes would feed it for ever."""
        with self._lock:
            self.closed = True
            stage, established = self.stage, self._socket
        if established is not None:
            with contextlib.suppress(OSError):
                # The plain socket's shutdown: a TLS socket's own is not for two threads.
                socket.socket.shutdown(established, socket.SHUT_RDWR)
        return stage


class _Options(list[tuple[int, int, int | bytes]]):
    """Options of the socket that is made for each of a name's addresses, which may be thousands.

    Once nobody waits any more, none can be made.
    """

    def __init__(self, options: Iterable[tuple[int, int, int | bytes]], line: Line) -> None:
        super().__init__(options)
        self._line = line

    def __iter__(self) -> Iterator[tuple[int, int, int | bytes]]:
        if self._line.closed:
            raise TimeoutError
        return super().__iter__()


def follow(line: Line, pools: PoolManager) -> None:
    """Have a line know each connection of these pools, and each answer keep to its bounds."""

    class Answer(BoundedResponse):
        def begin(self) -> None:
            super().begin()
            self.expect_body(line.limit)

    class Plain(HTTPConnection):
        response_class = Answer

        def connect(self) -> None:
            with line.connecting(self):
                super().connect()

    class Tls(HTTPSConnection):
        response_class = Answer

        def connect(self) -> None:
            with line.connecting(self):
                try:
                    super().connect()
                except ssl.SSLCertVerificationError as error:
                    if error.verify_code in _FOR_ANOTHER:
                        raise ForAnotherHostError(_names(self)) from error
                    raise
            self.is_verified = True  # as far as people want it: no warning on every connection

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    pools.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
