"""The thread that runs the syncs: when, how often after a failure, and until when."""

import random
import threading
from collections.abc import Callable, Sequence

from qsticky.clock import Clock
from qsticky.errors import Reason, SyncError
from qsticky.sync.report import Status, SyncReport, Trigger

_AT_ONCE = 10.0


class Worker:
    """Runs `sync` for its triggers, one at a time, and hands each report to `record`.

    `record` also gets the seconds until the next sync. Times are in seconds; `jitter` gives the
    factor by which a retry's pause is shortened, so that many instances don't retry as one.
    """

    def __init__(
        self,
        sync: Callable[[Sequence[Trigger], bool], SyncReport],
        record: Callable[[SyncReport, float], None],
        *,
        check_interval: float,
        clock: Clock,
        stopping: threading.Event,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),
    ) -> None:
        self._sync = sync
        self._record = record
        self._check_interval = check_interval
        self._clock = clock
        self._stopping = stopping
        self._jitter = jitter
        self._failures = 0
        self._crowded_until = 0.0  # as if each triggered sync took a second
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._requested: list[Trigger] = []
        self._rebind = False

    def trigger(self, trigger: Trigger, *, rebind: bool = False) -> None:
        """Ask for a sync as soon as one can run, from any thread; returns at once.

        Triggers that come while a sync runs make one more run, named after the first of them. Ten
        may run at once, then one a second: whoever triggers them, qBittorrent is not flooded.
        """
        with self._lock:
            if trigger not in self._requested:
                self._requested.append(trigger)
            self._rebind = self._rebind or rebind
        self._wake.set()

    def stop(self) -> None:
        """End the loop as soon as the sync that runs is over."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Sync at once, then whenever due or triggered, until stopped."""
        triggers, rebind = [Trigger.STARTUP], False
        while True:
            report = self._guarded_sync(triggers, rebind)
            if self._stopping.is_set():
                return
            pause, due = self._plan(report)
            self._record(report, pause)
            if self._clock.wait(self._wake, pause):
                self._pace()
            if self._stopping.is_set():
                return
            triggers, rebind = self._take(due)

    def _pace(self) -> None:
        """Hold a triggered sync until it may run: ten may at once, and then one a second."""
        now = self._clock.monotonic()
        self._crowded_until = max(self._crowded_until, now) + 1.0
        if (delay := self._crowded_until - now - _AT_ONCE) > 0:
            self._clock.wait(self._stopping, delay)

    def _guarded_sync(self, triggers: Sequence[Trigger], rebind: bool) -> SyncReport:
        started = self._clock.monotonic()
        try:
            return self._sync(triggers, rebind)
        except Exception as error:  # noqa: BLE001 - the one place: whatever it is, the loop goes on
            failure = SyncError(
                Reason.INTERNAL,
                f"qSticky failed by an internal error ({type(error).__name__}); report it with the "
                "traceback in the log line of this error",
            )
            failure.__cause__ = error
            return SyncReport(
                trigger=triggers[0],
                finished_at=self._clock.monotonic(),
                duration=self._clock.monotonic() - started,
                status=Status.FAILING,
                failure=failure,
                problem=failure,
            )

    def _plan(self, report: SyncReport) -> tuple[float, Trigger]:
        """Decide how many seconds to wait for the next sync, and what that one is run for."""
        if report.failure and report.failure.reason.is_transient:
            pause = 2.0**self._failures * self._jitter()
            self._failures = min(self._failures + 1, 20)  # enough for any interval
            if pause < self._check_interval:
                return pause, Trigger.RETRY
        elif not report.failure:
            self._failures = 0
        if report.again_in is not None and report.again_in < self._check_interval:
            return report.again_in, Trigger.RETRY
        return self._check_interval, Trigger.INTERVAL

    def _take(self, due: Trigger) -> tuple[list[Trigger], bool]:
        """Take what was triggered since, or else what is due."""
        with self._lock:
            self._wake.clear()
            requested, rebind = self._requested, self._rebind
            self._requested, self._rebind = [], False
        return requested or [due], rebind
