"""What a scraper sees, and what each report and each exchange changes of it."""

import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    enable_created_metrics,
    generate_latest,
)

from qsticky import __version__
from qsticky.errors import ErrorKind, Reason
from qsticky.record.metrics import LOG_LEVELS, Metrics
from qsticky.services.http import Exchange
from qsticky.services.qbittorrent import LOGIN, ConnectionStatus
from qsticky.sync.report import PortChange, RebindCause, Status, Trigger
from tests.real import require
from tests.reports import ENDED, degraded, failing, synced, waiting

Values = dict[str, float]

FRESH = """\
# HELP qsticky_build_info The version that runs, always 1.
# TYPE qsticky_build_info gauge
qsticky_build_info{revision="abc",version="VERSION"} 1.0
# HELP qsticky_check_interval_seconds Seconds between checks, as configured.
# TYPE qsticky_check_interval_seconds gauge
qsticky_check_interval_seconds 30.0
# HELP qsticky_forwarded_port The port that Gluetun reports, 0 when it has none.
# TYPE qsticky_forwarded_port gauge
qsticky_forwarded_port 0.0
# HELP qsticky_current_port The port that qBittorrent reports, 0 until known.
# TYPE qsticky_current_port gauge
qsticky_current_port 0.0
# HELP qsticky_in_sync 1 when the last sync verified that both ports are equal.
# TYPE qsticky_in_sync gauge
qsticky_in_sync 0.0
# HELP qsticky_healthy The health file's verdict, 1 is healthy.
# TYPE qsticky_healthy gauge
qsticky_healthy 0.0
# HELP qsticky_gluetun_up 1 when the last exchange with Gluetun worked.
# TYPE qsticky_gluetun_up gauge
qsticky_gluetun_up 0.0
# HELP qsticky_qbittorrent_up 1 when the last exchange with qBittorrent worked.
# TYPE qsticky_qbittorrent_up gauge
qsticky_qbittorrent_up 0.0
# HELP qsticky_qbittorrent_connection_status 1 for the connection status that qBittorrent reports, 0 for the others.
# TYPE qsticky_qbittorrent_connection_status gauge
qsticky_qbittorrent_connection_status{status="connected"} 0.0
qsticky_qbittorrent_connection_status{status="firewalled"} 0.0
qsticky_qbittorrent_connection_status{status="disconnected"} 0.0
# HELP qsticky_last_sync_timestamp_seconds When the last sync ended, whatever came of it.
# TYPE qsticky_last_sync_timestamp_seconds gauge
qsticky_last_sync_timestamp_seconds 0.0
# HELP qsticky_last_success_timestamp_seconds When the last successful sync ended, 0 until then.
# TYPE qsticky_last_success_timestamp_seconds gauge
qsticky_last_success_timestamp_seconds 0.0
# HELP qsticky_last_port_change_timestamp_seconds When a port change was last verified, 0 until then.
# TYPE qsticky_last_port_change_timestamp_seconds gauge
qsticky_last_port_change_timestamp_seconds 0.0
# HELP qsticky_syncs_total Syncs run, by what triggered them.
# TYPE qsticky_syncs_total counter
qsticky_syncs_total{trigger="startup"} 0.0
qsticky_syncs_total{trigger="interval"} 0.0
qsticky_syncs_total{trigger="port_file"} 0.0
qsticky_syncs_total{trigger="interface"} 0.0
qsticky_syncs_total{trigger="request"} 0.0
qsticky_syncs_total{trigger="retry"} 0.0
# HELP qsticky_sync_failures_total Syncs that failed, by reason.
# TYPE qsticky_sync_failures_total counter
qsticky_sync_failures_total{reason="gluetun_unreachable"} 0.0
qsticky_sync_failures_total{reason="gluetun_unauthorized"} 0.0
qsticky_sync_failures_total{reason="gluetun_invalid_response"} 0.0
qsticky_sync_failures_total{reason="no_forwarded_port"} 0.0
qsticky_sync_failures_total{reason="qbittorrent_unreachable"} 0.0
qsticky_sync_failures_total{reason="qbittorrent_unauthorized"} 0.0
qsticky_sync_failures_total{reason="qbittorrent_banned"} 0.0
qsticky_sync_failures_total{reason="qbittorrent_invalid_response"} 0.0
qsticky_sync_failures_total{reason="port_rejected"} 0.0
qsticky_sync_failures_total{reason="not_listening"} 0.0
qsticky_sync_failures_total{reason="port_closed"} 0.0
qsticky_sync_failures_total{reason="internal"} 0.0
# HELP qsticky_port_changes_total Verified port changes.
# TYPE qsticky_port_changes_total counter
qsticky_port_changes_total 0.0
# HELP qsticky_vpn_interface_visible 1 when the VPN interface is visible.
# TYPE qsticky_vpn_interface_visible gauge
qsticky_vpn_interface_visible 0.0
# HELP qsticky_vpn_listener_up 1 when a socket listens on the VPN interface with the current port.
# TYPE qsticky_vpn_listener_up gauge
qsticky_vpn_listener_up 0.0
# HELP qsticky_rebinds_total Times the listening socket was re-opened, by cause.
# TYPE qsticky_rebinds_total counter
qsticky_rebinds_total{cause="not_listening"} 0.0
qsticky_rebinds_total{cause="port_returned"} 0.0
qsticky_rebinds_total{cause="address_changed"} 0.0
qsticky_rebinds_total{cause="port_file"} 0.0
qsticky_rebinds_total{cause="request"} 0.0
qsticky_rebinds_total{cause="disconnected"} 0.0
qsticky_rebinds_total{cause="port_closed"} 0.0
qsticky_rebinds_total{cause="startup"} 0.0
# HELP qsticky_forwarded_port_losses_total Times that Gluetun's forwarded port went away.
# TYPE qsticky_forwarded_port_losses_total counter
qsticky_forwarded_port_losses_total 0.0
# HELP qsticky_api_requests_total Requests sent, by service.
# TYPE qsticky_api_requests_total counter
qsticky_api_requests_total{service="gluetun"} 0.0
qsticky_api_requests_total{service="qbittorrent"} 0.0
# HELP qsticky_api_errors_total Requests that failed, by service and reason.
# TYPE qsticky_api_errors_total counter
qsticky_api_errors_total{reason="timeout",service="gluetun"} 0.0
qsticky_api_errors_total{reason="connection",service="gluetun"} 0.0
qsticky_api_errors_total{reason="tls",service="gluetun"} 0.0
qsticky_api_errors_total{reason="unauthorized",service="gluetun"} 0.0
qsticky_api_errors_total{reason="http_status",service="gluetun"} 0.0
qsticky_api_errors_total{reason="invalid_response",service="gluetun"} 0.0
qsticky_api_errors_total{reason="timeout",service="qbittorrent"} 0.0
qsticky_api_errors_total{reason="connection",service="qbittorrent"} 0.0
qsticky_api_errors_total{reason="tls",service="qbittorrent"} 0.0
qsticky_api_errors_total{reason="unauthorized",service="qbittorrent"} 0.0
qsticky_api_errors_total{reason="http_status",service="qbittorrent"} 0.0
qsticky_api_errors_total{reason="invalid_response",service="qbittorrent"} 0.0
# HELP qsticky_api_request_duration_seconds How long requests took, by service.
# TYPE qsticky_api_request_duration_seconds histogram
qsticky_api_request_duration_seconds_bucket{le="0.001",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.0025",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.005",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.01",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.025",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.05",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.1",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.25",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.5",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="1.0",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="2.5",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="5.0",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="10.0",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="30.0",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="+Inf",service="gluetun"} 0.0
qsticky_api_request_duration_seconds_count{service="gluetun"} 0.0
qsticky_api_request_duration_seconds_sum{service="gluetun"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.001",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.0025",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.005",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.01",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.025",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.05",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.1",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.25",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="0.5",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="1.0",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="2.5",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="5.0",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="10.0",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="30.0",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_bucket{le="+Inf",service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_count{service="qbittorrent"} 0.0
qsticky_api_request_duration_seconds_sum{service="qbittorrent"} 0.0
# HELP qsticky_sync_duration_seconds How long syncs took.
# TYPE qsticky_sync_duration_seconds histogram
qsticky_sync_duration_seconds_bucket{le="0.005"} 0.0
qsticky_sync_duration_seconds_bucket{le="0.01"} 0.0
qsticky_sync_duration_seconds_bucket{le="0.025"} 0.0
qsticky_sync_duration_seconds_bucket{le="0.05"} 0.0
qsticky_sync_duration_seconds_bucket{le="0.1"} 0.0
qsticky_sync_duration_seconds_bucket{le="0.25"} 0.0
qsticky_sync_duration_seconds_bucket{le="0.5"} 0.0
qsticky_sync_duration_seconds_bucket{le="1.0"} 0.0
qsticky_sync_duration_seconds_bucket{le="2.5"} 0.0
qsticky_sync_duration_seconds_bucket{le="5.0"} 0.0
qsticky_sync_duration_seconds_bucket{le="10.0"} 0.0
qsticky_sync_duration_seconds_bucket{le="30.0"} 0.0
qsticky_sync_duration_seconds_bucket{le="60.0"} 0.0
qsticky_sync_duration_seconds_bucket{le="+Inf"} 0.0
qsticky_sync_duration_seconds_count 0.0
qsticky_sync_duration_seconds_sum 0.0
# HELP qsticky_qbittorrent_logins_total Logins tried at qBittorrent.
# TYPE qsticky_qbittorrent_logins_total counter
qsticky_qbittorrent_logins_total 0.0
# HELP qsticky_qbittorrent_login_failures_total Logins that qBittorrent refused.
# TYPE qsticky_qbittorrent_login_failures_total counter
qsticky_qbittorrent_login_failures_total 0.0
# HELP qsticky_health_file_write_failures_total Writes of the health file that failed.
# TYPE qsticky_health_file_write_failures_total counter
qsticky_health_file_write_failures_total 0.0
# HELP qsticky_log_messages_total Log lines written, by level.
# TYPE qsticky_log_messages_total counter
qsticky_log_messages_total{level="debug"} 0.0
qsticky_log_messages_total{level="info"} 0.0
qsticky_log_messages_total{level="warning"} 0.0
qsticky_log_messages_total{level="error"} 0.0
qsticky_log_messages_total{level="critical"} 0.0
# HELP qsticky_log_lines_dropped_total Log lines that nobody read.
# TYPE qsticky_log_lines_dropped_total counter
qsticky_log_lines_dropped_total 0.0
""".replace("VERSION", __version__)  # noqa: E501 - lines as Prometheus has them

# The contract's table, by hand: name, type and labels.
CONTRACT = {
    "qsticky_build_info": ("gauge", {"version", "revision"}),
    "qsticky_check_interval_seconds": ("gauge", set()),
    "qsticky_forwarded_port": ("gauge", set()),
    "qsticky_current_port": ("gauge", set()),
    "qsticky_in_sync": ("gauge", set()),
    "qsticky_healthy": ("gauge", set()),
    "qsticky_gluetun_up": ("gauge", set()),
    "qsticky_qbittorrent_up": ("gauge", set()),
    "qsticky_qbittorrent_connection_status": ("gauge", {"status"}),
    "qsticky_last_sync_timestamp_seconds": ("gauge", set()),
    "qsticky_last_success_timestamp_seconds": ("gauge", set()),
    "qsticky_last_port_change_timestamp_seconds": ("gauge", set()),
    "qsticky_syncs_total": ("counter", {"trigger"}),
    "qsticky_sync_failures_total": ("counter", {"reason"}),
    "qsticky_port_changes_total": ("counter", set()),
    "qsticky_vpn_interface_visible": ("gauge", set()),
    "qsticky_vpn_listener_up": ("gauge", set()),
    "qsticky_rebinds_total": ("counter", {"cause"}),
    "qsticky_forwarded_port_losses_total": ("counter", set()),
    "qsticky_api_requests_total": ("counter", {"service"}),
    "qsticky_api_errors_total": ("counter", {"service", "reason"}),
    "qsticky_api_request_duration_seconds": ("histogram", {"service"}),
    "qsticky_sync_duration_seconds": ("histogram", set()),
    "qsticky_qbittorrent_logins_total": ("counter", set()),
    "qsticky_qbittorrent_login_failures_total": ("counter", set()),
    "qsticky_health_file_write_failures_total": ("counter", set()),
    "qsticky_log_messages_total": ("counter", {"level"}),
    "qsticky_log_lines_dropped_total": ("counter", set()),
}
LABELS = {
    "trigger": {"startup", "interval", "port_file", "interface", "request", "retry"},
    "reason of a sync": {
        "gluetun_unreachable",
        "gluetun_unauthorized",
        "gluetun_invalid_response",
        "no_forwarded_port",
        "qbittorrent_unreachable",
        "qbittorrent_unauthorized",
        "qbittorrent_banned",
        "qbittorrent_invalid_response",
        "port_rejected",
        "not_listening",
        "port_closed",
        "internal",
    },
    "reason of a request": {
        "timeout",
        "connection",
        "tls",
        "unauthorized",
        "http_status",
        "invalid_response",
    },
    "cause": {
        "not_listening",
        "port_returned",
        "address_changed",
        "port_file",
        "request",
        "disconnected",
        "port_closed",
        "startup",
    },
    "status": {"connected", "firewalled", "disconnected"},
}


@pytest.fixture(autouse=True)
def _no_created_series() -> Iterator[None]:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    yield
    enable_created_metrics()  # type: ignore[no-untyped-call]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, check_interval=30.0, revision="abc")


class Watched:
    """Tells what has changed in a registry since the last time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._last: Values = {}
        self.changes()

    def changes(self) -> Values:
        """The samples that differ from the last time, but for the buckets."""
        before, self._last = self._last, exposed(self._registry)
        return {name: value for name, value in self._last.items() if value != before.get(name)}


@pytest.fixture
def watched(registry: CollectorRegistry, metrics: Metrics) -> Watched:
    assert metrics
    return Watched(registry)


def exposed(registry: CollectorRegistry) -> Values:
    lines = generate_latest(registry).decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {
        name.removeprefix("qsticky_"): float(value)
        for name, value in samples
        if "_bucket{" not in name
    }


@pytest.mark.usefixtures("metrics")
def test_a_fresh_registry_exposes_every_label_set_at_zero(registry: CollectorRegistry) -> None:
    assert generate_latest(registry).decode() == FRESH


@pytest.mark.usefixtures("metrics")
def test_names_types_and_labels_are_those_of_the_contract(registry: CollectorRegistry) -> None:
    found = {}
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    assert found == CONTRACT


def test_label_values_are_those_of_the_contract() -> None:
    found = {
        "trigger": set(Trigger),
        "reason of a sync": set(Reason),
        "reason of a request": set(ErrorKind),
        "cause": set(RebindCause),
        "status": set(ConnectionStatus),
    }
    assert found == LABELS


def test_the_whole_exposition_of_a_daemon_passes_promtool(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    metrics.record(synced())
    metrics.observe(Exchange("gluetun", "/v1/portforward", 0.002, None))
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        timeout=20,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert b"_created" not in generate_latest(registry)


def test_a_good_sync_sets_what_it_saw(metrics: Metrics, watched: Watched) -> None:
    metrics.record(synced(trigger=Trigger.STARTUP, duration=0.25))
    assert watched.changes() == {
        'syncs_total{trigger="startup"}': 1,
        "sync_duration_seconds_count": 1,
        "sync_duration_seconds_sum": 0.25,
        "last_sync_timestamp_seconds": ENDED,
        "last_success_timestamp_seconds": ENDED,
        "forwarded_port": 51218,
        "current_port": 51218,
        "in_sync": 1,
        "healthy": 1,
        "gluetun_up": 1,
        "qbittorrent_up": 1,
        'qbittorrent_connection_status{status="connected"}': 1,
    }


def test_another_good_sync_counts_and_moves_the_times_only(
    metrics: Metrics, watched: Watched
) -> None:
    metrics.record(synced())
    watched.changes()
    metrics.record(synced(finished_at=ENDED + 30))
    assert watched.changes() == {
        'syncs_total{trigger="interval"}': 2,
        "sync_duration_seconds_count": 2,
        "sync_duration_seconds_sum": 0.04,
        "last_sync_timestamp_seconds": ENDED + 30,
        "last_success_timestamp_seconds": ENDED + 30,
    }


@pytest.mark.parametrize("reason", Reason)
def test_a_failed_sync_counts_its_reason_and_keeps_the_last_known_ports(
    metrics: Metrics, watched: Watched, reason: Reason
) -> None:
    metrics.record(synced())
    watched.changes()
    metrics.record(failing(reason, trigger=Trigger.RETRY, finished_at=ENDED + 1))
    assert watched.changes() == {
        'syncs_total{trigger="retry"}': 1,
        f'sync_failures_total{{reason="{reason}"}}': 1,
        "sync_duration_seconds_count": 2,
        "sync_duration_seconds_sum": 0.04,
        "last_sync_timestamp_seconds": ENDED + 1,
        "in_sync": 0,
        "healthy": 0,
        "gluetun_up": 0,
        "qbittorrent_up": 0,
        'qbittorrent_connection_status{status="connected"}': 0,
    }


def test_waiting_is_healthy_and_neither_in_sync_nor_a_success(
    metrics: Metrics, watched: Watched
) -> None:
    metrics.record(waiting())
    changes = watched.changes()
    assert changes["healthy"] == 1
    assert "in_sync" not in changes
    assert "last_success_timestamp_seconds" not in changes


def test_a_port_that_went_away_is_zero_and_a_loss(metrics: Metrics, watched: Watched) -> None:
    metrics.record(synced())
    watched.changes()
    metrics.record(waiting(port_lost=True))
    changes = watched.changes()
    assert changes["forwarded_port"] == 0
    assert changes["forwarded_port_losses_total"] == 1
    assert "current_port" not in changes


def test_a_port_from_the_file_is_a_success_with_gluetun_down(
    metrics: Metrics, watched: Watched
) -> None:
    metrics.record(degraded())
    changes = watched.changes()
    assert changes["in_sync"] == changes["healthy"] == changes["qbittorrent_up"] == 1
    assert "gluetun_up" not in changes
    assert not any("failures" in name for name in changes)


def test_only_a_verified_change_counts(metrics: Metrics, watched: Watched) -> None:
    change = PortChange(58988, 51218, verified=False)
    metrics.record(failing(Reason.PORT_REJECTED, change=change))
    assert not any("change" in name for name in watched.changes())
    metrics.record(synced(change=PortChange(58988, 51218, verified=True)))
    changes = watched.changes()
    assert changes["port_changes_total"] == 1
    assert changes["last_port_change_timestamp_seconds"] == ENDED


@pytest.mark.parametrize("status", ConnectionStatus)
def test_the_connection_status_is_one_of_three(
    registry: CollectorRegistry, metrics: Metrics, status: ConnectionStatus
) -> None:
    metrics.record(synced(connection_status=ConnectionStatus.FIREWALLED))
    metrics.record(synced(connection_status=status))
    values = exposed(registry)
    assert {
        other: values[f'qbittorrent_connection_status{{status="{other}"}}']
        for other in ConnectionStatus
    } == {other: float(other is status) for other in ConnectionStatus}


@pytest.mark.parametrize(
    ("visible", "listening", "shown"),
    [(True, True, (1, 1)), (True, False, (1, 0)), (False, None, (0, 0))],
)
def test_the_listener_is_up_only_where_it_was_seen(
    registry: CollectorRegistry,
    metrics: Metrics,
    visible: bool,
    listening: bool | None,
    shown: tuple[int, int],
) -> None:
    metrics.record(synced(interface_visible=not visible, listening=not listening))
    metrics.record(synced(interface_visible=visible, listening=listening))
    values = exposed(registry)
    assert (values["vpn_interface_visible"], values["vpn_listener_up"]) == shown


def test_each_rebind_counts_under_its_cause(metrics: Metrics, watched: Watched) -> None:
    metrics.record(synced(rebinds=tuple(RebindCause)))
    metrics.record(synced(rebinds=(RebindCause.REQUEST,)))
    changes = watched.changes()
    assert {cause: changes[f'rebinds_total{{cause="{cause}"}}'] for cause in RebindCause} == {
        **dict.fromkeys(RebindCause, 1.0),
        RebindCause.REQUEST: 2.0,
    }


@pytest.mark.parametrize("service", ["gluetun", "qbittorrent"])
def test_an_exchange_counts_and_is_timed_by_service(
    metrics: Metrics, watched: Watched, service: str
) -> None:
    metrics.observe(Exchange(service, "/any", 0.5, None))
    assert watched.changes() == {
        f'api_requests_total{{service="{service}"}}': 1,
        f'api_request_duration_seconds_count{{service="{service}"}}': 1,
        f'api_request_duration_seconds_sum{{service="{service}"}}': 0.5,
    }


@pytest.mark.parametrize("kind", ErrorKind)
def test_a_failed_exchange_counts_its_kind(
    metrics: Metrics, watched: Watched, kind: ErrorKind
) -> None:
    metrics.observe(Exchange("gluetun", "/any", 0.5, kind))
    changes = watched.changes()
    assert changes[f'api_errors_total{{reason="{kind}",service="gluetun"}}'] == 1
    assert changes['api_requests_total{service="gluetun"}'] == 1


@pytest.mark.parametrize(
    ("error", "refused"), [(None, 0), (ErrorKind.TIMEOUT, 0), (ErrorKind.UNAUTHORIZED, 1)]
)
def test_a_login_counts_as_tried_and_as_refused_where_it_was(
    registry: CollectorRegistry, metrics: Metrics, error: ErrorKind | None, refused: int
) -> None:
    metrics.observe(Exchange("qbittorrent", LOGIN, 0.1, error))
    values = exposed(registry)
    assert values["qbittorrent_logins_total"] == 1
    assert values["qbittorrent_login_failures_total"] == refused


def test_an_unauthorized_exchange_that_is_no_login_is_no_login(
    metrics: Metrics, watched: Watched
) -> None:
    metrics.observe(Exchange("qbittorrent", "/api/v2/app/version", 0.1, ErrorKind.UNAUTHORIZED))
    assert not any("login" in name for name in watched.changes())


def test_a_failed_health_write_counts(metrics: Metrics, watched: Watched) -> None:
    metrics.health_file_failed()
    assert watched.changes() == {"health_file_write_failures_total": 1}


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_log_line_counts_under_its_level(metrics: Metrics, watched: Watched, level: str) -> None:
    metrics.log_line_written(level)
    assert watched.changes() == {f'log_messages_total{{level="{level}"}}': 1}


def test_a_log_line_that_was_dropped_counts(metrics: Metrics, watched: Watched) -> None:
    metrics.log_line_dropped()
    assert watched.changes() == {"log_lines_dropped_total": 1}


@pytest.mark.usefixtures("watched")
def test_no_number_of_syncs_makes_another_series(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    before = exposed(registry).keys()
    for reason in Reason:
        for trigger in Trigger:
            metrics.record(failing(reason, "port 51218 at 10.2.0.2", trigger=trigger))
            metrics.record(synced(forwarded_port=51218 + len(trigger), rebinds=tuple(RebindCause)))
            metrics.record(synced(status=Status.WAITING, connection_status=None))
    for kind in (None, *ErrorKind):
        for service in ("gluetun", "qbittorrent"):
            metrics.observe(Exchange(service, "/any?with=query", 99.0, kind))
    assert exposed(registry).keys() == before
