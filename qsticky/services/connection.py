"""A kept connection to one service: how far it came, its deadline, and its bounds in bytes."""

import contextlib
import errno
import http.client
import logging
import queue
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from qsticky.services.bounded_answer import BoundedResponse, UnfitAnswerError, too_long

_E = TypeVar("_E", bound=BaseException)

_CHUNK = 64 * 1024
_FOR_ANOTHER = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and ..._IP_ADDRESS_MISMATCH
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)

# It would log headers that it can't parse, with the path, a traceback and cookies, at each request.
logging.getLogger("urllib3.connection").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class Response:
    """A whole answer, not yet judged."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the status is any 2xx."""
        return 200 <= self.status < 300


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


class Connection:
    """Sends requests one after the other, on one thread, over a connection that is kept.

    `verify` is whether, or with which CA bundle, a certificate is verified; with `ipv4_only` no
    IPv6 address is connected to. Redirects are not followed; proxies, CA bundles and credentials
    of the environment (`HTTP_PROXY`, `REQUESTS_CA_BUNDLE`, `.netrc`) are ignored, and cookies are
    the caller's to keep.
    """

    def __init__(self, verify: bool | str, *, ipv4_only: bool = False) -> None:
        self._line = line = Line()
        self._session = session = _Session()
        session.trust_env = False
        session.verify = verify
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter(line, ipv4_only=ipv4_only))
        self._jobs = queue.SimpleQueue[Callable[[], None] | None]()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._jobs.put, None)

    def send(
        self,
        request: requests.PreparedRequest,
        *,
        limit: int,
        timeout: float,
        patience: float | None = None,
    ) -> Response:
        """Send a request, and return the answer of at most `limit` bytes.

        It has `timeout` seconds for the whole of it, from the name's resolution to the last byte;
        with `patience`, only for connecting, and then so many seconds from sending on. Raises
        whatever its thread came upon, and TimeoutError; after either the connection must be closed.
        """
        # On a thread, for nothing else bounds a name's resolution, or several addresses tried in
        # turn. One that is left behind ends by itself.
        outcome = queue.SimpleQueue[Response | BaseException]()
        session, line = self._session, self._line
        line.limit = limit
        timeouts = (timeout, timeout if patience is None else patience)

        def job() -> None:
            try:
                outcome.put(_exchange(session, line, request, timeouts))
            except BaseException as error:  # noqa: BLE001 - the caller's to judge, whatever it is
                outcome.put(error)

        self._run(job)
        try:
            result = outcome.get(timeout=timeout)
        except queue.Empty:
            left = 0.0 if patience is None else line.established_at + patience - time.monotonic()
            try:
                result = outcome.get(timeout=max(0.0, left))
            except queue.Empty:
                raise TimeoutError from None
        if isinstance(result, Response):
            return result
        raise result

    def close(self) -> Stage:
        """End whatever it waits for, and its thread; returns how far it had come."""
        self._end()
        return self._line.close()

    def _run(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            work = (self._jobs, self._session)
            self._thread = threading.Thread(target=_work, args=work, name="request", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # as the kernel says it
                raise OSError(errno.EAGAIN, str(error)) from None
        self._jobs.put(job)


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None], session: requests.Session) -> None:
    """Do the jobs that come, until there is None."""
    with session:
        while job := jobs.get():
            job()
            del job  # it holds the last answer


def _exchange(
    session: requests.Session,
    line: "Line",
    request: requests.PreparedRequest,
    timeouts: tuple[float, float],
) -> Response:
    line.kept = True
    try:
        return _send(session, line.limit, request, timeouts)
    except requests.ConnectionError as error:
        if line.closed or not line.kept or find(error, *_CLOSED) is None:
            raise
    # A kept connection that the service closed just now (qBittorrent does after 8 s).
    return _send(session, line.limit, request, timeouts)


def _send(
    session: requests.Session,
    limit: int,
    request: requests.PreparedRequest,
    timeouts: tuple[float, float],
) -> Response:
    with session.send(request, stream=True, timeout=timeouts, allow_redirects=False) as answer:
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise UnfitAnswerError("answered in a Content-Encoding that it was not asked for")
        body = bytearray()
        for part in answer.raw.stream(_CHUNK, decode_content=False):
            body += part
            if len(body) > limit:
                raise too_long(limit)
        cookies = {cookie.name: cookie.value or "" for cookie in answer.cookies}
        return Response(answer.status_code, bytes(body), answer.headers, cookies)


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


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error with all that it wraps: requests and urllib3 nest the first cause deeply."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        nested = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting.extend(part for part in nested if isinstance(part, BaseException))


def find(error: BaseException, *kinds: type[_E]) -> _E | None:
    """Find the first of these kinds in an error and all that it wraps."""
    return next((found for found in chain(error) if isinstance(found, kinds)), None)


class _Session(requests.Session):
    """Sees no redirect: `requests` reads the whole body of one, whatever its size, beforehand."""

    def get_redirect_target(self, _: requests.Response) -> None:
        return None


class Line:
    """How far a session's connection has come, and the means to end it from another thread.

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
        """Let go of the connection, which is over."""
        with self._lock:
            self._connection = self._socket = None

    def close(self) -> Stage:
        """End whatever the connection waits for: a trickle of bytes would feed it for ever."""
        with self._lock:
            self.closed = True
            stage = self.stage
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The plain socket's shutdown: a TLS socket's own is not for two threads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
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


class Adapter(HTTPAdapter):
    """Has each connection report to a `Line`, and each answer keep to its bounds."""

    def __init__(self, line: Line, *, ipv4_only: bool = False) -> None:
        self._line = line
        # No IPv6 socket can be bound to it.
        self._source_address = ("0.0.0.0", 0) if ipv4_only else None
        super().__init__(pool_connections=1, pool_maxsize=1)

    def close(self) -> None:
        """Free what a connection over TLS holds, 1 MiB or more.

        Its line is known to the classes below, which live on until they are next collected.
        """
        super().close()
        self._line.forget()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have pools make such connections."""
        super().init_poolmanager(*args, **kwargs, source_address=self._source_address)
        line = self._line

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

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
