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
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.services.webui import LOGIN
from qsticky.sync.report import PortChange, RebindCause, Status, Trigger
from tests.fakes import FakeClock
from tests.real import require
from tests.reports import ENDED, KNOWN, START, WALL, degraded, failing, synced, waiting

Values = dict[str, float]

# What may not be known has no sample until it is.
UNTIL_KNOWN = {
    "qsticky_vpn_listener_up",
    "qsticky_qbittorrent_info",
    "qsticky_gluetun_info",
    "qsticky_vpn_exit_info",
    "qsticky_vpn_receive_bytes",
    "qsticky_vpn_transmit_bytes",
    "qsticky_qbittorrent_dht_nodes",
    "qsticky_incoming_connections",
    "qsticky_last_incoming_connection_timestamp_seconds",
    "qsticky_port_reachable",
    "qsticky_external_address_matches",
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
    return Metrics(registry, check_interval=30.0, revision="abc", clock=FakeClock(START))


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
def test_every_series_begins_at_zero(registry: CollectorRegistry) -> None:
    assert {name: value for name, value in exposed(registry).items() if value} == {
        f'build_info{{revision="abc",version="{__version__}"}}': 1,
        "check_interval_seconds": 30,
        'status{status="starting"}': 1,
    }


@pytest.mark.usefixtures("metrics")
def test_what_is_not_known_has_no_sample(registry: CollectorRegistry) -> None:
    assert {family.name for family in registry.collect() if not family.samples} == UNTIL_KNOWN


def test_with_a_fixed_port_nothing_is_told_of_gluetun(registry: CollectorRegistry) -> None:
    metrics = Metrics(
        registry, check_interval=30.0, revision="abc", clock=FakeClock(), gluetun=False
    )
    metrics.record(synced(gluetun_up=None))
    metrics.record(failing(Reason.INTERNAL, gluetun_up=False))
    told = exposed(registry)
    assert not [name for name in told if 'service="gluetun"' in name or name == "gluetun_up"]


def test_the_whole_exposition_of_a_daemon_passes_promtool(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    metrics.record(KNOWN)
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
        "last_sync_timestamp_seconds": WALL,
        "last_success_timestamp_seconds": WALL,
        "forwarded_port": 51218,
        "current_port": 51218,
        "in_sync": 1,
        "healthy": 1,
        "gluetun_up": 1,
        "qbittorrent_up": 1,
        'qbittorrent_connection_status{status="connected"}': 1,
        'status{status="starting"}': 0,
        'status{status="synced"}': 1,
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
        "last_sync_timestamp_seconds": WALL + 30,
        "last_success_timestamp_seconds": WALL + 30,
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
        "last_sync_timestamp_seconds": WALL + 1,
        "in_sync": 0,
        "healthy": 0,
        "gluetun_up": 0,
        "qbittorrent_up": 0,
        'qbittorrent_connection_status{status="connected"}': 0,
        'status{status="synced"}': 0,
        'status{status="failing"}': 1,
        f'failing{{reason="{reason}"}}': 1,
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
    assert changes["last_port_change_timestamp_seconds"] == WALL


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


@pytest.mark.parametrize(("listening", "shown"), [(True, 1), (False, 0), (None, None)])
def test_the_listener_has_no_sample_where_nothing_is_known(
    registry: CollectorRegistry, metrics: Metrics, listening: bool | None, shown: float | None
) -> None:
    metrics.record(synced(listening=not listening))
    metrics.record(synced(listening=listening))
    assert exposed(registry).get("vpn_listener_up") == shown


def test_all_that_is_known_is_told(metrics: Metrics, watched: Watched) -> None:
    metrics.record(KNOWN)
    changes = watched.changes()
    assert {
        name: changes[name]
        for name in (
            "vpn_interface_visible",
            "vpn_listener_up",
            "incoming_connections",
            "last_incoming_connection_timestamp_seconds",
            "port_reachable",
            "external_address_matches",
            "qbittorrent_dht_nodes",
            "vpn_receive_bytes_total",
            "vpn_transmit_bytes_total",
            'gluetun_info{version="3.41.3"}',
            'qbittorrent_info{version="5.1.0"}',
            'vpn_exit_info{country="Netherlands"}',
            "public_address_changes_total",
            "vpn_restarts_total",
        )
    } == {
        "vpn_interface_visible": 1,
        "vpn_listener_up": 1,
        "incoming_connections": 12,
        "last_incoming_connection_timestamp_seconds": WALL - 40,
        "port_reachable": 0,
        "external_address_matches": 0,
        "qbittorrent_dht_nodes": 300,
        "vpn_receive_bytes_total": 4096,
        "vpn_transmit_bytes_total": 1024,
        'gluetun_info{version="3.41.3"}': 1,
        'qbittorrent_info{version="5.1.0"}': 1,
        'vpn_exit_info{country="Netherlands"}': 1,
        "public_address_changes_total": 1,
        "vpn_restarts_total": 1,
    }


def test_what_was_known_and_is_not_any_more_has_no_sample_but_for_who_came_in(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.record(KNOWN)
    metrics.record(synced())
    values = exposed(registry)
    assert "incoming_connections" not in values
    assert "vpn_receive_bytes_total" not in values
    assert "external_address_matches" not in values
    assert not [name for name in values if name.startswith("qbittorrent_info")]
    assert values["last_incoming_connection_timestamp_seconds"] == WALL - 40


def test_nobody_who_came_in_yet_is_zero(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.record(synced(incoming_connections=0))
    assert exposed(registry)["last_incoming_connection_timestamp_seconds"] == 0


@pytest.mark.parametrize("name", ["qsticky_healthy", "qsticky_status", "qsticky_syncs_total"])
def test_a_scraper_can_ask_for_some_of_them_by_name(
    registry: CollectorRegistry, metrics: Metrics, name: str
) -> None:
    metrics.record(synced())
    some = generate_latest(registry.restricted_registry([name])).decode()
    assert f"\n{name}" in some
    assert "qsticky_in_sync" not in some


def test_a_moment_is_the_same_number_at_each_scrape(registry: CollectorRegistry) -> None:
    clock = FakeClock(START)
    Metrics(registry, check_interval=30.0, revision="abc", clock=clock).record(KNOWN)
    before = exposed(registry)
    clock.set(clock.now() + 0.000_001)
    assert exposed(registry) == before


def test_another_version_takes_the_place_of_the_one_before(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    for version in ("5.1.0", "5.3.0"):
        metrics.record(synced(qbittorrent_version=version))
    told = [name for name in exposed(registry) if name.startswith("qbittorrent_info")]
    assert told == ['qbittorrent_info{version="5.3.0"}']


@pytest.mark.parametrize("result", ["open", "closed", "error"])
def test_a_port_check_counts_its_result(metrics: Metrics, watched: Watched, result: str) -> None:
    metrics.port_checked(result)
    assert watched.changes() == {f'port_checks_total{{result="{result}"}}': 1}


@pytest.mark.parametrize(("sent", "result"), [(True, "sent"), (False, "failed")])
def test_a_notification_counts_its_result(
    metrics: Metrics, watched: Watched, sent: bool, result: str
) -> None:
    metrics.notified(sent=sent)
    assert watched.changes() == {f'notifications_total{{result="{result}"}}': 1}


def test_a_dropped_log_line_counts(metrics: Metrics, watched: Watched) -> None:
    metrics.log_line_dropped()
    assert watched.changes() == {"log_lines_dropped_total": 1}


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
    for level in LOG_LEVELS:
        metrics.log_line_written(level)
    assert exposed(registry).keys() == before
