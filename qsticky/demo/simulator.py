"""What the simulated Gluetun and qBittorrent share: real HTTP on loopback, and ways to break it.

Both answer as the release they were made as does: the same statuses, bodies, content types,
cookies, roles and bans. Both can be broken at any time by setting ``fault``, and stopped and
started again on the same port.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import socket
import socketserver
import ssl
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

_LOOKS_EVERY = 0.005  # seconds, at what it waits for


@dataclass(frozen=True)
class Request:
    """What came in: ``line`` is ``"GET /path"``, without the query."""

    line: str
    headers: Message
    query: Mapping[str, str]
    form: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Response:
    """What goes out."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def head(self) -> bytes:
        """The status line and the headers, with the blank line after them."""
        headers = {**self.headers, "Content-Length": len(self.body)}
        if self.content_type:
            headers["Content-Type"] = self.content_type
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "\r\n"]).encode()


@dataclass(frozen=True)
class Fault:
    """A way to misbehave; ``only`` limits it to requests whose line begins so."""

    _: KW_ONLY
    only: str = ""


@dataclass(frozen=True)
class Hang(Fault):
    """Take the request and answer once this fault is cleared, as a frozen process does."""


@dataclass(frozen=True)
class Disconnect(Fault):
    """Send the first ``after`` bytes of the answer, then close the connection."""

    after: int = 0


@dataclass(frozen=True)
class Answer(Fault):
    """Answer this, whatever was asked: another service's page, a proxy's error, nonsense."""

    status: int = 200
    body: bytes | str = b""
    content_type: str = "text/html"


@dataclass(frozen=True)
class Drip(Fault):
    """Send a byte every ``interval`` seconds, from the headers or only from the body on."""

    interval: float
    part: Literal["headers", "body"] = "body"


class Simulator(ABC):
    """What both servers share: HTTP on loopback, faults, and a record of what was asked.

    A context manager. ``requests`` lists what came in, as ``"GET /path"``, in order, and
    ``accepted`` counts the connections that it came by; ``fault``
    may be set and cleared at any time, from any thread. Stopped, it refuses connections;
    started again, it serves on the same port; ``runs`` counts that.
    """

    idle_timeout: float | None = None

    def __init__(self, port: int, host: str, tls_context: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.requests: list[str] = []
        self.accepted = 0
        self.runs = 0
        self.tls_context = tls_context
        self.fault: Fault | None = None
        self._server: _Server | None = None
        self._one_at_a_time = threading.Condition()

    @property
    def url(self) -> str:
        """Where it serves, without a path; the port is known once it was started."""
        scheme = "https" if self.tls_context else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it serves now."""
        return self._server is not None

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._server.connections) if self._server else 0

    def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        if self._server is not None:
            return
        self.runs += 1
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and close every connection, also those that hang, within 50 ms."""
        if (server := self._server) is None:
            return
        server.shutdown()
        self._server = None
        server.server_close()
        for connection in tuple(server.connections):
            with contextlib.suppress(OSError):  # gone already
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """Answer as the real one would; called for one request at a time, while none waits."""

    def respond(self, request: Request) -> tuple[Response, Fault | None]:
        """Give the response and the fault to send it with, once the fault is not to hang."""
        self.requests.append(request.line)
        with self._one_at_a_time:
            self._wait_until(lambda: not isinstance(self._fault_of(request), Hang))
            fault = self._fault_of(request)
            if isinstance(fault, Answer):
                body = fault.body.encode() if isinstance(fault.body, str) else fault.body
                return Response(fault.status, body, fault.content_type), fault
            return self.answer(request), fault

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait while others are answered; ConnectionAbortedError once this process is stopped."""
        server = self._server
        while not condition() and self._server is server:
            self._one_at_a_time.wait(_LOOKS_EVERY)
        if self._server is not server:
            raise ConnectionAbortedError("stopped")

    def _fault_of(self, request: Request) -> Fault | None:
        fault = self.fault
        return fault if fault and request.line.startswith(fault.only) else None


def basic_credentials(request: Request) -> str | None:
    """``name:password`` as sent; empty when unreadable, None when there are none."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.connections: set[socket.socket] = set()
        if ":" in simulator.host:
            self.address_family = socket.AF_INET6
        super().__init__((simulator.host, simulator.port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.simulator.accepted += 1
        if tls := self.simulator.tls_context:
            # The handshake is the handler's, so that a slow one keeps nobody waiting.
            connection = tls.wrap_socket(connection, True, do_handshake_on_connect=False)
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about connections, which end in every way here; a bug still shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    rfile: io.BufferedReader

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.simulator.idle_timeout)

    def handle_one_request(self) -> None:
        # To a TLS greeting a plain HTTP port says nothing, and waits for more.
        if self.rfile.peek(1)[:1] == b"\x16":
            self.rfile.read()
        super().handle_one_request()

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        query, form = (dict(parse_qsl(text, True)) for text in (target.query, body))
        request = Request(f"{self.command} {target.path}", self.headers, query, form, body)
        self._send(*self.server.simulator.respond(request))

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def _send(self, response: Response, fault: Fault | None) -> None:
        payload, sent = response.head + response.body, 0
        if isinstance(fault, Disconnect):
            payload, self.close_connection = payload[: fault.after], True
        if isinstance(fault, Drip):
            sent = 0 if fault.part == "headers" else len(response.head)
            self.wfile.write(payload[:sent])
            while sent < len(payload) and self.server.simulator.fault is fault:
                time.sleep(fault.interval)
                self.wfile.write(payload[sent : sent + 1])
                sent += 1
        self.wfile.write(payload[sent:])

    def log_message(self, *_: object) -> None:
        """Say nothing: tests and the demo have their own output."""
