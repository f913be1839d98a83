"""Every metric, and how exchanges and reports become numbers."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from qsticky import __version__
from qsticky.clock import Clock, wall
from qsticky.errors import ErrorKind, Reason
from qsticky.record.known import Info, Known, unit_of
from qsticky.services.http import Exchange
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.services.webui import LOGIN
from qsticky.sync.report import RebindCause, Status, SyncReport, Trigger

SERVICES = ("gluetun", "qbittorrent")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
PORT_CHECK_RESULTS = ("open", "closed", "error")
NOTIFICATION_RESULTS = ("sent", "failed")
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SYNC_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics in `registry`, every label set from the start at 0. Durations are in seconds.

    `gluetun` tells whether Gluetun is asked at all: with a fixed port its series have no samples.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        check_interval: float,
        revision: str,
        clock: Clock,
        gluetun: bool = True,
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._services = SERVICES if gluetun else SERVICES[1:]
        build = self._gauge("build_info", "The version that runs, always 1.", "version", "revision")
        build.labels(__version__, revision).set(1)
        interval = self._gauge("check_interval_seconds", "Seconds between checks, as configured.")
        interval.set(check_interval)
        self._make_state()
        self._make_listening()
        self._make_vpn()
        self._make_counters()
        self._make_requests()
        self._start_at_zero()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        unit = unit_of(name)
        return Gauge(f"qsticky_{name}", text, labels, unit=unit, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"qsticky_{name}", text, labels, registry=self._registry)

    def _known_gauge(self, name: str, text: str) -> Known:
        return Known(GaugeMetricFamily, name, text, self._registry)

    def _make_state(self) -> None:
        self._forwarded_port = self._gauge(
            "forwarded_port",
            "The port that Gluetun reports, 0 when it has none; the last known while it can't be "
            "asked.",
        )
        self._current_port = self._gauge(
            "current_port",
            "The port that qBittorrent reports, 0 until known; the last known while it can't be "
            "asked.",
        )
        self._in_sync = self._gauge(
            "in_sync", "1 when the last sync verified that both ports are equal."
        )
        self._healthy = self._gauge("healthy", "The health document's verdict, 1 is healthy.")
        self._gluetun_up = self._known_gauge(
            "gluetun_up", "1 when the last exchange with Gluetun worked."
        )
        self._gluetun_up.value = 0 if "gluetun" in self._services else None
        self._qbittorrent_up = self._gauge(
            "qbittorrent_up", "1 when the last exchange with qBittorrent worked."
        )
        self._connection_status = self._gauge(
            "qbittorrent_connection_status",
            "1 for the connection status that qBittorrent reports, 0 for the others; all 0 while "
            "it can't be asked.",
            "status",
        )
        self._status = self._gauge(
            "status", "1 for the present status, 0 for the others.", "status"
        )
        self._failing = self._gauge(
            "failing",
            "1 for the reason for which the last sync failed, 0 for the others; all 0 when it "
            "didn't.",
            "reason",
        )
        self._last_sync = self._gauge(
            "last_sync_timestamp_seconds", "When the last sync ended, whatever came of it."
        )
        self._last_success = self._gauge(
            "last_success_timestamp_seconds",
            "When the last successful sync ended, 0 until then.",
        )
        self._last_port_change = self._gauge(
            "last_port_change_timestamp_seconds",
            "When a port change was last verified, 0 until then.",
        )

    def _make_listening(self) -> None:
        self._interface_visible = self._gauge(
            "vpn_interface_visible",
            "1 when the VPN's interface is visible: up, with an address, and qBittorrent's too.",
        )
        self._listener_up = self._known_gauge(
            "vpn_listener_up",
            "1 when a socket listens where the VPN's peers arrive with the current port, 0 when "
            "none does; no sample while it isn't known.",
        )
        self._incoming = self._known_gauge(
            "incoming_connections",
            "TCP connections that came in on the VPN's address and are established now; no sample "
            "while it can't be seen.",
        )
        self._last_incoming = self._known_gauge(
            "last_incoming_connection_timestamp_seconds",
            "When a connection that came in was last seen that was not there at the look before, 0 "
            "until then; no sample until it could be seen once.",
        )
        self._told_incoming: float | None = None
        self._reachable = self._known_gauge(
            "port_reachable",
            "1 when PORT_CHECK_URL last said open, 0 when closed; no sample unless it said one of "
            "them.",
        )
        self._address_matches = self._known_gauge(
            "external_address_matches",
            "1 when peers see qBittorrent at Gluetun's public address, 0 when at another; no "
            "sample unless both are known.",
        )
        self._dht_nodes = self._known_gauge(
            "qbittorrent_dht_nodes", "DHT nodes that qBittorrent knows; no sample until known."
        )

    def _make_vpn(self) -> None:
        self._received = Known(
            CounterMetricFamily,
            "vpn_receive_bytes",
            "Bytes that came in by the VPN's interface since it was made; no sample where it isn't "
            "visible.",
            self._registry,
        )
        self._transmitted = Known(
            CounterMetricFamily,
            "vpn_transmit_bytes",
            "Bytes that went out by the VPN's interface since it was made; no sample where it "
            "isn't visible.",
            self._registry,
        )
        self._gluetun_info = Info(
            self._gauge("gluetun_info", "Gluetun's version, always 1.", "version")
        )
        self._qbittorrent_info = Info(
            self._gauge("qbittorrent_info", "The version of qBittorrent, always 1.", "version")
        )
        self._exit_info = Info(
            self._gauge(
                "vpn_exit_info",
                "The country of the VPN's public address, as Gluetun names it, always 1.",
                "country",
            )
        )

    def _make_counters(self) -> None:
        counter = self._counter
        self._syncs = counter("syncs_total", "Syncs run, by what triggered them.", "trigger")
        self._failures = counter("sync_failures_total", "Syncs that failed, by reason.", "reason")
        self._port_changes = counter("port_changes_total", "Verified port changes.")
        self._rebinds = counter(
            "rebinds_total", "Times the listening sockets were opened anew, by cause.", "cause"
        )
        self._losses = counter(
            "forwarded_port_losses_total", "Times that Gluetun's forwarded port went away."
        )
        self._address_changes = counter(
            "public_address_changes_total", "Times that Gluetun's public address was another one."
        )
        self._vpn_restarts = counter(
            "vpn_restarts_total", "Times that Gluetun was told to restart the VPN."
        )
        self._port_checks = counter(
            "port_checks_total", "Port checks from outside, by result.", "result"
        )
        self._notifications = counter(
            "notifications_total", "Notifications, by result, for each address.", "result"
        )
        self._log_messages = counter("log_messages_total", "Log lines written, by level.", "level")
        self._log_lines_dropped = counter(
            "log_lines_dropped_total", "Log lines that were dropped, since nobody read them."
        )
        self._health_write_failures = counter(
            "health_file_write_failures_total", "Writes of the health file that failed."
        )

    def _make_requests(self) -> None:
        self._requests = self._counter(
            "api_requests_total", "Requests sent, by service.", "service"
        )
        self._errors = self._counter(
            "api_errors_total", "Requests that failed, by service and reason.", "service", "reason"
        )
        self._request_duration = Histogram(
            "qsticky_api_request_duration_seconds",
            "How long requests took, by service.",
            ("service",),
            unit="seconds",
            registry=self._registry,
            buckets=_REQUEST_BUCKETS,
        )
        self._sync_duration = Histogram(
            "qsticky_sync_duration_seconds",
            "How long syncs took.",
            unit="seconds",
            registry=self._registry,
            buckets=_SYNC_BUCKETS,
        )
        self._logins = self._counter("qbittorrent_logins_total", "Logins tried at qBittorrent.")
        self._login_failures = self._counter(
            "qbittorrent_login_failures_total", "Logins that qBittorrent refused."
        )

    def _start_at_zero(self) -> None:
        labels: list[tuple[Gauge | Counter, Iterable[str]]] = [
            (self._connection_status, ConnectionStatus),
            (self._status, Status),
            (self._failing, Reason),
            (self._syncs, Trigger),
            (self._failures, Reason),
            (self._rebinds, RebindCause),
            (self._port_checks, PORT_CHECK_RESULTS),
            (self._notifications, NOTIFICATION_RESULTS),
            (self._log_messages, LOG_LEVELS),
        ]
        for metric, values in labels:
            for value in values:
                metric.labels(value)
        self._status.labels(Status.STARTING).set(1)
        for service in self._services:
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
        self._record_state(report)
        self._record_listening(report)
        self._record_vpn(report)
        self._record_counters(report)

    def _record_state(self, report: SyncReport) -> None:
        finished_at = wall(self._clock, report.finished_at)
        self._last_sync.set(finished_at)
        if report.forwarded_port is not None:
            self._forwarded_port.set(report.forwarded_port)
        if report.current_port is not None:
            self._current_port.set(report.current_port)
        self._in_sync.set(report.in_sync)
        self._healthy.set(report.status.healthy)
        if "gluetun" in self._services:  # an internal error's report says nothing of that
            self._gluetun_up.value = report.gluetun_up
        self._qbittorrent_up.set(report.qbittorrent_up)
        for connection in ConnectionStatus:
            self._connection_status.labels(connection).set(connection is report.connection_status)
        for status in Status:
            self._status.labels(status).set(status is report.status)
        failed_by = report.failure.reason if report.failure else None
        for reason in Reason:
            self._failing.labels(reason).set(reason is failed_by)
        if report.status is Status.SYNCED:
            self._last_success.set(finished_at)
        if report.change and report.change.verified:
            self._last_port_change.set(finished_at)

    def _record_listening(self, report: SyncReport) -> None:
        self._interface_visible.set(report.interface_visible)
        self._listener_up.value = report.listening
        self._incoming.value = report.incoming_connections
        if report.last_incoming is not None and report.last_incoming != self._told_incoming:
            # Once for each: turned anew, it would differ by microseconds from scrape to scrape.
            self._told_incoming = report.last_incoming
            self._last_incoming.value = wall(self._clock, report.last_incoming)
        elif self._told_incoming is None and report.incoming_connections is not None:
            self._last_incoming.value = 0
        self._reachable.value = report.reachable
        self._address_matches.value = report.address_matches
        if report.dht_nodes is not None:
            self._dht_nodes.value = report.dht_nodes

    def _record_vpn(self, report: SyncReport) -> None:
        self._received.value = report.received_bytes
        self._transmitted.value = report.transmitted_bytes
        self._gluetun_info.tell(report.gluetun_version)
        self._qbittorrent_info.tell(report.qbittorrent_version)
        self._exit_info.tell(report.country)

    def _record_counters(self, report: SyncReport) -> None:
        self._syncs.labels(report.trigger).inc()
        self._sync_duration.observe(report.duration)
        if report.failure:
            self._failures.labels(report.failure.reason).inc()
        if report.change and report.change.verified:
            self._port_changes.inc()
        if report.port_lost:
            self._losses.inc()
        if report.address_changed:
            self._address_changes.inc()
        if report.vpn_restart:
            self._vpn_restarts.inc()
        for cause in report.rebinds:
            self._rebinds.labels(cause).inc()

    def port_checked(self, result: str) -> None:
        """Count a port check from outside: open, closed or error."""
        self._port_checks.labels(result).inc()

    def notified(self, *, sent: bool) -> None:
        """Count a notification, for one address."""
        self._notifications.labels("sent" if sent else "failed").inc()

    def health_file_failed(self) -> None:
        """Count a write of the health file that failed."""
        self._health_write_failures.inc()

    def log_line_written(self, level: str) -> None:
        """Count a log line of a level (lower case)."""
        self._log_messages.labels(level).inc()

    def log_line_dropped(self) -> None:
        """Count a log line that nobody read."""
        self._log_lines_dropped.inc()
