"""The health document and its file: the state as a reader outside the process sees it."""

import contextlib
import json
import threading
from pathlib import Path
from typing import NamedTuple

from qsticky import __version__
from qsticky.clock import Clock, rfc3339, wall
from qsticky.record.published_file import PublishedFile
from qsticky.sync.report import Status, SyncReport, Trigger
from qsticky.text import printable

_SLACK = 5.0


class _State(NamedTuple):
    """The last report, and what is known from earlier ones. Moments are monotonic seconds."""

    report: SyncReport
    status_since: float
    last_error: str | None = None
    last_error_at: float | None = None
    forwarded_port: int | None = None
    current_port: int | None = None
    last_check: float | None = None
    last_success: float | None = None
    last_port_change: float | None = None
    last_incoming: float | None = None
    listening_since: float | None = None


class Health:
    """Keeps the health document, and its file at `path`. Durations are in seconds.

    `write` and what calls it return the error of a write that failed, for the caller to tell.
    """

    def __init__(
        self, path: Path, *, check_interval: float, request_timeout: float, clock: Clock
    ) -> None:
        self._file = PublishedFile(path)
        self._check_interval = check_interval
        self._request_timeout = request_timeout
        self._clock = clock
        self._writing = threading.Lock()
        self._removed = False
        self._started = clock.monotonic()
        self._fresh_until: float | None = None
        nothing_yet = SyncReport(Trigger.STARTUP, self._started, 0.0, Status.STARTING)
        self._state = _State(nothing_yet, status_since=self._started)

    def record(self, report: SyncReport, pause: float) -> OSError | None:
        """Take in a report, `pause` seconds before the next one is due, and write the file."""
        self._state = _after(self._state, report, report.finished_at)
        return self.write(pause)

    def write(self, pause: float = 0.0) -> OSError | None:
        """Write the file, good until the sync that is due in `pause` seconds must have ended."""
        return self._write(max(pause, self._check_interval) + self._request_timeout + _SLACK)

    def refresh(self, longest: float | None = None) -> OSError | None:
        """Rewrite the file if it could go stale in a request that may take so many seconds.

        That is a sync's next one, unless a longer one is about to begin.
        """
        longest = max(longest or 0.0, self._request_timeout)
        left = (self._fresh_until or 0.0) - self._clock.monotonic()
        if left < longest + _SLACK / 2:
            return self._write(self._check_interval + longest + _SLACK)
        return None

    def fresh(self) -> bool:
        """Whether the worker has given a sign of life when it should have: its heartbeat."""
        return self._fresh_until is not None and self._clock.monotonic() < self._fresh_until

    def healthy(self) -> bool:
        """Whether the last sync's verdict is good, and still counts."""
        return self._state.report.status.healthy and self.fresh()

    def document(self) -> dict[str, object]:
        """The health document as it is now."""
        state, report = self._state, self._state.report
        return {
            "healthy": report.status.healthy,
            "status": report.status,
            "status_since": self._time(state.status_since),
            "reason": report.failure.reason if report.failure else None,
            "last_error": state.last_error,
            "last_error_at": self._time(state.last_error_at),
            "warnings": list(report.warnings),
            "waiting_until": self._time(report.patient_until),
            "forwarded_port": state.forwarded_port,
            "port_source": report.port_source,
            "port_index": report.port_index,
            "port_count": report.port_count,
            "current_port": state.current_port,
            "reachable": report.reachable,
            "reachable_checked_at": self._time(report.reachable_at),
            "last_check": self._time(state.last_check),
            "last_success": self._time(state.last_success),
            "last_port_change": self._time(state.last_port_change),
            "started_at": self._time(self._started),
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "stale_after": self._time(self._fresh_until),
            "services": self._services(state),
            "version": __version__,
        }

    def text(self) -> str:
        """The health document as it is now, as JSON."""
        return json.dumps(self.document(), indent=2) + "\n"

    def remove_leftovers(self) -> None:
        """Take away what a process that was killed while it wrote left beside the file."""
        with contextlib.suppress(OSError):
            self._file.remove_leftovers()

    def remove(self) -> None:
        """Take the file away for good: after a clean exit there is nobody to speak for."""
        with self._writing:
            self._removed = True
            with contextlib.suppress(OSError):
                self._file.remove()

    def _services(self, state: _State) -> dict[str, object]:
        report = state.report
        return {
            "gluetun": {
                "connected": report.gluetun_up,
                "port": state.forwarded_port,
                "public_address": report.public_address,
            },
            "qbittorrent": {
                "connected": report.qbittorrent_up,
                "port_synced": report.in_sync,
                "connection_status": report.connection_status,
                "listening": report.listening,
                "listening_by": report.listening_by,
                "listening_since": self._time(state.listening_since),
                "incoming_connections": report.incoming_connections,
                "last_incoming_connection": self._time(state.last_incoming),
                "external_address": report.external_address,
                "version": report.qbittorrent_version,
            },
        }

    def _time(self, moment: float | None) -> str | None:
        return None if moment is None else rfc3339(wall(self._clock, moment))

    def _write(self, good_for: float) -> OSError | None:
        with self._writing:
            if self._removed:
                return None
            self._fresh_until = self._clock.monotonic() + good_for
            try:
                self._file.replace(self.text().encode())
            except OSError as error:
                return error
        return None


def _after(state: _State, report: SyncReport, ended: float) -> _State:
    """Return what is known after a report, of a sync that ended at a moment."""
    new = state._replace(report=report, last_check=ended)
    if report.status is not state.report.status:
        new = new._replace(status_since=ended)
    if report.listening is not state.report.listening:
        new = new._replace(listening_since=ended)
    if report.problem:
        new = new._replace(last_error=printable(str(report.problem)), last_error_at=ended)
    if report.forwarded_port is not None:
        new = new._replace(forwarded_port=report.forwarded_port)
    if report.current_port is not None:
        new = new._replace(current_port=report.current_port)
    if report.status is Status.SYNCED:
        new = new._replace(last_success=ended)
    if report.change and report.change.verified:
        new = new._replace(last_port_change=ended)
    if report.last_incoming is not None:
        new = new._replace(last_incoming=report.last_incoming)
    return new
