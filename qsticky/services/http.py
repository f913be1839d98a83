"""One HTTP conversation with one service: every request ends in an answer or a typed error."""

import contextlib
import http.client
import io
import json
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from qsticky import __version__
from qsticky.errors import ErrorKind, Reason, ServiceError

_T = TypeVar("_T")
_E = TypeVar("_E", bound=BaseException)

LARGEST_ANSWER = 1024 * 1024
_CHUNK = 64 * 1024
_HEADERS: Mapping[str, str | bytes] = {
    "User-Agent": f"qsticky/{__version__}",
    "Accept-Encoding": "identity",  # on a local line, compression costs more than it saves
}


@dataclass(frozen=True)
class Service:
    """Who is spoken to, in the words of metrics, of people and of the configuration.

    `verify` is whether, or with which CA bundle, its certificate is verified.
    """

    label: str
    name: str
    url: str
    unreachable: Reason
    invalid_response: Reason
    verify: bool | str = True

    @property
    def variables(self) -> str:
        """The variables that say where the service is."""
        return f"{self.label.upper()}_HOST and {self.label.upper()}_PORT"


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


@dataclass(frozen=True)
class Exchange:
    """One request as its observers see it: the seconds it took, and how it failed if it did."""

    service: str
    operation: str
    seconds: float
    error: ErrorKind | None


Observer = Callable[[Exchange], None]


def unobserved(exchange: Exchange) -> None:
    """Observe nothing, where there is no daemon whose metrics and log it would be for."""


class HttpClient:
    """Sends requests to one service, one at a time, keeping its connection where that is kept.

    Every request has `timeout` seconds for the whole of it, from the name's resolution to the
    last byte, and `LARGEST_ANSWER` bytes for its answer. Redirects are not followed; proxies,
    CA bundles and credentials of the environment (`HTTP_PROXY`, `REQUESTS_CA_BUNDLE`, `.netrc`)
    are ignored, and cookies are the caller's to keep.
    """

    def __init__(self, service: Service, timeout: float, observe: Observer) -> None:
        self.service = service
        self._timeout = timeout
        self._observe = observe
        self._connect_anew()

    def request(
        self,
        method: str,
        path: str,
        *,
        read: Callable[[Response], _T],
        operation: str | None = None,
        headers: Mapping[str, bytes] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> _T:
        """Send one request, and return what `read` makes of the answer.

        Raises `ServiceError`, the transport's or the one that `read` raises; the observer is
        told of each request once, under `operation`, which is the path unless given.
        """
        started = time.monotonic()
        failure: ErrorKind | None = None
        # Without the spaces around a value, which HTTP would drop and `requests` refuses.
        own = {name: value.strip() for name, value in (headers or {}).items()}
        url = self.service.url + path
        request = requests.Request(method, url, headers={**_HEADERS, **own}, data=form)
        try:
            return read(self._answer(request))
        except ServiceError as error:
            failure = error.kind
            raise
        finally:
            seconds = time.monotonic() - started
            self._observe(Exchange(self.service.label, operation or path, seconds, failure))

    def error(self, kind: ErrorKind, problem: str) -> ServiceError:
        """Make the error of an answer that this service would not give."""
        return ServiceError(
            self.service.invalid_response,
            kind,
            f"{self.service.name} at {self.service.url} {problem}; check that "
            f"{self.service.variables} name it, and not a proxy or another service",
        )

    def json_object(self, response: Response) -> dict[str, object]:
        """Parse an answer that must be a JSON object; raises `ServiceError` for anything else.

        Stricter than Python's `json`: no NaN, and no name twice.
        """
        return self._json(response, dict, "object")

    def json_array(self, response: Response) -> list[object]:
        """Parse an answer that must be a JSON array, as strictly as `json_object`."""
        return self._json(response, list, "array")

    def _json(self, response: Response, kind: type[_T], name: str) -> _T:
        try:
            parsed = json.loads(
                response.body, object_pairs_hook=_unambiguous, parse_constant=_no_number
            )
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, kind):
            raise self.error(
                ErrorKind.INVALID_RESPONSE, f"answered with something that is no JSON {name}"
            )
        return parsed

    def _connect_anew(self) -> None:
        self._line = _Line()
        self._session = _Session()
        self._session.trust_env = False
        self._session.verify = self.service.verify
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._line))

    def _answer(self, request: requests.Request) -> Response:
        # On a thread of its own, for nothing else bounds a name's resolution, or several
        # addresses tried in turn. A thread that is left behind ends by itself.
        session, line = self._session, self._line
        outcome: queue.SimpleQueue[Response | Exception] = queue.SimpleQueue()

        def exchange() -> None:
            try:
                outcome.put(self._exchange(session, line, request))
            except _TRANSPORT_ERRORS as error:
                outcome.put(error)

        threading.Thread(target=exchange, name=f"request-{self.service.label}", daemon=True).start()
        result: Response | Exception
        try:
            result = outcome.get(timeout=self._timeout)
        except queue.Empty:
            result = TimeoutError()
        if isinstance(result, Response):
            return result
        stage = line.close()
        self._connect_anew()
        raise self._transport_error(result, stage) from None

    def _exchange(
        self, session: requests.Session, line: "_Line", request: requests.Request
    ) -> Response:
        line.reused = True
        try:
            return self._send(session, request)
        except requests.ConnectionError as error:
            if line.closed or not line.reused or not _find(error, *_CLOSED):
                raise
        # A kept connection that the service closed just now (qBittorrent does after 8 s).
        return self._send(session, request)

    def _send(self, session: requests.Session, request: requests.Request) -> Response:
        with session.send(
            request.prepare(),  # what the session would merge into it is switched off
            stream=True,
            timeout=self._timeout,
            allow_redirects=False,
        ) as answer:
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK):
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise self.error(ErrorKind.INVALID_RESPONSE, "answered with more than 1 MiB")
            cookies = {cookie.name: cookie.value or "" for cookie in answer.cookies}
            return Response(answer.status_code, bytes(body), answer.headers, cookies)

    def _transport_error(self, error: Exception, stage: "_Stage") -> ServiceError:
        """Tell what went wrong on the way, and what to do about it."""
        if isinstance(error, ServiceError):
            return error
        service = self.service
        where = f"{service.name} at {service.url}"
        check = f"check that it runs and that {service.variables} are right"

        def unreachable(kind: ErrorKind, sentence: str, *, gone: bool = False) -> ServiceError:
            return ServiceError(service.unreachable, kind, sentence, gone=gone)

        if _find(error, TimeoutError):
            within = f"within {self._timeout:g} s"
            if stage is _Stage.SECURING:
                return unreachable(
                    ErrorKind.TLS,
                    f"{where} did not answer the TLS handshake {within}; if it speaks plain HTTP "
                    "there, set QBITTORRENT_HTTPS=false",
                )
            if stage is _Stage.CONNECTING:
                return unreachable(
                    ErrorKind.TIMEOUT,
                    f"{where} could not be connected to {within}; {check}, and that no firewall "
                    "drops the connection",
                )
            return unreachable(
                ErrorKind.TIMEOUT,
                f"{where} took the connection and did not answer {within}; look at its log, "
                "restart it if it hangs, or raise REQUEST_TIMEOUT if it is slow",
            )
        if refused := _find(error, ssl.SSLCertVerificationError):
            why = refused.verify_message.rstrip(".")
            return unreachable(
                ErrorKind.TLS,
                f"{where} has a certificate that was refused ({why}); "
                f"{_CERTIFICATES.get(refused.verify_code, _UNKNOWN_ISSUER)}, or "
                "set QBITTORRENT_VERIFY_SSL=false to accept any certificate",
            )
        if _find(error, ssl.SSLError):
            return unreachable(
                ErrorKind.TLS,
                f"{where} did not speak TLS as expected; if it speaks plain HTTP there, set "
                "QBITTORRENT_HTTPS=false",
            )
        if unresolved := _find(error, socket.gaierror):
            return unreachable(
                ErrorKind.CONNECTION,
                f"{where} can't be found by that name; check {service.label.upper()}_HOST, and "
                "that a container of that name runs in a network that this one is in too",
                gone=unresolved.errno == socket.EAI_NONAME,
            )
        if _find(error, ConnectionRefusedError):
            return unreachable(
                ErrorKind.CONNECTION, f"{where} refused the connection; {check}", gone=True
            )
        if _find(error, http.client.IncompleteRead):
            return unreachable(
                ErrorKind.CONNECTION,
                f"{where} broke off in the middle of its answer; look at its log, and {check}",
            )
        if _find(error, *_CLOSED):
            plain = service.url.startswith("http:") and service.label == "qbittorrent"
            remedy = "if it speaks HTTPS there, set QBITTORRENT_HTTPS=true" if plain else check
            return unreachable(
                ErrorKind.CONNECTION, f"{where} closed the connection without an answer; {remedy}"
            )
        for found in _chain(error):
            if isinstance(found, OSError) and found.errno:
                return unreachable(
                    ErrorKind.CONNECTION,
                    f"{where} can't be reached ({os.strerror(found.errno)}); {check}",
                )
        return self.error(ErrorKind.INVALID_RESPONSE, "answered with something that is no HTTP")


_TRANSPORT_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ServiceError,
    OSError,
    ValueError,
)
_UNKNOWN_ISSUER = "set QBITTORRENT_CA_FILE to the certificate of the CA that signed it"
_FOR_ANOTHER = "set QBITTORRENT_HOST to a name that it is for"
_CERTIFICATES = {  # by OpenSSL's X509_V_ERR_...
    10: "renew it",  # CERT_HAS_EXPIRED
    62: _FOR_ANOTHER,  # HOSTNAME_MISMATCH
    64: _FOR_ANOTHER,  # IP_ADDRESS_MISMATCH
}
_CLOSED: tuple[type[OSError], ...] = (
    http.client.RemoteDisconnected,
    ConnectionResetError,
    BrokenPipeError,
)


class _Session(requests.Session):
    """Sees no redirect: `requests` reads the whole body of one, whatever its size, beforehand."""

    def get_redirect_target(self, _: requests.Response) -> None:
        return None


class _Stage(Enum):
    CONNECTING = "connecting"
    SECURING = "securing"
    ESTABLISHED = "established"


class _Line:
    """How far a session's connection has come, and the means to close it from another thread."""

    def __init__(self) -> None:
        self.stage = _Stage.CONNECTING
        self.reused = False
        self.closed = False
        self._socket: socket.socket | None = None

    def connecting(self) -> None:
        self.stage = _Stage.CONNECTING
        self.reused = False

    def established(self, connected: socket.socket | None) -> None:
        """Take over the socket; raises TimeoutError when it came too late to be used."""
        self.stage = _Stage.ESTABLISHED
        self._socket = connected
        if self.closed:
            raise TimeoutError

    def close(self) -> _Stage:
        """End whatever the connection waits for: a trickle of bytes would feed it for ever.

        Returns how far it had come.
        """
        stage = self.stage
        self.closed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The plain socket's shutdown: a TLS socket's own is not for two threads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        return stage


class _WholeHead(http.client.HTTPResponse):
    """Refuses an answer that ends within its headers: `http.client` takes it for a whole one."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _Lines(self.fp.detach())


class _Lines(io.BufferedReader):
    """Raises `IncompleteRead` where a line breaks off, or where none follows after the first."""

    _begun = False

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size and (line or self._begun):
            raise http.client.IncompleteRead(line)
        self._begun = True
        return line


class _Adapter(HTTPAdapter):
    """Has each connection report to a `_Line`."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        line = self._line

        class Connection(HTTPConnection):
            response_class = _WholeHead

            def connect(self) -> None:
                line.connecting()
                super().connect()
                line.established(self.sock)

        class TlsConnection(HTTPSConnection):
            response_class = _WholeHead

            def _new_conn(self) -> socket.socket:
                connected = super()._new_conn()
                line.stage = _Stage.SECURING
                return connected

            def connect(self) -> None:
                line.connecting()
                super().connect()
                line.established(self.sock)
                self.is_verified = True  # as far as people want it: no warning on every connection

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = TlsConnection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}


def _chain(error: BaseException) -> Iterator[BaseException]:
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


def _find(error: BaseException, *kinds: type[_E]) -> _E | None:
    return next((found for found in _chain(error) if isinstance(found, kinds)), None)


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    parsed = dict(pairs)
    if len(parsed) < len(pairs):
        raise ValueError("a name twice")
    return parsed


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
