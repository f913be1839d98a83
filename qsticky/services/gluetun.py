"""Translates Gluetun's control server and its port file into forwarded ports, or an error."""

import base64
import re
import reprlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from ipaddress import ip_address
from typing import NamedTuple, TypeGuard

from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.gluetun_roles import Credential, Route, Wrong, refusal
from qsticky.services.http import HttpClient, Response, Service
from qsticky.services.port_file import PortFile

_LONGEST_NAME = 80

PUBLIC_IP = "/v1/publicip/ip"
_VERSION = "/v1/version"
_UNKNOWN = "/v1/qsticky"  # no version knows it
_ANY_WITH_ROLES = "3.39.1 to 3.41.1"

# What a route answers where this Gluetun doesn't know it, or the role doesn't permit it. The old
# one redirects to the new one since 3.41.
_NOT_HERE = (301, 400, 401, 404)
_UNAUTHORIZED = b"Unauthorized"  # its words to a request that is refused; a proxy's are a page


class PublicAddress(NamedTuple):
    """The VPN's address on the internet, and the country that it is in, where Gluetun knows it."""

    address: str
    country: str | None


class Gluetun:
    """Gluetun's forwarded ports: the control server's statement, or the port file's without one.

    `credential` gives what to present, anew for each request. `route` is the one that worked last,
    or is tried first; `public_ip_refused` tells that the role doesn't permit that.
    """

    def __init__(
        self,
        http: HttpClient,
        credential: Callable[[], Credential],
        port_file: PortFile | None = None,
    ) -> None:
        self._http = http
        self._credential = credential
        self._port_file = port_file
        self._answered = False  # on `route`
        self.route = Route.SINCE_3_41
        self.public_ip_refused = False

    def forwarded_ports(self) -> tuple[int, ...]:
        """Ask the control server for its ports, each from 1 to 65535; none is an empty tuple.

        Tries the route that worked last, then the other one: Gluetun to 3.40 answers 400 or 401
        on the new route, 3.41 and later redirect the old one. Raises `ServiceError`.
        """
        refusals: dict[Route, Response] = {}
        for route in sorted(Route, key=lambda route: route is not self.route):
            try:
                with self._get(route) as answer:
                    if answer.status == 200:
                        self.route, self._answered = route, True
                        return self._ports(self._http.json_object(answer))
                    self._expect_refusal(answer, route)
                    refusals[route] = answer
                    if len(refusals) == len(Route):
                        raise self._refusal(refusals)
            except ServiceError as error:
                if error.reason is Reason.GLUETUN_UNREACHABLE:
                    # It may be back as another version, with another role.
                    self.public_ip_refused = self._answered = False
                raise
        raise AssertionError("the last route has an answer or an error")

    def public_address(self) -> PublicAddress | None:
        """Ask for the VPN's public address, if the role permits it; None where it isn't known.

        Optional: a refusal is no error, and it is not asked for again until Gluetun was away.
        """
        if self.public_ip_refused:
            return None
        try:
            with self._get(PUBLIC_IP) as answer:
                self.public_ip_refused = answer.status in _NOT_HERE
                if answer.status != 200:
                    return None
                found = self._http.json_object(answer)
        except ServiceError:
            return None
        address, country = found.get("public_ip"), found.get("country")
        if not isinstance(address, str) or not _is_address(address):
            return None
        return PublicAddress(address, country if _is_name(country) else None)

    def version(self) -> str | None:
        """Ask for Gluetun's version; None where nothing can be learnt of it.

        Where the role doesn't permit that, it is told as a range, by how an unknown path is
        answered (404 from 3.41.2 on, 401 from 3.39.1 on, 400 before) and by which route told the
        ports.
        """
        try:
            with self._get(_VERSION) as answer:
                if answer.status == 200:
                    version = self._http.json_object(answer).get("version")
                    return version if _is_name(version) else None
            with self._get(_UNKNOWN) as answer:
                return self._range(answer.status)
        except ServiceError:
            return None

    def is_open(self) -> bool:
        """Ask whether the ports are told without a credential, too; raises `ServiceError`.

        So they are by 3.39.0 and older, which know none, and up to 3.41 without a role.
        """
        with self._http.exchange("GET", self.route) as answer:
            return answer.status == 200

    def _get(self, path: str) -> AbstractContextManager[Response]:
        return self._http.exchange("GET", path, headers=self._credential().headers)

    def _range(self, status: int) -> str | None:
        if status != 401:
            return {404: "3.41.2 or later", 400: "3.39.0 or earlier"}.get(status)
        if not self._answered:
            return _ANY_WITH_ROLES
        return "3.41.0 or 3.41.1" if self.route is Route.SINCE_3_41 else "3.39.1 to 3.40"

    def _expect_refusal(self, answer: Response, route: Route) -> None:
        if answer.status not in _NOT_HERE:
            raise self._http.unexpected_status(answer, f" to GET {route}")
        if answer.status == 401 and answer.body.strip() not in (_UNAUTHORIZED, b""):
            problem = f"answered 401 to GET {route} in words that are not Gluetun's"
            raise self._http.error(ErrorKind.INVALID_RESPONSE, problem)

    def _refusal(self, refusals: Mapping[Route, Response]) -> ServiceError:
        """Tell what two refused routes mean."""
        statuses = {route: refused.status for route, refused in refusals.items()}
        if 401 not in statuses.values():
            answers = " and ".join(f"{status} to GET {route}" for route, status in statuses.items())
            return self._http.error(ErrorKind.HTTP_STATUS, f"answered {answers}")
        credential = self._credential()
        wrong, route = self._what_is_wrong(refusals, credential)
        return refusal(self._http.service.where, credential, wrong, route)

    def _what_is_wrong(
        self, refusals: Mapping[Route, Response], credential: Credential
    ) -> tuple[Wrong, Route | None]:
        """Tell what a refusal is for, and which route is this version's; asks for what it must."""
        redirected = refusals[Route.UP_TO_3_40].status == 301
        if redirected and credential.headers:
            return Wrong.ROUTE, Route.SINCE_3_41
        if wanting := [route for route, refused in refusals.items() if _challenges(refused)]:
            return Wrong.KIND, wanting[0]
        if not credential.headers:
            return Wrong.MISSING, Route.SINCE_3_41 if redirected else self._known_route()
        if credential.has_password and (wanted := self._wants_password()):
            return Wrong.PASSWORD, wanted
        return Wrong.UNKNOWN, self._known_route()

    def _wants_password(self) -> Route | None:
        """Ask which route is one of a role with user and password: it says so to who sends none."""
        for route in Route:
            with self._http.exchange("GET", route) as answer:
                if _challenges(answer):
                    return route
        return None

    def _known_route(self) -> Route | None:
        """Ask for what tells which of the two routes this version knows."""
        version = self.version()
        if version == "latest":
            return Route.SINCE_3_41
        found = re.match(r"v?(\d+)\.(\d+)", version or "")
        if found is None or version == _ANY_WITH_ROLES:
            return None
        new = (int(found[1]), int(found[2])) >= (3, 41)
        return Route.SINCE_3_41 if new else Route.UP_TO_3_40

    def ports_in_file(self) -> tuple[int, ...]:
        """Read the ports from the port file; none where there is no such file."""
        return self._port_file.ports() if self._port_file else ()

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


def _challenges(answer: Response) -> bool:
    return answer.status == 401 and answer.headers.get("WWW-Authenticate", "").startswith("Basic")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # of a zone, which can be any text


def _is_name(value: object) -> TypeGuard[str]:
    """Whether it is a text that is short enough and fit to be shown."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_NAME


def _is_port(value: object) -> bool:
    return type(value) is int and 1 <= value <= 65535
