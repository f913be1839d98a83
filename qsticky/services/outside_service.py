"""Asks a service on the internet whether it can connect to the forwarded port.

Two kinds of services are in use, and both dial the address that asks: one answers `1` or `0`
(https://portcheck.transmissionbt.com/PORT), the other a JSON object with `reachable`
(https://ifconfig.co/port/PORT, the open-source echoip). They limit how often they are asked, and
are down at times.
"""

import json
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.gluetun import basic_authorization
from qsticky.services.http import HttpClient, Service, unobserved

TIMEOUT = 30.0  # a service may dial for ten seconds before it calls a port closed
_LARGEST_ANSWER = 64 * 1024
_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"  # in an address; all else of it is sent in percents
_PROBLEMS = {
    ErrorKind.TIMEOUT: f"did not answer within {TIMEOUT:g} s",
    ErrorKind.CONNECTION: "can't be reached",
    ErrorKind.TLS: "can't be trusted: its certificate was refused, or it does not speak TLS",
}
_NEITHER = "answered neither 1 nor 0, nor JSON with a `reachable`"


class PortCheckError(Exception):
    """No answer to whether the port is open; its text is the end of a sentence."""


class OutsideService:
    """The service of PORT_CHECK_URL, spoken to over IPv4, each time over a new connection.

    Its address may have a key in it: no error tells it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        credentials, at, host = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        self._headers = basic_authorization(unquote(user), unquote(password)) if at else {}
        self._path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        service = Service(
            label="port_check",
            name="The service of PORT_CHECK_URL",
            url=f"{parts.scheme}://{host}",
            unreachable=Reason.PORT_CLOSED,
            invalid_response=Reason.PORT_CLOSED,
            ipv4_only=True,  # a VPN's forwarded port is one of its IPv4 address
        )
        self._http = HttpClient(service, TIMEOUT, unobserved)

    def is_open(self, port: int) -> bool:
        """Ask whether the port can be connected to; raises PortCheckError without an answer."""
        path = quote(self._path.replace("{port}", str(port)), safe=_AS_IT_IS)
        try:
            # With patience, for the VPN may have been another one when a kept connection began.
            with self._http.exchange(
                "GET", path, headers=self._headers, limit=_LARGEST_ANSWER, patience=TIMEOUT
            ) as answer:
                if answer.status != 200:
                    raise PortCheckError(f"answered with the status {answer.status}")
                return _read(answer.body)
        except ServiceError as error:
            raise PortCheckError(_PROBLEMS.get(error.kind, _NEITHER)) from None


def _read(body: bytes) -> bool:
    text = body.strip()
    if text in (b"1", b"0"):
        return text == b"1"
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    reachable = answer.get("reachable") if isinstance(answer, dict) else None
    if not isinstance(reachable, bool):
        raise PortCheckError(_NEITHER)
    return reachable
