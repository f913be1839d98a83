"""What the kernel shows of the sockets on the listening port, and who came in by them."""

from collections.abc import Iterable

from qsticky.kernel.netlink import Listener as ListeningSocket
from qsticky.kernel.netlink import PortSockets
from qsticky.services.qbittorrent import Preferences, Protocol
from qsticky.sync.incoming import Incoming
from qsticky.sync.vpn_interface import VpnInterface


class Sockets:
    """Remembers the last observation, and which sockets are known to be qBittorrent's own.

    `webui_port` is where the WebUI's socket is looked for, whose owner qBittorrent's others have.
    """

    def __init__(self, vpn: VpnInterface, webui_port: int) -> None:
        self._vpn = vpn
        self._webui_port = webui_port
        self._sockets: PortSockets | None = None
        self._incoming = Incoming()
        self._opened: frozenset[int] | None = None  # the inodes of those whose opening was logged
        self._owner: int | None = None

    @property
    def incoming(self) -> Incoming:
        """Who came in."""
        return self._incoming

    @property
    def inodes(self) -> frozenset[int]:
        """Those of all that listen on the port; none where nothing can be seen."""
        return frozenset(socket.inode for socket in self._listeners)

    @property
    def strange(self) -> bool:
        """Whether qBittorrent logged nothing of opening one: another program may have been faster.

        Of a VPN's restart it may not even try to open its own anew (5.1.0 and 5.3.0).
        """
        return any(self._is_strange(socket) for socket in self._listeners)

    def observe(self, port: int, preferences: Preferences | None, now: float) -> None:
        """Ask the kernel for those of the port, where they can be seen.

        Where only uTP is spoken, qBittorrent takes TCP connections, and resets them. `now` is in
        monotonic seconds.
        """
        self._sockets = self._vpn.sockets(port) if preferences else None
        utp = preferences and preferences.protocol is Protocol.UTP
        if self._sockets is None or utp or (interface := self._vpn.visible) is None:
            self._incoming = self._incoming.unseen()
            return
        connections = self._sockets.connections
        self._incoming = self._incoming.after(connections, interface.addresses, now)

    def observe_owner(self) -> None:
        """Ask the kernel whose the WebUI's socket is."""
        webui = self._vpn.sockets(self._webui_port)
        owners = {socket.uid for socket in webui.listeners} if webui else set()
        self._owner = owners.pop() if len(owners) == 1 else None

    def note_opened(self, *, logged: bool) -> None:
        """Note that those seen last are qBittorrent's; where nothing was `logged`, unless known."""
        if self._sockets and (logged or self._opened is None):
            self._opened = self.inodes

    def serve(self, protocol: Protocol) -> bool | None:
        """Whether one serves the VPN's address; None where that needs the log, or can't be seen.

        qBittorrent opens one socket an address, so that a wildcard one may be another program's.
        TCP sockets stay open also where only uTP is spoken.
        """
        interface = self._vpn.visible
        if self._sockets is None or interface is None:
            return None
        may_serve = [socket for socket in self._listeners if socket.serves(interface)]
        if not may_serve:
            return False
        if protocol is Protocol.UTP:
            return None
        return True if any(self._is_certain(socket) for socket in may_serve) else None

    def _is_certain(self, socket: ListeningSocket) -> bool:
        bound_elsewhere = socket.interface_index is None  # /proc doesn't tell
        other_owner = self._owner is not None and socket.uid != self._owner
        uncertain = socket.address.is_unspecified or bound_elsewhere or other_owner
        return not (uncertain or self._is_strange(socket))

    def _is_strange(self, socket: ListeningSocket) -> bool:
        return self._opened is not None and socket.inode not in self._opened

    @property
    def _listeners(self) -> Iterable[ListeningSocket]:
        return self._sockets.listeners if self._sockets else ()
