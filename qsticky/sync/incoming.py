"""Who came in: TCP connections that peers opened to the listening port."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from qsticky.kernel.netlink import Connection
from qsticky.services.qbittorrent import Address


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
