"""A small, faithful Gluetun control server and qBittorrent WebUI, on loopback.

Both speak real HTTP and answer as the release they were made as does: the same statuses, bodies,
content types, cookies, roles and bans. Both can be broken at any time by setting ``fault``, and
stopped and started again on the same port. Nothing here opens a BitTorrent socket.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import io
import json
import secrets
import socket
import socketserver
import ssl
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from email.message import Message
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

GluetunRelease = Literal["3.39.0", "3.40", "3.41", "master"]
QBittorrentRelease = Literal["4.5", "4.6", "5.1", "5.2", "5.3"]

PORT_ROUTE: Final = "GET /v1/portforward"
OLD_PORT_ROUTE: Final = "GET /v1/openvpn/portforwarded"
PUBLIC_IP_ROUTE: Final = "GET /v1/publicip/ip"
STATUS_ROUTE: Final = "GET /v1/vpn/status"


@dataclass(frozen=True)
class Request:
    """What came in: ``line`` is ``"GET /path"``, without the query."""

    line: str
    headers: Message
    query: Mapping[str, str]
    form: Mapping[str, str]


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
    started again, it serves on the same port.
    """

    idle_timeout: float | None = None

    def __init__(self, port: int, host: str, tls_context: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.requests: list[str] = []
        self.accepted = 0
        self.tls_context = tls_context
        self._fault: Fault | None = None
        self._server: _Server | None = None
        self._changed = threading.Condition()
        self._answering = threading.Lock()

    @property
    def url(self) -> str:
        """Where it serves, without a path; the port is known once it was started."""
        scheme = "https" if self.tls_context else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def fault(self) -> Fault | None:
        """How it misbehaves now; None for not at all."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._server.connections) if self._server else 0

    def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        if self._server is not None:
            return
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and close every connection, also those that hang, within 50 ms."""
        if (server := self._server) is None:
            return
        server.shutdown()
        with self._changed:
            self._server = None
            self._changed.notify_all()
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
        """Answer as the real one would; called for one request at a time."""

    def respond(self, request: Request, server: _Server) -> tuple[Response, Fault | None]:
        """Give the response and the fault to send it with, once the fault is not to hang."""
        self.requests.append(request.line)
        with self._changed:
            while isinstance(fault := self._fault_of(request), Hang):
                if self._server is not server:
                    raise ConnectionAbortedError("stopped")
                self._changed.wait()
        if isinstance(fault, Answer):
            body = fault.body.encode() if isinstance(fault.body, str) else fault.body
            return Response(fault.status, body, fault.content_type), fault
        with self._answering:
            return self.answer(request), fault

    def lasts(self, fault: Drip, server: _Server) -> bool:
        """Wait the fault's interval and tell whether it is still in force then."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._fault is not fault or self._server is not server, fault.interval
            )
            if self._server is not server:
                raise ConnectionAbortedError("stopped")
            return self._fault is fault

    def _fault_of(self, request: Request) -> Fault | None:
        fault = self._fault
        return fault if fault and request.line.startswith(fault.only) else None


class GluetunSimulator(Simulator):
    """Gluetun's control server.

    With ``api_key``, or ``username`` and ``password``, or ``routes``, there is one role, which
    lists ``routes`` (None: all that the release knows) and asks for that credential, if any.
    Without them no roles are configured, and the release's defaults hold. A role that names a
    route unknown to the release is a ValueError, as Gluetun refuses to start with it.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        release: GluetunRelease = "3.41",
        ports: Sequence[int] = (),
        api_key: str | None = None,
        username: str | None = None,
        password: str | None = None,
        routes: Collection[str] | None = None,
        public_ip: str = "203.0.113.7",
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(port, host)
        self.release = release
        self.ports: tuple[int, ...] = tuple(ports)
        self.public_ip = public_ip
        self._known = {OLD_PORT_ROUTE, PUBLIC_IP_ROUTE, STATUS_ROUTE}
        if release in ("3.41", "master"):
            self._known.add(PORT_ROUTE)
        if unknown := set(routes or ()) - self._known:
            raise ValueError(f"route not supported by the control server: {min(unknown)}")
        self._api_key = api_key
        self._basic = None if username is None else f"{username}:{password or ''}"
        if routes is not None:
            self._routes = set(routes)
        elif api_key or self._basic or release != "master":
            self._routes = self._known
        else:
            self._routes = set()

    def answer(self, request: Request) -> Response:
        """Answer as the control server of this release, its role's check included."""
        line = request.line
        if self.release == "3.39.0":
            if line not in self._known:
                return _go_error(400, line.replace(" /v1", " ") + " not found")
        elif self.release == "master" and line not in self._known:
            return _go_error(404, "404 page not found")
        elif line not in self._routes or not self._authorized(request):
            return _go_error(401, "Unauthorized")
        if line == OLD_PORT_ROUTE and self.release in ("3.41", "master"):
            location = PORT_ROUTE.removeprefix("GET ")
            body = f'<a href="{location}">Moved Permanently</a>.\n\n'.encode()
            return Response(301, body, "text/html; charset=utf-8", {"Location": location})
        if line == PUBLIC_IP_ROUTE:
            return _go_json({"public_ip": self.public_ip})
        if line == STATUS_ROUTE:
            return _go_json({"status": "running"})
        return _go_json(self._forwarded())

    def _forwarded(self) -> dict[str, object]:
        ports = list(self.ports)
        first = ports[0] if ports else 0
        if self.release == "master":
            return {"port": first, "ports": ports}
        return {"ports": ports} if len(ports) > 1 else {"port": first}

    def _authorized(self, request: Request) -> bool:
        if self._api_key is not None and request.headers.get("X-API-Key") == self._api_key:
            return True
        if self._basic is not None:
            return _basic_credentials(request) == self._basic
        return self._api_key is None


class QBittorrentSimulator(Simulator):
    """qBittorrent's WebUI.

    ``preferences`` and ``connection_status`` may be read and set at any time. ``busy`` maps a port
    to the addresses on which another program has it: opening it leaves critical log entries.
    ``history`` is every listening port since the start, one for each time the sockets were
    re-opened. ``deaf`` makes it take preferences without keeping them.
    """

    idle_timeout = 8.0

    def __init__(
        self,
        *,
        port: int = 0,
        release: QBittorrentRelease = "5.1",
        username: str = "admin",
        password: str = "adminadmin",
        api_key: str | None = None,
        listen_port: int = 50001,
        bypass: bool = False,
        check_host: bool = True,
        server_domains: str = "*",
        max_failed_logins: int = 5,
        ban_duration: float = 3600,
        connection_status: str = "firewalled",
        host: str = "127.0.0.1",
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(port, host, tls_context)
        self.release = release
        self.username = username
        self.password = password
        self.api_key = api_key
        self.bypass = bypass
        self.check_host = check_host
        self.server_domains = server_domains
        self.max_failed_logins = max_failed_logins
        self.ban_duration = ban_duration
        self.connection_status = connection_status
        self.preferences: dict[str, object] = {
            "current_interface_address": "",
            "current_network_interface": "",
            "listen_port": listen_port,
            "random_port": listen_port == 0,
            "upnp": False,
        }
        self.busy: dict[int, Collection[str]] = {}
        self.deaf = False
        self.history: list[int] = []
        self.failed_logins = 0
        self._last_refusal = 0.0
        self.log: list[dict[str, object]] = []
        self._sessions: list[str] = []
        # Basic credentials, API keys and the new login answers all came with 5.2.
        self._modern = release in ("5.2", "5.3")

    def start(self) -> None:
        """Listen, as a new process: without sessions, refused logins or a ban."""
        self._sessions.clear()
        self.failed_logins = 0
        super().start()

    @property
    def banned(self) -> bool:
        """Whether too many logins were refused; setting it bans or forgives."""
        if self.failed_logins < self.max_failed_logins:
            return False
        if time.monotonic() - self._last_refusal > self.ban_duration:
            self.failed_logins = 0
        return self.failed_logins > 0

    @banned.setter
    def banned(self, banned: bool) -> None:
        self.failed_logins = self.max_failed_logins if banned else 0
        self._last_refusal = time.monotonic()

    @property
    def listen_port(self) -> int:
        """The listening port in its preferences."""
        return int(str(self.preferences["listen_port"]))

    @listen_port.setter
    def listen_port(self, port: int) -> None:
        self._listen_on(port)

    def expire_sessions(self) -> None:
        """Forget every session: their next call is answered 403."""
        self._sessions.clear()

    def add_log(self, message: str, severity: int = 8) -> None:
        """Add a log entry; severity 1 normal, 2 info, 4 warning, 8 critical."""
        entry = {"message": message, "timestamp": int(time.time()), "type": severity}
        self.log.append({"id": len(self.log), **entry})

    def answer(self, request: Request) -> Response:
        """Answer as the WebUI of this release: first who asks, then what."""
        if not self._same_site(request):
            return _text("Unauthorized", 401)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if self._modern and scheme == "Bearer":
            # Whoever sends a key is judged by it, also with a valid cookie.
            right = self.api_key and key == self.api_key
            return self._call(request) if right else _text("Forbidden", 403)
        if self._has_session(request):
            return self._call(request)
        given = _basic_credentials(request) if self._modern else None
        if given is None and request.line == "POST /api/v2/auth/login":
            given = ":".join(request.form.get(name, "") for name in ("username", "password"))
        if not self.bypass:
            if given is None:
                return _text("Forbidden", 403)
            if refusal := self._refusal(given):
                return refusal
        return replace(self._call(request), headers=self._open_session())

    def _call(self, request: Request) -> Response:
        documents: dict[str, Callable[[], Response]] = {
            "app/version": lambda: _text(f"v{_VERSIONS[self.release][0]}"),
            "app/webapiVersion": lambda: _text(_VERSIONS[self.release][1]),
            "app/preferences": lambda: _json(self.preferences),
            "transfer/info": lambda: _json({"connection_status": self.connection_status}),
            "log/main": lambda: _json(self._entries(request.query)),
        }
        method, _, path = request.line.partition(" ")
        name = path.removeprefix("/api/v2/")
        if name in documents:
            return documents[name]()
        if name not in ("auth/login", "auth/logout", "app/setPreferences"):
            return _text("Not Found", 404)
        if method != "POST":
            return _text("Method Not Allowed", 405)
        if name == "auth/login":
            return Response(204) if self._modern else _text("Ok.")
        if name == "auth/logout":
            return self._close_session(request)
        if "json" not in request.form:
            return _text("Bad Request", 400)
        self._set_preferences(request.form["json"])
        return _text("")

    def _same_site(self, request: Request) -> bool:
        if not self.check_host:
            return True
        host = request.headers.get("Host", "")
        address = urlsplit(f"//{host}")
        if address.port not in (None, self.port):
            return False
        name = (address.hostname or "").lower()
        domains = [domain.strip().lower() for domain in self.server_domains.split(";")]
        if name != self.host and not any(fnmatch.fnmatch(name, domain) for domain in domains):
            return False
        origin = request.headers.get("Origin") or request.headers.get("Referer")
        return not origin or urlsplit(origin).netloc == host

    def _refusal(self, credentials: str) -> Response | None:
        """Refuse ``name:password`` unless they are right; a refusal counts toward the ban."""
        if self.banned:
            return _text(_BANNED, 403)
        if credentials == f"{self.username}:{self.password}":
            self.failed_logins = 0
            return None
        self.failed_logins += 1
        self._last_refusal = time.monotonic()
        return _text("Unauthorized", 401) if self._modern else _text("Fails.")

    @property
    def _cookie_name(self) -> str:
        return f"QBT_SID_{self.port}" if self._modern else "SID"

    def _has_session(self, request: Request) -> bool:
        cookie = SimpleCookie(request.headers.get("Cookie", "")).get(self._cookie_name)
        return cookie is not None and cookie.value in self._sessions

    def _open_session(self) -> dict[str, str]:
        session = base64.b64encode(secrets.token_bytes(24)).decode()
        self._sessions.append(session)
        if self.release == "5.3":
            del self._sessions[:-_MOST_SESSIONS]
        return {"Set-Cookie": f"{self._cookie_name}={session}; HttpOnly; path=/; SameSite=Strict"}

    def _close_session(self, request: Request) -> Response:
        if self._has_session(request):
            self._sessions.remove(SimpleCookie(request.headers["Cookie"])[self._cookie_name].value)
        forgotten = f"{self._cookie_name}=; expires=Thu, 01-Jan-1970 00:00:00 GMT; path=/"
        return replace(_text(""), headers={"Set-Cookie": forgotten})

    def _set_preferences(self, document: str) -> None:
        try:
            wanted = json.loads(document)
        except ValueError:
            return
        if not isinstance(wanted, dict) or self.deaf:
            return
        known = wanted.keys() & self.preferences.keys() - {"listen_port", "random_port"}
        self.preferences.update({name: wanted[name] for name in known})
        # ``random_port`` is nothing but listening port 0, and turning it off does nothing.
        if wanted.get("random_port") is True:
            self._listen_on(0)
        elif "listen_port" in wanted:
            self._listen_on(_number(wanted["listen_port"]))

    def _listen_on(self, port: int) -> None:
        if port == self.listen_port:
            return
        self.preferences.update(listen_port=port, random_port=port == 0)
        self.history.append(port)
        self.add_log(f'Trying to listen on the following list of IP addresses: "0.0.0.0:{port}"', 1)
        if 0 <= port <= 65535:
            self.connection_status = "firewalled"
            for address in self.busy.get(port, ()):
                self._cannot_listen(address, port, "Address already in use")
        else:
            self.connection_status = "disconnected"
            self._cannot_listen("0.0.0.0", 0, "invalid port")

    def _cannot_listen(self, address: str, port: int, reason: str) -> None:
        what = f'Failed to listen on IP. IP: "{address}". Port: "TCP/{port}".'
        self.add_log(f'{what} Reason: "{reason}"')

    def _entries(self, query: Mapping[str, str]) -> list[dict[str, object]]:
        names = {"normal": 1, "info": 2, "warning": 4, "critical": 8}
        severities = {n for name, n in names.items() if query.get(name, "true") != "false"}
        last = int(query.get("last_known_id", "-1"))
        return [e for i, e in enumerate(self.log) if i > last and e["type"] in severities]


_VERSIONS: Final[Mapping[QBittorrentRelease, tuple[str, str]]] = {
    "4.5": ("4.5.2", "2.8.19"),
    "4.6": ("4.6.7", "2.9.3"),
    "5.1": ("5.1.0", "2.11.4"),
    "5.2": ("5.2.3", "2.15.1"),
    "5.3": ("5.3.0", "2.16.2"),
}
_MOST_SESSIONS: Final = 15
_BANNED: Final = "Your IP address has been banned after too many failed authentication attempts."


def _text(body: str, status: int = 200) -> Response:
    return Response(status, body.encode(), "text/plain; charset=UTF-8")


def _json(document: object) -> Response:
    return Response(200, json.dumps(document).encode(), "application/json")


def _go_json(document: object) -> Response:
    body = json.dumps(document, separators=(",", ":")) + "\n"
    return Response(200, body.encode(), "text/plain; charset=utf-8")


def _go_error(status: int, message: str) -> Response:
    return Response(status, f"{message}\n".encode(), "text/plain; charset=utf-8")


def _basic_credentials(request: Request) -> str | None:
    """``name:password`` as sent; empty when unreadable, None when there are none."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _number(value: Any) -> int:
    """Take any JSON value for a number, as qBittorrent does."""
    try:
        return round(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


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
        request = Request(f"{self.command} {target.path}", self.headers, query, form)
        self._send(*self.server.simulator.respond(request, self.server))

    def do_POST(self) -> None:
        self.do_GET()

    def _send(self, response: Response, fault: Fault | None) -> None:
        payload, sent = response.head + response.body, 0
        if isinstance(fault, Disconnect):
            payload, self.close_connection = payload[: fault.after], True
        if isinstance(fault, Drip):
            sent = 0 if fault.part == "headers" else len(response.head)
            self.wfile.write(payload[:sent])
            while sent < len(payload) and self.server.simulator.lasts(fault, self.server):
                self.wfile.write(payload[sent : sent + 1])
                sent += 1
        self.wfile.write(payload[sent:])

    def log_message(self, *_: object) -> None:
        """Say nothing: tests and the demo have their own output."""
