"""What is known by now: the last report, and what earlier ones told that still counts."""

from typing import NamedTuple

from qsticky.sync.report import Status, SyncReport, Trigger
from qsticky.text import printable

_STAYS = ("forwarded_port", "current_port", "dht_nodes", "last_incoming")


class Known(NamedTuple):
    """What is known after a report. Moments are monotonic seconds.

    A fact that the last report doesn't have is the last one known; `incoming_visible` tells
    whether it could be seen at least once who comes in.
    """

    report: SyncReport
    status_since: float
    last_error: str | None = None
    last_error_at: float | None = None
    forwarded_port: int | None = None
    current_port: int | None = None
    dht_nodes: int | None = None
    last_check: float | None = None
    last_success: float | None = None
    last_port_change: float | None = None
    last_incoming: float | None = None
    listening_since: float | None = None
    incoming_visible: bool = False

    @classmethod
    def at_start(cls, moment: float) -> "Known":
        """What is known before the first report."""
        return cls(SyncReport(Trigger.STARTUP, moment, 0.0, Status.STARTING), status_since=moment)

    def after(self, report: SyncReport) -> "Known":
        """What is known with one more report."""
        ended = report.finished_at
        told = {name: getattr(report, name) for name in _STAYS}
        new = self._replace(report=report, last_check=ended)
        new = new._replace(**{name: fact for name, fact in told.items() if fact is not None})
        if report.status is not self.report.status:
            new = new._replace(status_since=ended)
        if report.listening is not self.report.listening:
            new = new._replace(listening_since=ended)
        if report.problem:
            new = new._replace(last_error=printable(str(report.problem)), last_error_at=ended)
        if report.status is Status.SYNCED:
            new = new._replace(last_success=ended)
        if report.change and report.change.verified:
            new = new._replace(last_port_change=ended)
        if report.incoming_connections is not None:
            new = new._replace(incoming_visible=True)
        return new
