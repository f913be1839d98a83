"""Which log lines a report is worth."""

import errno
import logging
import threading

from qsticky.clock import Clock, in_words
from qsticky.errors import ErrorKind, Reason, SyncError
from qsticky.record.events import Event
from qsticky.services.http import Exchange
from qsticky.services.webui import LOGIN
from qsticky.sync.report import PortChange, RebindCause, Status, SyncReport

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
        self._status = Status.STARTING
        self._announced: PortChange | None = None
        self._problem: SyncError | None = None
        self._problem_told = 0.0
        self._problem_began = 0.0
        self._health_file_error: str | None = None
        self._warnings: tuple[str, ...] = ()
        self._reachable: bool | None = None
        self._logged_in = False

    def startup(self, message: str, **fields: object) -> None:
        """Tell what has started."""
        self._tell(logging.INFO, Event.STARTUP, message, **fields)

    def shutdown(self, message: str) -> None:
        """Tell that this is the end, and why."""
        self._tell(logging.INFO, Event.SHUTDOWN, message)

    def warning(self, message: str) -> None:
        """Tell what is worth a look and no event of its own."""
        self._tell(logging.WARNING, None, message)

    def note(self, message: str) -> None:
        """Tell what is neither an event nor to be mended."""
        self._tell(logging.INFO, None, message)

    def cannot_serve(self, address: str, port: int, error: OSError) -> None:
        """Tell why the HTTP server can't start."""
        remedy = "set METRICS_ADDRESS and METRICS_PORT to ones that are free"
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            remedy += ", and give it a whole TLS pair if any"
        self._tell(
            logging.CRITICAL,
            Event.HTTP,
            f"The HTTP server can't start at {address}, port {port} ({error.strerror or error}); "
            + remedy,
        )

    def thread_died(self, hook: threading.ExceptHookArgs) -> None:
        """Tell of a thread that ended by an exception, which is an internal error."""
        name = hook.thread.name if hook.thread else "unknown"
        self._logger.critical(
            "The thread %s died of an internal error; report it with this traceback",
            name,
            exc_info=hook.exc_value,
        )

    def serving(self, url: str) -> None:
        """Tell where the HTTP server answers."""
        self._tell(logging.INFO, Event.HTTP, f"Serving the page and metrics at {url}", url=url)

    def observe(self, exchange: Exchange) -> None:
        """Tell of a login, but not of each that renews a session where those end early."""
        if exchange.service == "qbittorrent" and exchange.error:
            self._logged_in = False
        if exchange.operation != LOGIN:
            return
        if exchange.error is None:
            renewed, self._logged_in = self._logged_in, True
            if renewed:
                self._tell(logging.DEBUG, None, "Logged in to qBittorrent again, for a new session")
            else:
                self._tell(logging.INFO, Event.LOGIN, "Logged in to qBittorrent")
        elif exchange.error is ErrorKind.UNAUTHORIZED:
            self._tell(
                logging.WARNING,
                Event.LOGIN_REFUSED,
                "qBittorrent refused the login",
                reason=Reason.QBITTORRENT_UNAUTHORIZED,
            )

    def vpn_restart(self, sentence: str, reason: Reason, *, failed: bool) -> None:
        """Tell what becomes of a restart of the VPN; `failed` where it needs somebody."""
        level = logging.ERROR if failed else logging.WARNING
        self._tell(level, Event.VPN_RESTART, sentence, reason=reason)

    def notification_failed(self, sentence: str) -> None:
        """Tell that a notification was not taken."""
        self._tell(logging.WARNING, Event.NOTIFICATION_FAILED, sentence)

    def health_file(self, error: OSError | None) -> None:
        """Tell when the health file can't be written, and when it can again."""
        told = str(error) if error else None
        if told == self._health_file_error:
            return
        self._health_file_error = told
        if error:
            self._tell(
                logging.ERROR,
                Event.HEALTH_FILE_FAILED,
                f"The health file can't be written ({error}); let HEALTH_FILE name a file in a "
                "folder that qSticky's user can write, such as a tmpfs",
            )
        else:
            self._tell(logging.INFO, None, "The health file can be written again")

    def record(self, report: SyncReport) -> None:
        """Tell what is new in a report."""
        self._record_port(report)
        self._record_port_check(report)
        for warning in report.warnings:
            if warning not in self._warnings:
                self.warning(warning)
        self._warnings = report.warnings
        port = report.current_port
        for cause in report.rebinds:
            message = f"Rebound the listening socket to port {port}, as {_CAUSES[cause]}"
            self._tell(logging.INFO, Event.REBOUND, message, port=port, cause=cause)
        recovered = self._problem is not None and report.problem is None
        told = recovered or report.change or report.port_restored
        self._record_problem(report)
        if report.status is not self._status:
            if report.status is Status.SYNCED and not told:
                self._tell(logging.INFO, None, f"In sync on port {port}")
            elif report.status is Status.WAITING and not report.port_lost:
                self._tell(logging.INFO, None, "Waiting for Gluetun to forward a port")
        self._status = report.status
        self._logger.debug(
            "Sync (%s) took %.3f s: %s, Gluetun's port %s, qBittorrent's port %s",
            *(report.trigger, report.duration, report.status),
            *(report.forwarded_port, report.current_port),
        )

    def _record_port(self, report: SyncReport) -> None:
        if report.port_lost:
            self._tell(
                logging.WARNING,
                Event.PORT_LOST,
                "Gluetun's forwarded port went away",
                reason=Reason.NO_FORWARDED_PORT,
            )
        if report.port_restored:
            self._tell(
                logging.INFO,
                Event.PORT_RESTORED,
                f"Gluetun has a forwarded port again: {report.forwarded_port}",
                port=report.forwarded_port,
                reason=Reason.NO_FORWARDED_PORT,
            )
        change = report.change
        if change is None:
            return
        ports = {"old_port": change.old, "new_port": change.new}
        if self._announced is None or (self._announced.old, self._announced.new) != (
            change.old,
            change.new,
        ):
            self._tell(
                logging.INFO,
                Event.PORT_CHANGE_NEEDED,
                f"Port change needed: {change.old} -> {change.new}",
                **ports,
            )
        self._announced = None if change.verified else change
        if change.verified:
            self._tell(
                logging.INFO,
                Event.PORT_CHANGED,
                f"Successfully updated port to {change.new}",
                **ports,
            )

    def _record_port_check(self, report: SyncReport) -> None:
        """Tell what the outside said, when that is something else than before."""
        before, self._reachable = self._reachable, report.reachable
        if report.reachable is None or report.reachable is before:
            return
        verdict = "open" if report.reachable else "closed"
        self._tell(
            logging.INFO if report.reachable else logging.WARNING,
            Event.PORT_CHECK,
            f"From outside, port {report.current_port} is {verdict}",
            port=report.current_port,
            result=verdict,
            reason=Reason.PORT_CLOSED,
        )

    def _record_problem(self, report: SyncReport) -> None:
        now = self._clock.monotonic()
        problem, before = report.problem, self._problem
        self._problem = problem
        if problem is None:
            if before is not None:
                lasted = now - self._problem_began
                in_sync = report.in_sync and not report.change
                state = f": in sync on port {report.current_port}" if in_sync else ""
                self._tell(
                    logging.INFO,
                    Event.SYNC_RECOVERED,
                    f"Recovered from {before.reason} after {in_words(lasted)}{state}",
                    reason=before.reason,
                    seconds=round(lasted, 1),
                )
            return
        if before is None:
            self._problem_began = now
        again = (
            before is not None
            and before.reason is problem.reason
            and (self._status is Status.FAILING) is (report.failure is not None)
        )
        if again and now - self._problem_told < _REMIND_EVERY:
            return
        self._problem_told = now
        if report.failure:
            self._logger.error(
                "%s",
                problem,
                extra={"event": Event.SYNC_FAILED, "reason": problem.reason},
                exc_info=problem.__cause__,
            )
        else:
            message = f"{problem}; the port file is used meanwhile"
            self._tell(logging.WARNING, None, message, reason=problem.reason)

    def _tell(self, level: int, event: Event | None, message: str, **fields: object) -> None:
        extra = {"event": event, **fields} if event else fields
        self._logger.log(level, "%s", message, extra=extra)
