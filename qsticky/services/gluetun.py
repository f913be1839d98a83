"""Translates Gluetun's control server and its port file into forwarded ports, or an error."""

import base64
import reprlib
from collections.abc import Callable, Mapping
from enum import StrEnum

from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.http import HttpClient, Response, Service
from qsticky.services.port_file import PortFile

PUBLIC_IP = "/v1/publicip/ip"


class Route(StrEnum):
    """Where Gluetun tells its ports, by version."""

    SINCE_3_41 = "/v1/portforward"
    UP_TO_3_40 = "/v1/openvpn/portforwarded"

    @property
    def in_a_role(self) -> str:
        """How a role lists it."""
        return f"GET {self}"


# What a route answers where this Gluetun doesn't know it, or the role doesn't permit it. The old
# one redirects to the new one since 3.41.
_NOT_HERE = (301, 400, 401, 404)


class RoleError(ServiceError):
    """Gluetun refused: `lacks` is the route that its role must list, where its version is known."""

    def __init__(self, sentence: str, lacks: Route | None) -> None:
        super().__init__(Reason.GLUETUN_UNAUTHORIZED, ErrorKind.UNAUTHORIZED, sentence)
        self.lacks = lacks


class Gluetun:
    """Gluetun's forwarded ports: the control server's word, or the port file's when that is out.

    `authorization` gives the headers to present, anew for each request. `route` is the one that
    worked last, or is tried first; `public_ip_refused` tells that the role doesn't permit that.
    """

    def __init__(
        self,
        http: HttpClient,
        authorization: Callable[[], Mapping[str, bytes]],
        port_file: PortFile | None = None,
    ) -> None:
        self._http = http
        self._authorization = authorization
        self._port_file = port_file
        self.route = Route.SINCE_3_41
        self.public_ip_refused = False

    def forwarded_ports(self) -> tuple[int, ...]:
        """Ask the control server for its ports, each from 1 to 65535; none is an empty tuple.

        Tries the route that worked last, then the other one: Gluetun to 3.40 answers 400 or 401
        on the new route, 3.41 and later redirect the old one. Raises `ServiceError`.
        """
        refusals: dict[Route, int] = {}
        for route in sorted(Route, key=lambda route: route is not self.route):
            try:
                with self._http.exchange("GET", route, headers=self._authorization()) as answer:
                    ports = self._read_ports(answer, route, refusals)
            except ServiceError as error:
                if error.reason is Reason.GLUETUN_UNREACHABLE:
                    self.public_ip_refused = False  # it may be back with another role
                raise
            if ports is not None:
                self.route = route
                return ports
        raise AssertionError("the last route has an answer or an error")

    def public_ip(self) -> str | None:
        """Ask for the VPN's public address, if the role permits it; None where it isn't known.

        Optional: a refusal is no error, and it is not asked for again until Gluetun was away.
        """
        if self.public_ip_refused:
            return None
        try:
            with self._http.exchange("GET", PUBLIC_IP, headers=self._authorization()) as answer:
                return self._read_public_ip(answer)
        except ServiceError:
            return None

    def ports_in_file(self) -> tuple[int, ...]:
        """Read the ports from the port file; none where there is no such file."""
        return self._port_file.ports() if self._port_file else ()

    def _read_ports(
        self, response: Response, route: Route, refusals: dict[Route, int]
    ) -> tuple[int, ...] | None:
        """Read a route's answer; None where it refuses and the other route is yet to be tried."""
        if response.status == 200:
            return self._ports(self._http.json_object(response))
        if response.status not in _NOT_HERE:
            raise self._http.error(
                ErrorKind.HTTP_STATUS, f"answered {response.status} to GET {route}"
            )
        refusals[route] = response.status
        if len(refusals) < len(Route):
            return None
        raise self._refusal(refusals)

    def _read_public_ip(self, response: Response) -> str | None:
        self.public_ip_refused = response.status in _NOT_HERE
        if response.status != 200:
            return None
        address = self._http.json_object(response).get("public_ip")
        return address if isinstance(address, str) and address else None

    def _ports(self, answer: dict[str, object]) -> tuple[int, ...]:
        """Read `{"port":5914}` (one, to 3.41) and `{"ports":[5914,6000]}` (several, and master)."""
        if not answer.keys() & {"port", "ports"}:
            raise self._http.error(ErrorKind.INVALID_RESPONSE, "answered JSON without a port")
        ports = answer.get("ports")
        if ports is None or ports == []:
            port = answer.get("port", 0)
            ports = [] if type(port) is int and port == 0 else [port]
        if not isinstance(ports, list) or not all(_is_port(port) for port in ports):
            raise self._http.error(
                ErrorKind.INVALID_RESPONSE,
                f"named {reprlib.repr(ports)} as ports, which are whole numbers from 1 to 65535",
            )
        return tuple(ports)

    def _refusal(self, refusals: Mapping[Route, int]) -> ServiceError:
        """Tell what two refused routes mean."""
        where = f"{self._http.service.name} at {self._http.service.url}"
        new, old = (f'"{route.in_a_role}"' for route in Route)
        if refusals[Route.UP_TO_3_40] == 301 and refusals[Route.SINCE_3_41] == 401:
            return RoleError(
                f"{where} takes the credential, but its role lacks the route; add {new} to the "
                f"routes of the role, in place of {old}",
                lacks=Route.SINCE_3_41,
            )
        if 401 in refusals.values():
            return RoleError(
                f"{where} answered 401; give qSticky the credential of a role "
                "(GLUETUN_AUTH_TYPE, GLUETUN_APIKEY) that has the one route its version knows: "
                f"{new} for Gluetun 3.41 and later, {old} up to 3.40",
                lacks=None,
            )
        answers = " and ".join(f"{status} to GET {route}" for route, status in refusals.items())
        return self._http.error(ErrorKind.HTTP_STATUS, f"answered {answers}")


def no_port_at(index: int, count: int) -> SyncError:
    """Make the error of a port index beyond the ports that there are."""
    return SyncError(
        Reason.NO_FORWARDED_PORT,
        f"Gluetun has {count} forwarded port{'' if count == 1 else 's'}, and GLUETUN_PORT_INDEX "
        f"asks for number {index}; set it to {'1' if count == 1 else f'1 to {count}'}, or have "
        "the VPN provider forward more",
    )


def gluetun_service(url: str) -> Service:
    """Describe the control server at a URL."""
    return Service(
        label="gluetun",
        name="Gluetun's control server",
        url=url,
        unreachable=Reason.GLUETUN_UNREACHABLE,
        invalid_response=Reason.GLUETUN_INVALID_RESPONSE,
    )


def basic_authorization(username: str, password: str) -> dict[str, bytes]:
    """Make the header of HTTP Basic authentication."""
    return {"Authorization": b"Basic " + base64.b64encode(f"{username}:{password}".encode())}


def _is_port(value: object) -> bool:
    return type(value) is int and 1 <= value <= 65535
