"""One sync: compares Gluetun's port with qBittorrent's, changes it where needed, and verifies."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from qsticky.clock import Clock
from qsticky.errors import Reason, ServiceError, SyncError
from qsticky.services.gluetun import Gluetun, no_port_at
from qsticky.services.qbittorrent import ConnectionStatus, LogMark, QBittorrent
from qsticky.sync.listening import DISCONNECTED_FOR, Look, Lookout, Reopening
from qsticky.sync.report import PortChange, RebindCause, Status, SyncReport, Trigger

_READ_BACK_FOR = 2.0
_READ_BACK_EVERY = 0.01
_HEAR_FOR = 0.15
_HEAR_EVERY = 0.05
_SECOND_LOOK = 1.0
_RECREATED_AFTER = 120.0


class Synchronizer:
    """Runs one sync at a time, and remembers between them only what a comparison needs.

    `port_index` counts from 1, `port_grace` is in seconds; `rebind` permits re-opening the
    socket; `same_network` tells that both services are at loopback addresses, as in one network
    namespace; `stopping` ends a wait early.
    """

    def __init__(
        self,
        gluetun: Gluetun,
        qbittorrent: QBittorrent,
        *,
        lookout: Lookout,
        port_index: int,
        port_grace: float,
        rebind: bool,
        same_network: bool,
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._gluetun = gluetun
        self._qbittorrent = qbittorrent
        self._lookout = lookout
        self._rebind = rebind
        self._same_network = same_network
        self._port_index = port_index
        self._port_grace = port_grace
        self._clock = clock
        self._stopping = stopping
        self._forwarded_port: int | None = None
        self._portless_since: float | None = None
        self._unverified: PortChange | None = None
        self._lost = False
        self._word: str | None = None
        self._word_is_old = False
        self._reopening = Reopening()
        self._public_ip: str | None = None
        self._gluetun_gone_since: float | None = None

    def sync(self, triggers: Sequence[Trigger], rebind: bool = False) -> SyncReport:
        """Compare, change and verify, once; whatever goes wrong is in the report.

        `triggers` is what the sync is run for, first the one that it is named after; `rebind`
        has it re-open the listening socket.
        """
        started = self._clock.monotonic()
        seen = _Sight()
        if rebind:
            self._reopening.evidence(RebindCause.REQUEST, started)
        if Trigger.PORT_FILE in triggers:
            self._note_evidence(RebindCause.PORT_FILE)
        try:
            status = self._reconcile(seen)
        except SyncError as error:
            seen.failure = seen.problem = error
            status = Status.FAILING
        return SyncReport(
            trigger=triggers[0],
            finished_at=self._clock.now(),
            duration=self._clock.monotonic() - started,
            status=status,
            **vars(seen),
        )

    def _reconcile(self, seen: "_Sight") -> Status:
        # Both are asked, also when the first fails: what is wrong with each is worth knowing.
        gluetun_failure = self._look_at_gluetun(seen)
        qbittorrent_failure = self._look_at_qbittorrent(seen)
        look = self._look(seen, seen.current_port or 0)
        if seen.port_restored:
            self._note_evidence(RebindCause.PORT_RETURNED)
        if gluetun_failure or look.lost:
            self._raise_if_recreated(seen)
        if gluetun_failure:
            raise gluetun_failure
        if qbittorrent_failure:
            raise qbittorrent_failure
        if not seen.forwarded_port:
            # Left alone: with port 0 qBittorrent would listen on random ones.
            return self._wait_for_port(seen)
        if self._set_port(seen, seen.forwarded_port):
            look = self._look(seen, seen.forwarded_port)
        self._follow_public_ip(seen)
        self._ensure_listening(seen, seen.forwarded_port, look)
        return Status.SYNCED

    def _note_evidence(self, cause: RebindCause) -> None:
        """Note what tells that the VPN came back, where the interface can't be looked at."""
        if not self._lookout.seen:
            self._reopening.evidence(cause, self._clock.monotonic())

    def _follow_public_ip(self, seen: "_Sight") -> None:
        if self._lookout.seen or not seen.gluetun_up:
            return
        address = getattr(self._gluetun.public_address(), 'address', None)
        if address and self._public_ip and address != self._public_ip:
            self._note_evidence(RebindCause.ADDRESS_CHANGED)
        self._public_ip = address or self._public_ip

    def _raise_if_recreated(self, seen: "_Sight") -> None:
        """Recognise a Gluetun whose container was recreated: ours keeps the dead network."""
        since = self._gluetun_gone_since
        if (
            since is None
            or self._clock.monotonic() - since < _RECREATED_AFTER
            or not (self._same_network and seen.qbittorrent_up)
            or self._lookout.interface() is not None
        ):
            return
        raise SyncError(
            Reason.GLUETUN_UNREACHABLE,
            f"Gluetun has not answered for {_RECREATED_AFTER / 60:g} minutes and "
            f"{self._lookout.name} is gone, while qBittorrent answers: Gluetun's container was "
            "probably recreated, and the containers that share its network kept the dead one; "
            "recreate them too (docker compose up -d --force-recreate)",
        )

    def _look_at_gluetun(self, seen: "_Sight") -> SyncError | None:
        try:
            ports = self._gluetun.forwarded_ports()
            seen.gluetun_up = True
            self._gluetun_gone_since = None
        except SyncError as error:
            if error.reason is not Reason.GLUETUN_UNREACHABLE:
                self._gluetun_gone_since = None
            elif self._gluetun_gone_since is None:
                self._gluetun_gone_since = self._clock.monotonic()
            ports = self._gluetun.ports_in_file()
            if not ports:
                return error
            seen.problem = error
        index = self._port_index
        seen.forwarded_port = ports[index - 1] if index <= len(ports) else 0
        self._follow(seen, seen.forwarded_port)
        if ports and not seen.forwarded_port:
            return no_port_at(index, len(ports))
        return None

    def _follow(self, seen: "_Sight", port: int) -> None:
        """Notice when the forwarded port goes away and comes back."""
        if port:
            seen.port_restored = self._lost
            self._lost = False
            self._portless_since = None
        else:
            seen.port_lost = bool(self._forwarded_port)
            self._lost = self._lost or seen.port_lost
            if self._portless_since is None:
                self._portless_since = self._clock.monotonic()
        self._forwarded_port = port

    def _look_at_qbittorrent(self, seen: "_Sight") -> SyncError | None:
        try:
            seen.current_port = self._qbittorrent.preferences().listen_port
            seen.connection_status = self._qbittorrent.transfer_info().connection_status
            if self._word and self._word_is_old:  # its log begins anew with each start
                self._word = self._hear(seen.current_port, after=None)
            self._word_is_old = False
        except SyncError as error:
            if isinstance(error, ServiceError) and error.gone:
                self._reopening.well()  # when it is back, its sockets are others
                self._word_is_old = True
            return error
        seen.qbittorrent_up = True
        return None

    def _wait_for_port(self, seen: "_Sight") -> Status:
        """Be patient with a VPN that has no forwarded port yet, for as long as PORT_GRACE."""
        now = self._clock.monotonic()
        since = now if self._portless_since is None else self._portless_since
        left = since + self._port_grace - now
        if left > 0:
            seen.ask_again_in(left)
            return Status.WAITING
        raise SyncError(
            Reason.NO_FORWARDED_PORT,
            f"Gluetun has had no forwarded port for {self._port_grace:g} s or longer; set "
            "VPN_PORT_FORWARDING=on for Gluetun, choose a server that forwards ports "
            "(PORT_FORWARD_ONLY=on with Proton VPN or PIA), and look at Gluetun's log",
        )

    def _set_port(self, seen: "_Sight", wanted: int) -> bool:
        """Make qBittorrent's listening port the wanted one; tell whether it was another one."""
        old = seen.current_port
        if old is not None and old != wanted:
            seen.change = self._unverified = PortChange(old, wanted, verified=False)
            self._open(seen, wanted)
            self._reopening.changed(self._clock.monotonic())
        # A change that a lost answer hid from the sync that made it is verified by the next.
        if self._unverified and self._unverified.new == wanted:
            seen.change = replace(self._unverified, verified=True)
        self._unverified = None
        return old != wanted

    def _open(self, seen: "_Sight", *ports: int) -> None:
        """Set one port after the other, read back the last, and hear what qBittorrent says of it.

        Its word, that it could not listen on the port, holds until the next opening.
        """
        before = self._qbittorrent.listen_log(ports[-1], None)
        for port in ports:
            self._qbittorrent.set_listen_port(port)
        self._read_back(seen, ports[-1])
        deadline = self._clock.monotonic() + _HEAR_FOR
        while True:
            late = self._clock.monotonic() >= deadline
            self._word = None if before is None else self._hear(ports[-1], before.mark)
            if self._word or late or self._clock.wait(self._stopping, _HEAR_EVERY):
                return

    def _hear(self, port: int, after: LogMark | None) -> str | None:
        log = self._qbittorrent.listen_log(port, after)
        last = (
            {entry.address: entry for entry in log.entries if entry.protocol == "TCP"}
            if log
            else {}
        )
        failures = [entry for entry in last.values() if not entry.listening]
        return next((f.message for f in failures if self._concerns(f.address)), None)

    def _concerns(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether a failure to listen on an address keeps the VPN's peers out."""
        if interface := self._lookout.visible_interface():
            return address.is_unspecified or address in interface.addresses
        return not (address.is_loopback or address.is_link_local)

    def _read_back(self, seen: "_Sight", wanted: int) -> None:
        deadline = self._clock.monotonic() + _READ_BACK_FOR
        while True:
            seen.current_port = self._qbittorrent.preferences().listen_port
            if seen.current_port == wanted:
                return
            if self._clock.monotonic() >= deadline:
                raise SyncError(
                    Reason.PORT_REJECTED,
                    f"qBittorrent took port {wanted} and still reports {seen.current_port} "
                    f"{_READ_BACK_FOR:g} s later; look for another program that sets its port, "
                    "and at its log",
                )
            if self._clock.wait(self._stopping, _READ_BACK_EVERY):
                return

    def _look(self, seen: "_Sight", port: int) -> Look:
        look = self._lookout.look(port)
        if look.interface and self._lookout.changed:
            self._reopening.well()
            self._reopening.visible()
        seen.interface_visible = look.interface is not None
        seen.listening = look.listening and not self._word
        return look

    def _ensure_listening(self, seen: "_Sight", port: int, look: Look) -> None:
        """Re-open the listening socket where that is due; raise where no peer can connect."""
        if look.listening is False:
            # It comes back by itself within 20 ms, or not at all.
            if self._clock.wait(self._stopping, _SECOND_LOOK):
                return
            look = self._look(seen, port)
        if look.lost:
            raise SyncError(
                Reason.NOT_LISTENING,
                f"The VPN interface {self._lookout.name} is gone, so that no peer can connect; "
                "Gluetun must bring the VPN up again, and its log says why if it doesn't",
            )
        wrong = self._wrong(seen, look)
        if self._rebind:
            cause, wait = self._reopening.due(wrong, self._clock.monotonic())
            if cause:
                self._open(seen, port + 1 if port < 65535 else port - 1, port)
                self._reopening.reopened(self._clock.monotonic())
                seen.rebinds = (cause,)
                look = self._look(seen, port)
                wrong = self._wrong(seen, look)
                _, wait = self._reopening.due(wrong, self._clock.monotonic())
            seen.ask_again_in(wait)
        if wrong:
            raise SyncError(Reason.NOT_LISTENING, self._why_not(port, wrong))

    def _wrong(self, seen: "_Sight", look: Look) -> RebindCause | None:
        """Tell what keeps peers from connecting, as far as it can be seen."""
        if look.listening is False or self._word:
            return RebindCause.NOT_LISTENING
        if look.interface is None:
            disconnected = seen.connection_status is ConnectionStatus.DISCONNECTED
            if self._reopening.disconnected(disconnected, self._clock.monotonic()):
                return RebindCause.DISCONNECTED
            if disconnected:
                seen.ask_again_in(DISCONNECTED_FOR)
                return None
        self._reopening.well()
        return None

    def _why_not(self, port: int, wrong: RebindCause) -> str:
        if self._word:
            problem = f"qBittorrent can't listen on port {port}, and logged: {self._word[:200]}"
        elif wrong is RebindCause.DISCONNECTED:
            problem = f"qBittorrent has port {port} and is disconnected, with no socket at all"
        else:
            problem = f"qBittorrent has port {port} and no socket on {self._lookout.name} for it"
        if not self._rebind:
            return f"{problem}; restart qBittorrent, or set QBITTORRENT_REBIND=true"
        return (
            f"{problem}; qSticky goes on re-opening it, and where that doesn't help, see that no "
            "other program has the port, set qBittorrent's network interface to the VPN's "
            "(Options > Advanced), and restart it"
        )


@dataclass
class _Sight:
    """What a sync has seen so far: the report's fields while they come in."""

    forwarded_port: int | None = None
    current_port: int | None = None
    connection_status: ConnectionStatus | None = None
    gluetun_up: bool = False
    qbittorrent_up: bool = False
    failure: SyncError | None = None
    problem: SyncError | None = None
    change: PortChange | None = None
    port_lost: bool = False
    port_restored: bool = False
    interface_visible: bool = False
    listening: bool | None = None
    rebinds: tuple[RebindCause, ...] = ()
    again_in: float | None = None

    def ask_again_in(self, seconds: float | None) -> None:
        """Ask for the next sync after so many seconds, or as soon as already asked for."""
        if seconds is not None:
            self.again_in = min(seconds, self.again_in or seconds)
