"""Brings messages to addresses: paced, tried again, and never in anybody's way."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from qsticky.clock import Clock
from qsticky.config import Notice
from qsticky.record.messages import Message

PATIENCE = 30.0
AT_A_TIME = 3  # over TLS each holds all of the CAs' certificates, which are 3.5 MiB
AT_ONCE = 5
EVERY = 60.0
RETRIES = (60.0, 300.0, 900.0, 3600.0)  # the last one again and again


class Recipient(Protocol):
    """Who gets messages; `label` is how people are told of it."""

    label: str

    def send(self, message: Message) -> bool:
        """Send a message, for as long as it takes, and tell whether it was taken."""


class Attempt:
    """One message on its way to one recipient, on a daemon thread of its own.

    `ended` is called on that thread once `result` is there: whether the message was taken, or
    the name of the error. It is given up at `deadline`, and its thread left behind.
    """

    def __init__(
        self,
        recipient: Recipient,
        message: Message,
        started: float,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self.message = message
        self.deadline = started + PATIENCE
        self.result: bool | str | None = None
        self.given_up = False
        self._recipient = recipient
        self._ended = ended
        self._thread = threading.Thread(target=self._send, name="notification", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be started now
            self.result = type(error).__name__
            self._ended()

    def wait(self) -> None:
        """Wait for its end, but no longer than until it is to be given up."""
        if self.result is None:
            self._thread.join(PATIENCE)

    def outcome(self) -> str:
        """What came of it, in words without anything of the address."""
        if self.result is None:
            return f"not answered within {PATIENCE:g} s"
        if isinstance(self.result, str):
            return f"not sent, by an error ({self.result})"
        return "taken" if self.result else "not taken by the service"

    def _send(self) -> None:
        try:
            self.result = self._recipient.send(self.message)
        except Exception as error:  # noqa: BLE001 - of any kind, and its text has the address
            self.result = type(error).__name__
        self._ended()


class _Waiting(NamedTuple):
    message: Message
    due: float
    failures: int = 0


class _Courier:
    """Sees to one address: what is still to be sent to it, and the `attempt` under way, if any.

    Moments are monotonic seconds. Five messages may go at once, then one a minute. Of a state only
    the newest is told: that something recovered takes the place of its failure at once, and a
    failure that of the recovery before as soon as it is due, for until then it may be withdrawn.
    """

    def __init__(self, recipient: Recipient) -> None:
        self.recipient = recipient
        self.attempt: Attempt | None = None
        self.failing = False
        self._waiting: dict[str, _Waiting] = {}  # the newest last
        self._paid_until = float("-inf")

    def put(self, message: Message, due: float) -> None:
        """Take in a message that may go from `due` on, in place of an older one."""
        self.withdraw(message.occasion)
        if message.occasion == Notice.RECOVERED:
            self.withdraw(Notice.FAILING)
        self._waiting[message.occasion] = _Waiting(message, due)

    def reword(self, message: Message) -> None:
        """Take in newer words for what is still to be sent, if it is, and not on its way."""
        waiting = self._waiting.get(message.occasion)
        if waiting and not self.attempt:
            self._waiting[message.occasion] = waiting._replace(message=message)

    def withdraw(self, occasion: str) -> None:
        """Forget a message that is no longer so."""
        self._waiting.pop(occasion, None)

    def due_at(self) -> float | None:
        """When the next message may go; None while there is none, or one is on its way."""
        if self.attempt or not self._waiting:
            return None
        earliest = min(waiting.due for waiting in self._waiting.values())
        return max(earliest, self._paid_until - (AT_ONCE - 1) * EVERY)

    def begin(self, now: float, ended: Callable[[], object]) -> None:
        """Send what is due, of several messages the one that waits for longest."""
        failing = self._waiting.get(Notice.FAILING)
        if failing and failing.due <= now:
            self.withdraw(Notice.RECOVERED)
        at = self.due_at()
        if at is None or at > now:
            return
        message = min(self._waiting.values(), key=lambda waiting: waiting.due).message
        self._paid_until = max(self._paid_until, now) + EVERY
        self.attempt = Attempt(self.recipient, message, now, ended)

    def settle(self, attempt: Attempt, now: float) -> bool:
        """Take in what came of an attempt, if that is new; tell whether it is.

        One that was not taken is due again later, unless a newer one is.
        """
        ended, was_given_up = attempt.result is not None, attempt.given_up
        if not ended and (was_given_up or now < attempt.deadline):
            return False
        attempt.given_up = not ended
        if ended:
            self.attempt = None
        waiting = self._waiting.get(attempt.message.occasion)
        if waiting and waiting.message is attempt.message:
            if attempt.result is True:  # also when that came too late
                self.withdraw(attempt.message.occasion)
            elif not was_given_up:
                pause = RETRIES[min(waiting.failures, len(RETRIES) - 1)]
                again = waiting._replace(due=now + pause, failures=waiting.failures + 1)
                self._waiting[attempt.message.occasion] = again
        return not was_given_up


class Delivery:
    """Sends messages to every recipient, each by itself, a few at a time.

    `put`, `reword` and `withdraw` return at once; all else happens on daemon threads. Callbacks:
    `count(taken)` for each attempt, `tell(sentence)` when a recipient begins to fail.
    """

    def __init__(
        self,
        recipients: Sequence[Recipient],
        *,
        clock: Clock,
        count: Callable[[bool], object],
        tell: Callable[[str], object],
    ) -> None:
        self._couriers = [_Courier(recipient) for recipient in recipients]
        self._clock = clock
        self._count = count
        self._tell = tell
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def start(self) -> None:
        """Start the thread that sees to it. It needs no stop: it never holds up an exit."""
        threading.Thread(target=self._run, name="notifications", daemon=True).start()

    def put(self, message: Message, after: float = 0.0) -> None:
        """Send a message to everyone, `after` so many seconds."""
        with self._lock:
            for courier in self._couriers:
                courier.put(message, self._clock.monotonic() + after)
        self._wake.set()

    def reword(self, message: Message) -> None:
        """Have what is still to be sent of an occasion, and not on its way, say this instead."""
        with self._lock:
            for courier in self._couriers:
                courier.reword(message)

    def withdraw(self, occasion: str) -> None:
        """Forget what was still to be sent of an occasion."""
        with self._lock:
            for courier in self._couriers:
                courier.withdraw(occasion)

    def pause(self) -> float | None:
        """Return the seconds until there is something to do; None until something happens."""
        with self._lock:
            moments = self._deadlines()
            if len(moments) < AT_A_TIME:
                moments += [at for c in self._couriers if (at := c.due_at()) is not None]
        return max(0.0, min(moments) - self._clock.monotonic()) if moments else None

    def do_what_is_due(self) -> None:
        """Settle the attempts that ended, give up those that hang, begin those that are due.

        Of one that hangs no other is begun, though it was given up.
        """
        now = self._clock.monotonic()
        for courier in self._couriers:
            attempt = courier.attempt
            with self._lock:
                settled = attempt is not None and courier.settle(attempt, now)
            if attempt and settled:
                self._tell_outcome(courier, attempt)
            with self._lock:
                if len(self._deadlines()) < AT_A_TIME:
                    courier.begin(now, self._wake.set)

    def _deadlines(self) -> list[float]:
        """Return the deadlines of all attempts that were not given up."""
        attempts = (courier.attempt for courier in self._couriers)
        return [each.deadline for each in attempts if each and not each.given_up]

    def _tell_outcome(self, courier: _Courier, attempt: Attempt) -> None:
        taken = attempt.result is True
        self._count(taken)
        if not taken and not courier.failing:
            self._tell(
                f"The notification to {courier.recipient.label} of NOTIFY_URLS was "
                f"{attempt.outcome()}; it is tried again after 1, 5 and 15 minutes, then hourly; "
                "to try the address now, run: qsticky notify"
            )
        courier.failing = not taken

    def _run(self) -> None:
        while True:
            self._wake.clear()
            self.do_what_is_due()
            pause = self.pause()
            if pause is None:
                self._wake.wait()
            else:
                self._clock.wait(self._wake, pause)
