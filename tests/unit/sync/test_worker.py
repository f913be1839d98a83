"""When syncs run, what each is run for, and what ends them."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from qsticky.clock import Clock, SystemClock
from qsticky.errors import Reason
from qsticky.sync.report import Status, SyncReport, Trigger
from qsticky.sync.worker import Worker
from tests.fakes import FakeClock
from tests.real import wait_until
from tests.reports import failing, synced, waiting

INTERVAL = 30.0
SOON = 5.0  # seconds, for what takes milliseconds
HEALS = (
    Reason.GLUETUN_UNREACHABLE,
    Reason.GLUETUN_INVALID_RESPONSE,
    Reason.QBITTORRENT_UNREACHABLE,
    Reason.QBITTORRENT_INVALID_RESPONSE,
    Reason.PORT_REJECTED,
    Reason.INTERNAL,
)

Outcome = SyncReport | Exception | Callable[[], SyncReport]


@dataclass
class Bench:
    """A worker whose syncs have the given outcomes, and which stops after the last of them.

    With no outcomes, each sync is a good one, and nothing stops the worker.
    """

    outcomes: tuple[Outcome, ...] = ()
    clock: Clock = field(default_factory=FakeClock)
    jitter: float = 1.0
    runs: list[tuple[list[Trigger], bool]] = field(default_factory=list)
    reports: list[SyncReport] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = Worker(
            self._sync,
            self._record,
            check_interval=INTERVAL,
            clock=self.clock,
            stopping=threading.Event(),
            jitter=lambda: self.jitter,
        )

    @property
    def triggers(self) -> list[Trigger]:
        """What the syncs are named after."""
        return [first for (first, *_), _ in self.runs]

    def _sync(self, triggers: Collection[Trigger], rebind: bool) -> SyncReport:
        outcome = self.outcomes[len(self.runs)] if self.outcomes else synced()
        self.runs.append((list(triggers), rebind))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome if isinstance(outcome, SyncReport) else outcome()

    def _record(self, report: SyncReport, pause: float) -> None:
        self.reports.append(report)
        self.pauses.append(pause)
        if len(self.runs) == len(self.outcomes):
            self.worker.stop()


def run(*outcomes: Outcome, jitter: float = 1.0) -> Bench:
    bench = Bench(outcomes, jitter=jitter)
    bench.worker.run()
    return bench


@contextmanager
def running(bench: Bench) -> Iterator[threading.Thread]:
    """The worker on a thread, which ends with the block."""
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        yield thread
    finally:
        bench.worker.stop()
        thread.join(SOON)
    assert not thread.is_alive()


def test_the_first_sync_is_for_startup_and_waits_for_nothing() -> None:
    bench = run(synced())
    assert bench.runs == [([Trigger.STARTUP], False)]
    assert isinstance(bench.clock, FakeClock)
    assert bench.clock.waits == []


def test_then_a_sync_runs_every_interval() -> None:
    bench = run(synced(), synced(), synced())
    assert bench.triggers == [Trigger.STARTUP, Trigger.INTERVAL, Trigger.INTERVAL]
    assert isinstance(bench.clock, FakeClock)
    assert bench.clock.waits == [INTERVAL, INTERVAL]


def test_each_report_is_recorded_with_the_seconds_until_the_next_sync() -> None:
    reports = [synced(), waiting(again_in=12.0), failing(Reason.GLUETUN_UNREACHABLE), synced()]
    bench = run(*reports)
    assert bench.reports == reports
    assert bench.pauses == [INTERVAL, 12.0, 1.0, INTERVAL]


@pytest.mark.parametrize("reason", HEALS)
def test_a_failure_that_time_can_heal_is_retried_at_doubling_pauses_up_to_the_interval(
    reason: Reason,
) -> None:
    bench = run(*[failing(reason)] * 8)
    assert bench.pauses == [1, 2, 4, 8, 16, INTERVAL, INTERVAL, INTERVAL]
    assert bench.triggers == [Trigger.STARTUP] + [Trigger.RETRY] * 5 + [Trigger.INTERVAL] * 2


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in HEALS])
def test_a_failure_that_time_cannot_heal_waits_for_the_interval(reason: Reason) -> None:
    bench = run(*[failing(reason)] * 3)
    assert bench.pauses == [INTERVAL] * 3
    assert bench.triggers == [Trigger.STARTUP, Trigger.INTERVAL, Trigger.INTERVAL]


def test_jitter_shortens_the_pauses_of_retries_and_no_other() -> None:
    bench = run(*[failing(Reason.GLUETUN_UNREACHABLE)] * 7, synced(), jitter=0.75)
    assert bench.pauses == [0.75, 1.5, 3, 6, 12, 24, INTERVAL, INTERVAL]


def test_the_usual_jitter_keeps_between_half_and_the_whole_pause() -> None:
    pauses: list[float] = []

    def record(_: SyncReport, pause: float) -> None:
        pauses.append(pause)
        worker.stop()

    for _ in range(100):
        worker = Worker(
            lambda _, __: failing(Reason.INTERNAL),
            record,
            check_interval=INTERVAL,
            clock=FakeClock(),
            stopping=threading.Event(),
        )
        worker.run()
    assert 0.5 <= min(pauses) < max(pauses) <= 1.0


def test_a_success_resets_the_back_off() -> None:
    failure = failing(Reason.QBITTORRENT_UNREACHABLE)
    bench = run(failure, failure, failure, synced(), failure, failure)
    assert bench.pauses == [1, 2, 4, INTERVAL, 1, 2]


def test_waiting_for_a_port_resets_the_back_off_too() -> None:
    failure = failing(Reason.GLUETUN_UNREACHABLE)
    assert run(failure, failure, waiting(), failure).pauses == [1, 2, INTERVAL, 1]


def test_failures_without_end_keep_to_the_interval() -> None:
    bench = run(*[failing(Reason.GLUETUN_UNREACHABLE)] * 1100)  # 2.0 ** 1024 would overflow
    assert set(bench.pauses[5:]) == {INTERVAL}


@pytest.mark.parametrize(("asked", "pause"), [(None, 30), (0.5, 0.5), (12, 12), (30, 30), (99, 30)])
def test_a_report_can_ask_for_the_next_sync_before_the_interval_is_over(
    asked: float | None, pause: float
) -> None:
    bench = run(waiting(again_in=asked), synced())
    assert bench.pauses[0] == pause
    assert bench.triggers[1] is (Trigger.RETRY if pause < INTERVAL else Trigger.INTERVAL)


def test_a_failure_that_time_cannot_heal_can_ask_for_an_earlier_sync_too() -> None:
    assert run(failing(Reason.NOT_LISTENING, again_in=7.0)).pauses == [7.0]


def test_triggers_during_a_sync_make_one_more_run_named_after_the_first() -> None:
    def triggered() -> SyncReport:
        for trigger in (*events, Trigger.PORT_FILE):
            bench.worker.trigger(trigger)
        return synced()

    events = [Trigger.PORT_FILE, Trigger.REQUEST, Trigger.INTERFACE]
    bench = Bench((triggered, synced(), synced()))
    bench.worker.run()
    assert bench.runs[1] == (events, False)  # each told once, in the order in which it came first
    assert bench.triggers == [Trigger.STARTUP, Trigger.PORT_FILE, Trigger.INTERVAL]
    assert isinstance(bench.clock, FakeClock)
    assert bench.clock.waits == [INTERVAL]


@pytest.mark.parametrize("wishes", [(True, False), (False, True), (True, True)])
def test_a_wish_to_rebind_is_carried_to_the_one_run_that_merges_it(
    wishes: tuple[bool, bool],
) -> None:
    def triggered() -> SyncReport:
        for trigger, rebind in zip((Trigger.PORT_FILE, Trigger.REQUEST), wishes, strict=True):
            bench.worker.trigger(trigger, rebind=rebind)
        return synced()

    bench = Bench((triggered, synced(), synced()))
    bench.worker.run()
    assert bench.runs == [
        ([Trigger.STARTUP], False),
        ([Trigger.PORT_FILE, Trigger.REQUEST], True),
        ([Trigger.INTERVAL], False),
    ]


def test_a_trigger_takes_the_place_of_a_retry_and_leaves_the_back_off_as_it_is() -> None:
    def triggered() -> SyncReport:
        bench.worker.trigger(Trigger.REQUEST)
        return failing(Reason.GLUETUN_UNREACHABLE)

    bench = Bench((triggered, triggered, failing(Reason.GLUETUN_UNREACHABLE)))
    bench.worker.run()
    assert bench.triggers == [Trigger.STARTUP, Trigger.REQUEST, Trigger.REQUEST]
    assert bench.pauses == [1, 2, 4]


def test_a_trigger_ends_the_wait_at_once() -> None:
    bench = Bench(clock=SystemClock())
    with running(bench):
        wait_until(lambda: bench.reports, SOON, "the first sync")
        bench.worker.trigger(Trigger.REQUEST, rebind=True)
        wait_until(lambda: len(bench.reports) == 2, SOON, "the sync that was asked for")
    assert bench.runs == [([Trigger.STARTUP], False), ([Trigger.REQUEST], True)]


def test_ten_that_are_triggered_run_at_once_and_then_one_a_second() -> None:
    def triggered() -> SyncReport:
        bench.worker.trigger(Trigger.REQUEST)
        return synced()

    bench = Bench((*[triggered] * 13, synced()))
    bench.worker.run()
    assert isinstance(bench.clock, FakeClock)
    assert bench.clock.waits == [1.0] * 3


def test_a_trigger_before_the_start_makes_a_run_after_the_first() -> None:
    bench = Bench((synced(), synced()))
    bench.worker.trigger(Trigger.PORT_FILE)
    bench.worker.run()
    assert bench.triggers == [Trigger.STARTUP, Trigger.PORT_FILE]


def test_triggers_from_many_threads_lose_no_wish() -> None:
    bench = Bench(clock=SystemClock())
    with running(bench):
        threads = [
            threading.Thread(target=bench.worker.trigger, args=(Trigger.REQUEST,))
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bench.worker.trigger(Trigger.REQUEST, rebind=True)
        wait_until(lambda: ([Trigger.REQUEST], True) in bench.runs, SOON, "the wish to come true")
    assert len(bench.runs) <= 52


def test_an_unexpected_exception_is_one_failed_sync_and_the_loop_goes_on() -> None:
    bench = run(ZeroDivisionError("nobody thought of it"), synced())
    failed, good = bench.reports
    assert failed.failure is not None
    assert failed.failure.reason is Reason.INTERNAL
    assert isinstance(failed.failure.__cause__, ZeroDivisionError)
    assert failed.failure.__cause__.__traceback__ is not None
    assert failed.problem is failed.failure
    assert (failed.status, failed.trigger) == (Status.FAILING, Trigger.STARTUP)
    assert good.status is Status.SYNCED
    assert bench.triggers == [Trigger.STARTUP, Trigger.RETRY]


def test_an_unexpected_exception_is_told_by_its_type_and_not_by_its_text() -> None:
    (report,) = run(ValueError("secret")).reports
    assert "ValueError" in str(report.failure)
    assert "secret" not in str(report.failure)


def test_the_report_of_an_unexpected_exception_has_its_times() -> None:
    clock = FakeClock(now=1000.0)

    def slow() -> SyncReport:
        clock.advance(2.5)
        raise ZeroDivisionError

    bench = Bench((slow,), clock=clock)
    bench.worker.run()
    (report,) = bench.reports
    assert (report.duration, report.finished_at) == (2.5, 2.5)


def test_stop_during_a_wait_ends_it_at_once() -> None:
    bench = Bench(clock=SystemClock())
    with running(bench) as thread:
        wait_until(lambda: bench.reports, SOON, "the first sync")
        bench.worker.stop()
        thread.join(SOON)
        assert not thread.is_alive()
    assert len(bench.runs) == len(bench.reports) == 1


def test_stop_during_a_sync_records_nothing_more() -> None:
    def stopped() -> SyncReport:
        bench.worker.trigger(Trigger.REQUEST)
        bench.worker.stop()
        return synced()

    bench = Bench((synced(), stopped, synced()))
    bench.worker.run()
    assert bench.triggers == [Trigger.STARTUP, Trigger.INTERVAL]
    assert len(bench.reports) == 1


def test_an_exception_after_stop_is_not_recorded_either() -> None:
    def stopped() -> SyncReport:
        bench.worker.stop()
        raise OSError

    bench = Bench((stopped, synced()))
    bench.worker.run()
    assert bench.reports == []


def test_stop_before_the_start_leaves_no_report() -> None:
    bench = Bench((synced(),))
    bench.worker.stop()
    bench.worker.run()
    assert bench.reports == []
