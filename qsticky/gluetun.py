"""Translates Gluetun's control server and its port file into forwarded ports, or an error."""

import base64
import errno
import os
import re
import reprlib
import stat
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.files import open_at_once
from qsticky.http_client import HttpClient, Response, Service

_LARGEST_PORT_FILE = 64 * 1024


class _Route(StrEnum):
    """Where Gluetun tells its ports; a role's line is `GET` and this."""

    SINCE_3_41 = "/v1/portforward"
    UP_TO_3_40 = "/v1/openvpn/portforwarded"


# What a route answers where this Gluetun doesn't know it, or the role doesn't permit it. The old
# one redirects to the new one since 3.41.
_NOT_HERE = (301, 400, 401, 404)


class Gluetun:
    """Gluetun's forwarded ports: the control server's word, or the port file's when that is out.

    `authorization` gives the headers to present, anew for each request.
    """

    def __init__(
        self,
        http: HttpClient,
        authorization: Callable[[], Mapping[str, bytes]],
        port_file: Path | None = None,
    ) -> None:
        self._http = http
        self._authorization = authorization
        self._port_file = port_file
        self._route = _Route.SINCE_3_41
        self._public_ip_refused = False

    def forwarded_ports(self) -> tuple[int, ...]:
        """Ask the control server for its ports, each from 1 to 65535; none is an empty tuple.

        Tries the route that worked last, then the other one: Gluetun to 3.40 answers 400 or 401
        on the new route, 3.41 and later redirect the old one. Raises `ServiceError`.
        """
        refusals: dict[_Route, int] = {}
        for route in sorted(_Route, key=lambda route: route is not self._route):
            try:
                ports = self._http.request(
                    "GET",
                    route,
                    headers=self._authorization(),
                    read=partial(self._read_ports, route=route, refusals=refusals),
                )
            except ServiceError as error:
                if error.reason is Reason.GLUETUN_UNREACHABLE:
                    self._public_ip_refused = False  # it may be back with another role
                raise
            if ports is not None:
                self._route = route
                return ports
        raise AssertionError("the last route has an answer or an error")

    def public_ip(self) -> str | None:
        """Ask for the VPN's public address, if the role permits it; None where it isn't known.

        Optional: a refusal is no error, and it is not asked for again until Gluetun was away.
        """
        if self._public_ip_refused:
            return None
        try:
            return self._http.request(
                "GET", "/v1/publicip/ip", headers=self._authorization(), read=self._read_public_ip
            )
        except ServiceError:
            return None

    def ports_in_file(self) -> tuple[int, ...]:
        """Read the ports from the port file: one a line; none where it is missing or empty.

        A file with anything but ports in it names none: Gluetun writes it in place, so that it
        can be read half-written.
        """
        if self._port_file is None:
            return ()
        try:
            lines = _read_regular_file(self._port_file).split()
        except OSError:
            return ()
        ports = [int(line) for line in lines if re.fullmatch(rb"[0-9]{1,5}", line)]
        whole = len(ports) == len(lines) and all(_is_port(port) for port in ports)
        return tuple(ports) if whole else ()

    def _read_ports(
        self, response: Response, route: _Route, refusals: dict[_Route, int]
    ) -> tuple[int, ...] | None:
        """Read a route's answer; None where it refuses and the other route is yet to be tried."""
        if response.status == 200:
            return self._ports(self._http.json_object(response))
        if response.status not in _NOT_HERE:
            raise self._http.error(
                ErrorKind.HTTP_STATUS, f"answered {response.status} to GET {route}"
            )
        refusals[route] = response.status
        if len(refusals) < len(_Route):
            return None
        raise self._refusal(refusals)

    def _read_public_ip(self, response: Response) -> str | None:
        self._public_ip_refused = response.status in _NOT_HERE
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

    def _refusal(self, refusals: Mapping[_Route, int]) -> ServiceError:
        """Tell what two refused routes mean."""
        where = f"{self._http.service.name} at {self._http.service.url}"
        new, old = f'"GET {_Route.SINCE_3_41}"', f'"GET {_Route.UP_TO_3_40}"'
        if refusals[_Route.UP_TO_3_40] == 301 and refusals[_Route.SINCE_3_41] == 401:
            problem = (
                f"{where} takes the credential, but its role lacks the route; add {new} to the "
                f"routes of the role, in place of {old}"
            )
        elif 401 in refusals.values():
            problem = (
                f"{where} answered 401; give qSticky the credential of a role "
                "(GLUETUN_AUTH_TYPE, GLUETUN_APIKEY) that has the one route its version knows: "
                f"{new} for Gluetun 3.41 and later, {old} up to 3.40"
            )
        else:
            answers = " and ".join(f"{status} to GET {route}" for route, status in refusals.items())
            return self._http.error(ErrorKind.HTTP_STATUS, f"answered {answers}")
        return ServiceError(Reason.GLUETUN_UNAUTHORIZED, ErrorKind.UNAUTHORIZED, problem)


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


def _read_regular_file(path: Path) -> bytes:
    """Read a small file; raises OSError for anything that is no file, such as a FIFO."""
    with open_at_once(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read(_LARGEST_PORT_FILE)
