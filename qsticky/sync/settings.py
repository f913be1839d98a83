"""The settings of qBittorrent that shut peers out while both ports match, each with what to set.

What each does was run on qBittorrent 4.5.2, 5.1.0 and 5.3.0. Opening the sockets anew helps against
none of them. Options are named as qBittorrent's dialog has them.
"""

from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple

from qsticky.kernel.netlink import Interface
from qsticky.services.qbittorrent import Address, Preferences

_MOST_TOLD = 3


class Network(NamedTuple):
    """The network that qBittorrent listens in, as far as it is known.

    `vpn_interface` is the VPN's where it is visible; `vpn_addresses` and the names of all
    `interfaces` are empty where nobody could tell.
    """

    vpn_name: str
    vpn_interface: Interface | None = None
    vpn_addresses: tuple[Address, ...] = ()
    interfaces: tuple[str, ...] = ()


def shut_out_by(preferences: Preferences, network: Network) -> str | None:
    """Name the setting that keeps every peer out, and what to set; None where none does."""
    if preferences.peer_proxy:
        return (
            "qBittorrent sends its peer connections through a proxy, so that no peer can connect; "
            "untick Options > Connection > Proxy Server > Use proxy for peer connections"
        )
    return _interface_problem(preferences.interface, network) or _address_problem(
        preferences.interface_address, network
    )


def port_conflict(port: int, web_ui_port: int | None, metrics_port: int | None) -> str | None:
    """Tell why the forwarded port must not be set: another server of this network has it.

    qBittorrent's torrent sockets win against its WebUI at its next start: 4.5.2 then ends, and
    5.1.0 and 5.3.0 run on without a WebUI. `metrics_port` is qSticky's own, where it covers the
    VPN's address.
    """
    if port == web_ui_port:
        return (
            f"The forwarded port {port} is that of qBittorrent's own WebUI, so it is not set: the "
            "WebUI would be lost at the next start; give the WebUI another port (Options > Web UI "
            "> Port, or WEBUI_PORT for its image) and set QBITTORRENT_PORT to it"
        )
    if port == metrics_port:
        return (
            f"The forwarded port {port} is METRICS_PORT, so it is not set; set METRICS_PORT to "
            "another one, or METRICS_ADDRESS to an address that is not the VPN's"
        )
    return None


def _interface_problem(bound_to: str, network: Network) -> str | None:
    option = "set Options > Advanced > Network interface to"
    if not bound_to:
        return None
    seen = network.vpn_interface is not None
    if not seen and network.interfaces and bound_to not in network.interfaces:
        return (
            f"qBittorrent is bound to the network interface {bound_to}, which isn't there, so that "
            f"it listens on nothing; {option} Any interface, or if {bound_to} is the VPN's, see in "
            "Gluetun's log why the VPN is down"
        )
    there = seen or network.vpn_name in network.interfaces
    if bound_to == "lo" or (there and bound_to != network.vpn_name):
        vpns = network.vpn_name if there else "the VPN's"
        return (
            f"qBittorrent listens on the network interface {bound_to} only, which is not the "
            f"VPN's; {option} {vpns}"
        )
    return None


def _address_problem(bound_to: str, network: Network) -> str | None:
    addresses = network.vpn_addresses
    if not bound_to or not addresses or _covers(bound_to, addresses):
        return None
    return (
        f"qBittorrent listens on the address {bound_to} only, which is not the VPN's; set Options "
        "> Advanced > Optional IP address to bind to to All addresses, or to "
        f"{' or '.join(map(str, addresses[:_MOST_TOLD]))}"
    )


def _covers(bound_to: str, addresses: Collection[Address]) -> bool:
    """Whether one of the addresses is among what `0.0.0.0`, `::` or an address stands for."""
    try:
        address = ip_address(bound_to)
    except ValueError:
        return False
    if address.is_unspecified:  # all of one family
        return any(address.version == other.version for other in addresses)
    return address in addresses
