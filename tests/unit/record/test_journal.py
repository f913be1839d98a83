"""The story that the log tells of a day, and its last events."""

import logging
import threading
import time
from collections.abc import Callable

import pytest

from qsticky.config import LogFormat
from qsticky.errors import ErrorKind, Reason, SyncError
from qsticky.record.events import Event, RecentEvent, RecentEvents
from qsticky.record.journal import Journal
from qsticky.services.http import Exchange
from qsticky.services.webui import LOGIN
from qsticky.sync.report import PortChange, RebindCause, SyncReport
from tests.fakes import FakeClock
from tests.reports import degraded, failing, synced, waiting
from tests.unit.record.conftest import Output, Told, internal, raised

MINUTE = 60.0


@pytest.fixture
def record(journal: Journal, clock: FakeClock, output: Output) -> Callable[..., Told]:
    """Record reports, an interval after each other; what they told."""

    def record_all(*reports: SyncReport) -> Told:
        for report in reports:
            journal.record(report)
            clock.advance(30)
        return output.told()

    return record_all


class TestTheStory:
    """Each state once, when it begins; the steady state not at all."""

    def test_the_first_success_is_told_and_the_steady_state_is_not(
        self, record: Callable[..., Told]
    ) -> None:
        assert record(synced()) == [("info", None, "In sync on port 51218")]
        assert record(*[synced()] * 2880) == []

    def test_the_steady_state_is_told_at_debug_without_an_event(
        self, output: Output, clock: FakeClock
    ) -> None:
        journal = Journal(output.set_up(LogFormat.JSON, "DEBUG"), clock)
        journal.record(synced())
        output.told()
        journal.record(synced())
        assert output.told() == [
            (
                "debug",
                None,
                "Sync (interval) took 0.020 s: synced, Gluetun's port 51218, "
                "qBittorrent's port 51218",
            )
        ]

    def test_a_change_is_two_events(self, record: Callable[..., Told]) -> None:
        record(synced(forwarded_port=58988, current_port=58988))
        assert record(synced(change=PortChange(58988, 51218, verified=True)), synced()) == [
            ("info", "port_change_needed", "Port change needed: 58988 -> 51218"),
            ("info", "port_changed", "Successfully updated port to 51218"),
        ]

    def test_a_change_at_the_start_is_not_told_as_in_sync_too(
        self, record: Callable[..., Told]
    ) -> None:
        told = record(synced(change=PortChange(6881, 51218, verified=True)))
        assert [event for _, event, _ in told] == ["port_change_needed", "port_changed"]

    def test_a_change_that_takes_several_syncs_is_announced_once(
        self, record: Callable[..., Told]
    ) -> None:
        rejected = failing(
            Reason.PORT_REJECTED, "No", change=PortChange(58988, 51218, verified=False)
        )
        verified = synced(change=PortChange(58988, 51218, verified=True))
        assert record(rejected, rejected, verified, synced()) == [
            ("info", "port_change_needed", "Port change needed: 58988 -> 51218"),
            ("error", "sync_failed", "No"),
            ("info", "port_changed", "Successfully updated port to 51218"),
            ("info", "sync_recovered", "Recovered from port_rejected after 60 s"),
        ]

    def test_another_change_to_the_same_port_is_announced_again(
        self, record: Callable[..., Told]
    ) -> None:
        change = synced(change=PortChange(6881, 51218, verified=True))
        told = record(change, synced(), change)
        assert [event for _, event, _ in told] == ["port_change_needed", "port_changed"] * 2

    def test_a_failure_is_told_once_with_its_sentence_and_reason(
        self, journal: Journal, output: Output
    ) -> None:
        for _ in range(3):
            journal.record(failing(Reason.GLUETUN_UNREACHABLE, "Gluetun is away; start it"))
        line = output.line()
        assert (line["level"], line["event"]) == ("error", "sync_failed")
        assert line["message"] == "Gluetun is away; start it"
        assert line["reason"] == "gluetun_unreachable"
        assert "exception" not in line

    def test_a_failure_that_lasts_is_told_again_every_15_minutes(
        self, journal: Journal, clock: FakeClock, output: Output
    ) -> None:
        told_at = []
        for second in range(0, 3600, 10):
            journal.record(failing(Reason.QBITTORRENT_UNAUTHORIZED, "Wrong password"))
            clock.advance(10)
            told_at += [second] * len(output.told())
        assert told_at == [0, 900, 1800, 2700]

    def test_a_failure_is_told_again_when_its_reason_changes(
        self, record: Callable[..., Told]
    ) -> None:
        away = failing(Reason.QBITTORRENT_UNREACHABLE, "Away")
        banned = failing(Reason.QBITTORRENT_BANNED, "Banned")
        assert record(away, away, banned, banned, away, away) == [
            ("error", "sync_failed", "Away"),
            ("error", "sync_failed", "Banned"),
            ("error", "sync_failed", "Away"),
        ]

    def test_a_recovery_tells_how_long_it_took_in_all(
        self, record: Callable[..., Told], journal: Journal, output: Output
    ) -> None:
        away = failing(Reason.QBITTORRENT_UNREACHABLE, "Away")
        banned = failing(Reason.QBITTORRENT_BANNED, "Banned")
        record(synced(), away, away, banned)
        journal.record(synced())
        recovered = output.line()
        assert recovered["event"] == "sync_recovered"
        assert recovered["message"].startswith("Recovered from qbittorrent_banned after 90 s: ")
        assert (recovered["reason"], recovered["seconds"]) == ("qbittorrent_banned", 90.0)

    def test_a_recovery_to_waiting_says_so(self, record: Callable[..., Told]) -> None:
        assert record(failing(Reason.QBITTORRENT_UNREACHABLE, "Away"), waiting())[1:] == [
            ("info", "sync_recovered", "Recovered from qbittorrent_unreachable after 30 s"),
            ("info", None, "Waiting for Gluetun to forward a port"),
        ]

    def test_the_same_failure_after_a_recovery_is_told_anew(
        self, record: Callable[..., Told]
    ) -> None:
        away = failing(Reason.QBITTORRENT_UNREACHABLE, "Away")
        told = record(away, synced(), away, synced())
        assert [event for _, event, _ in told if event] == ["sync_failed", "sync_recovered"] * 2

    def test_a_mistake_of_its_own_has_its_traceback(self, journal: Journal, output: Output) -> None:
        journal.record(internal(ZeroDivisionError()))
        line = output.line()
        assert (line["event"], line["reason"]) == ("sync_failed", "internal")
        assert "ZeroDivisionError" in line["exception"]

    def test_waiting_for_a_port_is_told_once(self, record: Callable[..., Told]) -> None:
        assert record(waiting(), waiting(), waiting()) == [
            ("info", None, "Waiting for Gluetun to forward a port")
        ]

    def test_a_port_that_goes_and_comes_back_is_two_events(
        self, record: Callable[..., Told]
    ) -> None:
        record(synced())
        lost, back = waiting(port_lost=True), synced(port_restored=True)
        assert record(lost, waiting(), back, synced()) == [
            ("warning", "port_lost", "Gluetun's forwarded port went away"),
            ("info", "port_restored", "Gluetun has a forwarded port again: 51218"),
        ]

    @pytest.mark.parametrize("cause", RebindCause)
    def test_each_rebind_is_an_event_with_its_cause(
        self, journal: Journal, output: Output, cause: RebindCause
    ) -> None:
        journal.record(synced())
        output.told()
        journal.record(synced(rebinds=(cause,)))
        line = output.line()
        assert (line["level"], line["event"]) == ("info", "rebound")
        assert (line["port"], line["cause"]) == (51218, cause)
        assert line["message"].startswith("Rebound the listening socket to port 51218, as ")

    def test_a_port_from_the_file_is_told_once_as_a_warning(
        self, record: Callable[..., Told]
    ) -> None:
        record(synced())
        assert record(degraded("Gluetun is away; start it"), degraded(), degraded(), synced()) == [
            ("warning", None, "Gluetun is away; start it; the port file is used meanwhile"),
            (
                "info",
                "sync_recovered",
                "Recovered from gluetun_unreachable after 90 s: in sync on port 51218",
            ),
        ]

    def test_a_port_from_the_file_is_told_again_every_15_minutes(
        self, record: Callable[..., Told]
    ) -> None:
        assert len(record(synced(), *[degraded()] * 61)) == 1 + 3  # 61 syncs, 30 s apart

    def test_where_the_file_s_port_goes_too_the_failure_is_told_at_once(
        self, record: Callable[..., Told]
    ) -> None:
        record(synced(), degraded())
        away = failing(Reason.GLUETUN_UNREACHABLE, "Away")
        assert record(away, away) == [("error", "sync_failed", "Away")]

    def test_where_the_file_has_a_port_at_last_it_is_told_at_once(
        self, record: Callable[..., Told]
    ) -> None:
        record(failing(Reason.GLUETUN_UNREACHABLE))
        assert record(degraded("Away"), degraded()) == [
            ("warning", None, "Away; the port file is used meanwhile"),
            ("info", None, "In sync on port 51218"),
        ]

    def test_a_login_that_renews_a_session_is_no_event_until_something_failed(
        self, journal: Journal, output: Output
    ) -> None:
        for error in (None, None, ErrorKind.TIMEOUT, None, None):
            journal.observe(Exchange("qbittorrent", LOGIN, 0.1, error))
            journal.observe(Exchange("gluetun", "/v1/portforward", 0.1, ErrorKind.TIMEOUT))
        levels = [line["level"] for line in output.lines()]
        assert levels == ["info", "info"]  # the others are at DEBUG

    def test_a_login_and_a_refused_one_are_events(self, journal: Journal, output: Output) -> None:
        journal.observe(Exchange("qbittorrent", LOGIN, 0.1, None))
        journal.observe(Exchange("qbittorrent", LOGIN, 0.1, ErrorKind.UNAUTHORIZED))
        journal.observe(Exchange("qbittorrent", LOGIN, 0.1, ErrorKind.TIMEOUT))
        journal.observe(Exchange("qbittorrent", "/api/v2/app/version", 0.1, ErrorKind.UNAUTHORIZED))
        journal.observe(Exchange("gluetun", "/v1/portforward", 0.1, None))
        login, refused = output.lines()
        assert (login["level"], login["event"]) == ("info", "login")
        assert (refused["level"], refused["event"]) == ("warning", "login_refused")
        assert refused["reason"] == "qbittorrent_unauthorized"

    def test_each_line_that_belongs_to_a_reason_has_it(
        self, journal: Journal, output: Output
    ) -> None:
        journal.record(waiting(port_lost=True))
        journal.record(synced(port_restored=True))
        journal.record(degraded())
        reasons = [(line.get("event"), line.get("reason")) for line in output.lines()]
        assert reasons == [
            ("port_lost", "no_forwarded_port"),
            ("port_restored", "no_forwarded_port"),
            (None, "gluetun_unreachable"),
        ]

    def test_a_health_file_that_cannot_be_written_is_told_once_and_when_it_can(
        self, journal: Journal, output: Output
    ) -> None:
        full, denied = OSError(28, "No space left on device"), PermissionError(13, "Permission")
        for error in (None, full, full, denied, denied, None, None, full):
            journal.health_file(error)
        told = output.told()
        assert [(level, event) for level, event, _ in told] == [
            ("error", "health_file_failed"),
            ("error", "health_file_failed"),
            ("info", None),
            ("error", "health_file_failed"),
        ]
        assert "No space left on device" in told[0][2]
        assert "HEALTH_FILE" in told[0][2]

    def test_a_warning_and_what_the_outside_said_are_told_once(
        self, record: Callable[..., Told]
    ) -> None:
        same = synced(warnings=("UDP is shut",), reachable=True)
        told = record(same, same, synced(reachable=False), synced(), same)
        assert [message for _, _, message in told if message != "In sync on port 51218"] == [
            "From outside, port 51218 is open",
            "UDP is shut",
            "From outside, port 51218 is closed",
            "From outside, port 51218 is open",
            "UDP is shut",
        ]

    def test_a_whole_day(self, record: Callable[..., Told]) -> None:
        away = failing(Reason.QBITTORRENT_UNREACHABLE, "qBittorrent is away")
        day = [
            waiting(current_port=6881),
            *[waiting(current_port=6881)] * 3,
            synced(change=PortChange(6881, 51218, verified=True)),
            *[synced()] * 1000,
            *[away] * 31,
            *[synced()] * 500,
            waiting(port_lost=True),
            waiting(),
            synced(
                port_restored=True,
                change=PortChange(51218, 40000, verified=True),
                forwarded_port=40000,
                current_port=40000,
                rebinds=(RebindCause.PORT_RETURNED,),
            ),
            *[synced(forwarded_port=40000, current_port=40000)] * 1000,
        ]
        assert [event or message for _, event, message in record(*day)] == [
            "Waiting for Gluetun to forward a port",
            "port_change_needed",
            "port_changed",
            "sync_failed",
            "sync_failed",
            "sync_recovered",
            "port_lost",
            "port_restored",
            "port_change_needed",
            "port_changed",
            "rebound",
        ]


class TestRecentEvents:
    """What the page lists."""

    @pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
    def test_the_newest_comes_first_whatever_is_printed(
        self, output: Output, clock: FakeClock, level: str
    ) -> None:
        recent = RecentEvents()
        journal = Journal(output.set_up(LogFormat.JSON, level, recent=recent), clock)
        journal.record(synced(change=PortChange(58988, 51218, verified=True)))
        journal.record(failing(Reason.INTERNAL, "It broke; mend it"))
        assert [(event.level, event.name, event.message) for event in recent()] == [
            ("error", "sync_failed", "It broke; mend it"),
            ("info", "port_changed", "Port changed: 58988 → 51218"),
        ]

    def test_a_change_that_is_yet_to_be_made_is_among_them(
        self, output: Output, clock: FakeClock
    ) -> None:
        recent = RecentEvents()
        journal = Journal(output.set_up(LogFormat.JSON, recent=recent), clock)
        rejected = PortChange(58988, 51218, verified=False)
        journal.record(failing(Reason.PORT_REJECTED, "No", change=rejected))
        assert [event.name for event in recent()] == ["sync_failed", "port_change_needed"]

    def test_what_is_no_event_is_not_among_them(self, output: Output, clock: FakeClock) -> None:
        recent = RecentEvents()
        journal = Journal(output.set_up(LogFormat.TEXT, "DEBUG", recent=recent), clock)
        journal.record(synced())
        journal.warning("worth a look")
        logging.getLogger("a.library").warning("a library's own")
        assert recent() == ()

    def test_the_last_20_are_kept_with_their_times(self, output: Output, clock: FakeClock) -> None:
        recent = RecentEvents()
        journal = Journal(output.set_up(LogFormat.JSON, recent=recent), clock)
        before = time.time()
        for port in range(1, 50):
            journal.info(f"http://localhost:{port}", Event.HTTP)
        assert [event.message[-3:] for event in recent()] == [f":{p}" for p in range(49, 29, -1)]
        times = [event.at for event in recent()]
        assert sorted(times, reverse=True) == times
        assert before <= times[-1] <= time.time()

    def test_their_text_is_printable(self, output: Output, clock: FakeClock) -> None:
        recent = RecentEvents()
        journal = Journal(output.set_up(LogFormat.JSON, recent=recent), clock)
        journal.info("two\nlines \x1b[31m \udcff", Event.SHUTDOWN)
        (event,) = recent()
        assert event == RecentEvent(event.at, "info", "shutdown", r"two\nlines \x1b[31m \udcff")


class TestTheRest:
    """What no report tells."""

    def test_an_event_has_its_fields(self, journal: Journal, output: Output) -> None:
        journal.info("qSticky starts", Event.STARTUP, version="1.2.3")
        line = output.line()
        assert (line["level"], line["event"], line["version"]) == ("info", "startup", "1.2.3")

    def test_a_server_that_cannot_start_says_why_and_what_to_do(
        self, journal: Journal, output: Output
    ) -> None:
        journal.cannot_serve("0.0.0.0", 10058, OSError(98, "Address already in use"))
        line = output.line()
        assert (line["level"], line["event"]) == ("critical", "http")
        assert "Address already in use" in line["message"]
        assert "METRICS_PORT" in line["message"]
        assert "TLS" not in line["message"]

    def test_a_key_that_cannot_be_read_is_no_matter_of_the_port(
        self, journal: Journal, output: Output
    ) -> None:
        journal.cannot_serve("0.0.0.0", 10058, OSError(13, "Permission denied"))
        assert "TLS pair" in output.line()["message"]

    def test_an_error_without_a_code_is_told_by_its_text(
        self, journal: Journal, output: Output
    ) -> None:
        journal.cannot_serve("0.0.0.0", 10058, OSError("of some kind"))
        assert "of some kind" in output.line()["message"]

    def test_a_thread_that_died_is_told_with_its_traceback(
        self, journal: Journal, output: Output
    ) -> None:
        error = raised(ZeroDivisionError())
        thread = threading.Thread(name="worker")
        for owner in (thread, None):
            hook = threading.ExceptHookArgs((type(error), error, error.__traceback__, owner))
            journal.thread_died(hook)
        named, unnamed = output.lines()
        assert named["level"] == "critical"
        assert "The thread worker died" in named["message"]
        assert "ZeroDivisionError" in named["exception"]
        assert "The thread unknown died" in unnamed["message"]

    def test_events_are_those_of_the_contract(self) -> None:
        assert set(Event) == {
            "startup",
            "login",
            "login_refused",
            "port_change_needed",
            "port_changed",
            "port_lost",
            "port_restored",
            "rebound",
            "sync_failed",
            "sync_recovered",
            "port_check",
            "vpn_restart",
            "notification_failed",
            "health_file_failed",
            "http",
            "shutdown",
        }

    def test_no_line_hides_a_failure_s_reason(self, journal: Journal, output: Output) -> None:
        for reason in Reason:
            error = SyncError(reason, f"This is {reason}")
            journal.record(failing(reason, failure=error, problem=error))
        assert [line["reason"] for line in output.lines()] == list(Reason)
