"""A small, faithful Gluetun control server, on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

from qsticky.demo.simulator import Request, Response, Simulator, basic_credentials

# 3.40 stands for 3.39.1 to 3.40.4, 3.41 for 3.41.0 and 3.41.1, 3.41.3 for 3.41.2 too.
GluetunRelease = Literal["3.39.0", "3.40", "3.41", "3.41.3", "master"]
VpnStatus = Literal["running", "stopping", "stopped", "starting", "crashed"]

PORT_ROUTE: Final = "GET /v1/portforward"
OLD_PORT_ROUTE: Final = "GET /v1/openvpn/portforwarded"
PUBLIC_IP_ROUTE: Final = "GET /v1/publicip/ip"
VERSION_ROUTE: Final = "GET /v1/version"
STATUS_ROUTE: Final = "GET /v1/vpn/status"
SET_STATUS_ROUTE: Final = "PUT /v1/vpn/status"


class GluetunSimulator(Simulator):
    """Gluetun's control server.

    With ``api_key``, or ``username`` and ``password``, or ``routes``, there is one role, which
    lists ``routes`` (None: all that the release knows) and asks for that credential, if any.
    ``default_api_key`` is that of a default role beside it, which has every route that it doesn't
    list. Without roles the release's defaults hold. A role that names a route unknown to the
    release, or a default role before 3.41, is a ValueError: Gluetun refuses to start with it.

    ``vpn`` is the VPN's status; it may be set to crash it, say. While ``held`` is ``stopping`` or
    ``starting``, that is what a VPN that gets there remains: its down command hangs, or its
    server doesn't answer. ``starts`` is what starting ends in, and ``next_ports`` what
    it forwards then (None: ``ports`` as they are). ``outcomes`` are those of every change of the
    status that was asked for, in order. A new process begins with a VPN that runs.
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
        default_api_key: str | None = None,
        public_ip: str = "203.0.113.7",
        country: str = "Netherlands",
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(port, host)
        self.release = release
        self.ports: tuple[int, ...] = tuple(ports)
        self.next_ports: tuple[int, ...] | None = None
        self.public_ip = public_ip
        self.country = country
        self.starts: Literal["running", "crashed"] = "running"
        self.outcomes: list[str] = []
        self.vpn: VpnStatus = "running"
        self.held: VpnStatus | None = None
        self._applying = False
        self._known = {OLD_PORT_ROUTE, PUBLIC_IP_ROUTE, VERSION_ROUTE, STATUS_ROUTE}
        self._known.add(SET_STATUS_ROUTE)
        if release in _SINCE_3_41:
            self._known.add(PORT_ROUTE)
        elif default_api_key:
            raise ValueError("no default role before 3.41")
        if unknown := set(routes or ()) - self._known:
            raise ValueError(f"route not supported by the control server: {min(unknown)}")
        self._api_key = api_key
        self._default_api_key = default_api_key
        self._basic = None if username is None else f"{username}:{password or ''}"
        if routes is not None:
            self._routes = set(routes)
        elif api_key or self._basic or (release != "master" and not default_api_key):
            self._routes = self._known
        else:
            self._routes = set()

    def start(self) -> None:
        """Listen, as a new process, which starts the VPN by itself."""
        self.vpn, self._applying = "running", False
        super().start()

    def answer(self, request: Request) -> Response:
        """Answer as the control server of this release, its role's check included."""
        line = request.line
        if line not in self._known:
            return self._unknown(line)
        if self.release != "3.39.0" and not self._authorized(request):
            return self._unauthorized(request)
        if line == OLD_PORT_ROUTE and self.release in _SINCE_3_41:
            location = PORT_ROUTE.removeprefix("GET ")
            body = f'<a href="{location}">Moved Permanently</a>.\n\n'.encode()
            return Response(301, body, "text/html; charset=utf-8", {"Location": location})
        documents: dict[str, Callable[[], object]] = {
            PUBLIC_IP_ROUTE: self._address,
            VERSION_ROUTE: lambda: {
                "version": VERSIONS[self.release],
                "commit": "0",
                "created": "",
            },
            STATUS_ROUTE: lambda: {"status": self.vpn},
        }
        if line == SET_STATUS_ROUTE:
            return self._set_status(request)
        return _go_json(documents.get(line, self._forwarded)())

    def _unknown(self, line: str) -> Response:
        if self.release == "3.39.0":
            return _go_error(400, line.replace(" /v1", " ") + " not found")
        if self.release not in _TELLS_UNKNOWN_ROUTES:
            return _go_error(401, "Unauthorized")
        paths = {known.partition(" ")[2] for known in self._known}
        if line.partition(" ")[2] in paths:
            return _go_error(405, "Method Not Allowed")
        return _go_error(404, "Not Found")

    def _authorized(self, request: Request) -> bool:
        key = request.headers.get("X-API-Key")
        if request.line not in self._routes:
            return self._default_api_key is not None and key == self._default_api_key
        if self._api_key is not None and key == self._api_key:
            return True
        if self._basic is not None:
            return basic_credentials(request) == self._basic
        return self._api_key is None

    def _unauthorized(self, request: Request) -> Response:
        wants_basic = self._basic is not None and request.line in self._routes
        challenge = {}
        if wants_basic and basic_credentials(request) is None:
            challenge = {"WWW-Authenticate": 'Basic realm="restricted", charset="UTF-8"'}
        return _go_error(401, "Unauthorized", challenge)

    def _address(self) -> dict[str, str]:
        if not self.public_ip or self.vpn != "running":
            return {"public_ip": ""}
        return {"public_ip": self.public_ip, "country": self.country}

    def _forwarded(self) -> dict[str, object]:
        ports = list(self.ports) if self.vpn == "running" else []
        if self.vpn == self.held == "stopping":  # while the down command runs
            if self.release == "3.41.3":
                self._wait_until(lambda: self.vpn != "stopping")
            elif self.release == "master":
                ports = list(self.ports)
        if self.release == "master":
            ports.sort()
        first = ports[0] if ports else 0
        if self.release in _TELLS_UNKNOWN_ROUTES:
            return {"port": first, "ports": ports}
        return {"ports": ports} if len(ports) > 1 else {"port": first}

    def _set_status(self, request: Request) -> Response:
        try:
            wanted = json.loads(request.body)["status"]
        except (ValueError, TypeError, KeyError):
            wanted = ""
        if wanted not in ("stopped", "running"):
            problem = f"invalid status: {wanted}: possible values are: stopped, running"
            return _go_error(400, problem)
        # One after the other, and to the end also when the caller hung up.
        self._wait_until(lambda: not self._applying)
        self._applying = True
        try:
            outcome = self._stop_vpn() if wanted == "stopped" else self._start_vpn()
        finally:
            self._applying = False
        self.outcomes.append(outcome)
        return _go_json({"outcome": outcome})

    def _stop_vpn(self) -> str:
        if self.vpn != "running":
            return f"already {self.vpn}"
        self._pass_through("stopping")
        self.vpn = "stopped"
        return "stopped"

    def _start_vpn(self) -> str:
        if self.vpn != "stopped":
            return f"already {self.vpn}"
        self._pass_through("starting")
        if self.next_ports is not None:
            self.ports = self.next_ports
        self.vpn = self.starts
        return self.starts

    def _pass_through(self, status: VpnStatus) -> None:
        self.vpn = status
        self._wait_until(lambda: self.held != status)


VERSIONS: Final[dict[GluetunRelease, str]] = {
    "3.39.0": "v3.39.0",
    "3.40": "v3.40.4",
    "3.41": "v3.41.1",
    "3.41.3": "v3.41.3",
    "master": "latest",
}
_SINCE_3_41: Final = ("3.41", "3.41.3", "master")
_TELLS_UNKNOWN_ROUTES: Final = ("3.41.3", "master")


def _go_json(document: object) -> Response:
    body = json.dumps(document, separators=(",", ":")) + "\n"
    return Response(200, body.encode(), "text/plain; charset=utf-8")


def _go_error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = f"{message}\n".encode()
    return Response(status, body, "text/plain; charset=utf-8", headers or {})
