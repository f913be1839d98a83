"""Which log lines a report is worth."""

import errno
import logging
import threading
from typing import Any

from qsticky.clock import Clock, in_words
from qsticky.errors import ErrorKind, Reason, SyncError
from qsticky.record.events import Event
from qsticky.services.http import Exchange
from qsticky.services.webui import LOGIN
from qsticky.sync.report import PortChange, RebindCause, Status, SyncReport, Trigger

_REMIND_EVERY = 15 * 60.0
_CAUSES = {
    RebindCause.NOT_LISTENING: "nothing listened",
    RebindCause.PORT_RETURNED: "the forwarded port came back",
    RebindCause.ADDRESS_CHANGED: "the VPN's public address changed",
    RebindCause.PORT_FILE: "the port file was written anew",
    RebindCause.REQUEST: "was asked for",
    RebindCause.DISCONNECTED: "qBittorrent was disconnected",
    RebindCause.PORT_CLOSED: "the port was closed from outside",
    RebindCause.STARTUP: "qBittorrent's log says nothing about now",
}


class Journal:
    """Tells the story of reports and exchanges: each state once, when it begins.

    A failure is told again when its reason changes, and every 15 minutes while it lasts.
    """

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._before = SyncReport(Trigger.STARTUP, 0.0, 0.0, Status.STARTING)
        self._announced: PortChange | None = None
        self._problem_told = 0.0
        self._problem_began = 0.0
        self._health_file_error: str | None = None
        self._logged_in = False

    def info(self, message: str, event: Event | None = None, **fields: Any) -> None:
        """Tell what need not be mended."""
        self._tell(logging.INFO, message, event, **fields)

    def warning(self, message: str, event: Event | None = None, **fields: Any) -> None:
        """Tell what is worth a look."""
        self._tell(logging.WARNING, message, event, **fields)

    def cannot_serve(self, address: str, port: int, error: OSError) -> None:
        """Tell why the HTTP server can't start."""
        remedy = "set METRICS_ADDRESS and METRICS_PORT to ones that are free"
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            remedy += ", and give it a whole TLS pair if any"
        self._tell(
            logging.CRITICAL,
            f"The HTTP server can't start at {address}, port {port} ({error.strerror or error}); "
            + remedy,
            Event.HTTP,
        )

    def thread_died(self, hook: threading.ExceptHookArgs) -> None:
        """Tell of a thread that ended by an exception, which is an internal error."""
        name = hook.thread.name if hook.thread else "unknown"
        self._tell(
            logging.CRITICAL,
            f"The thread {name} died of an internal error; report it with this traceback",
            error=hook.exc_value,
        )

    def observe(self, exchange: Exchange) -> None:
        """Tell of a login, but not of each that renews a session where those end early."""
        if exchange.service == "qbittorrent" and exchange.error:
            self._logged_in = False
        if exchange.operation != LOGIN:
            return
        if exchange.error is None:
            renewed, self._logged_in = self._logged_in, True
            if renewed:
                self._tell(logging.DEBUG, "Logged in to qBittorrent again, for a new session")
            else:
                self.info("Logged in to qBittorrent", Event.LOGIN)
        elif exchange.error is ErrorKind.UNAUTHORIZED:
            self.warning(
                "qBittorrent refused the login",
                Event.LOGIN_REFUSED,
                reason=Reason.QBITTORRENT_UNAUTHORIZED,
            )

    def vpn_restart(self, sentence: str, reason: Reason, *, failed: bool) -> None:
        """Tell what becomes of a restart of the VPN; `failed` where it needs somebody."""
        level = logging.ERROR if failed else logging.WARNING
        self._tell(level, sentence, Event.VPN_RESTART, reason=reason)

    def health_file(self, error: OSError | None) -> None:
        """Tell when the health file can't be written, and when it can again."""
        told = str(error) if error else None
        if told == self._health_file_error:
            return
        self._health_file_error = told
        if error:
            self._tell(
                logging.ERROR,
                f"The health file can't be written ({error}); let HEALTH_FILE name a file in a "
                "folder that qSticky's user can write, such as a tmpfs",
                Event.HEALTH_FILE_FAILED,
            )
        else:
            self.info("The health file can be written again")

    def record(self, report: SyncReport) -> None:
        """Tell what is new in a report."""
        before, self._before = self._before, report
        self._record_port(report)
        self._record_port_check(report, before)
        for warning in report.warnings:
            if warning not in before.warnings:
                self.warning(warning)
        port = report.current_port
        for cause in report.rebinds:
            message = f"Rebound the listening socket to port {port}, as {_CAUSES[cause]}"
            self.info(message, Event.REBOUND, port=port, cause=cause)
        if report.problem:
            self._record_problem(report, before)
        elif before.problem:
            self._record_recovery(report, before.problem)
        if report.status is not before.status:
            self._record_status(report, before)
        self._logger.debug(
            "Sync (%s) took %.3f s: %s, Gluetun's port %s, qBittorrent's port %s",
            *(report.trigger, report.duration, report.status),
            *(report.forwarded_port, report.current_port),
        )

    def _record_port(self, report: SyncReport) -> None:
        if report.port_lost:
            self.warning(
                "Gluetun's forwarded port went away",
                Event.PORT_LOST,
                reason=Reason.NO_FORWARDED_PORT,
            )
        if report.port_restored:
            self.info(
                f"Gluetun has a forwarded port again: {report.forwarded_port}",
                Event.PORT_RESTORED,
                port=report.forwarded_port,
                reason=Reason.NO_FORWARDED_PORT,
            )
        change = report.change
        if change is None:
            return
        ports = {"old_port": change.old, "new_port": change.new}
        if self._announced != change._replace(verified=False):
            needed = f"Port change needed: {change.old} -> {change.new}"
            self.info(needed, Event.PORT_CHANGE_NEEDED, **ports)
        self._announced = None if change.verified else change
        if change.verified:
            self.info(f"Successfully updated port to {change.new}", Event.PORT_CHANGED, **ports)

    def _record_port_check(self, report: SyncReport, before: SyncReport) -> None:
        """Tell what the outside said, when that is something else than before."""
        if report.reachable is None or report.reachable is before.reachable:
            return
        verdict = "open" if report.reachable else "closed"
        self._tell(
            logging.INFO if report.reachable else logging.WARNING,
            f"From outside, port {report.current_port} is {verdict}",
            Event.PORT_CHECK,
            port=report.current_port,
            result=verdict,
            reason=Reason.PORT_CLOSED,
        )

    def _record_problem(self, report: SyncReport, before: SyncReport) -> None:
        """Tell of a failure, or a port from the file, where that is new or lasts for long."""
        now, problem = self._clock.monotonic(), report.problem
        assert problem is not None
        if before.problem is None:
            self._problem_began = now
        elif (
            before.problem.reason is problem.reason
            and (before.failure is None) is (report.failure is None)
            and now - self._problem_told < _REMIND_EVERY
        ):
            return
        self._problem_told = now
        if report.failure:
            self._tell(
                logging.ERROR,
                str(problem),
                Event.SYNC_FAILED,
                error=problem.__cause__,
                reason=problem.reason,
            )
        else:
            self.warning(f"{problem}; the port file is used meanwhile", reason=problem.reason)

    def _record_recovery(self, report: SyncReport, problem: SyncError) -> None:
        lasted = self._clock.monotonic() - self._problem_began
        in_sync = report.in_sync and not report.change
        state = f": in sync on port {report.current_port}" if in_sync else ""
        self.info(
            f"Recovered from {problem.reason} after {in_words(lasted)}{state}",
            Event.SYNC_RECOVERED,
            reason=problem.reason,
            seconds=round(lasted, 1),
        )

    def _record_status(self, report: SyncReport, before: SyncReport) -> None:
        """Tell of a new status what nothing else has told."""
        recovered = before.problem and not report.problem
        told = recovered or report.change or report.port_restored
        if report.status is Status.SYNCED and not told:
            self.info(f"In sync on port {report.current_port}")
        elif report.status is Status.WAITING and not report.port_lost:
            self.info("Waiting for Gluetun to forward a port")

    def _tell(
        self,
        level: int,
        message: str,
        event: Event | None = None,
        *,
        error: BaseException | None = None,
        **fields: object,
    ) -> None:
        extra = {"event": event, **fields} if event else fields
        self._logger.log(level, "%s", message, extra=extra, exc_info=error)
