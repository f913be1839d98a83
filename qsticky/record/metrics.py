"""Every metric, and how exchanges and reports become numbers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from qsticky import __version__
from qsticky.errors import ErrorKind, Reason
from qsticky.services.http import Exchange
from qsticky.services.qbittorrent import LOGIN, ConnectionStatus
from qsticky.sync.report import RebindCause, Status, SyncReport, Trigger

SERVICES = ("gluetun", "qbittorrent")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SYNC_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics in `registry`, every label set from the start at 0. Durations are in seconds."""

    def __init__(
        self, registry: CollectorRegistry, *, check_interval: float, revision: str
    ) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"qsticky_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"qsticky_{name}", text, labels, registry=registry)

        build = gauge("build_info", "The version that runs, always 1.", "version", "revision")
        build.labels(__version__, revision).set(1)
        gauge("check_interval_seconds", "Seconds between checks, as configured.").set(
            check_interval
        )
        self._forwarded_port = gauge(
            "forwarded_port", "The port that Gluetun reports, 0 when it has none."
        )
        self._current_port = gauge(
            "current_port", "The port that qBittorrent reports, 0 until known."
        )
        self._in_sync = gauge("in_sync", "1 when the last sync verified that both ports are equal.")
        self._healthy = gauge("healthy", "The health file's verdict, 1 is healthy.")
        self._up = {
            "gluetun": gauge("gluetun_up", "1 when the last exchange with Gluetun worked."),
            "qbittorrent": gauge(
                "qbittorrent_up", "1 when the last exchange with qBittorrent worked."
            ),
        }
        self._connection_status = gauge(
            "qbittorrent_connection_status",
            "1 for the connection status that qBittorrent reports, 0 for the others.",
            "status",
        )
        self._last_sync = gauge(
            "last_sync_timestamp_seconds", "When the last sync ended, whatever came of it."
        )
        self._last_success = gauge(
            "last_success_timestamp_seconds",
            "When the last successful sync ended, 0 until then.",
        )
        self._last_port_change = gauge(
            "last_port_change_timestamp_seconds",
            "When a port change was last verified, 0 until then.",
        )
        self._syncs = counter("syncs_total", "Syncs run, by what triggered them.", "trigger")
        self._failures = counter("sync_failures_total", "Syncs that failed, by reason.", "reason")
        self._port_changes = counter("port_changes_total", "Verified port changes.")
        self._interface_visible = gauge(
            "vpn_interface_visible", "1 when the VPN interface is visible."
        )
        self._listener_up = gauge(
            "vpn_listener_up",
            "1 when a socket listens on the VPN interface with the current port.",
        )
        self._rebinds = counter(
            "rebinds_total", "Times the listening socket was re-opened, by cause.", "cause"
        )
        self._losses = counter(
            "forwarded_port_losses_total", "Times that Gluetun's forwarded port went away."
        )
        self._requests = counter("api_requests_total", "Requests sent, by service.", "service")
        self._errors = counter(
            "api_errors_total", "Requests that failed, by service and reason.", "service", "reason"
        )
        self._request_duration = Histogram(
            "qsticky_api_request_duration_seconds",
            "How long requests took, by service.",
            ("service",),
            registry=registry,
            buckets=_REQUEST_BUCKETS,
        )
        self._sync_duration = Histogram(
            "qsticky_sync_duration_seconds",
            "How long syncs took.",
            registry=registry,
            buckets=_SYNC_BUCKETS,
        )
        self._logins = counter("qbittorrent_logins_total", "Logins tried at qBittorrent.")
        self._login_failures = counter(
            "qbittorrent_login_failures_total", "Logins that qBittorrent refused."
        )
        self._health_write_failures = counter(
            "health_file_write_failures_total", "Writes of the health file that failed."
        )
        self._log_messages = counter("log_messages_total", "Log lines written, by level.", "level")
        self._log_lines_dropped = counter("log_lines_dropped_total", "Log lines that nobody read.")
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        for status in ConnectionStatus:
            self._connection_status.labels(status)
        for trigger in Trigger:
            self._syncs.labels(trigger)
        for reason in Reason:
            self._failures.labels(reason)
        for cause in RebindCause:
            self._rebinds.labels(cause)
        for level in LOG_LEVELS:
            self._log_messages.labels(level)
        for service in SERVICES:
            self._requests.labels(service)
            self._request_duration.labels(service)
            for kind in ErrorKind:
                self._errors.labels(service, kind)

    def observe(self, exchange: Exchange) -> None:
        """Count one request."""
        self._requests.labels(exchange.service).inc()
        self._request_duration.labels(exchange.service).observe(exchange.seconds)
        if exchange.error:
            self._errors.labels(exchange.service, exchange.error).inc()
        if exchange.operation == LOGIN:
            self._logins.inc()
            if exchange.error is ErrorKind.UNAUTHORIZED:
                self._login_failures.inc()

    def record(self, report: SyncReport) -> None:
        """Turn one sync's report into numbers. A port that could not be learnt stays as it was."""
        self._syncs.labels(report.trigger).inc()
        self._sync_duration.observe(report.duration)
        self._last_sync.set(report.finished_at)
        if report.forwarded_port is not None:
            self._forwarded_port.set(report.forwarded_port)
        if report.current_port is not None:
            self._current_port.set(report.current_port)
        self._in_sync.set(report.in_sync)
        self._healthy.set(report.status.healthy)
        self._up["gluetun"].set(report.gluetun_up is True)
        self._up["qbittorrent"].set(report.qbittorrent_up)
        for status in ConnectionStatus:
            self._connection_status.labels(status).set(status is report.connection_status)
        self._interface_visible.set(report.interface_visible)
        self._listener_up.set(report.listening is True)
        if report.status is Status.SYNCED:
            self._last_success.set(report.finished_at)
        if report.failure:
            self._failures.labels(report.failure.reason).inc()
        if report.change and report.change.verified:
            self._port_changes.inc()
            self._last_port_change.set(report.finished_at)
        if report.port_lost:
            self._losses.inc()
        for cause in report.rebinds:
            self._rebinds.labels(cause).inc()

    def health_file_failed(self) -> None:
        """Count a write of the health file that failed."""
        self._health_write_failures.inc()

    def log_line_written(self, level: str) -> None:
        """Count a log line of a level (lower case)."""
        self._log_messages.labels(level).inc()

    def log_line_dropped(self) -> None:
        """Count a log line that nobody read."""
        self._log_lines_dropped.inc()
