"""The health document and its file: the state as a reader outside the process sees it."""

import contextlib
import json
import threading
from pathlib import Path

from qsticky import __version__
from qsticky.clock import Clock, rfc3339
from qsticky.sync.report import Status, SyncReport

_SLACK = 5.0


class Health:
    """Keeps the health document, and its file at `path`. Durations are in seconds.

    `write` and what calls it return the error of a write that failed, for the caller to tell.
    """

    def __init__(
        self, path: Path, *, check_interval: float, request_timeout: float, clock: Clock
    ) -> None:
        self._path = path
        # Kept: `pathlib` interns names, and the table of those grows by each that is made anew.
        self._fresh_file = path.parent / f".{path.name}.new"
        self._check_interval = check_interval
        self._request_timeout = request_timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock.now()
        self._fresh_until = 0.0
        self._facts: dict[str, object] = {
            "healthy": False,
            "status": Status.STARTING,
            "status_since": rfc3339(self._started),
            "reason": None,
            "last_error": None,
            "last_error_at": None,
            "forwarded_port": None,
            "current_port": None,
            "last_check": None,
            "last_success": None,
            "last_port_change": None,
            "services": {
                "gluetun": {"connected": False, "port": None},
                "qbittorrent": {
                    "connected": False,
                    "port_synced": False,
                    "connection_status": None,
                    "listening": None,
                },
            },
        }

    def record(self, report: SyncReport, pause: float) -> OSError | None:
        """Take in a report, `pause` seconds before the next one is due, and write the file."""
        ended = rfc3339(report.finished_at)
        with self._lock:
            facts = dict(self._facts)
            facts |= {
                "healthy": report.status.healthy,
                "status": report.status,
                "reason": report.failure.reason if report.failure else None,
                "last_check": ended,
            }
            if report.status is not self._facts["status"]:
                facts["status_since"] = ended
            if report.problem:
                facts |= {"last_error": str(report.problem), "last_error_at": ended}
            if report.forwarded_port is not None:
                facts["forwarded_port"] = report.forwarded_port
            if report.current_port is not None:
                facts["current_port"] = report.current_port
            if report.status is Status.SYNCED:
                facts["last_success"] = ended
            if report.change and report.change.verified:
                facts["last_port_change"] = ended
            facts["services"] = {
                "gluetun": {"connected": report.gluetun_up, "port": facts["forwarded_port"]},
                "qbittorrent": {
                    "connected": report.qbittorrent_up,
                    "port_synced": report.in_sync,
                    "connection_status": report.connection_status,
                    "listening": report.listening,
                },
            }
            self._facts = facts
        return self.write(pause)

    def write(self, pause: float = 0.0) -> OSError | None:
        """Write the file, good until the sync that is due in `pause` seconds must have ended."""
        good_for = max(pause, self._check_interval) + self._request_timeout + _SLACK
        with self._lock:
            self._fresh_until = self._clock.monotonic() + good_for
            self._facts = self._facts | {"stale_after": rfc3339(self._clock.now() + good_for)}
        try:
            self._replace(self.text())
        except OSError as error:
            return error
        return None

    def refresh(self) -> OSError | None:
        """Rewrite the file, between two requests of a sync, if it could go stale in the next."""
        if self._fresh_until - self._clock.monotonic() < self._request_timeout + _SLACK / 2:
            return self.write()
        return None

    def fresh(self) -> bool:
        """Whether the worker has given a sign of life when it should have: its heartbeat."""
        return self._clock.monotonic() < self._fresh_until

    def healthy(self) -> bool:
        """Whether the last sync's verdict is good, and still counts."""
        return self._facts["healthy"] is True and self.fresh()

    def document(self) -> dict[str, object]:
        """The health document as it is now."""
        with self._lock:
            facts = dict(self._facts)
        uptime = int(self._clock.now() - self._started)
        return facts | {
            "started_at": rfc3339(self._started),
            "uptime_seconds": uptime,
            "version": __version__,
        }

    def text(self) -> str:
        """The health document as it is now, as JSON."""
        return json.dumps(self.document(), indent=2) + "\n"

    def remove(self) -> None:
        """Take the file away: after a clean exit there is nobody to speak for."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _replace(self, text: str) -> None:
        """Replace the file in one step, so that a reader finds the old one or the new one whole.

        Raises OSError. What a killed process left behind beside the file is overwritten.
        """
        fresh = self._fresh_file
        fresh.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_text(text)
            fresh.chmod(0o644)
            fresh.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
