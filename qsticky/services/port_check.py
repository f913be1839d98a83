"""When the outside is asked whether the forwarded port is open, and what that tells."""

import threading
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from qsticky.clock import Clock
from qsticky.services.outside_service import PortCheckError

APART = 60.0
CLOSED_FOR_A_REBIND = 2
CLOSED_FOR_GOOD = 3


class CheckResult(StrEnum):
    """What came of asking: the `result` label of `qsticky_port_checks_total`."""

    OPEN = "open"
    CLOSED = "closed"
    ERROR = "error"


class PortVerdict(NamedTuple):
    """What the outside said of the port. `checked_at` is a moment, in monotonic seconds.

    `reachable` is None until it said something. `rebind_due` tells that it said closed twice, and
    that nothing was rebound since.
    """

    reachable: bool | None = None
    checked_at: float | None = None
    closed_in_a_row: int = 0
    rebind_due: bool = False

    @property
    def closed_for_good(self) -> bool:
        """Whether it was closed so often that no rebind helps."""
        return self.closed_in_a_row >= CLOSED_FOR_GOOD

    def then(self, *, is_open: bool, now: float) -> "PortVerdict":
        """The verdict after one more answer."""
        if is_open:
            return PortVerdict(reachable=True, checked_at=now)
        closed = self.closed_in_a_row + 1
        due = self.rebind_due or closed == CLOSED_FOR_A_REBIND
        return PortVerdict(False, now, closed, due)


class PortCheck:
    """Asks on a thread of its own, so that nobody waits: after a change or a rebind, and regularly.

    `ask(port)` is `OutsideService.is_open`. It is asked only while `inside_vpn()`, for from
    elsewhere it would be told the home's address, and judge that. Callbacks, all on that thread:
    `changed()` when there is a new verdict, `count(result)` for each time that it was asked,
    `tell(sentence)` when it begins not to answer. `interval` is in seconds.
    """

    def __init__(
        self,
        ask: Callable[[int], bool],
        *,
        interval: float,
        inside_vpn: Callable[[], bool],
        changed: Callable[[], object],
        count: Callable[[CheckResult], object],
        tell: Callable[[str], object],
        clock: Clock,
    ) -> None:
        self._ask = ask
        self._interval = interval
        self._apart = min(APART, interval)
        self._inside_vpn = inside_vpn
        self._changed = changed
        self._count = count
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()  # while port and verdict change; they are read without it
        self._port: int | None = None
        self._verdict = PortVerdict()
        self._wake = threading.Event()
        self._asked_at = float("-inf")
        self._due_at = 0.0
        self._erring = False

    def start(self) -> None:
        """Start its thread. It needs no stop: it never holds up an exit."""
        threading.Thread(target=self._run, name="port-check", daemon=True).start()

    def verdict(self) -> PortVerdict:
        """What is known now."""
        return self._verdict

    def pause(self) -> float | None:
        """Return the seconds until it asks; None while there is no port to ask about."""
        return None if self._port is None else max(0.0, self._due_at - self._clock.monotonic())

    def port_changed(self, port: int | None) -> None:
        """Take in qBittorrent's port, None without one; of another one nothing is known yet."""
        if port != self._port:
            self._know_less(port, PortVerdict())

    def rebound(self) -> None:
        """Take in that the listening sockets were opened anew."""
        self._know_less(self._port, self._verdict._replace(rebind_due=False))

    def check_if_due(self) -> None:
        """Ask, if it is time to."""
        now = self._clock.monotonic()
        with self._lock:
            port, before = self._port, self._verdict
            if port is None or self._due_at > now:
                return
            self._due_at = now + self._apart
        if not self._inside_vpn():
            return
        self._asked_at = now
        after = before
        try:
            is_open = self._ask(port)
        except PortCheckError as error:
            self._count(CheckResult.ERROR)
            if not self._erring:
                self._tell(
                    f"The service of PORT_CHECK_URL {error}, so that what it said before still "
                    "counts; if this goes on, open its address yourself, or set another one"
                )
            self._erring = True
        else:
            self._count(CheckResult.OPEN if is_open else CheckResult.CLOSED)
            self._erring = False
            after = before.then(is_open=is_open, now=self._clock.monotonic())
        self._take(before, after)

    def _take(self, before: PortVerdict, after: PortVerdict) -> None:
        """Know more than before, unless that is of another port, or from before a rebind."""
        with self._lock:
            if self._verdict is not before:
                return
            self._verdict = after
            # Regularly, but soon while it has said closed and may have to be rebound.
            undecided = 0 < after.closed_in_a_row < CLOSED_FOR_GOOD
            self._due_at = self._clock.monotonic() + (self._apart if undecided else self._interval)
        if after is not before:
            self._changed()

    def _know_less(self, port: int | None, verdict: PortVerdict) -> None:
        """Ask anew: an answer that is awaited now counts no more, which the new verdict tells."""
        with self._lock:
            self._port, self._verdict = port, verdict
            self._due_at = max(self._clock.monotonic(), self._asked_at + self._apart)
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            self.check_if_due()
            pause = self.pause()
            if pause is None:
                self._wake.wait()
            else:
                self._clock.wait(self._wake, pause)
