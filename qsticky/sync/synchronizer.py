"""One sync: the steps, in order. What is remembered between two of them has an owner each."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from qsticky.clock import Clock
from qsticky.errors import Reason, ServiceError, SyncError
from qsticky.services.gluetun import Gluetun
from qsticky.services.port_check import PortCheck
from qsticky.services.qbittorrent import Preferences, QBittorrent, TransferInfo
from qsticky.sync.forwarded_port import ForwardedPort, none_for_long, read_ports
from qsticky.sync.listener import Listener
from qsticky.sync.listening_port import ListeningPort
from qsticky.sync.options import Options
from qsticky.sync.rebind import RebindPolicy
from qsticky.sync.reconciler import Outcome, Reconciler
from qsticky.sync.report import PortSource, RebindCause, Status, SyncReport, Trigger
from qsticky.sync.sockets import RestartProof
from qsticky.sync.vpn_exit import VpnExit
from qsticky.sync.vpn_interface import Kernel, VpnInterface
from qsticky.sync.vpn_restart import Forwarding, VpnRestart

_RECREATED_AFTER = 120.0
_REFUSED = (Reason.QBITTORRENT_UNAUTHORIZED, Reason.QBITTORRENT_BANNED)


class _Asked(NamedTuple):
    """What qBittorrent answered, or why it didn't."""

    preferences: Preferences | None = None
    transfer: TransferInfo = TransferInfo(None)
    failure: SyncError | None = None


class _Version(NamedTuple):
    """qBittorrent's version, asked for once for each process that may be behind the WebUI."""

    told: str | None = None
    process: int | None = None


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
        self._port = ForwardedPort(options.port_index)
        self._listening_port = ListeningPort(qbittorrent, clock, stopping)
        self._vpn = VpnInterface(options.vpn_interface, beside=options.beside, kernel=kernel)
        self._listener = Listener(
            qbittorrent,
            self._vpn,
            webui_port=options.webui_port,
            always_read=options.api_key or options.fixed_port is not None,
            clock=clock,
            stopping=stopping,
        )
        self._rebind = RebindPolicy()
        self._exit = VpnExit()
        self._version = _Version()
        self._restart = RestartProof(kernel, options.webui_port)
        self._reconciler = Reconciler(
            options,
            vpn=self._vpn,
            listening_port=self._listening_port,
            listener=self._listener,
            rebind=self._rebind,
            port_check=port_check,
            clock=clock,
            stopping=stopping,
        )
        self._vpn.observe()

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
        before = self._vpn.found
        asked = self._ask_qbittorrent()
        self._listener.observe(self._listening_port.found or 0, asked.preferences)
        self._ask_for_exit()
        anew = self._vpn.visible is not None and self._vpn.found != before
        self._note_evidence(triggers, anew=anew)
        outcome = self._reconcile(asked)
        if self._port_check:
            self._port_check.port_changed(self._listening_port.found if asked.preferences else None)
        report = self._report(triggers[0], started, asked, outcome)
        self._listening_port.settle()
        return report

    def rebind_waits(self) -> float | None:
        """Return how many seconds a rebind that is asked for now waits; None for ever."""
        return self._rebind.request_waits(self._clock.monotonic()) if self._options.rebind else None

    @property
    def inside_vpn(self) -> bool:
        """Whether the VPN's interface is in this network: asked from here, the outside dials it."""
        return self._vpn.found is not None

    # What there is

    def _forwarding(self) -> Forwarding:
        ports, verdict = self._port.ports, self._reconciler.verdict
        if ports.source is not PortSource.CONTROL_SERVER:
            return Forwarding.UNKNOWN
        if not ports.numbers:
            return Forwarding.NONE
        if verdict.closed_for_good:
            return Forwarding.CLOSED
        return Forwarding.OPEN if verdict.reachable else Forwarding.PRESENT

    def _ask_qbittorrent(self) -> _Asked:
        """Ask for what every sync needs, and observe the VPN's interface.

        Also when Gluetun failed: what is wrong with each is worth knowing.
        """
        self._vpn.observe()
        try:
            preferences = self._qbittorrent.preferences()
            transfer = self._qbittorrent.transfer_info()
            process = self._qbittorrent.sockets_may_differ
            self._vpn.compare(self._qbittorrent.interface_addresses, process)
            if process != self._version.process:
                self._version = _Version(self._qbittorrent.version(), process)
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

    def _ask_for_exit(self) -> None:
        """Ask Gluetun for the VPN's public address and its version, when that is due."""
        if self._gluetun is None or self._port.ports.error:
            self._exit.note_away()
            return
        circumstances = (self._vpn.visible, self._port.number)
        now, blind = self._clock.monotonic(), not self._vpn.was_visible
        self._exit.ask(self._gluetun, circumstances, now, blind=blind)

    def _note_evidence(self, triggers: Sequence[Trigger], *, anew: bool) -> None:
        """Note what tells that the VPN was away: its interface is another one, or else evidence."""
        if anew:
            self._rebind.note_listening()
        restarted = self._vpn_restart and self._vpn_restart.noted
        if self._port_check and (restarted or anew or self._port.restored or self._exit.changed):
            self._port_check.port_changed(None)  # of this VPN the outside has said nothing
        signs = {
            RebindCause.PORT_FILE: Trigger.PORT_FILE in triggers,
            RebindCause.PORT_RETURNED: self._port.restored,
            RebindCause.ADDRESS_CHANGED: self._exit.changed,
        }
        cause = next((cause for cause, seen in signs.items() if seen), None)
        just_opened = self._rebind.just_opened(self._clock.monotonic())
        if cause and not (just_opened or self._vpn.was_visible):
            self._rebind.note_evidence(cause)
            self._listener.note_away()

    # What is done about it

    def _reconcile(self, asked: _Asked) -> Outcome:
        failure = self._recreated(asked) or self._port.failure or asked.failure
        if failure or asked.preferences is None:
            return Outcome(Status.FAILING, failure)
        port = self._port.number
        if not port:  # left alone: with port 0 qBittorrent would listen on random ones
            return self._wait_for_port()
        try:
            status = asked.transfer.connection_status
            return self._reconciler.reconcile(port, asked.preferences, status)
        except SyncError as error:
            return Outcome(Status.FAILING, error.to_keep())

    def _wait_for_port(self) -> Outcome:
        """Be patient with a VPN that has no forwarded port yet, for as long as PORT_GRACE."""
        left = (self._patient_until or 0.0) - self._clock.monotonic()
        if left > 0:
            return Outcome(Status.WAITING, again_in=left)
        return Outcome(Status.FAILING, none_for_long(self._options.port_grace))

    def _recreated(self, asked: _Asked) -> SyncError | None:
        """Recognise a Gluetun whose container was recreated: ours keeps the dead network."""
        since = self._port.unreachable_since
        if (
            since is None
            or self._clock.monotonic() - since < _RECREATED_AFTER
            or not (self._port.failure or self._vpn.lost)
            or not (self._options.same_network and asked.preferences)
            or not self._vpn.absent
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

    def _report(
        self, trigger: Trigger, started: float, asked: _Asked, outcome: Outcome
    ) -> SyncReport:
        now = self._clock.monotonic()
        port, incoming = self._port, self._listener.incoming
        exit_ = None if port.ports.error else self._exit.address
        interface, listening = self._vpn.visible, outcome.listening
        restart = self._vpn_restart
        waits = outcome.again_in, restart.due_in() if restart else None
        answered = asked.preferences is not None
        return SyncReport(
            trigger=trigger,
            finished_at=now,
            duration=now - started,
            status=outcome.status,
            failure=outcome.failure,
            problem=outcome.failure or port.ports.error,
            warnings=self._reconciler.warnings(asked.preferences),
            again_in=min((wait for wait in waits if wait is not None), default=None),
            forwarded_port=port.number,
            port_source=port.ports.source,
            port_index=port.position,
            port_count=len(port.ports.numbers) if port.ports.source else None,
            port_lost=port.lost,
            port_restored=port.restored,
            patient_until=self._patient_until,
            gluetun_up=None if self._gluetun is None else port.ports.error is None,
            gluetun_version=self._exit.version,
            public_address=exit_.address if exit_ else None,
            country=exit_.country if exit_ else None,
            address_changed=self._exit.changed,
            qbittorrent_up=answered,
            qbittorrent_version=self._version.told,
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
            incoming_connections=incoming.established,
            last_incoming=incoming.last,
            reachable=self._reconciler.verdict.reachable,
            reachable_at=self._reconciler.verdict.checked_at,
            vpn_restart=restart.noted if restart else None,
            rebinds=outcome.rebinds,
        )
