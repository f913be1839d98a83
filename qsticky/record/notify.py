"""Which notifications the reports are worth."""

from collections.abc import Collection
from typing import NamedTuple

from qsticky.clock import Clock
from qsticky.record import messages
from qsticky.record.delivery import Delivery
from qsticky.record.messages import Message, Occasion
from qsticky.sync.report import Status, SyncReport


class _Failure(NamedTuple):
    """A failure that lasts: since when, and whether its message was handed over."""

    began: float
    began_wall: float
    handed_over: bool


class Notifier:
    """Tells of failures that lasted `after` seconds, of their end, and of what else `on` names.

    Nothing here waits for anybody: `delivery` sends on threads of its own.
    """

    def __init__(
        self, delivery: Delivery, *, after: float, on: Collection[str], clock: Clock
    ) -> None:
        self._delivery = delivery
        self._after = after
        self._on = frozenset(on)
        self._clock = clock
        self._failure: _Failure | None = None

    def record(self, report: SyncReport) -> None:
        """Tell what is new in a report."""
        if report.change and report.change.verified:
            self._tell(messages.port_changed(report))
        if report.vpn_restart:
            self._tell(messages.vpn_restarted(report))
        if report.status is Status.FAILING:
            self._record_failure(report)
        elif report.status is Status.SYNCED:
            self._record_success(report)
        elif report.status is Status.WAITING:
            self._hold_back()

    def _record_failure(self, report: SyncReport) -> None:
        """Hand the message over for when the failure has lasted; until it is sent with newer words.

        From then on another reason is no new message.
        """
        failure = self._failure or _Failure(self._clock.monotonic(), self._clock.now(), False)
        left, message = self._left(failure), messages.failing(report, failure.began_wall)
        if left or not failure.handed_over:
            self._tell(message, after=left)
        else:
            self._delivery.reword(message)
        self._failure = failure._replace(handed_over=True)

    def _record_success(self, report: SyncReport) -> None:
        failure, self._failure = self._failure, None
        if failure is None:
            return
        self._delivery.withdraw(Occasion.FAILING)
        if failure.handed_over and not self._left(failure):
            lasted = self._clock.monotonic() - failure.began
            self._tell(messages.recovered(report, failure.began_wall, lasted))

    def _hold_back(self) -> None:
        """Tell of a failure that has not yet lasted only if it is one again after the waiting."""
        failure = self._failure
        if failure and failure.handed_over and self._left(failure):
            self._delivery.withdraw(Occasion.FAILING)
            self._failure = failure._replace(handed_over=False)

    def _left(self, failure: _Failure) -> float:
        """Return the seconds until a failure has lasted; 0 once it has."""
        return max(0.0, failure.began + self._after - self._clock.monotonic())

    def _tell(self, message: Message, after: float = 0.0) -> None:
        if message.occasion in self._on:
            self._delivery.put(message, after)
