"""A recipient of notifications, and the delivery to it, with a clock that tests advance."""

import threading
from collections.abc import Sequence

from qsticky.record.delivery import Delivery
from qsticky.record.messages import Message
from tests.fakes import FakeClock

LONG = 10.0  # seconds, for what takes milliseconds


class Inbox:
    """Takes messages while `takes` is true; `raises` is what sending one ends with instead.

    While `open` is not set it holds them, as a service does that never answers.
    """

    def __init__(self, label: str = "address 1 (json)") -> None:
        self.label = label
        self.takes = True
        self.raises: Exception | None = None
        self.tried: list[Message] = []
        self.messages: list[Message] = []
        self.open = threading.Event()
        self.open.set()

    def send(self, message: Message) -> bool:
        self.tried.append(message)
        self.open.wait(LONG)
        if self.raises:
            raise self.raises
        if self.takes:
            self.messages.append(message)
        return self.takes

    @property
    def bodies(self) -> list[str]:
        """What the messages taken say."""
        return [message.body for message in self.messages]


class Post:
    """A delivery to inboxes, and what it counted and told."""

    def __init__(self, *inboxes: Inbox) -> None:
        self.clock = FakeClock()
        self.counted: list[bool] = []
        self.told: list[str] = []
        self.inboxes: Sequence[Inbox] = inboxes
        self.delivery = Delivery(
            inboxes, clock=self.clock, count=self.counted.append, tell=self.told.append
        )

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass, and all be done that is due by then; who hangs is left hanging."""
        end = self.clock.monotonic() + seconds
        self._work()
        while (pause := self.delivery.pause()) is not None and (
            self.clock.monotonic() + pause <= end
        ):
            self.clock.advance(pause)
            self._work()
        self.clock.advance(end - self.clock.monotonic())

    def _work(self) -> None:
        self.delivery.do_what_is_due()
        for thread in threading.enumerate():
            if thread.name == "notification" and all(inbox.open.is_set() for inbox in self.inboxes):
                thread.join(LONG)
        self.delivery.do_what_is_due()
