"""One sync: the steps, in order. What is remembered between two of them has an owner each."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qsticky.clock import Clock
from qsticky.errors import Reason, ServiceError, SyncError
from qsticky.services.gluetun import Gluetun
from qsticky.services.port_check import PortCheck, PortVerdict
from qsticky.services.qbittorrent import (
    ConnectionStatus,
    Preferences,
    QBittorrent,
    TransferInfo,
)
from qsticky.sync.exit_address import ExitAddress
from qsticky.sync.forwarded_port import ForwardedPort, read_ports
from qsticky.sync.listener import Listener, Listening
from qsticky.sync.listening_port import ListeningPort, OtherHand
from qsticky.sync.rebind import Observation, RebindPolicy
from qsticky.sync.report import ListeningBy, PortSource, RebindCause, Status, SyncReport, Trigger
from qsticky.sync.restart_proof import RestartProof
from qsticky.sync.settings import port_conflict
from qsticky.sync.versions import Versions
from qsticky.sync.vpn_interface import Kernel, Presence, VpnInterface
from qsticky.sync.vpn_restart import Forwarding, VpnRestart

_SECOND_LOOK = 1.0
_RECREATED_AFTER = 120.0
_NOTHING = TransferInfo(None, None, ())
_UNKNOWN = Listening()
_UNASKED = PortVerdict()
_REFUSED = (Reason.QBITTORRENT_UNAUTHORIZED, Reason.QBITTORRENT_BANNED)


@dataclass(frozen=True)
class Options:
    """What the configuration says of a sync.

    `port_index` counts from 1; `fixed_port` takes Gluetun's place. `vpn_interface` is a name;
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


@dataclass(frozen=True)
class _Asked:
    """What qBittorrent answered, or why it didn't."""

    preferences: Preferences | None = None
    transfer: TransferInfo = _NOTHING
    failure: SyncError | None = None


@dataclass(frozen=True)
class _Outcome:
    """What became of it."""

    status: Status
    failure: SyncError | None = None
    listening: Listening = _UNKNOWN
    rebinds: tuple[RebindCause, ...] = ()
    again_in: float | None = None


class Synchronizer:
    """Compares, changes and verifies, one sync at a time; it remembers nothing of its own.

    `gluetun` is None where the port is fixed; `port_check` asks the outside, and `vpn_restart`
    restarts a VPN without a port, each only where that is asked for. `stopping` ends a wait early.
    """

    def __init__(
        self,
        gluetun: Gluetun | None,
        qbittorrent: QBittorrent,
        options: Options,
        *,
        kernel: Kernel,
        clock: Clock,
        stopping: threading.Event,
        port_check: PortCheck | None = None,
        vpn_restart: VpnRestart | None = None,
    ) -> None:
        self._gluetun = gluetun
        self._port_check = port_check
        self._vpn_restart = vpn_restart
        self._qbittorrent = qbittorrent
        self._options = options
        self._clock = clock
        self._stopping = stopping
        self._port = ForwardedPort(options.port_index)
        self._listening_port = ListeningPort(qbittorrent, clock, stopping)
        self._other_hand = OtherHand()
        self._vpn = VpnInterface(options.vpn_interface, beside=options.beside, kernel=kernel)
        self._listener = Listener(
            qbittorrent,
            self._vpn,
            webui_port=options.webui_port,
            always_read=options.api_key,
            clock=clock,
            stopping=stopping,
        )
        self._rebind = RebindPolicy()
        self._exit = ExitAddress()
        self._versions = Versions()
        self._restart = RestartProof(kernel, options.webui_port)
        self._vpn.look()

    def sync(self, triggers: Sequence[Trigger], rebind: bool = False) -> SyncReport:
        """Run one sync; whatever goes wrong is in the report.

        `triggers` is what it is run for, first the one that it is named after; `rebind` is a
        person's request to open the listening sockets anew.
        """
        started = self._clock.monotonic()
        if rebind:
            self._rebind.note_request()
        ports = read_ports(self._gluetun, self._options.fixed_port)
        self._port = self._port.after(ports, started)
        if self._vpn_restart:
            self._vpn_restart.note(self._forwarding())
            if self._port_check and self._vpn_restart.new_restarts:
                self._port_check.port_changed(None)  # of this VPN the outside has said nothing
        asked = self._ask_qbittorrent()
        self._ask_for_address()
        self._note_evidence(triggers)
        outcome = self._reconcile(asked)
        if self._port_check:
            self._port_check.port_changed(self._listening_port.found if asked.preferences else None)
        self._listener.note(outcome.listening.listening)
        report = self._report(triggers[0], started, asked, outcome)
        self._listening_port.settle()
        return report

    def rebind_waits(self) -> float | None:
        """Return how many seconds a rebind that is asked for now waits; None for ever."""
        return self._rebind.request_waits(self._clock.monotonic()) if self._options.rebind else None

    @property
    def inside_vpn(self) -> bool:
        """Whether the VPN's interface is in this network: asked from here, the outside dials it."""
        return self._vpn.presence is Presence.PRESENT

    # What there is

    def _forwarding(self) -> Forwarding:
        ports, verdict = self._port.ports, self._verdict
        if ports.source is not PortSource.CONTROL_SERVER:
            return Forwarding.UNKNOWN
        if not ports.numbers:
            return Forwarding.NONE
        if verdict.closed_for_good:
            return Forwarding.CLOSED
        return Forwarding.OPEN if verdict.reachable else Forwarding.PRESENT

    @property
    def _verdict(self) -> PortVerdict:
        return self._port_check.verdict() if self._port_check else _UNASKED

    def _ask_qbittorrent(self) -> _Asked:
        """Ask for what every sync needs, and look at the VPN's interface.

        Also when Gluetun failed: what is wrong with each is worth knowing.
        """
        self._vpn.look()
        try:
            preferences = self._qbittorrent.preferences()
            transfer = self._qbittorrent.transfer_info()
            process = self._qbittorrent.sockets_may_differ
            self._vpn.compare(self._listener.addresses_of, process)
            if process != self._versions.process:
                version = self._qbittorrent.version()
                self._versions = replace(self._versions, qbittorrent=version, process=process)
        except SyncError as error:
            self._note_qbittorrent_failed(error)
            return _Asked(failure=error.to_keep())
        self._restart.forget()
        self._listening_port.note(preferences.listen_port, self._port.number)
        return _Asked(preferences, transfer)

    def _note_qbittorrent_failed(self, error: SyncError) -> None:
        if isinstance(error, ServiceError) and error.absent:
            self._rebind.note_listening()  # when it is back, its sockets are others
        found, port = self._vpn.found, self._listening_port.found or self._port.number
        if error.reason in _REFUSED and self._options.beside and found and port:
            self._restart.note(found, port)
            if self._restart.proved:
                self._qbittorrent.restart_proved()

    def _ask_for_address(self) -> None:
        """Ask Gluetun for the VPN's public address and its version, when that is due."""
        self._exit = self._exit.not_asked()
        if self._gluetun is None or self._port.ports.error:
            self._versions = replace(self._versions, gluetun_asked=False)  # another may be back
            return
        if not self._versions.gluetun_asked:
            version = self._gluetun.version()
            self._versions = replace(self._versions, gluetun=version, gluetun_asked=True)
        now, circumstances = self._clock.monotonic(), (self._vpn.visible, self._port.number)
        if self._exit.due(circumstances, now, blind=not self._vpn.was_visible):
            self._exit = self._exit.after(self._gluetun.public_address(), circumstances, now)

    def _note_evidence(self, triggers: Sequence[Trigger]) -> None:
        """Note what tells that the VPN was away: its interface, or else evidence."""
        if self._vpn.visible and self._vpn.changed:
            self._rebind.note_listening()
            self._rebind.note_visible()
        signs = {
            RebindCause.PORT_FILE: Trigger.PORT_FILE in triggers,
            RebindCause.PORT_RETURNED: self._port.restored,
            RebindCause.ADDRESS_CHANGED: self._exit.changed,
        }
        now = self._clock.monotonic()
        if self._vpn.was_visible or self._rebind.just_opened(now):
            return
        for cause, seen in signs.items():
            if seen:
                self._rebind.note_evidence(cause)
                self._listener.note_away()

    # What is done about it

    def _reconcile(self, asked: _Asked) -> _Outcome:
        failure = self._recreated(asked) or self._port.failure or asked.failure
        if failure or asked.preferences is None:
            return _Outcome(Status.FAILING, failure)
        port = self._port.number
        if not port:  # left alone: with port 0 qBittorrent would listen on random ones
            return self._wait_for_port()
        try:
            return self._listen(port, asked)
        except SyncError as error:
            return _Outcome(Status.FAILING, error.to_keep())

    def _wait_for_port(self) -> _Outcome:
        """Be patient with a VPN that has no forwarded port yet, for as long as PORT_GRACE."""
        left = (self._patient_until or 0.0) - self._clock.monotonic()
        if left > 0:
            return _Outcome(Status.WAITING, again_in=left)
        failure = SyncError(
            Reason.NO_FORWARDED_PORT,
            f"Gluetun has had no forwarded port for {self._options.port_grace:g} s or longer; set "
            "VPN_PORT_FORWARDING=on for Gluetun, choose a server that forwards ports "
            "(PORT_FORWARD_ONLY=on with Proton VPN or PIA), and look at Gluetun's log; with a "
            "provider that gives a port for good, such as AirVPN, leave that off, since Gluetun "
            "would not start with it, and set FORWARDED_PORT for qSticky instead",
        )
        return _Outcome(Status.FAILING, failure)

    def _listen(self, port: int, asked: _Asked) -> _Outcome:
        """Set the port where it is another one, see whether it is listened on, rebind where due."""
        preferences = asked.preferences
        assert preferences is not None
        conflict = port_conflict(port, preferences.web_ui_port, self._options.metrics_port)
        if conflict:
            never = Listening(False, ListeningBy.SETTINGS, conflict)
            return self._outcome(port, never)
        self._other_hand.note(preferences.listen_port, port, self._clock.monotonic())
        if preferences.listen_port == port:
            self._listener.look(port)
            self._listener.read_log(port, preferences)
        else:
            self._open(preferences, port)
            self._rebind.note_change(self._clock.monotonic())
        listening = self._listener.assess(port, preferences)
        if listening.by is ListeningBy.KERNEL and not listening.listening:
            # It comes back by itself within 20 ms, or not at all.
            if self._clock.wait(self._stopping, _SECOND_LOOK):
                return _Outcome(Status.SYNCED)
            self._vpn.look()
            self._listener.look(port)
            listening = self._listener.assess(port, preferences)
        if self._vpn.lost:
            return _Outcome(Status.FAILING, self._outage(), Listening(False, ListeningBy.KERNEL))
        return self._rebind_where_due(port, preferences, asked, listening)

    def _open(self, preferences: Preferences, *ports: int) -> None:
        """Have the sockets opened on the last of these ports, and learn what became of it."""
        wanted = ports[-1]
        self._listener.before_opening(wanted, preferences)
        self._listening_port.set(ports)
        self._other_hand.note_verified(wanted)
        self._listener.after_opening(wanted, preferences)

    def _rebind_where_due(
        self, port: int, preferences: Preferences, asked: _Asked, listening: Listening
    ) -> _Outcome:
        """Open the sockets anew where that is due and permitted, and tell what came of it all."""
        disconnected = self._is_disconnected(asked)
        self._rebind.note_connection(disconnected, self._clock.monotonic())
        if self._rebind.disconnected(self._clock.monotonic()):
            self._listener.note_away()
            listening = self._listener.assess(port, preferences)
        elif listening.listening is not False and not disconnected:
            self._rebind.note_listening()
        if not self._options.rebind:
            return self._outcome(port, listening)
        verdict = self._rebind.assess(self._observation(listening), self._clock.monotonic())
        if verdict.cause is None:
            return replace(self._outcome(port, listening), again_in=verdict.wait)
        self._open(preferences, port + 1 if port < 65535 else port - 1, port)
        self._rebind.note_rebind(verdict.cause, self._clock.monotonic())
        if self._port_check:
            self._port_check.rebound()
        listening = self._listener.assess(port, preferences)
        if listening.listening and not disconnected:
            self._rebind.note_listening()
        again = self._rebind.assess(self._observation(listening), self._clock.monotonic())
        rebinds = (verdict.cause,)
        return replace(self._outcome(port, listening), rebinds=rebinds, again_in=again.wait)

    def _is_disconnected(self, asked: _Asked) -> bool:
        """Whether qBittorrent says that it has no socket at all, where nothing else shows it."""
        disconnected = asked.transfer.connection_status is ConnectionStatus.DISCONNECTED
        return disconnected and not self._vpn.was_visible

    def _observation(self, listening: Listening) -> Observation:
        hopeless = listening.listening is False and not listening.curable
        wrong = RebindCause.NOT_LISTENING if listening.curable else None
        if listening.listening is not False and self._verdict.rebind_due:
            wrong = RebindCause.PORT_CLOSED
        return Observation(wrong, blind=not self._vpn.was_visible and not hopeless)

    # What is told of it

    def _outcome(self, port: int, listening: Listening) -> _Outcome:
        """Tell whether peers can connect, as far as it is known."""
        problem = listening.problem
        if listening.listening is None and self._rebind.disconnected(self._clock.monotonic()):
            problem = f"qBittorrent has port {port} and is disconnected, with no socket at all"
            listening = Listening(False, ListeningBy.QBITTORRENT, problem, curable=True)
        if problem is None and self._verdict.closed_for_good:
            return _Outcome(Status.FAILING, self._closed(port), listening)
        if problem is None:
            return _Outcome(Status.SYNCED, listening=listening)
        sentence = f"{problem}; {self._remedy()}" if listening.curable else problem
        return _Outcome(Status.FAILING, SyncError(Reason.NOT_LISTENING, sentence), listening)

    def _remedy(self) -> str:
        if not self._options.rebind:
            return "restart qBittorrent, or set QBITTORRENT_REBIND=true"
        return (
            "qSticky goes on rebinding it, and where that doesn't help, see that no other program "
            "has the port, set qBittorrent's network interface to the VPN's (Options > Advanced), "
            "and restart it"
        )

    def _closed(self, port: int) -> SyncError:
        return SyncError(
            Reason.PORT_CLOSED,
            f"The service of PORT_CHECK_URL could not connect to port {port}, three times and also "
            "after a rebind, while qBittorrent listens: the VPN provider doesn't forward it any "
            "more; restart the VPN (docker restart gluetun, or set GLUETUN_RESTART_AFTER=600), and "
            "if that doesn't help, choose another server",
        )

    def _outage(self) -> SyncError:
        return SyncError(
            Reason.NOT_LISTENING,
            f"The VPN interface {self._vpn.name} is gone, so that no peer can connect; Gluetun "
            "must bring the VPN up again, and its log says why if it doesn't",
        )

    def _recreated(self, asked: _Asked) -> SyncError | None:
        """Recognise a Gluetun whose container was recreated: ours keeps the dead network."""
        since = self._port.unreachable_since
        if (
            since is None
            or self._clock.monotonic() - since < _RECREATED_AFTER
            or not (self._port.failure or self._vpn.lost)
            or not (self._options.same_network and asked.preferences)
            or self._vpn.presence is not Presence.ABSENT
        ):
            return None
        return SyncError(
            Reason.GLUETUN_UNREACHABLE,
            f"Gluetun has not answered for {_RECREATED_AFTER / 60:g} minutes and "
            f"{self._vpn.name} is gone, while qBittorrent answers: Gluetun's container was "
            "probably recreated, and the containers that share its network kept the dead one; "
            "recreate them too (docker compose up -d --force-recreate)",
        )

    @property
    def _patient_until(self) -> float | None:
        since = self._port.missing_since
        return None if since is None else since + self._options.port_grace

    def _warnings(self, asked: _Asked) -> tuple[str, ...]:
        found = [self._other_hand.warning(self._clock.monotonic())]
        if asked.preferences:
            found.append(self._listener.warning(asked.preferences))
        return tuple(warning for warning in found if warning)

    def _report(
        self, trigger: Trigger, started: float, asked: _Asked, outcome: _Outcome
    ) -> SyncReport:
        now = self._clock.monotonic()
        port, listener = self._port, self._listener
        exit_ = None if port.ports.error else self._exit.last
        interface, listening = self._vpn.visible, outcome.listening
        restart = self._vpn_restart
        answered = asked.preferences is not None
        return SyncReport(
            trigger=trigger,
            finished_at=now,
            duration=now - started,
            status=outcome.status,
            failure=outcome.failure,
            problem=outcome.failure or port.ports.error,
            warnings=self._warnings(asked),
            again_in=_soonest(outcome.again_in, restart.due_in() if restart else None),
            forwarded_port=port.number,
            port_source=port.ports.source,
            port_index=port.index,
            port_count=len(port.ports.numbers) if port.ports.source else None,
            port_lost=port.lost,
            port_restored=port.restored,
            patient_until=self._patient_until,
            gluetun_up=None if self._gluetun is None else port.ports.error is None,
            gluetun_version=self._versions.gluetun,
            public_address=exit_.address if exit_ else None,
            country=exit_.country if exit_ else None,
            address_changed=self._exit.changed,
            qbittorrent_up=answered,
            qbittorrent_version=self._versions.qbittorrent,
            current_port=self._listening_port.found if answered else None,
            change=self._listening_port.change,
            connection_status=asked.transfer.connection_status,
            dht_nodes=asked.transfer.dht_nodes,
            external_address=self._exit.seen_by_peers(asked.transfer.external_addresses),
            interface_visible=interface is not None,
            received_bytes=interface.received_bytes if interface else None,
            transmitted_bytes=interface.transmitted_bytes if interface else None,
            listening=listening.listening,
            listening_by=listening.by,
            listening_since=listener.since,
            incoming_connections=listener.incoming.established,
            last_incoming=listener.incoming.last,
            reachable=self._verdict.reachable,
            reachable_at=self._verdict.checked_at,
            vpn_restarts=restart.new_restarts if restart else 0,
            rebinds=outcome.rebinds,
        )


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)
