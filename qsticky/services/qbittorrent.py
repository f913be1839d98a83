"""Translates qBittorrent's WebUI API into preferences, settings and errors."""

import json
import re
from urllib.parse import quote

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services import listen_log
from qsticky.services.answers import (
    Address,
    ConnectionStatus,
    Preferences,
    Protocol,
    TransferInfo,
    read_addresses,
    read_interfaces,
    read_preferences,
    read_transfer_info,
)
from qsticky.services.http import Response, Service
from qsticky.services.listen_log import ListenEntry, ListenLog, LogMark
from qsticky.services.login_limit import Credentials, LoginLimit
from qsticky.services.webui import LOGIN, Authentication, WebUI

__all__ = [
    "LOGIN",
    "Address",
    "Authentication",
    "ConnectionStatus",
    "Credentials",
    "ListenEntry",
    "ListenLog",
    "LogMark",
    "LoginLimit",
    "Preferences",
    "Protocol",
    "QBittorrent",
    "TransferInfo",
    "qbittorrent_service",
]

_VERSION = re.compile(rb"v(\d[\w.+-]{0,30})")
_LARGEST_LIST = 4 * 1024 * 1024  # of the preferences, which hold a ban list, and of the log


class QBittorrent(WebUI):
    """qBittorrent, 4.5 to 5.3, asked and told over its WebUI. Every method raises `SyncError`."""

    def version(self) -> str:
        """Read its version (`app/version`), such as `5.1.0`."""
        with self.call("GET", "/api/v2/app/version") as answer:
            if version := _VERSION.fullmatch(answer.body.strip()):
                return version[1].decode()
            raise self.http.error(ErrorKind.INVALID_RESPONSE, "answered with no version")

    def preferences(self) -> Preferences:
        """Read the preferences (`app/preferences`)."""
        path = "/api/v2/app/preferences"
        with self.call("GET", path, limit=_LARGEST_LIST) as answer:
            try:
                return read_preferences(self.http.json_object(answer))
            except ValueError as error:
                raise self.http.error(
                    ErrorKind.INVALID_RESPONSE, f"answered preferences {error}"
                ) from None

    def transfer_info(self) -> TransferInfo:
        """Read what it tells of its connections (`transfer/info`)."""
        with self.call("GET", "/api/v2/transfer/info") as answer:
            return read_transfer_info(self.http.json_object(answer))

    def interfaces(self) -> tuple[str, ...]:
        """List the interfaces that it can be bound to (`app/networkInterfaceList`)."""
        with self.call("GET", "/api/v2/app/networkInterfaceList") as answer:
            return tuple(read_interfaces(self.http.json_array(answer)))

    def interface_addresses(self, name: str) -> tuple[Address, ...]:
        """List an interface's addresses, as its own network has them; all, where `name` is empty.

        None for an interface that is not there (`app/networkInterfaceAddressList`).
        """
        path = f"/api/v2/app/networkInterfaceAddressList?iface={quote(name, safe='')}"
        with self.call("GET", path) as answer:
            return tuple(read_addresses(self.http.json_array(answer)))

    def set_listen_port(self, port: int) -> None:
        """Set the listening port, and turn off what a forwarded port can't have beside it.

        The answer tells nothing (200 to almost anything): only reading back does. An unchanged
        port does nothing. Raises ValueError for what is no port: qBittorrent would store 0 as
        "a random port" and 65536 as it is, and then listen on no socket.
        """
        if not 1 <= port <= 65535:
            raise ValueError(f"{port} is not a port")
        form = {"json": json.dumps({"listen_port": port, "random_port": False, "upnp": False})}
        with self.call("POST", "/api/v2/app/setPreferences", form=form):
            return

    def listen_log(self, port: int, after: LogMark | None) -> ListenLog | None:
        """Read what it logged of listening on a port since `after`, or since its start.

        None where that is unknown: the log is over its bound, or can't be read.
        """
        log = self._read_log(port, after)
        if log and after and not log.continues:
            # Another process's log, which begins anew, or one that dropped the entry.
            log = self._read_log(port, None)
        return log

    def _read_log(self, port: int, after: LogMark | None) -> ListenLog | None:
        try:
            with self.call("GET", listen_log.query(after), limit=_LARGEST_LIST) as answer:
                return self._parse_log(answer, port, after)
        except ServiceError as error:
            if error.kind in (ErrorKind.INVALID_RESPONSE, ErrorKind.HTTP_STATUS):
                return None
            raise

    def _parse_log(self, answer: Response, port: int, after: LogMark | None) -> ListenLog:
        try:
            return listen_log.read(answer.body, port, after)
        except ValueError:
            raise self.http.error(
                ErrorKind.INVALID_RESPONSE, "answered with something that is not its log"
            ) from None


def qbittorrent_service(url: str, verify: bool | str = True) -> Service:
    """Describe the WebUI at a URL; `verify` is whether, or by which CA bundle, to verify it."""
    return Service(
        label="qbittorrent",
        name="qBittorrent",
        url=url,
        unreachable=Reason.QBITTORRENT_UNREACHABLE,
        invalid_response=Reason.QBITTORRENT_INVALID_RESPONSE,
        verify=verify,
    )
