"""qBittorrent's WebUI API: what a forwarded port depends on is read by it, and the port set."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeGuard
from urllib.parse import quote

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services import listen_log
from qsticky.services.http import Service
from qsticky.services.listen_log import ListenLog, LogMark
from qsticky.services.webui import WebUI
from qsticky.text import kept

_VERSION = re.compile(rb"v(\d[\w.+-]{0,30})")
_LARGEST_LIST = 4 * 1024 * 1024  # of the preferences, which hold a ban list, and of the log


Address = IPv4Address | IPv6Address


class ConnectionStatus(StrEnum):
    """What qBittorrent says of its reachability (`transfer/info`).

    `disconnected`: no socket at all; `firewalled`: listening, nothing came in yet; `connected`:
    something came in from a public address, since the sockets were opened.
    """

    CONNECTED = "connected"
    FIREWALLED = "firewalled"
    DISCONNECTED = "disconnected"


class Protocol(IntEnum):
    """By which protocols peers are spoken to (`bittorrent_protocol`)."""

    TCP_AND_UTP = 0
    TCP = 1
    UTP = 2


class Preferences(NamedTuple):
    """The part of qBittorrent's preferences that a forwarded port depends on.

    `listen_port` is as stored: qBittorrent also stores ports that can't be. `interface` and
    `interface_address` are what it is bound to, empty for all. `web_ui_port` is 0 where it isn't
    told. `peer_proxy` tells that a proxy for peer connections leaves it without a TCP listener.
    """

    listen_port: int
    random_port: bool = False
    upnp: bool = False
    interface: str = ""
    interface_address: str = ""
    web_ui_port: int = 0
    protocol: Protocol = Protocol.TCP_AND_UTP
    peer_proxy: bool = False


class TransferInfo(NamedTuple):
    """What qBittorrent tells of its connections (`transfer/info`).

    `connection_status` is None for one that is not known here, and `dht_nodes` where there is no
    number. `external_addresses` are those at which peers last saw it, from 5.1 on.
    """

    connection_status: ConnectionStatus | None
    dht_nodes: int | None = None
    external_addresses: tuple[Address, ...] = ()


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
            found = _preferences(self.http.json_object(answer))
            if found is None:
                problem = "answered preferences without a listen_port"
                raise self.http.error(ErrorKind.INVALID_RESPONSE, problem)
            return found

    def transfer_info(self) -> TransferInfo:
        """Read what it tells of its connections (`transfer/info`)."""
        with self.call("GET", "/api/v2/transfer/info") as answer:
            return _transfer_info(self.http.json_object(answer))

    def interfaces(self) -> tuple[str, ...]:
        """List the interfaces that it can be bound to (`app/networkInterfaceList`)."""
        with self.call("GET", "/api/v2/app/networkInterfaceList") as answer:
            entries = (e for e in self.http.json_array(answer) if isinstance(e, dict))
            names = (entry.get("value") for entry in entries)
            return tuple(kept(name) for name in names if isinstance(name, str) and name)

    def interface_addresses(self, name: str) -> tuple[Address, ...] | None:
        """List an interface's addresses, as its own network has them; all, where `name` is empty.

        Empty for an interface that is not there (`app/networkInterfaceAddressList`), and None where
        it answers something else.
        """
        path = f"/api/v2/app/networkInterfaceAddressList?iface={quote(name, safe='')}"
        try:
            with self.call("GET", path) as answer:
                return tuple(_addresses(self.http.json_array(answer)))
        except ServiceError as error:
            if error.reason is Reason.QBITTORRENT_INVALID_RESPONSE:
                return None
            raise

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
                try:
                    return listen_log.read(answer.body, port, after)
                except ValueError:
                    problem = "answered with something that is not its log"
                    raise self.http.error(ErrorKind.INVALID_RESPONSE, problem) from None
        except ServiceError as error:
            if error.kind in (ErrorKind.INVALID_RESPONSE, ErrorKind.HTTP_STATUS):
                return None
            raise


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


def _preferences(answer: Mapping[str, object]) -> Preferences | None:
    """Read `app/preferences`; None where no `listen_port` is in it."""
    port, web_ui_port = answer.get("listen_port"), answer.get("web_ui_port")
    interface = answer.get("current_network_interface", "")
    address = answer.get("current_interface_address", "")
    if not _is_int(port) or not isinstance(interface, str) or not isinstance(address, str):
        return None
    protocol = answer.get("bittorrent_protocol")
    return Preferences(
        listen_port=port,
        random_port=answer.get("random_port") is True,
        upnp=answer.get("upnp") is True,
        interface=kept(interface),
        interface_address=kept(address),
        web_ui_port=web_ui_port if _is_int(web_ui_port) else 0,
        protocol=next((each for each in Protocol if each == protocol), Protocol.TCP_AND_UTP),
        peer_proxy=_peers_by_proxy(answer),
    )


def _peers_by_proxy(answer: Mapping[str, object]) -> bool:
    """Whether peers are only spoken to by a proxy: then there is no TCP listener at all.

    `proxy_type` is a number to 4.5 (0 and -1 for none), a name since 4.6 ("None"), and
    `proxy_bittorrent` came with that. Run with SOCKS4, SOCKS5 and HTTP.
    """
    kind = answer.get("proxy_type")
    chosen = (type(kind) is int and kind > 0) or (
        isinstance(kind, str) and kind not in ("None", "")
    )
    return (
        chosen
        and answer.get("proxy_peer_connections") is True
        and answer.get("proxy_bittorrent") is not False
    )


def _transfer_info(answer: Mapping[str, object]) -> TransferInfo:
    """Read `transfer/info`, in which all may be missing."""
    status, nodes = answer.get("connection_status"), answer.get("dht_nodes")
    told = (answer.get(f"last_external_address_{version}") for version in ("v4", "v6"))
    return TransferInfo(
        next((known for known in ConnectionStatus if known == status), None),
        nodes if _is_int(nodes) and nodes >= 0 else None,
        tuple(_addresses(told)),
    )


def _addresses(told: Iterable[object]) -> Iterator[Address]:
    """Read addresses, without the zone of `fe80::1%4`, leaving out what is none."""
    for text in told:
        with contextlib.suppress(ValueError):
            if isinstance(text, str):
                yield ip_address(text.partition("%")[0])


def _is_int(value: object) -> TypeGuard[int]:
    """Whether it is one of C++; one of hundreds of digits would fit into no metric."""
    return type(value) is int and -(2**31) <= value < 2**31
