"""Brings qBittorrent to listen on the forwarded port: sets it, observes, and rebinds where due."""

import threading
from typing import NamedTuple

from qsticky.clock import Clock
from qsticky.errors import Reason, SyncError
from qsticky.services.port_check import PortCheck, PortVerdict
from qsticky.services.qbittorrent import ConnectionStatus, Preferences
from qsticky.sync.listener import Listener, Listening
from qsticky.sync.listening_port import ListeningPort, OtherHand
from qsticky.sync.options import Options
from qsticky.sync.rebind import RebindPolicy, Verdict
from qsticky.sync.report import ListeningBy, RebindCause, Status
from qsticky.sync.settings import port_conflict
from qsticky.sync.vpn_interface import VpnInterface

_FORWARD_AGAIN = (
    "the VPN provider doesn't forward it any more; restart the VPN (docker compose restart "
    "gluetun, or set GLUETUN_RESTART_AFTER=600), and if that doesn't help, choose another server"
)
_LET_IN = (
    "Gluetun's firewall or the VPN provider keeps it out; name the port in Gluetun's "
    "FIREWALL_VPN_INPUT_PORTS, and see on the provider's website that it is still yours"
)
_SECOND_LOOK = 1.0


class Outcome(NamedTuple):
    """What became of a sync."""

    status: Status
    failure: SyncError | None = None
    listening: Listening = Listening()
    rebinds: tuple[RebindCause, ...] = ()
    again_in: float | None = None


class Reconciler:
    """Compares, changes and verifies; what it remembers, its parts do.

    `port_check` tells what the outside said, where it is asked. `stopping` ends a wait early.
    """

    def __init__(
        self,
        options: Options,
        *,
        vpn: VpnInterface,
        listening_port: ListeningPort,
        listener: Listener,
        rebind: RebindPolicy,
        port_check: PortCheck | None,
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._options = options
        self._vpn = vpn
        self._listening_port = listening_port
        self._listener = listener
        self._rebind = rebind
        rebind.note_evidence(RebindCause.STARTUP)  # what was logged before may be over
        self._port_check = port_check
        self._other_hand = OtherHand()
        self._clock = clock
        self._stopping = stopping

    @property
    def verdict(self) -> PortVerdict:
        """What the outside said of the port."""
        return self._port_check.verdict() if self._port_check else PortVerdict()

    def reconcile(
        self, port: int, preferences: Preferences, status: ConnectionStatus | None
    ) -> Outcome:
        """Set the port where it is another one, see whether it is listened on, rebind where due.

        `preferences` and `status` are what qBittorrent just told. Raises `SyncError`.
        """
        conflict = port_conflict(port, preferences.web_ui_port, self._options.metrics_port)
        if conflict:
            return self._outcome(port, Listening(False, ListeningBy.SETTINGS, conflict))
        self._other_hand.note(preferences.listen_port, port, self._clock.monotonic())
        if preferences.listen_port == port:
            self._listener.observe_connection(status)
            self._listener.read_log(port, preferences)
        else:
            self._open(preferences, port)
            self._rebind.note_change(self._clock.monotonic())
        listening = self._listener.assess(port, preferences)
        if listening.cause and listening.by is not ListeningBy.QBITTORRENT:
            # It comes back, and is logged, by itself within 40 ms, or not at all.
            if self._clock.wait(self._stopping, _SECOND_LOOK):
                return Outcome(Status.SYNCED)
            self._vpn.observe()
            self._listener.observe(port, preferences)
            self._listener.read_log(port, preferences)
            listening = self._listener.assess(port, preferences)
        if self._vpn.lost:
            return Outcome(Status.FAILING, self._outage(), Listening(False, ListeningBy.KERNEL))
        if listening.listening is not False:
            self._rebind.note_listening()
        if self._listener.moved and listening.listening is None:
            self._rebind.note_evidence(RebindCause.STARTUP)
        return self._rebind_where_due(port, preferences, listening)

    def warnings(self, preferences: Preferences | None) -> tuple[str, ...]:
        """Tell what is worth a sentence and no failure."""
        found = [self._other_hand.warning(self._clock.monotonic())]
        if preferences:
            found.append(self._listener.warning(preferences))
        return tuple(warning for warning in found if warning)

    def _open(self, preferences: Preferences, *ports: int) -> None:
        """Have the sockets opened on the last of these ports, and learn what became of it."""
        wanted = ports[-1]
        self._listener.before_opening(wanted)
        self._listening_port.set(ports)
        self._other_hand.note_verified(wanted)
        self._listener.after_opening(wanted, preferences)

    def _rebind_where_due(
        self, port: int, preferences: Preferences, listening: Listening
    ) -> Outcome:
        """Open the sockets anew where that is due and permitted, and tell what came of it all."""
        if not self._options.rebind:
            return self._outcome(port, listening)
        verdict = self._assess_rebind(listening)
        if verdict.cause is None:
            return self._outcome(port, listening, verdict.wait)
        self._open(preferences, port + 1 if port < 65535 else port - 1, port)
        self._rebind.note_rebind(verdict.cause, self._clock.monotonic())
        if self._port_check:
            self._port_check.rebound()
        listening = self._listener.assess(port, preferences)
        if listening.listening and verdict.cause is not RebindCause.DISCONNECTED:
            self._rebind.note_listening()
        again_in = self._assess_rebind(listening).wait
        return self._outcome(port, listening, again_in)._replace(rebinds=(verdict.cause,))

    def _assess_rebind(self, listening: Listening) -> Verdict:
        wrong = listening.cause
        hopeless = listening.listening is False and not wrong
        if listening.listening is not False and self.verdict.rebind_due:
            wrong = RebindCause.PORT_CLOSED
        blind = not self._vpn.was_visible and not hopeless
        return self._rebind.assess(wrong, self._clock.monotonic(), blind=blind)

    # What is told of it

    def _outcome(self, port: int, listening: Listening, again_in: float | None = None) -> Outcome:
        """Tell whether peers can connect, as far as it is known."""
        failure = None
        if problem := listening.problem:
            sentence = f"{problem}; {self._remedy()}" if listening.cause else problem
            failure = SyncError(Reason.NOT_LISTENING, sentence)
        elif self.verdict.closed_for_good:
            failure = self._closed(port)
        status = Status.FAILING if failure else Status.SYNCED
        return Outcome(status, failure, listening, again_in=again_in)

    def _remedy(self) -> str:
        if not self._options.rebind:
            return "restart qBittorrent, or set QBITTORRENT_REBIND=true"
        return (
            "qSticky goes on rebinding it, and where that doesn't help, see that no other program "
            "has the port, set qBittorrent's network interface to the VPN's (Options > Advanced), "
            "and restart it"
        )

    def _outage(self) -> SyncError:
        return SyncError(
            Reason.NOT_LISTENING,
            f"The VPN interface {self._vpn.name} is gone or down, so that no peer can connect; "
            "Gluetun must bring the VPN up again, and its log says why if it doesn't; where the "
            "interface has another name now, set VPN_INTERFACE to that",
        )

    def _closed(self, port: int) -> SyncError:
        rebound = " and also after a rebind" if self._options.rebind else ""
        remedy = _LET_IN if self._options.fixed_port else _FORWARD_AGAIN
        return SyncError(
            Reason.PORT_CLOSED,
            f"The service of PORT_CHECK_URL could not connect to port {port}, three times"
            f"{rebound}, while qBittorrent listens: {remedy}",
        )
