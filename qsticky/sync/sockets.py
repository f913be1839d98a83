"""What the kernel shows of qBittorrent's sockets: who listens, who came in, if they are others."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from qsticky.kernel.netlink import Connection, Interface, PortSockets
from qsticky.kernel.netlink import Listener as ListeningSocket
from qsticky.services.qbittorrent import Address, Preferences, Protocol
from qsticky.sync.vpn_interface import Kernel, VpnInterface


class Incoming(NamedTuple):
    """What the last observation showed: how many are `established`, None where nothing can be seen.

    `last` is the moment (monotonic seconds) at which one was seen that was not there at the one
    before, kept once known. One is proof that peers can connect; none proves nothing: there may be
    no torrents, or only uTP.
    """

    established: int | None = None
    last: float | None = None
    peers: frozenset[tuple[Address, int]] | None = None

    def after(
        self, connections: Iterable[Connection], own: Collection[Address], now: float
    ) -> "Incoming":
        """Return what is known after an observation.

        `own` are the VPN's addresses, where peers come in.
        """
        found = [
            connection
            for connection in connections
            if connection.local in own
            and connection.peer not in own
            and not connection.peer.is_loopback
        ]
        peers = frozenset((connection.peer, connection.peer_port) for connection in found)
        new = self.peers is not None and peers - self.peers
        established = sum(connection.established for connection in found)
        return Incoming(established, now if new else self.last, peers)

    def unseen(self) -> "Incoming":
        """Return what is known where nothing can be observed now."""
        return self._replace(established=None, peers=None)


class Sockets:
    """Remembers the last observation, and which sockets are known to be qBittorrent's own.

    `incoming` is who came in. `webui_port` is where the WebUI's socket is looked for, whose owner
    qBittorrent's others have.
    """

    def __init__(self, vpn: VpnInterface, webui_port: int) -> None:
        self._vpn = vpn
        self._webui_port = webui_port
        self._sockets: PortSockets | None = None
        self.incoming = Incoming()
        self._opened: frozenset[int] | None = None  # the inodes of those whose opening was logged
        self._owner: int | None = None

    @property
    def inodes(self) -> frozenset[int]:
        """Those of all that listen on the port; none where nothing can be seen."""
        return _inodes(self._listeners)

    @property
    def strange(self) -> bool:
        """Whether qBittorrent logged nothing of opening one: another program may have been faster.

        Of a VPN's restart it may not even try to open its own anew (5.1.0 and 5.3.0).
        """
        return self._opened is not None and not self.inodes <= self._opened

    def observe(self, port: int, preferences: Preferences | None, now: float) -> None:
        """Ask the kernel for those of the port, where they can be seen.

        Where only uTP is spoken, qBittorrent takes TCP connections, and resets them. `now` is in
        monotonic seconds.
        """
        self._sockets = self._vpn.sockets(port) if preferences else None
        utp = preferences and preferences.protocol is Protocol.UTP
        if self._sockets is None or utp or (interface := self._vpn.visible) is None:
            self.incoming = self.incoming.unseen()
            return
        connections = self._sockets.connections
        self.incoming = self.incoming.after(connections, interface.addresses, now)

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
        serving = [socket for socket in self._listeners if socket.serves(interface)]
        if not serving:
            return False
        certain = protocol is not Protocol.UTP and any(map(self._is_certain, serving))
        return True if certain else None

    def _is_certain(self, socket: ListeningSocket) -> bool:
        bound_elsewhere = socket.interface_index is None  # /proc doesn't tell
        other_owner = self._owner is not None and socket.uid != self._owner
        uncertain = socket.address.is_unspecified or bound_elsewhere or other_owner
        logged = self._opened is None or socket.inode in self._opened
        return logged and not uncertain

    @property
    def _listeners(self) -> tuple[ListeningSocket, ...]:
        return self._sockets.listeners if self._sockets else ()


class RestartProof:
    """Proof that qBittorrent restarted, while it refuses to say anything itself.

    Remembers the inodes of its sockets, the WebUI's and those on the VPN's address: both are others
    only after a restart, and then it is `proved`. The WebUI's alone can be a proxy's.
    """

    def __init__(self, kernel: Kernel, webui_port: int) -> None:
        self.proved = False
        self._kernel = kernel
        self._webui_port = webui_port
        self._known: list[frozenset[int]] = []

    def forget(self) -> None:
        """Start afresh: qBittorrent answers, and tells itself when it is another process."""
        self.proved, self._known = False, []

    def note(self, interface: Interface, port: int) -> None:
        """Look at the sockets now, for peers those of the port on the interface."""
        self.proved = False
        try:
            webui = self._kernel.sockets(self._webui_port).listeners
            peers = self._kernel.sockets(port).listeners
        except OSError:
            return
        owners = {socket.uid for socket in webui}
        own = (s for s in peers if s.uid in owners and s.address in interface.vpn_addresses)
        found = [_inodes(webui), _inodes(own)]
        if all(found):
            before, self._known = self._known, found
            self.proved = bool(before) and all(map(frozenset.isdisjoint, before, found))


def _inodes(sockets: Iterable[ListeningSocket]) -> frozenset[int]:
    return frozenset(socket.inode for socket in sockets)
