"""Whether qBittorrent really listens where the VPN's peers arrive, and by what that is known."""

import threading
from typing import NamedTuple

from qsticky.clock import Clock
from qsticky.services.qbittorrent import ConnectionStatus, Preferences, Protocol, QBittorrent
from qsticky.sync import settings
from qsticky.sync.opening_log import OpeningLog
from qsticky.sync.report import ListeningBy, RebindCause
from qsticky.sync.settings import Network
from qsticky.sync.sockets import Incoming, Sockets
from qsticky.sync.vpn_interface import VpnInterface, vpn_addresses

_HEAR_FOR = 0.15
_HEAR_EVERY = 0.05
DISCONNECTED_FOR = 2.0  # seconds; 4.6.7 and later are for a moment, without cause


class Listening(NamedTuple):
    """The one answer: yes, no or unknown (None), by what, and what is wrong.

    `cause` is what to open the sockets anew for, where that may help.
    """

    listening: bool | None = None
    by: ListeningBy | None = None
    problem: str | None = None
    cause: RebindCause | None = None


class _Circumstances(NamedTuple):
    """What the sockets depend on: where it differs, they may be others, and the log is read."""

    process: int
    binding: tuple[object, ...]
    interface: tuple[object, ...]
    inodes: frozenset[int]


class Listener:
    """Weighs the settings, what qBittorrent logged, and what the kernel shows of its sockets.

    `observe`, `read_log`, `before_opening` and `after_opening` ask and remember; `assess` answers
    from that. `moved` tells that, unseen, qBittorrent's binding or the VPN's addresses are others
    than when the log was read before, or that it never was: it logs nothing of a socket that stays
    open, so that what it logged says nothing about now.

    `webui_port` is where the WebUI's socket is looked for. `always_read` is for an API
    key, with which no lost session tells of a restart, and for a fixed port, with which
    Gluetun tells nothing of the VPN's outages. Methods that ask qBittorrent raise `SyncError`.
    """

    def __init__(
        self,
        qbittorrent: QBittorrent,
        vpn: VpnInterface,
        *,
        webui_port: int,
        always_read: bool,
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._qbittorrent = qbittorrent
        self._vpn = vpn
        self._always_read = always_read
        self._clock = clock
        self._stopping = stopping
        self._log = OpeningLog()
        self._sockets = Sockets(vpn, webui_port)
        self._circumstances: _Circumstances | None = None
        self._awaited = False  # what is logged of a change may have come too late to be read
        self._told = Network(vpn.name)
        self._disconnected = False
        self.moved = False

    @property
    def incoming(self) -> Incoming:
        """Who came in."""
        return self._sockets.incoming

    def observe(self, port: int, preferences: Preferences | None) -> None:
        """Ask the kernel for the sockets of the port, where they can be seen."""
        self._sockets.observe(port, preferences, self._clock.monotonic())

    def observe_connection(self, status: ConnectionStatus | None) -> None:
        """Take in what qBittorrent says of its connection, where nothing else shows it.

        One that says to be disconnected is asked again: 4.6.7 and later are for a moment, without
        cause. Otherwise the VPN was away.
        """
        gone = ConnectionStatus.DISCONNECTED
        self._disconnected = (
            status is gone
            and not self._vpn.was_visible
            and not self._clock.wait(self._stopping, DISCONNECTED_FOR)
            and self._qbittorrent.transfer_info().connection_status is gone
        )
        if self._disconnected:
            self.note_away()

    def read_log(self, port: int, preferences: Preferences) -> None:
        """Read qBittorrent's log anew if the sockets may be others than when it was read last."""
        self.moved = False
        always = self._always_read and not self._vpn.visible
        if self._now(preferences) == self._circumstances and not (self._awaited or always):
            return
        self._learn_network(preferences)
        before, now = self._circumstances, self._now(preferences)
        if before is None or before._replace(process=now.process) != now:
            self._log.age()
            self.moved = not self._vpn.visible
        self._log.take(self._qbittorrent.listen_log(port, self._log.mark))
        if before is None and self.moved:
            self._log.age()  # of before this process began
        self._circumstances = now
        self._awaited = now != before and not self._spoke(preferences)
        logged = self._log.mark is None or bool(self._heard(preferences))
        self._sockets.note_opened(logged=logged)

    def before_opening(self, port: int) -> None:
        """Note where the log ends, so that what is logged of the opening is told from the rest."""
        self._log.take(self._qbittorrent.listen_log(port, self._log.mark))
        self._log.forget()

    def after_opening(self, port: int, preferences: Preferences) -> None:
        """Read what was logged since, which takes 4 to 39 ms to come, and observe the sockets."""
        self._learn_network(preferences)
        deadline = self._clock.monotonic() + _HEAR_FOR
        while True:
            late = self._clock.monotonic() >= deadline
            self._log.take(self._qbittorrent.listen_log(port, self._log.mark))
            if self._spoke(preferences) or late or self._clock.wait(self._stopping, _HEAR_EVERY):
                break
        self.observe(port, preferences)
        self._circumstances = self._now(preferences)
        self._awaited = not self._spoke(preferences)
        self._disconnected = self.moved = False
        self._sockets.note_opened(logged=True)

    def note_away(self) -> None:
        """Note evidence that the VPN was away: what opened before may be closed since."""
        self._log.age()

    def assess(self, port: int, preferences: Preferences) -> Listening:
        """Tell whether it listens on the port, from what is known now."""
        network = self._network
        if problem := settings.shut_out_by(preferences, network):
            return Listening(False, ListeningBy.SETTINGS, problem)
        heard = self._heard(preferences)
        if heard is False:
            logged = self._log.failure(network.vpn_addresses) or ""
            problem = f"qBittorrent can't listen on port {port}, and logged: {logged[:200]}"
            return Listening(False, ListeningBy.QBITTORRENT, problem, RebindCause.NOT_LISTENING)
        seen = self._sockets.serve(preferences.protocol)
        if seen is False:
            problem = f"qBittorrent has port {port} and no socket on {self._vpn.name} for it"
            return Listening(False, ListeningBy.KERNEL, problem, RebindCause.NOT_LISTENING)
        if seen:
            return Listening(True, ListeningBy.KERNEL)
        if self._disconnected:
            problem = f"qBittorrent has port {port} and is disconnected, with no socket at all"
            return Listening(False, ListeningBy.QBITTORRENT, problem, RebindCause.DISCONNECTED)
        if heard:
            return Listening(True, ListeningBy.QBITTORRENT)
        return Listening(cause=RebindCause.NOT_LISTENING if self._sockets.strange else None)

    def warning(self, preferences: Preferences) -> str | None:
        """Tell what keeps no TCP peer out, and is worth a sentence all the same."""
        addresses = self._network.vpn_addresses
        if preferences.protocol is Protocol.TCP_AND_UTP and self._log.without_udp(addresses):
            return (
                "qBittorrent opened its TCP port for peers and not the UDP one, so that uTP and "
                "DHT don't work; see that no other program has that UDP port, and restart it"
            )
        return None

    def _spoke(self, preferences: Preferences) -> bool:
        """Whether all was logged that is awaited of an opening: nothing of unknown addresses."""
        if not self._network.vpn_addresses:
            return True
        return self._heard(preferences) is not None and self.warning(preferences) is None

    def _heard(self, preferences: Preferences) -> bool | None:
        return self._log.listening(self._network.vpn_addresses, preferences.protocol)

    @property
    def _network(self) -> Network:
        """The network as it is known now: by the kernel's interface, else as qBittorrent told."""
        if interface := self._vpn.visible:
            return Network(self._vpn.name, interface, interface.vpn_addresses)
        return self._told

    def _learn_network(self, preferences: Preferences) -> None:
        """Ask whose the WebUI's socket is, or where nothing is visible, for the VPN's addresses."""
        if self._vpn.visible:
            self._sockets.observe_owner()
            return
        interfaces = self._qbittorrent.interfaces()
        ask = self._qbittorrent.interface_addresses
        addresses = vpn_addresses(interfaces, preferences.interface, self._vpn.name, ask)
        self._told = Network(self._vpn.name, None, addresses, interfaces)

    def _now(self, preferences: Preferences) -> _Circumstances:
        interface = self._vpn.visible
        return _Circumstances(
            process=self._qbittorrent.sockets_may_differ,
            binding=(preferences.interface, preferences.interface_address),
            interface=(interface and interface.index, *self._network.vpn_addresses),
            inodes=self._sockets.inodes,
        )
