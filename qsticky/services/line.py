"""One kept connection to a service: how far it came, its bounds, and the means to end it."""

import contextlib
import http.client
import os
import select
import socket
import ssl
import threading
import time
from enum import Enum
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from qsticky.services.bounded_answer import BoundedResponse, UnfitAnswerError, too_long

_FOR_ANOTHER = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and ..._IP_ADDRESS_MISMATCH
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Request(NamedTuple):
    """A whole request, as it is sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None = None


class Response(NamedTuple):
    """A whole answer, not yet judged."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def ok(self) -> bool:
        """Whether the status is any 2xx."""
        return 200 <= self.status < 300

    @property
    def by_proxy(self) -> bool:
        """Whether it names a `Server`, or came `Via` another."""
        return "Server" in self.headers or "Via" in self.headers

    @property
    def cookies(self) -> dict[str, str]:
        """Those that it sets, without their attributes; one that is empty, or no text, is none."""
        cookies = {}
        for line in self.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            if (value := value.strip()) and value.isprintable():
                cookies[name.strip()] = value
        return cookies


class ForAnotherHostError(Exception):
    """A certificate that is not for the host that was asked for, but for these `names`.

    They are None where they could not be found out.
    """

    def __init__(self, names: tuple[str, ...] | None) -> None:
        super().__init__(names)
        self.names = names


class NoCertificateError(Exception):
    """The CA bundle holds none, or can't be read."""


class Stage(Enum):
    """How far a connection came. Only over an established one anything was sent."""

    CONNECTING = "connecting"
    SECURING = "securing"
    ESTABLISHED = "established"


class Line(http.client.HTTPConnection):
    """The connection to the service at a URL, made as needed and kept; one thread sends over it.

    `verify` is whether, or with which CA bundle instead of the system's, a certificate is verified;
    with `ipv4_only` no IPv6 address is connected to. `timeout` bounds the connecting to each
    address and `patience` each wait afterwards, in seconds; `established_at` is in monotonic ones.
    """

    response_class = BoundedResponse
    timeout: float

    def __init__(
        self, url: str, verify: bool | str, *, ipv4_only: bool, timeout: float, patience: float
    ) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self.default_port = 443 if self._secure else 80  # which the Host header leaves out
        self._name = parts.hostname or ""
        # The dot that ends a whole name is the resolver's alone, in no Host header or certificate.
        host = self._name.removesuffix(".")
        super().__init__(host, parts.port or self.default_port, timeout)
        self._verify = verify
        self._family = socket.AF_INET if ipv4_only else socket.AF_UNSPEC
        self._patience = patience
        self.stage = Stage.CONNECTING
        self.established_at = 0.0
        self._ended = False
        self._established: socket.socket | None = None
        self._lock = threading.Lock()

    def exchange(self, request: Request, limit: int) -> Response:
        """Send a request, and read its answer of at most `limit` bytes. Raises what comes up.

        One that a kept connection closes without a word is sent once more, over another.
        """
        if self.sock and _has_ended(self.sock):
            self.close()
        kept = self.sock is not None
        try:
            return self._send(request, limit)
        except _CLOSED:
            if self._ended or not kept:
                raise
        # The service closed it just now (qBittorrent does after 8 s).
        return self._send(request, limit)

    def connect(self) -> None:
        """Connect; raises TimeoutError when that came too late to be used."""
        self.stage = Stage.CONNECTING
        context = self._context() if self._secure else None  # before anything is connected to
        self.sock = self._reach()
        if context:
            self.stage = Stage.SECURING
            self.sock = self._secured(self.sock, context)
        self.sock.settimeout(self._patience)
        with self._lock:
            if self._ended:
                raise TimeoutError
            self.stage = Stage.ESTABLISHED
            self.established_at = time.monotonic()
            # `http.client` drops it early where the answer ends with it.
            self._established = self.sock

    def free(self) -> None:
        """Close it, and let go of what it holds: over TLS, 1 MiB or more."""
        self.close()
        with self._lock:
            self._established = None

    def end(self) -> Stage:
        """End whatever the other thread waits for: a trickle of bytes would feed it for ever.

        Returns how far it had come.
        """
        with self._lock:
            self._ended = True
            stage, established = self.stage, self._established
        if established is not None:
            with contextlib.suppress(OSError):
                # The plain socket's shutdown: a TLS socket's own is not for two threads.
                socket.SocketType.shutdown(established, socket.SHUT_RDWR)
        return stage

    def _send(self, request: Request, limit: int) -> Response:
        try:
            if not self.sock:
                self.connect()
            with contextlib.suppress(*_CLOSED):  # by one that may have answered before
                self.request(request.method, request.path, request.body, request.headers)
            with cast(BoundedResponse, self.getresponse()) as answer:
                answer.expect_body(limit)
                if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise UnfitAnswerError(
                        "answered in a Content-Encoding that it was not asked for"
                    )
                length = answer.length or 0  # for which memory is taken beforehand
                if length > limit or len(body := answer.read()) > limit:
                    raise too_long(limit)
                return Response(answer.status, body, answer.headers)
        except BaseException:
            self.close()
            raise

    def _reach(self) -> socket.socket:
        """Connect to the first of the name's addresses that lets us, which may be thousands."""
        failure = OSError()
        found = socket.getaddrinfo(self._name, self.port, self._family, socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            if self._ended:
                raise TimeoutError
            reached = socket.socket(family, kind, protocol)
            try:
                reached.settimeout(self.timeout)
                reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                reached.connect(address)
            except OSError as error:
                reached.close()
                failure = error
            else:
                return reached
        raise failure

    def _secured(self, plain: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        name = self.host.partition("%")[0]  # without an IPv6 address's zone
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in _FOR_ANOTHER:
                raise ForAnotherHostError(self._names(name)) from error
            raise

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.hostname_checks_common_name = False
        # One certificate of a chain suffices, the service's own or one of a CA between.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._verify is True:
            context.load_default_certs()
        elif os.path.isdir(self._verify):
            context.load_verify_locations(capath=self._verify)
        else:
            try:
                context.load_verify_locations(self._verify)
            except OSError as error:  # ssl.SSLError is one
                raise NoCertificateError from error
        return context

    def _names(self, name: str) -> tuple[str, ...] | None:
        """Ask once more for a certificate that is for another host, to tell for which."""
        context = self._context()
        context.check_hostname = False
        try:
            with self._reach() as plain, context.wrap_socket(plain, server_hostname=name) as asked:
                certificate = asked.getpeercert() or {}
        except OSError:
            return None
        found = cast(tuple[tuple[str, str], ...], certificate.get("subjectAltName", ()))
        return tuple(name for kind, name in found if kind in ("DNS", "IP Address"))


def _has_ended(kept: socket.socket) -> bool:
    """Whether a connection was closed, or has something to read that answers no request of ours."""
    poll = select.poll()
    poll.register(kept, select.POLLIN)
    return bool(poll.poll(0))
