"""What qBittorrent's answers hold of what a forwarded port depends on."""

from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeGuard

from qsticky.text import kept

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


def read_preferences(answer: Mapping[str, object]) -> Preferences:
    """Read `app/preferences`; raises ValueError where no `listen_port` is in it."""
    port, web_ui_port = answer.get("listen_port"), answer.get("web_ui_port")
    interface, address = (
        answer.get(name, "") for name in ("current_network_interface", "current_interface_address")
    )
    if not _is_int(port) or not isinstance(interface, str) or not isinstance(address, str):
        raise ValueError("without a listen_port")
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


def read_transfer_info(answer: Mapping[str, object]) -> TransferInfo:
    """Read `transfer/info`, in which all may be missing."""
    status, nodes = answer.get("connection_status"), answer.get("dht_nodes")
    told = [answer.get(f"last_external_address_{version}") for version in ("v4", "v6")]
    return TransferInfo(
        next((known for known in ConnectionStatus if known == status), None),
        nodes if _is_int(nodes) and nodes >= 0 else None,
        tuple(read_addresses(told)),
    )


def read_interfaces(answer: list[object]) -> Iterator[str]:
    """Read `app/networkInterfaceList`: the names by which interfaces are bound to."""
    for entry in answer:
        if isinstance(entry, dict) and isinstance(name := entry.get("value"), str) and name:
            yield kept(name)


def read_addresses(answer: list[object]) -> Iterator[Address]:
    """Read addresses (`app/networkInterfaceAddressList`), leaving out what is none."""
    for text in answer:
        address = _address(text) if isinstance(text, str) else None
        if address:
            yield address


def _is_int(value: object) -> TypeGuard[int]:
    """Whether it is one of C++; one of hundreds of digits would fit into no metric."""
    return type(value) is int and -(2**31) <= value < 2**31


def _address(text: str) -> Address | None:
    try:
        return ip_address(text.partition("%")[0])  # without the zone of fe80::1%4
    except ValueError:
        return None
