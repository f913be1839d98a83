"""Brings messages to addresses: paced, tried again, and never in anybody's way."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from qsticky.clock import Clock
from qsticky.record.messages import Message, Occasion
from qsticky.record.outbox import Outbox

PATIENCE = 30.0
AT_A_TIME = 3  # over TLS each holds all of the CAs' certificates, which are 3.5 MiB


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


class _Courier:
    """Sees to one address: its outbox, and the one attempt that may be under way."""

    def __init__(self, recipient: Recipient) -> None:
        self.recipient = recipient
        self.outbox = Outbox()
        self.attempt: Attempt | None = None
        self.failing = False


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
                courier.outbox.put(message, self._clock.monotonic() + after)
        self._wake.set()

    def reword(self, message: Message) -> None:
        """Have what is still to be sent of an occasion, and not on its way, say this instead."""
        with self._lock:
            for courier in self._couriers:
                if not courier.attempt:
                    courier.outbox.reword(message)

    def withdraw(self, occasion: Occasion) -> None:
        """Forget what was still to be sent of an occasion."""
        with self._lock:
            for courier in self._couriers:
                courier.outbox.withdraw(occasion)

    def pause(self) -> float | None:
        """Return the seconds until there is something to do; None until something happens."""
        with self._lock:
            moments = self._deadlines()
            if len(moments) < AT_A_TIME:
                idle = (courier.outbox for courier in self._couriers if not courier.attempt)
                moments += [at for outbox in idle if (at := outbox.due_at()) is not None]
        return max(0.0, min(moments) - self._clock.monotonic()) if moments else None

    def do_what_is_due(self) -> None:
        """Settle the attempts that ended, give up those that hang, begin those that are due."""
        now = self._clock.monotonic()
        for courier in self._couriers:
            attempt = courier.attempt
            if attempt and attempt.result is not None:
                self._settle(courier, attempt, now)
            elif attempt and not attempt.given_up and now >= attempt.deadline:
                self._give_up(courier, attempt, now)
            self._begin(courier, now)

    def _begin(self, courier: _Courier, now: float) -> None:
        """Send what is due, unless an earlier attempt is still under way, even if given up."""
        with self._lock:
            message = courier.outbox.due(now)
            if message and not courier.attempt and len(self._deadlines()) < AT_A_TIME:
                courier.outbox.started(now)
                courier.attempt = Attempt(courier.recipient, message, now, self._wake.set)

    def _deadlines(self) -> list[float]:
        """Return the deadlines of all attempts that were not given up."""
        attempts = (courier.attempt for courier in self._couriers)
        return [each.deadline for each in attempts if each and not each.given_up]

    def _settle(self, courier: _Courier, attempt: Attempt, now: float) -> None:
        with self._lock:
            courier.attempt = None
            if attempt.result is True:  # also when that came too late
                courier.outbox.taken(attempt.message)
            elif not attempt.given_up:
                courier.outbox.failed(attempt.message, now)
        if not attempt.given_up:
            self._tell_outcome(courier, attempt)

    def _give_up(self, courier: _Courier, attempt: Attempt, now: float) -> None:
        with self._lock:
            attempt.given_up = True
            courier.outbox.failed(attempt.message, now)
        self._tell_outcome(courier, attempt)

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
