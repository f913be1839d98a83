"""What one check has learnt so far, section by section."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from qsticky.check.place import Place
from qsticky.clock import Clock
from qsticky.config import Config, is_loopback
from qsticky.services.gluetun import PublicAddress
from qsticky.services.qbittorrent import Preferences, QBittorrent, TransferInfo
from qsticky.sync.vpn_interface import Kernel, VpnInterface

_T = TypeVar("_T")


@dataclass
class Facts:
    """What the check was given, and what its sections learnt for the later ones.

    Each of the latter is set by one section: by qSticky's `document`, which the running daemon
    writes (None where none runs), `left_behind` by one that died, and `daemon_is_known`; by
    Gluetun's the `ports` (None where they can't be had), the `forwarded_port` among them, what
    its role `permits` and the `public_address`; by qBittorrent's the client that is let in, until
    the check ends, its `preferences`, its `transfer` info and whether the forwarded port is
    `another_server_s`. `vpn` is observed anew by each.
    """

    config: Config
    clock: Clock
    kernel: Kernel
    place: Place
    document: dict[str, Any] | None = None
    left_behind: dict[str, Any] | None = None
    daemon_is_known: bool = False
    ports: tuple[int, ...] | None = None
    forwarded_port: int | None = None
    permits: tuple[str, ...] = ()
    public_address: PublicAddress | None = None
    qbittorrent: QBittorrent | None = None
    preferences: Preferences | None = None
    transfer: TransferInfo | None = None
    another_server_s: bool = False
    vpn: VpnInterface = field(init=False)

    def __post_init__(self) -> None:
        """Have a VPN interface to observe."""
        beside = is_loopback(self.config.qbittorrent_host)
        self.vpn = VpnInterface(self.config.vpn_interface, beside=beside, kernel=self.kernel)

    def observe_twice(
        self, pause: float, observe: Callable[[], _T], wrong: Callable[[_T], bool]
    ) -> _T:
        """Look, and where it is wrong once more, `pause` seconds later: it may be for a moment."""
        seen = observe()
        if wrong(seen):
            self.clock.wait(threading.Event(), pause)
            seen = observe()
        return seen
