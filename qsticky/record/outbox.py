"""What is still to be sent to one address, and when: paced, replaced and tried again."""

from typing import NamedTuple

from qsticky.record.messages import Message, Occasion

AT_ONCE = 5
EVERY = 60.0
RETRIES = (60.0, 300.0, 900.0, 3600.0)  # the last one again and again


class _Waiting(NamedTuple):
    message: Message
    due: float
    counts_from: float
    failures: int = 0


class Outbox:
    """The messages for one address. Moments are monotonic seconds.

    A newer message takes the place of an older one of its subject as soon as it is due: until
    then it may yet be withdrawn, and the older one is how it is. Five may go at once, then one a
    minute.
    """

    def __init__(self) -> None:
        self._waiting: dict[Occasion, _Waiting] = {}  # the newest last
        self._paid_until = float("-inf")

    def due_at(self) -> float | None:
        """When the next message may go; None while there is none."""
        if not self._waiting:
            return None
        earliest = min(waiting.due for waiting in self._waiting.values())
        return max(earliest, self._paid_until - (AT_ONCE - 1) * EVERY)

    def due(self, now: float) -> Message | None:
        """Return the message that may go now, of several the one that waits for longest."""
        self._drop_what_was_replaced(now)
        at = self.due_at()
        if at is None or at > now:
            return None
        return min(self._waiting.values(), key=lambda waiting: waiting.due).message

    def put(self, message: Message, due: float) -> None:
        """Take in a message that may go from `due` on."""
        self.withdraw(message.occasion)
        self._waiting[message.occasion] = _Waiting(message, due, counts_from=due)

    def reword(self, message: Message) -> None:
        """Take in newer words for what is still to be sent, if it is."""
        if waiting := self._waiting.get(message.occasion):
            self._waiting[message.occasion] = waiting._replace(message=message)

    def withdraw(self, occasion: Occasion) -> None:
        """Forget a message that is no longer so."""
        self._waiting.pop(occasion, None)

    def started(self, now: float) -> None:
        """Take in that a message is on its way."""
        self._paid_until = max(self._paid_until, now) + EVERY

    def taken(self, message: Message) -> None:
        """Take in that a message was taken."""
        if self._newest(message):
            self.withdraw(message.occasion)

    def failed(self, message: Message, now: float) -> None:
        """Take in that a message was not taken: it is due again later, unless a newer one is."""
        if waiting := self._newest(message):
            pause = RETRIES[min(waiting.failures, len(RETRIES) - 1)]
            again = waiting._replace(due=now + pause, failures=waiting.failures + 1)
            self._waiting[message.occasion] = again

    def _newest(self, message: Message) -> _Waiting | None:
        waiting = self._waiting.get(message.occasion)
        return waiting if waiting and waiting.message is message else None

    def _drop_what_was_replaced(self, now: float) -> None:
        told = set()
        for occasion, waiting in reversed(list(self._waiting.items())):
            if occasion.subject in told:
                self.withdraw(occasion)
            elif waiting.counts_from <= now:
                told.add(occasion.subject)
