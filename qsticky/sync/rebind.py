"""When qBittorrent's listening sockets are to be opened anew: now, later or not at all."""

import math
from typing import NamedTuple

from qsticky.sync.report import RebindCause

_BELONGS_TO_THE_LAST = 5.0
_EVIDENCE_WAITS = 10.0
_PAUSE = 30.0
_LONG_PAUSE = 600.0
_PATIENCE = 3


class Verdict(NamedTuple):
    """The cause to rebind for now; or else the seconds until a rebind is due, if one is."""

    cause: RebindCause | None = None
    wait: float | None = None


class RebindPolicy:
    """Decides when the listening sockets are opened anew. Times are monotonic seconds.

    What is known to be wrong is acted on at once; while that does not help, once in 30 s, and from
    the third time on every 10 minutes. Evidence, which is never seen to help, is acted on once, 10
    s after the last opening; what a person asks for likewise, and is never dropped.
    """

    def __init__(self) -> None:
        self._opened = -math.inf
        self._useless = 0
        self._evidence: RebindCause | None = None
        self._requested = False

    def assess(self, wrong: RebindCause | None, now: float, *, blind: bool) -> Verdict:
        """Tell whether a rebind is due, for which cause, or when one will be.

        `wrong` is what is known to keep peers out and a rebind may help against. `blind` tells
        that the sockets can't be seen, so that evidence has to do.
        """
        dates: list[tuple[float, RebindCause]] = []
        if wrong:
            dates.append((self._earliest(), wrong))
        if self._requested:
            dates.append((self._opened + _EVIDENCE_WAITS, RebindCause.REQUEST))
        if self._evidence and blind:
            dates.append((self._opened + _EVIDENCE_WAITS, self._evidence))
        if not dates:
            return Verdict()
        when, cause = min(dates)
        return Verdict(cause=cause) if when <= now else Verdict(wait=when - now)

    def just_opened(self, now: float) -> bool:
        """Whether evidence belongs to the last opening: it is what that one followed, or caused."""
        return now - self._opened <= _BELONGS_TO_THE_LAST

    def request_waits(self, now: float) -> float:
        """Return how many seconds a rebind that is asked for now would wait."""
        return max(0.0, self._opened + _EVIDENCE_WAITS - now)

    def note_change(self, now: float) -> None:
        """Note that the sockets were opened on another port: evidence of before is served by it."""
        self._opened = now
        self._evidence = None

    def note_rebind(self, cause: RebindCause, now: float) -> None:
        """Note that they were opened anew on the same port, with what use is yet to be seen."""
        self.note_change(now)
        self._requested = False
        if cause in (RebindCause.NOT_LISTENING, RebindCause.DISCONNECTED):
            self._useless += 1

    def note_listening(self) -> None:
        """Note that it is known to listen, or that all is different: the limits start afresh."""
        self._useless = 0

    def note_evidence(self, cause: RebindCause) -> None:
        """Note evidence that the VPN was away."""
        self._evidence = self._evidence or cause

    def note_request(self) -> None:
        """Note that a person asks for a rebind."""
        self._requested = True

    def _earliest(self) -> float:
        """When what is wrong may be acted on."""
        if not self._useless:
            return -math.inf
        return self._opened + (_PAUSE if self._useless < _PATIENCE else _LONG_PAUSE)
