"""Collaborators that tests use in place of the real ones."""

import threading


class FakeClock:
    """A `Clock` that stands still until somebody waits or a test advances it.

    ``waits`` are the seconds of every wait that came to its end, in order.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.waits: list[float] = []
        self._start = now
        self._elapsed = 0.0

    def now(self) -> float:
        """The wall clock, in seconds since the epoch."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._elapsed

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Return at once, the timeout later unless the event is set; tell whether it is set."""
        if not event.is_set():
            self.waits.append(timeout)
            self.advance(timeout)
        return event.is_set()

    def set(self, now: float) -> None:
        """Set the wall clock, as people and time servers do."""
        self._start = now - self._elapsed

    def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        self._elapsed += seconds
