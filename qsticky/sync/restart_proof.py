"""Proof by the kernel that qBittorrent restarted, while it refuses to say anything itself."""

from qsticky.kernel.netlink import Interface
from qsticky.sync.vpn_interface import Kernel


class RestartProof:
    """Remembers the inodes of qBittorrent's sockets: its WebUI's, and those on the VPN's address.

    Both are others only after a restart. The WebUI's alone can be a proxy's.
    """

    def __init__(self, kernel: Kernel, webui_port: int) -> None:
        self._kernel = kernel
        self._webui_port = webui_port
        self._proved = False
        self._webui: frozenset[int] = frozenset()
        self._peers: frozenset[int] = frozenset()

    @property
    def proved(self) -> bool:
        """Whether both are others than before."""
        return self._proved

    def forget(self) -> None:
        """Start afresh: qBittorrent answers, and tells itself when it is another process."""
        self._proved, self._webui, self._peers = False, frozenset(), frozenset()

    def note(self, interface: Interface, port: int) -> None:
        """Look at the sockets now, for peers those of the port on the interface."""
        try:
            webui = self._kernel.sockets(self._webui_port).listeners
            peers = self._kernel.sockets(port).listeners
        except OSError:
            self._proved = False
            return
        owners = {socket.uid for socket in webui}
        now_webui = frozenset(socket.inode for socket in webui)
        now_peers = frozenset(
            socket.inode
            for socket in peers
            if socket.uid in owners and socket.address in interface.vpn_addresses
        )
        known = self._webui and self._peers and now_webui and now_peers
        self._proved = bool(known) and not (now_webui & self._webui or now_peers & self._peers)
        if now_webui and now_peers:
            self._webui, self._peers = now_webui, now_peers
