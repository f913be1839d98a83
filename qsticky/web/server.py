"""An HTTP server that idle and slow clients can't keep from serving others."""

import contextlib
import io
import logging
import socket
import socketserver
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from email.message import Message
from typing import Any, BinaryIO, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import WSGIApplication

from qsticky.record.logs import LOGGER_NAME
from qsticky.web.certificate import Certificate

_MOST_CONNECTIONS = 32
_LONGEST_CONNECTION = 10.0
_LONGEST_WAIT = 1.0
_MOMENT = 0.025
_LINGER = 1.0
_TEND_EVERY = 1.0
_LONGEST_LINE = 64 * 1024
_CHUNK = 64 * 1024

_logger = logging.getLogger(LOGGER_NAME)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves `application`, a thread for each connection, of which there is a bounded number.

    When all are taken, the connection that has been idle for longest makes room: so that neither
    silent clients, nor unfinished TLS handshakes, nor clients that don't close what was answered
    keep a scrape waiting. One connection is one request, and lasts 10 seconds at most. Raises
    OSError when it can't bind.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(
        self, address: str, port: int, application: WSGIApplication, certificate: Certificate | None
    ) -> None:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, (host, *_) = found[0]
        self.application = application
        self._certificate = certificate
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._connections: dict[Any, _Connection] = {}
        self.base_environ = {"SERVER_NAME": address, "SERVER_PORT": str(port), "SCRIPT_NAME": ""}
        super().__init__((str(host), port), _Handler)

    def start(self) -> None:
        """Serve on a thread of its own, until it is closed."""
        threading.Thread(target=self._serve, name="http-server", daemon=True).start()

    def note(self, request: Any, *, idle: bool) -> None:
        """Note whether a connection only waits for its client, and so can make room."""
        with self._lock:
            if connection := self._connections.get(request):
                connection.idle_since = time.monotonic() if idle else None

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its TLS handshake is left to its thread."""
        connection, client = super().get_request()
        connection.settimeout(_LONGEST_CONNECTION)
        return (self._certificate.wrap(connection) if self._certificate else connection), client

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, in place of an idle one if need be."""
        if not self._slots.acquire(blocking=False):
            latest = time.monotonic() + _LONGEST_WAIT
            self._make_room()
            while not self._slots.acquire(timeout=_MOMENT):
                if time.monotonic() > latest:
                    raise ConnectionAbortedError("every connection is busy")
                self._make_room()
        now = time.monotonic()
        with self._lock:
            self._connections[request] = _Connection(since=now, idle_since=now)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak with a client, on the connection's thread, until it has read the answer."""
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)
        self.note(request, idle=True)
        with contextlib.suppress(OSError):
            # Closing with something unread, such as a body, would reset the connection, and the
            # client could lose the answer.
            request.shutdown(socket.SHUT_WR)
            request.settimeout(_LINGER)
            while request.recv(_CHUNK):
                pass

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and free its place."""
        with self._lock:
            known = self._connections.pop(request, None)
        self.close_request(request)
        if known:
            self._slots.release()

    def service_actions(self) -> None:
        """Close connections that last too long: a client may send a byte now and then."""
        latest = time.monotonic() - _LONGEST_CONNECTION
        with self._lock:
            for request, connection in self._connections.items():
                if connection.since < latest:
                    _hang_up(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - inherited
        """Keep quiet about clients that go away, and about nothing else."""
        _tell(sys.exception())

    def _serve(self) -> None:
        while self.fileno() >= 0:
            # Without connections there is nothing to tend, and nothing to wake up for.
            self.timeout = _TEND_EVERY if self._connections else None
            self.handle_request()
            self.service_actions()

    def _make_room(self) -> None:
        """Hang up on the connection that has been idle for longest, given a moment to go on."""
        with self._lock:
            idle = {
                request: connection.idle_since
                for request, connection in self._connections.items()
                if connection.idle_since is not None
            }
        if idle:
            request, since = min(idle.items(), key=lambda item: item[1])
            time.sleep(max(0.0, since + _MOMENT - time.monotonic()))
            with self._lock:
                connection = self._connections.get(request)
                if connection and connection.idle_since == since:
                    _hang_up(request)


@dataclass
class _Connection:
    since: float
    idle_since: float | None


def _hang_up(request: Any) -> None:
    """End a connection under the thread that reads from it, which then closes it."""
    with contextlib.suppress(OSError):
        # The plain socket's shutdown: a TLS socket's own is not for two threads.
        socket.socket.shutdown(request, socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    server: Server

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
        if len(self.raw_requestline) > _LONGEST_LINE:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return
        if not self.parse_request():
            return
        if self.request_version == "HTTP/0.9":
            self.headers = Message()  # Python 3.14 has a dict there, which wsgiref can't read
        self.server.note(self.request, idle=False)
        body = cast("BinaryIO", self.rfile)
        answer = _Answer(body, cast("BinaryIO", self.wfile), io.StringIO(), self.get_environ())
        answer.run(self.server.application)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        _logger.debug(format, *args)


class _Answer(SimpleHandler):
    server_software = "qSticky"

    def log_exception(self, exc_info: Any) -> None:
        _tell(exc_info[1])


def _tell(error: BaseException | None) -> None:
    if isinstance(error, OSError):
        _logger.debug("A connection ended early: %s", error)
    else:
        _logger.error("A request failed by a mistake of qSticky's own", exc_info=error)
