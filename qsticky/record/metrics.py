"""Every metric, and how exchanges and reports become numbers."""

import functools
import itertools
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from qsticky import __version__
from qsticky.clock import Clock, wall
from qsticky.errors import ErrorKind, Reason
from qsticky.record.known import Known
from qsticky.services.http import Exchange
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.services.webui import LOGIN
from qsticky.sync.report import RebindCause, Status, SyncReport, Trigger

SERVICES = ("gluetun", "qbittorrent")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SYNC_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXTS = {
    "forwarded_port": (
        "The port that Gluetun reports, 0 when it has none; the last known while it can't be asked."
    ),
    "current_port": (
        "The port that qBittorrent reports, 0 until known; the last known while it can't be asked."
    ),
    "in_sync": "1 when the last sync verified that both ports are equal.",
    "healthy": "The health document's verdict, 1 is healthy.",
    "gluetun_up": "1 when the last exchange with Gluetun worked.",
    "qbittorrent_up": "1 when the last exchange with qBittorrent worked.",
    "qbittorrent_connection_status": (
        "1 for the connection status that qBittorrent reports, 0 for the others; all 0 while it "
        "can't be asked."
    ),
    "status": "1 for the present status, 0 for the others.",
    "failing": (
        "1 for the reason for which the last sync failed, 0 for the others; all 0 when it didn't."
    ),
    "last_sync_timestamp_seconds": "When the last sync ended, whatever came of it.",
    "last_success_timestamp_seconds": "When the last successful sync ended, 0 until then.",
    "last_port_change_timestamp_seconds": "When a port change was last verified, 0 until then.",
    "vpn_interface_visible": (
        "1 when the VPN's interface is visible: up, with an address, and qBittorrent's too."
    ),
    "vpn_listener_up": (
        "1 when a socket listens where the VPN's peers arrive with the current port, 0 when none "
        "does; no sample while it isn't known."
    ),
    "incoming_connections": (
        "TCP connections that came in on the VPN's address and are established now; no sample "
        "while it can't be seen."
    ),
    "last_incoming_connection_timestamp_seconds": (
        "When a connection that came in was last seen that was not there at the look before, 0 "
        "until then; no sample until it could be seen once."
    ),
    "port_reachable": (
        "1 when PORT_CHECK_URL last said open, 0 when closed; no sample unless it said one of them."
    ),
    "external_address_matches": (
        "1 when peers see qBittorrent at Gluetun's public address, 0 when at another; no sample "
        "unless both are known."
    ),
    "qbittorrent_dht_nodes": "DHT nodes that qBittorrent knows; no sample until known.",
    "vpn_receive_bytes": (
        "Bytes that came in by the VPN's interface since it was made; no sample where it isn't "
        "visible."
    ),
    "vpn_transmit_bytes": (
        "Bytes that went out by the VPN's interface since it was made; no sample where it isn't "
        "visible."
    ),
    "gluetun_info": "Gluetun's version, always 1.",
    "qbittorrent_info": "The version of qBittorrent, always 1.",
    "vpn_exit_info": ("The country of the VPN's public address, as Gluetun names it, always 1."),
}


class Metrics(Collector):
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
        self._known = Known.at_start(clock.monotonic())
        # Once for each moment: turned anew, it would differ by microseconds from scrape to scrape.
        self._wall = functools.lru_cache(functools.partial(wall, clock))
        self._registry = registry
        self._services = SERVICES if gluetun else SERVICES[1:]
        registry.register(self)
        build = self._gauge("build_info", "The version that runs, always 1.", "version", "revision")
        build.labels(__version__, revision).set(1)
        interval = self._gauge("check_interval_seconds", "Seconds between checks, as configured.")
        interval.set(check_interval)
        self._make_counters()
        self._make_requests()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        unit = _unit(name)
        return Gauge(f"qsticky_{name}", text, labels, unit=unit, registry=self._registry)

    def _counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        """Make a counter, with a series for all that its labels can be."""
        counter = Counter(f"qsticky_{name}", text, labels, registry=self._registry)
        for values in itertools.product(*labels.values()) if labels else ():
            counter.labels(*values)
        return counter

    def _make_counters(self) -> None:
        counter = self._counter
        self._syncs = counter("syncs_total", "Syncs run, by what triggered them.", trigger=Trigger)
        self._failures = counter(
            "sync_failures_total", "Syncs that failed, by reason.", reason=Reason
        )
        self._port_changes = counter("port_changes_total", "Verified port changes.")
        self._rebinds = counter(
            "rebinds_total",
            "Times the listening sockets were opened anew, by cause.",
            cause=RebindCause,
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
            "port_checks_total",
            "Port checks from outside, by result.",
            result=("open", "closed", "error"),
        )
        self._notifications = counter(
            "notifications_total",
            "Notifications, by result, for each address.",
            result=("sent", "failed"),
        )
        self._log_messages = counter(
            "log_messages_total", "Log lines written, by level.", level=LOG_LEVELS
        )
        self._log_lines_dropped = counter(
            "log_lines_dropped_total", "Log lines that were dropped, since nobody read them."
        )
        self._health_write_failures = counter(
            "health_file_write_failures_total", "Writes of the health file that failed."
        )

    def _make_requests(self) -> None:
        self._requests = self._counter(
            "api_requests_total", "Requests sent, by service.", service=self._services
        )
        self._errors = self._counter(
            "api_errors_total",
            "Requests that failed, by service and reason.",
            service=self._services,
            reason=ErrorKind,
        )
        self._request_duration = Histogram(
            "qsticky_api_request_duration_seconds",
            "How long requests took, by service.",
            ("service",),
            unit="seconds",
            registry=self._registry,
            buckets=_REQUEST_BUCKETS,
        )
        for service in self._services:
            self._request_duration.labels(service)
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

    def describe(self) -> Iterable[Metric]:
        """Give all by their names, by which `/metrics?name[]=` chooses."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Give what is known by now as numbers: no sample where it isn't."""
        known = self._known
        for name, value in _numbers(known).items():
            unit = _unit(name)
            if unit == "seconds" and value:
                value = self._wall(value)
            if name == "gluetun_up" and "gluetun" not in self._services:
                value = None  # an internal error's report doesn't know that
            family = CounterMetricFamily if unit == "bytes" else GaugeMetricFamily
            yield family(f"qsticky_{name}", _TEXTS[name], value=value, unit=unit)
        for name, label, values, present in _labelled(known):
            metric = GaugeMetricFamily(f"qsticky_{name}", _TEXTS[name], labels=[label])
            for each in values:
                metric.add_metric([each], each == present)
            yield metric

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
        self._known = self._known.after(report)
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


def _numbers(known: Known) -> dict[str, float | None]:
    """Give the metrics without labels: of those in seconds the moment, or 0."""
    report = known.report
    return {
        "forwarded_port": known.forwarded_port or 0,
        "current_port": known.current_port or 0,
        "in_sync": report.in_sync,
        "healthy": report.status.healthy,
        "gluetun_up": report.gluetun_up,
        "qbittorrent_up": report.qbittorrent_up,
        "last_sync_timestamp_seconds": known.last_check or 0,
        "last_success_timestamp_seconds": known.last_success or 0,
        "last_port_change_timestamp_seconds": known.last_port_change or 0,
        "vpn_interface_visible": report.interface_visible,
        "vpn_listener_up": report.listening,
        "incoming_connections": report.incoming_connections,
        "last_incoming_connection_timestamp_seconds": (
            known.last_incoming or (0 if known.incoming_visible else None)
        ),
        "port_reachable": report.reachable,
        "external_address_matches": report.address_matches,
        "qbittorrent_dht_nodes": known.dht_nodes,
        "vpn_receive_bytes": report.received_bytes,
        "vpn_transmit_bytes": report.transmitted_bytes,
    }


def _labelled(known: Known) -> Iterable[tuple[str, str, Iterable[str], str | None]]:
    """Give those with a label: its name, the values that it has always, and the present one."""
    report = known.report
    yield "qbittorrent_connection_status", "status", ConnectionStatus, report.connection_status
    yield "status", "status", Status, report.status
    yield "failing", "reason", Reason, report.failure.reason if report.failure else None
    for name, label, fact in (
        ("gluetun_info", "version", report.gluetun_version),
        ("qbittorrent_info", "version", report.qbittorrent_version),
        ("vpn_exit_info", "country", report.country),
    ):
        yield name, label, [fact] if fact else [], fact


def _unit(name: str) -> str:
    """Return the unit that a metric's name ends with, which OpenMetrics declares; or nothing."""
    return next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")
