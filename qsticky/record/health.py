"""The health document and its file: the state as a reader outside the process sees it."""

import contextlib
import json
import threading
from pathlib import Path

from qsticky import __version__
from qsticky.clock import Clock, rfc3339, wall
from qsticky.record.known import Known
from qsticky.record.published_file import PublishedFile
from qsticky.sync.report import SyncReport

_SLACK = 5.0


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
        self._known = Known.at_start(self._started)

    def record(self, report: SyncReport, pause: float) -> OSError | None:
        """Take in a report, `pause` seconds before the next one is due, and write the file."""
        self._known = self._known.after(report)
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
        return self._known.report.status.healthy and self.fresh()

    def document(self) -> dict[str, object]:
        """The health document as it is now."""
        known, report = self._known, self._known.report
        return {
            "healthy": report.status.healthy,
            "status": report.status,
            "status_since": self._time(known.status_since),
            "reason": report.failure.reason if report.failure else None,
            "last_error": known.last_error,
            "last_error_at": self._time(known.last_error_at),
            "warnings": list(report.warnings),
            "waiting_until": self._time(report.patient_until),
            "forwarded_port": known.forwarded_port,
            "port_source": report.port_source,
            "port_index": report.port_index,
            "port_count": report.port_count,
            "current_port": known.current_port,
            "reachable": report.reachable,
            "reachable_checked_at": self._time(report.reachable_at),
            "last_check": self._time(known.last_check),
            "last_success": self._time(known.last_success),
            "last_port_change": self._time(known.last_port_change),
            "started_at": self._time(self._started),
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "stale_after": self._time(self._fresh_until),
            "services": self._services(known),
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

    def _services(self, known: Known) -> dict[str, object]:
        report = known.report
        return {
            "gluetun": {
                "connected": report.gluetun_up,
                "port": known.forwarded_port,
                "public_address": report.public_address,
            },
            "qbittorrent": {
                "connected": report.qbittorrent_up,
                "port_synced": report.in_sync,
                "connection_status": report.connection_status,
                "listening": report.listening,
                "listening_by": report.listening_by,
                "listening_since": self._time(known.listening_since),
                "incoming_connections": report.incoming_connections,
                "last_incoming_connection": self._time(known.last_incoming),
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
