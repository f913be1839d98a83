"""Time as a collaborator, so that tests need not wait for it."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """The wall clock, in seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never jump, for measuring how long something takes."""

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until the event is set or `timeout` seconds are over; tell whether it is set."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """The wall clock, in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump, for measuring how long something takes."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until the event is set or `timeout` seconds are over; tell whether it is set."""
        return event.wait(timeout)


def wall(clock: Clock, moment: float) -> float:
    """Tell a moment (monotonic) in seconds since the epoch, by what the wall clock says now.

    A clock that was set since, as at the boot of a machine without one, so leaves no wrong times.
    """
    return clock.now() - (clock.monotonic() - moment)


def rfc3339(timestamp: float, timespec: str = "seconds") -> str:
    """Write a moment (seconds since the epoch) as RFC 3339 in UTC with `Z`."""
    moment = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec=timespec)
    return moment.replace("+00:00", "Z")


def in_words(seconds: float) -> str:
    """Write a duration as people say it, in the one unit that tells enough."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, int(seconds))} s"
