"""When a login may be sent to qBittorrent, so that it never bans our address."""

from collections import deque
from typing import NamedTuple

from qsticky.clock import Clock
from qsticky.errors import Reason, ServiceError, SyncError

_MINUTE = 60.0
_NEVER = float("inf")


class Credentials(NamedTuple):
    """A user's name and password; neither shows in a `repr`."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Credentials()"


class LoginLimit:
    """Counts the logins in a row that no yes answered, and decides when there may be another.

    qBittorrent bans an address for an hour at the fifth refused login, however far apart; its
    count lives in its memory. So there are at most four: at once, then after 1, 5 and 15 minutes.
    Those that were sent count, not the refusals that were read: an answer that is lost, cut or a
    proxy's may have been a refusal all the same. Other credentials are tried at once, but not those
    that were before: a file can go back and forth.
    """

    _PAUSES = (1 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE)
    _BAN_PAUSE = 15 * _MINUTE
    _UNANSWERED_PAUSE = 60 * _MINUTE

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent = 0
        self._refused = False
        self._tried = deque[Credentials](maxlen=4)
        self._next_try = 0.0
        self._last: SyncError | None = None

    def check(self, credentials: Credentials) -> None:
        """Raise the last login's error while no other may be sent with these credentials."""
        if credentials in self._tried and self._last and self._clock.monotonic() < self._next_try:
            raise SyncError(self._last.reason, str(self._last))

    def sending(self, credentials: Credentials) -> None:
        """Count a login, just before it is sent."""
        self._tried.append(credentials)
        self._sent += 1
        self._last = SyncError(
            Reason.QBITTORRENT_UNREACHABLE, "a login to qBittorrent ended without an answer"
        )
        self._next_try = self._clock.monotonic() + self._pause_after(self._last)

    def failed(self, error: ServiceError) -> ServiceError:
        """Note how the login ended, and return its error with what comes next.

        One that never left counts for nothing.
        """
        if not error.sent:
            self._sent -= 1
            self._next_try = self._clock.monotonic()
            return error
        self._refused = self._refused or error.reason is Reason.QBITTORRENT_UNAUTHORIZED
        pause = self._pause_after(error)
        self._next_try = self._clock.monotonic() + pause
        self._last = ServiceError(error.reason, error.kind, f"{error} ({self.plan(pause)})")
        return self._last

    def begin_anew(self) -> None:
        """Start afresh, as qBittorrent does with a login that it took, and when it restarts."""
        self._tried.clear()
        self._sent = 0
        self._refused = False
        self._last = None

    def plan(self, pause: float) -> str:
        """Tell what comes after a login that was not taken; the pause is in seconds."""
        if pause == _NEVER:
            return (
                f"after {self._sent} logins without success none is sent any more, so that "
                "qBittorrent doesn't ban this address, until a credentials file has new ones or "
                "qBittorrent is seen to restart; otherwise restart qSticky"
            )
        if pause == self._UNANSWERED_PAUSE:
            return (
                f"after {self._sent} logins without an answer one is sent every hour, though "
                "qBittorrent may have refused them all, and then bans this address"
            )
        return f"the next login is tried in {pause / _MINUTE:g} min"

    def _pause_after(self, error: SyncError) -> float:
        if error.reason is Reason.QBITTORRENT_BANNED:
            return self._BAN_PAUSE
        if self._sent <= len(self._PAUSES):
            return self._PAUSES[self._sent - 1]
        return _NEVER if self._refused else self._UNANSWERED_PAUSE
