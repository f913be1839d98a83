"""What the configuration says of a sync: the table of variables, as the syncs need it."""

from typing import NamedTuple


class Options(NamedTuple):
    """`port_index` counts from 1; `fixed_port` takes Gluetun's place. `vpn_interface` is a name.

    `beside` tells that qBittorrent is at a loopback address, and `same_network` that Gluetun is as
    well. `metrics_port` is qSticky's own, where it is served on the VPN's address too. `port_grace`
    is in seconds; `rebind` permits rebinding; `api_key` tells that no session is kept.
    """

    vpn_interface: str
    webui_port: int
    beside: bool
    same_network: bool
    port_index: int = 1
    fixed_port: int | None = None
    metrics_port: int | None = None
    port_grace: float = 300.0
    rebind: bool = True
    api_key: bool = False
