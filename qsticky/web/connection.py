"""One client's connection: one request, its answer, and ten seconds for all of it."""

import contextlib
import io
import logging
import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from http.client import HTTPException, parse_headers
from typing import Any
from urllib.parse import unquote, urlsplit
from wsgiref.handlers import SimpleHandler
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from qsticky.record.logs import LOGGER_NAME

_LONGEST = 10.0
_LINGER = 1.0
_LARGEST_HEAD = 64 * 1024
_CHUNK = 16 * 1024
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")

_logger = logging.getLogger(LOGGER_NAME)


class Connection:
    """A connection that was accepted, `client` being its socket, with TLS or without.

    `idle_since` is the moment (monotonic, in seconds) since which it waits for the client, and
    None while an answer is being made; `answered` is whether it was sent.
    """

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.idle_since: float | None = time.monotonic()
        self.answered = False
        self._ends = time.monotonic() + _LONGEST

    def serve(self, application: WSGIApplication) -> None:
        """Answer one request, wait until the client has read it, and close the connection."""
        try:
            self._limit()
            if isinstance(self._client, ssl.SSLSocket):
                self._client.do_handshake()
            if head := self._head():
                self._answer(head, application)
                self._linger()
        except OSError as error:
            _logger.debug("A connection ended early: %s", error)
        finally:
            self.close()

    def hang_up(self) -> None:
        """End the connection under the thread that serves it, which then closes it."""
        with contextlib.suppress(OSError):
            # The plain socket's shutdown: a TLS socket's own is not for two threads.
            socket.socket.shutdown(self._client, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._client.close()

    def _limit(self, seconds: float = math.inf) -> None:
        """Have what comes next take that long at most, and no longer than the connection may."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("its time is over")
        self._client.settimeout(min(seconds, left))

    def _head(self) -> bytes:
        """Read a request up to the end of its headers, or just more than is allowed.

        Empty where the client went before that.
        """
        head = bytearray()
        while len(head) <= _LARGEST_HEAD:
            self._limit()
            part = self._client.recv(_CHUNK)
            if not part:
                return b""
            looked_at = max(0, len(head) - 3)
            head += part
            if end := _END_OF_HEAD.search(head, looked_at):
                return bytes(head[: end.end()])
        return bytes(head)

    def _answer(self, head: bytes, application: WSGIApplication) -> None:
        try:
            request = _parse(head)
        except _RefusedError as refused:
            request, application = {"SERVER_PROTOCOL": "HTTP/1.0"}, refused
        self.idle_since = None
        _Answer(request, self._send).run(application)

    def _send(self, data: bytes) -> None:
        unsent = memoryview(data)
        while unsent:
            self._limit()
            self.idle_since = time.monotonic()
            unsent = unsent[self._client.send(unsent) :]
            self.idle_since = None

    def _linger(self) -> None:
        """Let the client read to the end.

        Closing with something unread, such as a body, would reset the connection, and the answer
        could be lost.
        """
        self.idle_since, self.answered = time.monotonic(), True
        self._client.shutdown(socket.SHUT_WR)
        self._limit(_LINGER)
        while self._client.recv(_CHUNK):
            self._limit(_LINGER)


class _RefusedError(Exception):
    """A request that can't be taken, and the application that answers so."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self._status = status

    def __call__(self, _: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self._status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{self._status.partition(' ')[2]}\n".encode()]


def _parse(head: bytes) -> WSGIEnvironment:
    """Turn a request's head into what an application is told of it; raises _RefusedError."""
    if len(head) > _LARGEST_HEAD:
        raise _RefusedError("431 Request Header Fields Too Large")
    line, _, lines = head.partition(b"\n")
    try:
        method, target, version = line.decode("latin-1").split()
        headers = parse_headers(io.BytesIO(lines))
        host, path, query = _target(target)
        if not version.startswith("HTTP/1."):
            raise ValueError
    except ValueError:
        raise _RefusedError("400 Bad Request") from None
    except HTTPException:  # more than a hundred
        raise _RefusedError("431 Request Header Fields Too Large") from None
    _logger.debug("%s %s", method, path)  # of a target, a query or a user can be secret
    request = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    request |= {"SCRIPT_NAME": "", "SERVER_PROTOCOL": version}
    for name, value in headers.items():
        if "_" not in name:  # X_Y would pass for X-Y
            key = f"HTTP_{name.upper().replace('-', '_')}"
            request[key] = f"{request[key]},{value.strip()}" if key in request else value.strip()
    return request | ({"HTTP_HOST": host} if host else {})


def _target(target: str) -> tuple[str, str, str]:
    """Return the host of a request's target, if it names one, its path and its query.

    RFC 9112, section 3.2: a server takes `http://host/path` as well as `/path`. Raises ValueError.
    """
    host = ""
    if target.lower().startswith(("http://", "https://")):
        parts = urlsplit(target)
        host, target = parts.netloc, f"{parts.path or '/'}?{parts.query}"
    path, _, query = target.partition("?")
    return host, unquote(path, "latin-1"), query


class _Answer(SimpleHandler):
    """Writes an application's answer, in as few pieces as it is made in; to HEAD without a body."""

    server_software = "qSticky"
    os_environ: dict[str, str] = {}  # noqa: RUF012 - a variable HTTP_… is no header

    def __init__(self, request: WSGIEnvironment, send: Callable[[bytes], object]) -> None:
        super().__init__(io.BytesIO(), io.BytesIO(), io.StringIO(), request)
        self._without_body = request.get("REQUEST_METHOD") == "HEAD"
        self._send = send
        self._unsent = b""

    def send_headers(self) -> None:
        super().send_headers()
        if self._without_body:
            self._flush()
            self._send = bytes

    def log_exception(self, exc_info: Any) -> None:
        if not isinstance(exc_info[1], OSError):
            _logger.error("An internal error failed a request; report it", exc_info=exc_info)

    def _write(self, data: bytes) -> None:
        self._unsent += data

    def _flush(self) -> None:
        data, self._unsent = self._unsent, b""
        self._send(data)
