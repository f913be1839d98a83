"""A small, faithful qBittorrent WebUI, on loopback; it opens no BitTorrent socket."""

from __future__ import annotations

import base64
import fnmatch
import json
import secrets
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from qsticky.demo.simulator import Request, Response, Simulator, basic_credentials

QBittorrentRelease = Literal["4.5", "4.6", "5.1", "5.2", "5.3"]


class QBittorrentSimulator(Simulator):
    """qBittorrent's WebUI.

    ``preferences``, ``connection_status`` and ``interfaces`` (each one's addresses) may be read and
    set at any time, and so may ``external_address``, where peers last saw it. Opening the sockets
    is logged for each address; ``busy`` maps a port to those on which another program has it.
    ``history`` is every listening port since the start, one for each time the sockets were
    rebound; ``openings`` counts all, and ``opened_at`` is the last one's monotonic time.
    ``reached`` tells whether a peer came in since, which ends being firewalled.
    ``ignores_settings`` makes it take preferences without keeping them.
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
            "bittorrent_protocol": 0,
            "proxy_type": 0 if release == "4.5" else "None",
            "proxy_peer_connections": False,
            "proxy_bittorrent": True,
        }
        self.interfaces: dict[str, Sequence[str]] = {
            "lo": ("127.0.0.1", "::1"),
            "eth0": ("172.18.0.2",),
            "tun0": ("10.2.0.2",),
        }
        self.dht_nodes = 312
        self.external_address = ""
        self.busy: dict[int, Collection[str]] = {}
        self.ignores_settings = False
        self.history: list[int] = []
        self.openings = 0
        self.opened_at = 0.0
        self.reached: Callable[[], bool] = lambda: False
        self.failed_logins = 0
        self._last_refusal = 0.0
        self.log: list[dict[str, object]] = []
        self._sessions: list[str] = []
        # Basic credentials, API keys and the new login answers all came with 5.2.
        self._modern = release in ("5.2", "5.3")

    def start(self) -> None:
        """Listen, as a new process: without sessions, refused logins or a ban, its log anew."""
        self._sessions.clear()
        self.failed_logins = 0
        self.log = []
        self._open_sockets()
        super().start()
        self.preferences["web_ui_port"] = self.port

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
        given = basic_credentials(request) if self._modern else None
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
            "app/networkInterfaceList": lambda: _json(
                [{"name": name, "value": name} for name in self.interfaces]
            ),
            "app/networkInterfaceAddressList": lambda: _json(self._addresses(request.query)),
            "transfer/info": lambda: _json(self._transfer_info()),
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
        if not isinstance(wanted, dict) or self.ignores_settings:
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
        self.connection_status = "firewalled" if 0 <= port <= 65535 else "disconnected"
        self._open_sockets()

    def _open_sockets(self) -> None:
        """Log for each address that it is bound to whether it could listen, TCP first."""
        self.openings, self.opened_at = self.openings + 1, time.monotonic()
        port = self.listen_port
        if not 0 <= port <= 65535:
            self._cannot_listen("0.0.0.0", 0, "invalid port")
            return
        bound_to = self.preferences["current_network_interface"]
        for name, addresses in self.interfaces.items():
            for address in addresses if bound_to in ("", name) else ():
                if address in self.busy.get(port, ()):
                    self._cannot_listen(address, port, "Address already in use")
                    continue
                for protocol in ("TCP", "UTP"):
                    what = f'IP: "{address}". Port: "{protocol}/{port}"'
                    self.add_log(f"Successfully listening on IP. {what}", 2)

    def _cannot_listen(self, address: str, port: int, reason: str) -> None:
        what = f'Failed to listen on IP. IP: "{address}". Port: "TCP/{port}".'
        self.add_log(f'{what} Reason: "{reason}"')

    def _addresses(self, query: Mapping[str, str]) -> list[str]:
        wanted = query.get("iface", "")
        return [
            address
            for name, addresses in self.interfaces.items()
            for address in addresses
            if wanted in ("", name)
        ]

    def _transfer_info(self) -> dict[str, object]:
        reached = self.connection_status == "firewalled" and self.reached()
        told: dict[str, object] = {
            "connection_status": "connected" if reached else self.connection_status,
            "dht_nodes": self.dht_nodes,
        }
        if self.release not in ("4.5", "4.6"):
            told["last_external_address_v4"] = self.external_address
            told["last_external_address_v6"] = ""
        return told

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


def _number(value: Any) -> int:
    """Take any JSON value for a number, as qBittorrent does."""
    try:
        return round(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0
