"""Restarts a VPN that forwards no port, where GLUETUN_RESTART_AFTER asks for it."""

import threading
from collections.abc import Callable
from enum import StrEnum

from qsticky.clock import Clock, in_words
from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.gluetun_roles import RoleError
from qsticky.services.vpn_control import VpnControl, VpnStatus
from qsticky.sync.report import RestartNews

_LONGEST_WAIT = 3600.0
_LONGEST_PAUSE = 60.0
_UNANSWERED = 3
_AT_EXIT = 0.4


class Forwarding(StrEnum):
    """What a sync learnt of the port forwarding.

    `NONE` is the control server's own statement that there is no port at all, `CLOSED` a port
    that the outside calls closed, `OPEN` one that it calls open, `PRESENT` one of which no more is
    known. `UNKNOWN` is a control server that is silent, refuses, or answers something else.
    """

    NONE = "none"
    CLOSED = "closed"
    PRESENT = "present"
    OPEN = "open"
    UNKNOWN = "unknown"


# What a restart of the VPN may help against, in words, and what is wrong then.
_FAILS = {
    Forwarding.NONE: ("Gluetun has had no forwarded port", Reason.NO_FORWARDED_PORT),
    Forwarding.CLOSED: ("the forwarded port has been closed to the outside", Reason.PORT_CLOSED),
}


class RestartPolicy:
    """Decides when a restart is due: `forwarding` is so `since` a moment (monotonic seconds).

    The first is due after `after` seconds of the same failure, each further one after twice the
    time, up to an hour or `after`, whichever is more. A port brings the first time back; where it
    was a closed one that failed, only a port that the outside calls open does, for a server that
    forwards nothing gives ports, too.
    """

    def __init__(self, after: float) -> None:
        self.forwarding = Forwarding.UNKNOWN
        self.since = 0.0
        self._after = self._wait = after
        self._restarted_for = Forwarding.NONE

    def due_in(self, now: float) -> float | None:
        """Seconds until a restart is due, 0 when it is; None while there is no reason for one."""
        return max(0.0, self.since + self._wait - now) if self.forwarding in _FAILS else None

    def note(self, forwarding: Forwarding, now: float) -> None:
        """Take note of what a sync learnt."""
        if forwarding is not self.forwarding:
            self.forwarding, self.since = forwarding, now
        back = forwarding in (Forwarding.PRESENT, Forwarding.CLOSED)
        if forwarding is Forwarding.OPEN or (back and self._restarted_for is Forwarding.NONE):
            self._wait = self._after

    def note_restart(self, reason: Forwarding) -> None:
        """Take note that Gluetun was told to restart the VPN, for this reason."""
        self._restarted_for = reason
        self._wait = min(2 * self._wait, max(_LONGEST_WAIT, self._after))

    def begin_anew(self) -> None:
        """Let the time begin anew, with what the next sync learns."""
        self.forwarding = Forwarding.UNKNOWN


class VpnRestart:
    """Restarts the VPN on a thread of its own: `stopped`, then `running` until Gluetun took it.

    Fed by each sync; `tell` gets the news, on that thread, and `noted` is that Gluetun was told to,
    where that was new when a sync last noted what it learnt. It is never stopped between the two
    without having sent `running`, at which Gluetun starts the VPN once it has stopped.
    """

    def __init__(
        self,
        control: VpnControl,
        *,
        after: float,
        clock: Clock,
        tell: Callable[[RestartNews], None],
    ) -> None:
        self._control = control
        self._clock = clock
        self._tell = tell
        self._policy = RestartPolicy(after)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="vpn-restart", daemon=True)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._restarting = False
        self._to_start = False  # `stopped` may have left, and `running` was not answered yet
        self._begun: RestartNews | None = None
        self.noted: RestartNews | None = None

    def due_in(self) -> float | None:
        """Seconds until a restart is due; None while none is, or one is under way."""
        with self._lock:
            return None if self._restarting else self._policy.due_in(self._clock.monotonic())

    def note(self, forwarding: Forwarding) -> None:
        """Take note of what a sync learnt; a restart that is due begins now."""
        now = self._clock.monotonic()
        with self._lock:
            self.noted, self._begun = self._begun, None
            self._policy.note(forwarding, now)
            self._restarting = self._restarting or self._policy.due_in(now) == 0
            if forwarding is not Forwarding.UNKNOWN:
                self._wake.set()

    def start(self) -> None:
        """Begin to wait for what is due."""
        self._thread.start()

    def stop(self) -> None:
        """End it, within 0.4 s where the VPN is yet to be started."""
        with self._lock:
            self._stopping.set()
            to_start = self._to_start
        self._wake.set()
        if to_start:
            # Gluetun queues it, and answers no earlier than its down command has ended. Should it
            # have come in before `stopped`, the other thread sends one after it.
            last = threading.Thread(target=self._start_at_exit, name="vpn-start", daemon=True)
            last.start()
            for thread in (last, self._thread):
                thread.join(_AT_EXIT / 2)

    def _start_at_exit(self) -> None:
        try:
            self._control.set_status(VpnStatus.RUNNING)
        except ServiceError as error:
            sentence = f"Could not have the VPN started again: {error}"
            self._tell(RestartNews(sentence, error.reason, failed=True))

    def _run(self) -> None:
        permission_known = False
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                return
            permission_known = permission_known or self._ask_for_permission()
            if self._restarting:
                self._restart()
                with self._lock:
                    self._policy.begin_anew()
                    self._restarting = False

    def _ask_for_permission(self) -> bool:
        """Tell where the role lacks it, and return whether Gluetun answered."""
        try:
            self._control.check_permission()
        except RoleError as error:
            self._tell(RestartNews(str(error), error.reason, failed=True))
        except ServiceError:
            return False  # the syncs tell of a silent Gluetun, and after its next word it is asked
        return True

    def _restart(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if self._stopping.is_set() or self._policy.due_in(now) != 0:
                return  # a sync learnt better meanwhile
            reason, lasts = self._policy.forwarding, now - self._policy.since
            self._to_start = True
        outcome = None
        try:
            outcome = self._control.set_status(VpnStatus.STOPPED)
            stopped = outcome in ("stopped", "already stopped")  # else Gluetun is at it by itself
        except ServiceError as error:
            stopped = error.sent
            if error.kind in (ErrorKind.UNAUTHORIZED, ErrorKind.HTTP_STATUS) and not stopped:
                self._tell(RestartNews(str(error), error.reason, failed=True))
        if not stopped:
            self._to_start = False
            return
        found = " (it was stopped)" if outcome == "already stopped" else ""
        why, belongs_to = _FAILS[reason]
        news = RestartNews(f"Restarting the VPN{found}: {why} for {in_words(lasts)}", belongs_to)
        with self._lock:
            self._policy.note_restart(reason)
            self._begun = news
        self._tell(news)
        self._start_vpn(belongs_to, unanswered=0 if outcome else 1)

    def _start_vpn(self, reason: Reason, unanswered: int) -> None:
        """Have the VPN started, again and again until Gluetun did it, or qSticky stops."""
        since, pause = self._clock.monotonic(), 1.0
        while True:
            outcome = ""
            try:
                outcome = self._control.set_status(VpnStatus.RUNNING)
            except ServiceError:
                unanswered += 1
                if unanswered == _UNANSWERED:
                    self._tell(RestartNews(_STUCK, reason, failed=True))
            if outcome and not outcome.endswith(("stopping", "stopped")):  # else it is none yet
                self._to_start = False
                self._tell(_started(outcome, reason, self._clock.monotonic() - since))
                return
            if self._clock.wait(self._stopping, pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)


_STUCK = (
    f"Gluetun took none of {_UNANSWERED} requests to stop and start the VPN; restart its "
    "container and those that share its network (docker compose up -d --force-recreate)"
)


def _started(outcome: str, reason: Reason, seconds: float) -> RestartNews:
    """Tell what came of having the VPN started."""
    if "crashed" not in outcome:
        sentence = f"Gluetun started the VPN again after {in_words(seconds)} ({outcome})"
        return RestartNews(sentence, reason)
    return RestartNews(
        f"Gluetun could not start the VPN ({outcome}), and tries again by itself; its log says why",
        reason,
        failed=True,
    )
