"""A small, faithful Gluetun control server, on loopback."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final, Literal

from qsticky.demo.simulator import Request, Response, Simulator, basic_credentials

GluetunRelease = Literal["3.39.0", "3.40", "3.41", "master"]

PORT_ROUTE: Final = "GET /v1/portforward"
OLD_PORT_ROUTE: Final = "GET /v1/openvpn/portforwarded"
PUBLIC_IP_ROUTE: Final = "GET /v1/publicip/ip"
STATUS_ROUTE: Final = "GET /v1/vpn/status"


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
            return basic_credentials(request) == self._basic
        return self._api_key is None


def _go_json(document: object) -> Response:
    body = json.dumps(document, separators=(",", ":")) + "\n"
    return Response(200, body.encode(), "text/plain; charset=utf-8")


def _go_error(status: int, message: str) -> Response:
    return Response(status, f"{message}\n".encode(), "text/plain; charset=utf-8")
