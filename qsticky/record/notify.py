"""Which notifications the reports are worth."""

from collections.abc import Collection

from qsticky.clock import Clock, wall
from qsticky.config import Notice
from qsticky.record import messages
from qsticky.record.delivery import Delivery
from qsticky.record.messages import Message
from qsticky.sync.report import Status, SyncReport


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
        self._began: float | None = None  # the moment of a failure that lasts
        self._handed_over = False  # its message

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
        if self._began is None:
            self._began, self._handed_over = self._clock.monotonic(), False
        left = self._left(self._began)
        message = messages.failing(report, wall(self._clock, self._began))
        if left or not self._handed_over:
            self._tell(message, after=left)
        else:
            self._delivery.reword(message)
        self._handed_over = True

    def _record_success(self, report: SyncReport) -> None:
        began, self._began = self._began, None
        if began is None:
            return
        self._delivery.withdraw(Notice.FAILING)
        if self._handed_over and not self._left(began):
            lasted = self._clock.monotonic() - began
            self._tell(messages.recovered(report, wall(self._clock, began), lasted))

    def _hold_back(self) -> None:
        """Tell of a failure that has not yet lasted only if it is one again after the waiting."""
        if self._began is not None and self._left(self._began):
            self._delivery.withdraw(Notice.FAILING)
            self._handed_over = False

    def _left(self, began: float) -> float:
        """Return the seconds until a failure has lasted; 0 once it has."""
        return max(0.0, began + self._after - self._clock.monotonic())

    def _tell(self, message: Message, after: float = 0.0) -> None:
        if message.occasion in self._on:
            self._delivery.put(message, after)
